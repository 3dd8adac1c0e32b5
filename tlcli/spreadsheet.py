"""CSV as programs read it, and as a spreadsheet opens it well."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import TextIO

BYTE_ORDER_MARK = "\ufeff"
# A cell that begins so is computed by Excel, LibreOffice or Google Sheets; a tab or a line end
# before it is passed over. The last four are the wide forms that Japanese input methods type.
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def guarded(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: text is marked with an apostrophe.

    Numbers stay numbers, negative ones too.
    """
    if isinstance(cell, str) and cell.startswith(_STARTS_FORMULA):
        return "'" + cell
    return cell


class CsvRows:
    """Writes rows of CSV: lines end with a line feed, cells are quoted where they must be.

    Args:
        stream: where to write.
        for_spreadsheet: begin with a byte order mark, by which Excel knows UTF-8, and keep text
            from being taken for a formula. Other programs want the text as it is.
    """

    def __init__(self, stream: TextIO, for_spreadsheet: bool = False) -> None:
        self._rows = csv.writer(stream, lineterminator="\n")
        # Python before 3.13 leaves a carriage return bare, and readers end the row there.
        self._quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._for_spreadsheet = for_spreadsheet
        if for_spreadsheet:
            stream.write(BYTE_ORDER_MARK)

    def write(self, cells: Iterable[object]) -> None:
        """Write one row."""
        row = [guarded(cell) for cell in cells] if self._for_spreadsheet else list(cells)
        bare = any("\r" in cell for cell in row if isinstance(cell, str))
        (self._quoted if bare else self._rows).writerow(row)
