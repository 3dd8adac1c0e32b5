"""``tlcli cache``: what the cache folder holds, and how it is made smaller."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tlcli.commands.completion import complete_backbones
from tlcli.commands.options import ANY_PATH, format_option
from tlcli.errors import CacheError
from tlcli.system.cache_folders import CACHE_VARIABLE, cache_folder
from tlcli.terminal import CONTEXT_SETTINGS, set_up_logging
from tlcli.text import byte_size, table

VECTORS, MAPS, WEIGHTS, EXPORTED = (
    "vectors",
    "heat maps",
    "downloaded weights",
    "exported backbones",
)
CONVERTED, TRIALS, IMAGES = "converted graphs", "trial runs", "unpacked archives"
PARTS = "parts of shards"

_log = logging.getLogger("tlcli")

_SETTINGS = "settings.json"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
# Down to this part of the limit, so that not every run makes room.
_ENOUGH = 0.9
_ATTEMPTS = 3
_FORMAT = format_option("text", "json")


@dataclass(frozen=True)
class Item:
    """A part of the cache that is removed as a whole.

    Attributes:
        kind: of its content.
        name: of the backbone, where it belongs to one.
        count: vectors, or files.
        size: bytes.
        used: time of the last use as far as it is known, seconds since the epoch.
        remove: removes it; False where a running process uses it.
        vectors_kept: of vectors, removes all but the newest so many; None for files.
    """

    kind: str
    name: str
    count: int
    size: int
    used: float
    remove: Callable[[], bool]
    vectors_kept: Callable[[int], bool] | None = None


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
    shown = cache_folder() if bottleneck_dir is None else bottleneck_dir
    limit = stored_limit() if bottleneck_dir is None else None
    found = list(items() if bottleneck_dir is None else bottleneck_items(bottleneck_dir))
    rows = _grouped(found)
    if output_format == "json":
        facts = {
            "folder": str(shown),
            "bytes": sum(item.size for item in found),
            "limit": limit,
            "entries": rows,
        }
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    total = sum(item.size for item in found)
    bound = "no limit" if limit is None else f"limit {byte_size(limit)}"
    lines = [f"{shown}: {byte_size(total)}, {bound}"]
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
    "--module",
    metavar="NAME",
    shell_complete=complete_backbones,
    help="Only what belongs to this backbone: vectors, weights, exported graphs.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_FORMAT
def clear_command(module: str | None, yes: bool, output_format: str) -> None:
    """Remove what is cached; backbones that you placed there by hand stay.

    What a running process uses stays too, or is computed again by it.
    """
    found = [item for item in items() if module is None or item.name == _name(module)]
    total = sum(item.size for item in found)
    what = "the cache" if module is None else f"what is cached for {module}"
    if found and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"this removes {what}, {byte_size(total)}; add --yes")
        click.confirm(f"Remove {what}, {byte_size(total)}?", abort=True, err=True)
    _report(_removed(found), output_format)


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
        _store_limit(limit)
    if size is None and once:
        raise click.UsageError("--once needs a SIZE, as in: tlcli cache limit 2GB --once")
    removed = [] if limit is None else make_room(limit)
    if output_format == "text" and not once:
        bound = "The cache has no limit" if limit is None else f"The limit is {byte_size(limit)}"
        click.echo(f"{bound} ({cache_folder()}).")
        if not removed:
            return
    _report(removed, output_format, limit)


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


def stored_limit() -> int | None:
    """Return the limit that later runs keep, in bytes; None where there is none."""
    try:
        limit = json.loads((cache_folder() / _SETTINGS).read_text("utf-8"))["limit"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return limit if isinstance(limit, int) and limit >= 0 else None


def _store_limit(limit: int | None) -> None:

    from tlcli.system.atomic_files import write_text

    path = cache_folder() / _SETTINGS
    if limit is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"limit": limit}) + "\n")


def keep_limit() -> None:
    """Make room where a limit was set; without one this is a look for a file.

    A cache that cannot be changed is a warning: the run that calls this is done.
    """
    limit = stored_limit()
    if limit is None:
        return
    try:
        make_room(limit)
    except (CacheError, OSError) as error:
        _log.warning("The cache in %s stays above its limit: %s", cache_folder(), error)


def make_room(limit: int) -> list[Item]:
    """Remove what was used longest ago until the rest fits, and return what is gone.

    What alone is above the limit cannot stay, so it goes first, and the rest need not.
    """
    removed: list[Item] = []
    # A file of fewer vectors is a little larger than its share: what is too much is removed again.
    for attempt in range(_ATTEMPTS):
        found = list(items())
        total = sum(item.size for item in found)
        if total <= limit:
            break
        removed += _make_room(found, limit, total - _ENOUGH * limit, attempt < _ATTEMPTS - 1)
    return removed


def _make_room(found: list[Item], limit: int, excess: float, may_keep: bool) -> list[Item]:
    """Remove about ``excess`` bytes; of vectors only a part, where that is enough."""

    def in_turn(item: Item) -> tuple[bool, float]:
        can_stay = item.vectors_kept is not None or item.size <= _ENOUGH * limit
        return can_stay, item.used

    removed = []
    for item in sorted(found, key=in_turn):
        if excess <= 0:
            break
        if may_keep and item.vectors_kept is not None and item.size > excess:
            # Of the vectors of one backbone, those that were computed first.
            kept = int(item.count * (1 - excess / item.size))
            if item.vectors_kept(kept):
                gone = item.count - kept
                part = item.size * gone // item.count
                removed.append(Item(item.kind, item.name, gone, part, item.used, item.remove))
                excess -= part
        elif item.remove():
            removed.append(item)
            excess -= item.size
    return removed


def items() -> Iterator[Item]:
    """Yield all that may be removed: not what a person placed there, nor what tlcli never wrote."""
    from tlcli.backbones.download.hub import FOLDER
    from tlcli.core.bottlenecks.cache_usage import stored_vectors
    from tlcli.system import cache_folders
    from tlcli.system.file_cache import stored_facts

    folder = cache_folders.bottleneck_folder()
    names = {each.fingerprint: each.name for each in stored_vectors(folder)}
    yield from bottleneck_items(folder)
    for path in _entries(cache_folders.compiled_folder()):
        name = names.get(str(stored_facts(path).get("fingerprint")), "")
        yield _file_item(EXPORTED, name, path)
    for kind, own in ((CONVERTED, "converted"), (TRIALS, "trials"), (IMAGES, "archives")):
        for path in _entries(cache_folder() / own):
            yield _file_item(kind, "", path)
    downloads = _downloads()
    models = cache_folders.model_folder()
    for path in _entries(models):
        if path.name in downloads:
            yield _file_item(WEIGHTS, downloads[path.name], path)
    for path in _entries(models / FOLDER):
        if (path / "saved_model.pb").is_file():
            yield _file_item(WEIGHTS, path.name, path)


def bottleneck_items(folder: Path) -> Iterator[Item]:
    """Yield what the folder of a bottleneck cache holds: vectors by backbone, and part files."""
    from tlcli.core.bottlenecks.cache_usage import StoredVectors, remove_vectors, stored_vectors
    from tlcli.core.parts.part_cache import part_files

    stored = stored_vectors(folder)
    names = {each.fingerprint: each.name for each in stored}

    def vectors(each: StoredVectors) -> Item:
        def keep(count: int) -> bool:
            remove_vectors(folder, {each.fingerprint}, keep=count)
            return True

        name = each.name or f"unknown ({each.fingerprint[:8]})"
        kind = MAPS if each.is_maps else VECTORS
        return Item(kind, name, each.count, each.size, each.used, lambda: keep(0), keep)

    yield from map(vectors, stored)
    for fingerprint, files in part_files(folder).items():
        name = names.get(fingerprint) or _backbone_of(files) or f"unknown ({fingerprint[:8]})"
        for path in files:
            yield _file_item(PARTS, name, path)


def _backbone_of(files: Sequence[Path]) -> str:
    """Return the name of the backbone that computed some parts; "" where it cannot be read."""
    from tlcli.core.parts.part_cache import open_parts

    try:
        return next((part.facts.backbone for part in open_parts(files)), "")
    except CacheError:  # without pyarrow
        return ""


def _downloads() -> dict[str, str]:
    """Return the name of each backbone's weight file that tlcli downloads, with its own name."""
    from tlcli.backbones.catalogue import entries

    return {entry.file_name: entry.name for entry in entries().values() if entry.url}


def _name(module: str) -> str:
    from tlcli.backbones.catalogue import lookup

    entry = lookup(module)
    return module if entry is None else entry.name


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _file_item(kind: str, name: str, path: Path) -> Item:
    from tlcli.system.cache_folders import remove_unheld

    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    own, states = _state(path), [state for state in map(_state, files) if state is not None]
    used = max((state.st_mtime for state in [own, *states] if state is not None), default=0.0)
    size = sum(state.st_size for state in states)
    return Item(kind, name, len(files), size, used, lambda: remove_unheld(path))


def _state(path: Path) -> os.stat_result | None:
    """Return the state of a file; None where another process has just removed it."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


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


def _report(removed: list[Item], output_format: str, limit: int | None = None) -> None:
    rows = _grouped(removed)
    if output_format == "json":
        facts: dict[str, Any] = {"folder": str(cache_folder()), "removed": rows}
        click.echo(json.dumps({**facts, "limit": limit}, ensure_ascii=False, indent=2))
        return
    for row in rows:
        of = f" of {row['backbone']}" if row["backbone"] else ""
        click.echo(f"Removed: {row['kind']}{of}, {byte_size(row['bytes'])}")
    left = sum(item.size for item in items())
    click.echo(f"{byte_size(left)} are left in {cache_folder()}.")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d") if seconds else "unknown"
