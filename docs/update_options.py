"""Write the tables of options in README.md anew from the commands; --check only compares."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import click

from tlcli.cli import COMMANDS

README = Path(__file__).resolve().parents[1] / "README.md"


def table(name: str) -> str:
    """Return the Markdown table of one command's options."""
    command = importlib.import_module(COMMANDS[name][0]).command
    context = click.Context(command, info_name=name)
    lines = ["| option | meaning |", "|---|---|"]
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            option, meaning = (re.sub(r"\s+", " ", text).replace("|", "\\|") for text in record)
            lines.append(f"| `{option}` | {meaning} |")
    return "\n".join(lines)


def updated(text: str) -> str:
    """Return the document with every marked table written anew."""
    return re.sub(
        r"(<!-- options: (\w+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{table(found[2])}\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    old = README.read_text(encoding="utf-8")
    new = updated(old)
    if "--check" in sys.argv:
        sys.exit(0 if new == old else "README.md is out of date: run python docs/update_options.py")
    README.write_text(new, encoding="utf-8")
