"""Write the generated tables of the documents: options, origins, clients; --check only compares."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click

from tlcli.cli import command as tlcli
from tlcli.commands.options import GroupedCommand, help_rows
from tlcli.core.model_spec.origins import CONVENTIONS, ORIGINS

FOLDER = Path(__file__).resolve().parent
DEVICES = ["Android", "iOS", "iOS, macOS", "browser", "Raspberry Pi and similar", "any, in C++"]
DOCUMENTS = [*sorted(FOLDER.parent.glob("README*.md")), *sorted(FOLDER.glob("*.md"))]


def find(name: str) -> click.Command:
    """Return the command of a name such as "retrain" or "modules fetch"."""
    command: click.Command = tlcli
    for part in name.split():
        assert isinstance(command, click.Group), name
        found = command.get_command(click.Context(command, info_name="tlcli"), part)
        assert found is not None, name
        command = found
    return command


def table(name: str) -> str:
    """Return the Markdown tables of a command's options, one per group where it has groups."""
    command = find(name)
    context = click.Context(command, info_name=name)
    if isinstance(command, GroupedCommand):
        groups = command.option_groups(context)
        return "\n\n".join(f"**{heading}**\n\n{rows(each)}" for heading, each in groups.items())
    # Older click has no help record for arguments.
    arguments = [
        (each.make_metavar(context), "")
        for each in command.params
        if isinstance(each, click.Argument)
    ]
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    return rows([*arguments, *help_rows(context, options)])


def rows(records: list[tuple[str, str]]) -> str:
    """Return a Markdown table of (option, description), without the ``--help`` of all commands."""
    lines = ["| option | meaning |", "|---|---|"]
    for record in records:
        if record[0].endswith("--help"):
            continue
        option, meaning = (re.sub(r"\s+", " ", text).replace("|", "\\|") for text in record)
        lines.append(f"| `{option}` | {meaning} |")
    return "\n".join(lines)


def origins() -> str:
    """Return the Markdown table of the tools whose model files are recognised."""
    lines = ["| made by | recognised by | pixels | resizing | what it does not tell |"]
    lines.append("|---|---|---|---|---|")
    for each in ORIGINS:
        pixels = f"{each.feeds}{', blue first' if each.channels == 'bgr' else ''}"
        cells = (each.name, each.sign, pixels, str(each.resizing), each.unknown)
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    for kind, (scaling, resizing, whose) in CONVENTIONS.items():
        cells = (
            f"nothing known: {kind.value}",
            "",
            f"{scaling}, the convention of {whose}",
            str(resizing),
        )
        lines.append(f"| {' | '.join(cells)} | the range: it is assumed |".replace("|  |", "| |"))
    return "\n".join(lines)


def clients(page: str) -> str:
    """Return the Markdown table of the programs that read exported files, for one of two pages.

    clients.json is the source; ``tests/interop`` compares it with what is installed and measured.
    """
    facts = json.loads((FOLDER / "clients.json").read_text(encoding="utf-8"))["clients"]
    if page == "mobile":
        lines = ["| device | client | file | version | photo files |"]
        facts = [each for each in facts if each.get("device")]
        facts.sort(key=lambda each: DEVICES.index(each["device"]))
    else:
        lines = ["| client | version | reads | same pixels | photo files |"]
        facts = [each for each in facts if "tested_by" in each]
    lines.append("|---|---|---|---|---|")
    for each in facts:
        version = f"`{each['package']}` {each['version']}"
        photos = each.get("untested", "")
        if "tested_by" in each:
            pair = [figure(each, name) for name in ("median", "largest")]
            photos = f"{pair[0]}, {pair[1]}" if pair[0] else ""
        if page == "mobile":
            cells = [each["device"], each["client"], each["reads"], version, photos]
        else:
            cells = [each["client"], version, each["reads"], figure(each, "pixels"), photos]
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines).replace(
        "](clients.md#", "](#" if page == "clients" else "](clients.md#"
    )


def figure(client: dict[str, Any], name: str) -> str:
    """Return a figure as text, "" for one that was not measured."""
    return f"{client[name]:g}" if name in client else ""


def updated(text: str) -> str:
    """Return the document with every marked table regenerated."""
    text = re.sub(
        r"(<!-- origins -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{origins()}\n{found[2]}",
        text,
        flags=re.DOTALL,
    )
    text = re.sub(
        r"(<!-- clients: (\w+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{clients(found[2])}\n{found[3]}",
        text,
        flags=re.DOTALL,
    )
    return re.sub(
        r"(<!-- options: ([\w ]+?) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{table(found[2])}\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for document in DOCUMENTS:
        old = document.read_text(encoding="utf-8")
        new = updated(old)
        if new == old:
            continue
        if "--check" in sys.argv:
            sys.exit(f"{document.name} is out of date: run python docs/update_options.py")
        document.write_text(new, encoding="utf-8")
