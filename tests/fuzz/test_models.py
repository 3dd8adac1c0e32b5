"""Whole model files with something changed: nothing may end the process that loads them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.litert_files import changed_litert, litert_file
from tests.fuzz.models import fuzz
from tlcli.errors import GraphError
from tlcli.litert.description import describe_litert
from tlcli.litert.safety import check_litert


def test_a_number_determines_the_file() -> None:
    one, same, other = (litert_file(random.Random(number)) for number in (1, 1, 2))
    assert one == same
    assert one != other
    assert changed_litert(one, random.Random(3)) == changed_litert(one, random.Random(3))


def test_tables_of_changed_litert_files_are_read_or_refused(tmp_path: Path) -> None:
    refused = 0
    path = tmp_path / "model.tflite"
    for number in range(300):
        content = litert_file(random.Random(number))
        if number % 3 == 0:
            place = random.Random(number).randrange(len(content))
            content = content[:place] + b"\xff\x7f" + content[place + 2 :]
        path.write_bytes(content)
        try:
            check_litert(content, "it")
            describe_litert(path)
        except GraphError:
            refused += 1
    assert 0 < refused < 300


@pytest.mark.slow
def test_no_model_file_ends_the_process(tmp_path: Path) -> None:
    counts = fuzz(60, 0, tmp_path, [])
    assert counts["failures"] == 0, sorted(path.name for path in tmp_path.iterdir())
    assert counts["labelled"] > 0
    assert counts["refused"] > 0
