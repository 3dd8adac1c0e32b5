"""CSV for programs, and for spreadsheets."""

from __future__ import annotations

import csv
import io

import pytest

from tlcli.spreadsheet import CsvRows, guarded


def written(*rows: tuple[object, ...], for_spreadsheet: bool) -> str:
    stream = io.StringIO()
    lines = CsvRows(stream, for_spreadsheet)
    for row in rows:
        lines.write(row)
    return stream.getvalue()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n=", "＝", "＋", "－", "＠"])
def test_text_that_would_be_a_formula_is_marked(start: str) -> None:
    cell = start + 'HYPERLINK("http://x")'
    assert guarded(cell) == "'" + cell
    assert list(csv.reader(io.StringIO(written((cell,), for_spreadsheet=True)[1:]))) == [
        ["'" + cell]
    ]
    assert list(csv.reader(io.StringIO(written((cell,), for_spreadsheet=False)))) == [[cell]]


def test_numbers_and_harmless_text_stay() -> None:
    assert [guarded(cell) for cell in (-0.5, 3, "", "a=b", "집", None)] == [
        -0.5,
        3,
        "",
        "a=b",
        "집",
        None,
    ]


def test_the_byte_order_mark_comes_once_and_first() -> None:
    assert written(("a", 1), ("집", -2), for_spreadsheet=True) == "\ufeffa,1\n집,-2\n"
    assert written(("a", 1), for_spreadsheet=False) == "a,1\n"


def test_a_carriage_return_stays_within_its_cell() -> None:
    assert written(("a\rb", 1), ("c", 2), for_spreadsheet=False) == '"a\rb","1"\nc,2\n'
