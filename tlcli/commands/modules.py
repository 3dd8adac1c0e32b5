"""``tlcli modules``: list the backbones known by name, download one, or compare them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import click

from tlcli import text
from tlcli.commands import compare_modules
from tlcli.commands.completion import complete_backbones
from tlcli.commands.options import format_option
from tlcli.terminal import CONTEXT_SETTINGS, progress_bars, set_up_logging

_HEADINGS = ("name", "input", "D", "weights", "licence", "here")
_D_MEANS = (
    "D: values in a bottleneck, the vector that the backbone makes of an image. The final layer is",
    "fitted on these vectors; the cache takes 4 x D bytes for each image.",
)
_PRESETS = "keras_hub:"
_PRESETS_MEAN = (
    "keras_hub: a selection of keras-hub's presets, downloaded from Kaggle; docs/backbones.md has",
    "their published accuracies. None was measured here.",
)
# Works wherever tlcli itself was installed from, as its extras do not.
_INSTALL = "pip install"
# (percent of 500 flower photos, images per second on two cores): docs/accuracy.md, "From images",
# and the extraction stages of docs/performance.json; of RELATIVE, times the default's speed there.
# None: not measured.
MEASURED: dict[str, tuple[float | None, float | None]] = {
    "efficientnet_lite0": (88.9, 192),
    "efficientnet_lite1": (86.9, 144),
    "efficientnet_lite2": (89.7, 100),
    "mobilenet_v2": (None, 276),
    "inception_v3": (None, 17),
}
# Speed in that of efficientnet_lite0, from one run: docs/performance.md, "Sizes of one network".
RELATIVE = {"efficientnet_lite1": 0.75, "efficientnet_lite2": 0.52}
_FORMAT = format_option("text", "json", default=None, text="Output format.  [default: text]")
_MODEL_DIR = click.option(
    "--model_dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of downloaded backbones.  [default: in the cache folder]",
)
_ALL = click.option(
    "--all", "show_all", is_flag=True, help="Also list every size of the MobileNets."
)


@click.group(invoke_without_command=True, context_settings=CONTEXT_SETTINGS)
@_FORMAT
@_MODEL_DIR
@_ALL
@click.pass_context
def command(
    context: click.Context, output_format: str | None, model_dir: Path | None, show_all: bool
) -> None:
    """List the backbones known by name, download one ahead of time, or compare some.

    D is the number of values in a bottleneck, the vector that a backbone makes of an image; weights
    are in megabytes of float32.

    \b
    Examples:
      tlcli modules
      tlcli modules fetch inception_v3    download for later use without a network
      tlcli modules compare --image_dir photos
    """
    set_up_logging()
    # Options may precede or follow the subcommand.
    context.default_map = dict.fromkeys(("list", "fetch", "compare"), context.params)
    if context.invoked_subcommand is None:
        _print_list(output_format, model_dir, show_all)


@command.command("list")
@_FORMAT
@_MODEL_DIR
@_ALL
def list_command(output_format: str | None, model_dir: Path | None, show_all: bool) -> None:
    """List the backbones known by name (the same as without a subcommand)."""
    _print_list(output_format, model_dir, show_all)


@command.command("fetch")
@click.argument("name", shell_complete=complete_backbones)
@_MODEL_DIR
@_FORMAT
def fetch_command(name: str, model_dir: Path | None, output_format: str | None) -> None:
    """Download a backbone by NAME, Hub or Kaggle handle or URL, for use without a network."""
    from tlcli.backbones.resolve import fetch

    with progress_bars(in_bytes=True) as progress:
        path = fetch(name, model_dir=model_dir, progress=progress)
    if output_format == "json":
        click.echo(json.dumps({"name": name, "path": None if path is None else str(path)}))
    elif path is None:
        click.echo(f"{name} is on this machine: its weights came with its package")
    else:
        click.echo(f"{name} is on this machine: {path}")


command.add_command(compare_modules.command)


def _print_list(output_format: str | None, model_dir: Path | None, show_all: bool) -> None:
    found = table(model_dir, show_all)
    if output_format == "json":
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        click.echo(to_text(found))


def table(model_dir: Path | None = None, show_all: bool = False) -> list[dict[str, Any]]:
    """Return the known backbones as JSON values, the default first."""
    from tlcli.backbones import catalogue

    result = []
    for entry in catalogue.entries().values():
        here = catalogue.on_this_machine(entry, model_dir)
        if not (entry.listed or here or show_all):
            continue
        result.append(
            {
                "name": entry.name,
                "height": entry.side,
                "width": entry.side,
                "bottleneck_size": entry.bottleneck_size,
                "weight_bytes": entry.weight_bytes,
                "licence": entry.licence,
                "on_this_machine": here,
                "accuracy": _fraction(MEASURED.get(entry.name, (None, None))[0]),
                "images_per_second": MEASURED.get(entry.name, (None, None))[1],
                "install": None if here or not entry.package else _install(entry.package),
            }
        )
    return result + _presets(model_dir)


def _presets(model_dir: Path | None) -> list[dict[str, Any]]:
    """Return presets of keras-hub in the same form; keras-hub is not imported."""
    from tlcli.backbones.catalogue import search_folders
    from tlcli.backbones.keras_hub import known
    from tlcli.backbones.keras_hub.addresses import preset_address
    from tlcli.backbones.keras_hub.places import on_this_machine

    folders = search_folders(model_dir)
    result = []
    for preset in known.known_presets():
        name = f"{known.NAMES}{preset.name}"
        here = on_this_machine(preset_address(name), folders) is not None
        result.append(
            {
                "name": name,
                "height": preset.side,
                "width": preset.side,
                "bottleneck_size": preset.bottleneck_size,
                "weight_bytes": 4 * preset.parameters,
                "licence": preset.licence,
                "on_this_machine": here,
                "accuracy": None,
                "images_per_second": None,
                "install": None if importlib.util.find_spec("keras_hub") else known.INSTALL,
            }
        )
    return result


def _install(package: str) -> str:
    return f"{_INSTALL} {package.replace('_', '-')}"


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 3)


def to_text(found: list[dict[str, Any]]) -> str:
    """Return the backbones as an aligned table, with numbers on the right."""
    rows = [_HEADINGS] + [
        (
            row["name"],
            f"{row['height']} x {row['width']}",
            str(row["bottleneck_size"]),
            f"{row['weight_bytes'] / 1e6:.1f} MB",
            row["licence"],
            "yes" if row["on_this_machine"] else "no",
        )
        for row in found
    ]
    lines = text.table(rows, right=(2, 3))
    lines += ["", *_D_MEANS, "", "Measured on 500 flower photos and two cores (docs/accuracy.md):"]
    measured = [
        (row["name"], *_figures(row))
        for row in found
        if row["accuracy"] is not None or row["images_per_second"] is not None
    ]
    lines += [f"  {line}" for line in text.table([("name", "accuracy", "images/s"), *measured])]
    lines += [f"Speed of {' and '.join(RELATIVE)}: relative to efficientnet_lite0 in one run."]
    presets = [row for row in found if row["name"].startswith(_PRESETS)]
    lines += ["", *_PRESETS_MEAN]
    if any(row["install"] for row in presets):
        lines += ["To install keras-hub:", f"  {presets[0]['install']}"]
    missing = [row for row in found if row["install"] and row not in presets]
    if missing:
        names = " ".join(row["install"].removeprefix(_INSTALL).strip() for row in missing)
        lines += ["", f"To install {' and '.join(row['name'] for row in missing)}:"]
        lines += [f"  {_INSTALL} {names}"]
    return "\n".join(lines)


def _figures(row: dict[str, Any]) -> tuple[str, str]:
    accuracy, speed = row["accuracy"], row["images_per_second"]
    return "-" if accuracy is None else f"{accuracy:.1%}", "-" if speed is None else f"{speed:.0f}"
