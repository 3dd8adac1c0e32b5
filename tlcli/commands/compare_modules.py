"""``tlcli modules compare``: which of the backbones on this machine suits some images."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlcli.commands.again import program
from tlcli.commands.completion import complete_backbones
from tlcli.commands.options import (
    ANY_PATH,
    ImageDirCommand,
    format_option,
    from_home,
    log_options,
    whole,
)
from tlcli.storage.locations import shown
from tlcli.terminal import CONTEXT_SETTINGS, progress_bars, set_up_logging, write_any_name
from tlcli.text import counted, printable, table

if TYPE_CHECKING:
    from tlcli.backbones.probe.ranking import Candidate, ModuleComparison

GROUPS = {
    "Input": ("image_dir", "manifest"),
    "Output": ("output_format",),
    "Backbones": ("modules", "layers", "model_dir", "bottleneck_dir", "trust", "seed"),
    "Logging": ("logging_verbosity", "quiet"),
}
CSV_COLUMNS = (
    *("module", "accuracy", "low", "high", "cross_entropy"),
    *("images_per_second", "graph_bytes", "multiplications", "reason"),
)
_SKIPPED_SHOWN = 10


@click.command("compare", cls=ImageDirCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@click.option(
    "--image_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder with one subfolder of images per label, or a zip or tar archive of it.  "
    "[required unless --manifest]",
)
@click.option(
    "--manifest",
    type=ANY_PATH,
    metavar="FILE",
    help="Table of the images in place of --image_dir: CSV, TSV or JSON lines with path and label.",
)
@format_option("text", "json", "csv", default=None, text="Output format.  [default: text]")
@click.option(
    "--tfhub_module",
    "--module",
    "modules",
    multiple=True,
    metavar="M",
    shell_complete=complete_backbones,
    help="Backbone to compare; repeat it for each.  [default: all of `tlcli modules` that are on "
    "this machine]",
)
@click.option(
    "--layers",
    type=click.Choice(["head", "ms"]),
    default="head",
    show_default=True,
    help="Layers of each network, as for retrain; ms is what --preset standard uses.",
)
@click.option(
    "--model_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder of downloaded backbones.  [default: in the cache folder]",
)
@click.option(
    "--bottleneck_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder of the bottleneck cache.  [default: in the cache folder]",
)
@click.option(
    "--trust",
    is_flag=True,
    help="Allow operations outside the allow-list, without a trial run in a child process.",
)
@click.option(
    "--seed", type=whole, metavar="N", default=0, show_default=True, help="Of the drawn images."
)
@log_options
def command(
    image_dir: Path | None,
    manifest: Path | None,
    output_format: str | None,
    modules: tuple[str, ...],
    layers: str,
    model_dir: Path | None,
    bottleneck_dir: Path | None,
    trust: bool,
    seed: int,
    logging_verbosity: str,
    quiet: bool,
) -> int:
    """Compare the backbones on this machine on up to 200 of your images.

    A classifier on the vectors of each backbone is cross-validated on the same images. Nothing is
    downloaded, and the vectors stay in the cache for a retraining.

    \b
    Examples:
      tlcli modules compare --image_dir photos
      tlcli modules compare --image_dir photos --module mobilenet_v2 --module my_network.pb
    """
    if (image_dir is None) == (manifest is None):
        raise click.UsageError(
            "name the labelled images by one of the two: --image_dir DIR or --manifest FILE"
        )
    if seed < 0:
        raise click.UsageError(f"--seed is {seed}; give a number of at least 0")
    set_up_logging(logging_verbosity, quiet)
    from tlcli.backbones.probe.comparison import ProbeSettings, compare_modules
    from tlcli.core.data.archives import as_folder
    from tlcli.core.data.image_folder import scan_folder
    from tlcli.core.data.manifest import read_manifest

    if manifest is not None:
        dataset = read_manifest(manifest)
    else:
        assert image_dir is not None
        dataset = scan_folder(as_folder(image_dir))
    settings = ProbeSettings(
        modules=tuple(map(from_home, modules)),
        model_dir=model_dir,
        bottleneck_dir=bottleneck_dir,
        trust=trust,
        seed=seed,
        layers=layers,
    )
    with progress_bars(quiet) as progress:
        found = compare_modules(dataset.images, settings, progress)
    write_any_name(sys.stdout)
    if output_format == "json":
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    elif output_format == "csv":
        click.echo(to_csv(found), nl=False)
    else:
        option = "--image_dir" if manifest is None else "--manifest"
        where = [option, shown(image_dir or manifest or "")]
        using = [] if layers == "head" else ["--preset", "standard"]
        click.echo(to_text(found))
        following = shlex.join(["retrain", *where, *using, "--module", found.best])
        click.echo(f"\nNext: {program()} {printable(following)}")
    # What was named was asked for.
    return 1 if modules and any(each.reason for each in found.candidates) else 0


def to_csv(found: ModuleComparison) -> str:
    """Return one candidate per row under `CSV_COLUMNS`."""
    from tlcli.spreadsheet import CsvRows

    stream = io.StringIO()
    rows = CsvRows(stream, False)
    rows.write(CSV_COLUMNS)
    for each in found.candidates:
        figures = each.to_dict()
        low, high = figures.pop("interval") or ("", "")
        values = {**figures, "low": low, "high": high}
        rows.write(["" if values[name] is None else values[name] for name in CSV_COLUMNS])
    return stream.getvalue()


def to_text(found: ModuleComparison) -> str:
    """Return the candidates as an aligned table, with what was measured and what was left out."""
    rows: list[tuple[str, ...]] = [
        ("backbone", "accuracy", "95% interval", "cross entropy", "images/s", "graph")
    ]
    rows += [_row(each) for each in found.candidates]
    lines = [
        *table(rows),
        "",
        f"Cross-validated on {counted(found.images, 'image')} of {counted(found.labels, 'label')}. "
        "Images per second: the network alone, on this machine.",
        f"Use {found.best}: the lowest cross entropy.",
    ]
    if found.advice is not None:
        lines.append(f"Faster: {found.advice}.")
    lines += [f"{each.module}: {each.reason}" for each in found.candidates if each.reason]
    if found.skipped:
        lines += ["", f"Skipped {len(found.skipped)} unreadable:"]
        lines += [f"  {printable(path)}: {why}" for path, why in found.skipped[:_SKIPPED_SHOWN]]
        if len(found.skipped) > _SKIPPED_SHOWN:
            lines.append(f"  and {len(found.skipped) - _SKIPPED_SHOWN} more")
    return "\n".join(lines)


def _row(each: Candidate) -> tuple[str, ...]:
    if each.accuracy is None:
        return each.module, "-", "-", "-", "-", "-"
    interval = f"{each.accuracy.low:.1%} to {each.accuracy.high:.1%}"
    speed = "-" if each.images_per_second is None else f"{each.images_per_second:.0f}"
    size = f"{each.graph_bytes / 1e6:.1f} MB"
    loss = f"{each.cross_entropy:.3f}"
    return each.module, f"{each.accuracy.value:.1%}", interval, loss, speed, size
