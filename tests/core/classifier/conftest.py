"""What the tests of loading share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tlcli.litert import writer


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Note the input and output of each graph that is converted to LiteRT."""
    seen: list[tuple[str, str]] = []
    write_model = writer.write_model

    def noted(graph: Any, input: str, output: str) -> bytes:
        seen.append((input, output))
        return write_model(graph, input, output)

    monkeypatch.setattr(writer, "write_model", noted)
    return seen


@pytest.fixture
def count_children(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return what counts the processes that were started since."""
    started: list[object] = []
    real = subprocess.Popen

    def counted(*arguments: Any, **options: Any) -> Any:
        started.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", counted)
    return lambda: len(started)
