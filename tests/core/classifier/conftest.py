"""What the tests of loading share."""

from __future__ import annotations

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
