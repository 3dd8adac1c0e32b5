"""``tlcli cache``: what the cache folder holds, and how it is made smaller."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tlcli.cache.items import Item, bottleneck_items, items, obsolete_items
from tlcli.cache.limit import make_room, store_limit, stored_limit
from tlcli.commands.completion import complete_backbones
from tlcli.commands.options import ANY_PATH, format_option
from tlcli.storage.locations import shown
from tlcli.system.cache_folders import CACHE_VARIABLE, bottleneck_folder, cache_folder
from tlcli.terminal import CONTEXT_SETTINGS, set_up_logging
from tlcli.text import byte_size, table

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_FORMAT = format_option("text", "json")


class _Group(click.Group):
    """A group whose help ends with where the cache is."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the folder; the environment decides which it is."""
        formatter.write_paragraph()
        formatter.write(
            f"The cache is in {cache_folder()}; {CACHE_VARIABLE} names another folder.\n"
        )


@click.group(cls=_Group, context_settings=CONTEXT_SETTINGS)
def command() -> None:
    """Show, clear or limit what tlcli keeps to be faster the next time.

    All of it is computed or downloaded again when it is needed.

    \b
    Examples:
      tlcli cache show
      tlcli cache clear --module efficientnet_lite0
      tlcli cache limit 2GB
    """
    set_up_logging()


@command.command("show")
@click.option(
    "--bottleneck_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Show the vectors and part files in this folder of retrain.",
)
@_FORMAT
def show_command(bottleneck_dir: Path | None, output_format: str) -> None:
    """Show the size of the cache by kind and backbone."""
    folder = shown(cache_folder() if bottleneck_dir is None else bottleneck_dir)
    limit = stored_limit() if bottleneck_dir is None else None
    found = list(_items(bottleneck_dir))
    rows = _grouped(found)
    if output_format == "json":
        facts = {
            "folder": folder,
            "bytes": sum(item.size for item in found),
            "limit": limit,
            "entries": rows,
        }
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    total = sum(item.size for item in found)
    bound = "no limit" if limit is None else f"limit {byte_size(limit)}"
    lines = [f"{folder}: {byte_size(total)}, {bound}"]
    if rows:
        cells = [("kind", "backbone", "count", "size", "last used")]
        cells += [
            (
                row["kind"],
                row["backbone"],
                str(row["count"]),
                byte_size(row["bytes"]),
                _day(row["used"]),
            )
            for row in rows
        ]
        lines += ["", *table(cells, right=(2, 3))]
    click.echo("\n".join(lines))


@command.command("clear")
@click.option(
    "--bottleneck_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="The vectors and part files in this folder of retrain, in place of the whole cache.",
)
@click.option(
    "--obsolete",
    is_flag=True,
    help="Only part files whose images are all in newer ones, as after images were added.",
)
@click.option(
    "--module",
    metavar="NAME",
    shell_complete=complete_backbones,
    help="Only what belongs to this backbone: vectors, weights, exported graphs.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_FORMAT
def clear_command(
    bottleneck_dir: Path | None, obsolete: bool, module: str | None, yes: bool, output_format: str
) -> None:
    """Remove what is cached; backbones that you placed there by hand stay.

    What a running process uses stays too, or is computed again by it.
    """
    folder = cache_folder() if bottleneck_dir is None else bottleneck_dir
    what = "the cache" if bottleneck_dir is None else f"the vectors in {shown(folder)}"
    everything = _items(bottleneck_dir)
    if obsolete:
        what = f"the obsolete part files in {shown(folder)}"
        everything = obsolete_items(bottleneck_dir or bottleneck_folder())
    if module is not None:
        what = f"what is cached for {module}" if bottleneck_dir is None else f"{what} for {module}"
    found = [item for item in everything if module is None or item.name == _name(module)]
    total = sum(item.size for item in found)
    if found and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"this removes {what}, {byte_size(total)}; add --yes")
        click.confirm(f"Remove {what}, {byte_size(total)}?", abort=True, err=True)
    _report(_removed(found), output_format, bottleneck_dir)


def _items(bottleneck_dir: Path | None) -> Iterator[Item]:
    return items() if bottleneck_dir is None else bottleneck_items(bottleneck_dir)


@command.command("limit")
@click.argument("size", required=False)
@click.option("--once", is_flag=True, help="Make room now, without a limit for later runs.")
@_FORMAT
def limit_command(size: str | None, once: bool, output_format: str) -> None:
    """Keep the cache below SIZE, such as 500MB or 2GB; `none` ends the limit.

    What was used longest ago is removed first, now and at the end of later runs of retrain; before
    it, files larger than SIZE. Without SIZE, the limit is shown.
    """
    limit = stored_limit() if size is None else parse_size(size)
    if size is not None and not once:
        store_limit(limit)
    if size is None and once:
        raise click.UsageError("--once needs a SIZE, as in: tlcli cache limit 2GB --once")
    removed = [] if limit is None else make_room(limit)
    if output_format == "text" and not once:
        bound = "The cache has no limit" if limit is None else f"The limit is {byte_size(limit)}"
        click.echo(f"{bound} ({cache_folder()}).")
        if not removed:
            return
    _report(removed, output_format, limit=limit)


def parse_size(text: str) -> int | None:
    """Return bytes from "2GB", "500 MB" or "1.5g"; None from "none".

    Raises:
        click.UsageError: it is no size.
    """
    if text.lower() == "none":
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    if found is None:
        raise click.UsageError(f"{text!r} is no size; give one such as 500MB or 2GB, or none")
    return round(float(found[1]) * _UNITS[found[2]])


def _name(module: str) -> str:
    from tlcli.backbones.catalogue import lookup

    entry = lookup(module)
    return module if entry is None else entry.name


def _removed(found: Iterable[Item]) -> list[Item]:
    return [item for item in found if item.remove()]


def _grouped(found: Sequence[Item]) -> list[dict[str, Any]]:
    """Return one row per kind and backbone, the largest first, as JSON values."""
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in found:
        groups.setdefault((item.kind, item.name), []).append(item)
    rows = [
        {
            "kind": kind,
            "backbone": name,
            "count": sum(item.count for item in group),
            "bytes": sum(item.size for item in group),
            "used": max(item.used for item in group),
        }
        for (kind, name), group in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["bytes"])


def _report(
    removed: list[Item],
    output_format: str,
    bottleneck_dir: Path | None = None,
    limit: int | None = None,
) -> None:
    rows = _grouped(removed)
    folder = shown(cache_folder() if bottleneck_dir is None else bottleneck_dir)
    if output_format == "json":
        facts: dict[str, Any] = {"folder": folder, "removed": rows}
        click.echo(json.dumps({**facts, "limit": limit}, ensure_ascii=False, indent=2))
        return
    for row in rows:
        of = f" of {row['backbone']}" if row["backbone"] else ""
        click.echo(f"Removed: {row['kind']}{of}, {byte_size(row['bytes'])}")
    left = sum(item.size for item in _items(bottleneck_dir))
    click.echo(f"{byte_size(left)} are left in {folder}.")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d") if seconds else "unknown"
