"""The figures of exported files, as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlcli.core.formats.comparison import Agreement
from tlcli.notebook import percent
from tlcli.storage.locations import shown
from tlcli.text import byte_size, counted, printable, table


@dataclass(frozen=True)
class ExportedFile:
    """One file that was made, or the graph that it was made from.

    Attributes:
        kind: name of the format; "graph" of the graph.
        path: of the file or folder.
        size: in bytes, of all its files.
        milliseconds: of processor time per image; None where it cannot be run here.
        quality: accuracy on the test images, or mean average precision; None without any.
        agreement: with the graph; None of the graph, and where it cannot be run here.
        validation: the same figure of the graph and of the file on validation images, by which
            it was accepted; None where that was not asked.
        remarks: sentences.
    """

    kind: str
    path: Path
    size: int
    milliseconds: float | None = None
    quality: float | None = None
    agreement: Agreement | None = None
    validation: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        same = self.agreement
        return {
            "kind": self.kind,
            "path": shown(self.path),
            "bytes": self.size,
            "milliseconds": self.milliseconds,
            "accuracy": self.quality,
            "same_label": None if same is None else same.same_label,
            "largest_difference": None if same is None else same.difference,
            "images": None if same is None else same.images,
            "validation": None
            if self.validation is None
            else dict(zip(("before", "after"), self.validation, strict=True)),
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True)
class Exports:
    """All files of an export.

    Attributes:
        graph: the figures of the graph itself.
        files: those that were written.
        refused: why others were not, by the name of the format.
        images: on how many test images they were compared; 0: on generated ones.
        several: the figure is the mean average precision, not the accuracy.
    """

    graph: ExportedFile
    files: tuple[ExportedFile, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    images: int = 0
    several: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "graph": self.graph.to_dict(),
            "files": [each.to_dict() for each in self.files],
            "refused": dict(self.refused),
            "images": self.images,
            "figure": "mean_average_precision" if self.several else "accuracy",
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table: headings, the graph, then one row per file."""
        figure = "mean average precision" if self.several else "accuracy"
        rows: list[tuple[str, ...]]
        rows = [("file", figure, "same label", "largest difference", "size", "ms per image")]
        for each in (self.graph, *self.files):
            same = each.agreement
            rows.append(
                (
                    printable(each.path.name),
                    "" if each.quality is None else percent(each.quality),
                    "" if same is None else percent(same.same_label),
                    "" if same is None else f"{same.difference:.6f}",
                    byte_size(each.size),
                    "" if each.milliseconds is None else f"{each.milliseconds:.1f}",
                )
            )
        if not self.images:
            rows = [(row[0], *row[2:]) for row in rows]
        return rows

    def remarks(self) -> list[str]:
        """Return what the table is of, and what it does not show, in sentences."""
        timed = "one at a time, in processor time without decoding"
        if self.images:
            lines = [f"On {counted(self.images, 'test image')}, {timed}."]
        else:
            lines = [
                f"On generated images, {timed}; name labelled images with --image_dir for an "
                "accuracy."
            ]
        for each in self.files:
            if each.validation is not None:
                before, after = each.validation
                lines.append(
                    f"{printable(each.path.name)}: {percent(after)} on the validation images, the "
                    f"graph {percent(before)}."
                )
            lines += [f"{printable(each.path.name)}: {remark}." for remark in each.remarks]
        return lines

    def lines(self) -> list[str]:
        """Return the table and its remarks as lines for people."""
        return [*table(self.rows()), *self.remarks()]
