"""What a call of ``tlcli label`` asks for, beside the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from label.arguments.options import PART_FORMATS
from tlcli.commands.options import from_home
from tlcli.runners.machines import Machines

if TYPE_CHECKING:
    from label.formats import OutputStyle


@dataclass(frozen=True)
class Asked:
    """The options of a call, named as on the command line.

    Attributes:
        images: the arguments that name images, with and without ``--image``, in their order.
        machines: who labels.
    """

    images: tuple[str, ...]
    machines: Machines
    top_k: int | None
    output_format: str | None
    threshold: float | None
    unknown: bool
    spreadsheet: bool
    sort_into: Path | None
    link: bool
    explain: Path | None
    suggest: int | None
    output_list: Path | None
    output: Path | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> tuple[Asked, dict[str, Any]]:
        """Return what a command line asks for, and its options of the graph.

        Raises:
            click.UsageError: options contradict each other, or no image was named.
        """
        asked, rest = cls.unchecked(given)
        asked._check()
        return asked, rest

    @classmethod
    def unchecked(cls, given: Mapping[str, Any]) -> tuple[Asked, dict[str, Any]]:
        """Return the same where no image is needed."""
        rest = dict(given)
        images = (*rest.pop("images"), *rest.pop("more_images"))
        machines = Machines(
            *(rest.pop(name) for name in ("runner", "address", "num_shards", "shard_index"))
        )
        own = {each.name: rest.pop(each.name) for each in fields(cls) if each.name in rest}
        asked = cls(images=images, machines=machines, **own)
        # Left out where it is not asked for: the names of part files depend on these options.
        return asked, {**rest, "unknown": True} if asked.unknown else rest

    @property
    def arguments(self) -> list[str]:
        """The arguments that name images, with ``~`` replaced; also of @LIST."""
        return [
            f"@{from_home(each[1:])}" if each.startswith("@") else from_home(each)
            for each in self.images
        ]

    def style(self, colour: bool = False) -> OutputStyle:
        """Return how predictions are written: as text by default, and as JSON lines in parts.

        Args:
            colour: standard output takes colours.
        """
        from label.formats import OutputStyle

        default = "text" if self.output is None else "jsonl"
        return OutputStyle(
            self.output_format or default,
            self.top_k,
            self.threshold,
            colour,
            self.spreadsheet,
            self.suggest,
            self.unknown,
        )

    def _check(self) -> None:
        if not self.images:
            raise click.UsageError(
                "no image was named; give files, folders or patterns, with or without --image"
            )
        if "" in self.images:  # an unset variable in a shell script
            raise click.UsageError("the name of an image is empty; give a file, folder or pattern")
        if self.spreadsheet and self.output_format != "csv":
            raise click.UsageError("--spreadsheet is for --format csv")
        if self.link and self.sort_into is None:
            raise click.UsageError("--link is for --sort_into DIR")
        if self.output_list is not None and self.suggest is None:
            raise click.UsageError("--output_list is for --suggest N")
        if self.suggest is not None and (self.sort_into is not None or self.explain is not None):
            raise click.UsageError(
                "--suggest chooses among all images, which --sort_into and --explain would write "
                "one by one; run them on --output_list FILE afterwards, as @FILE"
            )
        self.machines.check()
        self._check_output()

    def _check_output(self) -> None:
        machines = self.machines
        if self.output is None:
            if machines.by_shards:
                named = "--runner ray" if machines.runner == "ray" else "--num_shards"
                raise click.UsageError(
                    f"{named} writes part files; name their folder by --output DIR"
                )
            if self.output_format == "parquet":
                raise click.UsageError("--format parquet is for part files; add --output DIR")
        elif self.output_format not in (None, *PART_FORMATS):
            raise click.UsageError(
                f"part files are written as jsonl or parquet, and --format is {self.output_format}"
            )
        elif (self.sort_into, self.explain, self.suggest) != (None, None, None):
            raise click.UsageError(
                "--output writes part files alone; leave --sort_into, --explain and --suggest "
                "out, or run the command twice"
            )
