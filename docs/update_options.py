"""Write the generated tables of the documents, of options and origins; --check only compares."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from tlcli.cli import command as tlcli
from tlcli.commands.options import GroupedCommand, help_rows
from tlcli.core.model_spec.origins import CONVENTIONS, ORIGINS

FOLDER = Path(__file__).resolve().parent
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


def updated(text: str) -> str:
    """Return the document with every marked table regenerated."""
    text = re.sub(
        r"(<!-- origins -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{origins()}\n{found[2]}",
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
