"""Commands that are proposed to the user: how tlcli is called, and the current line changed.

All of them are quoted for pasting into a shell and run as they are printed.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import sys
from typing import Any

import click
from click.core import ParameterSource

from tlcli.text import redacted


@functools.cache
def program() -> str:
    """Return how this program is called from a shell in the current folder, quoted.

    "tlcli" where that is found on the PATH, else the path as it was typed.
    """
    called = sys.argv[0] if sys.argv else ""
    name = os.path.basename(called)  # noqa: PTH119 - no Path is needed
    if name == "__main__.py" and len(sys.orig_argv) > 1:
        return shlex.join([sys.orig_argv[0], "-m", "tlcli"])
    if os.path.splitext(name)[0] != "tlcli" or not os.path.isfile(called):  # noqa: PTH113, PTH122
        return "tlcli"
    found = shutil.which("tlcli")
    if found is not None and os.path.samefile(found, called):  # noqa: PTH121
        return "tlcli"
    return shlex.quote(called)


def command_line(context: click.Context, program: str = "tlcli", **changed: Any) -> str:
    """Return the command as a line for a shell, quoted where necessary.

    Args:
        context: of the running command.
        program: begins the line, as `program` returns it; "tlcli" for a page that others read.
        changed: new values by parameter name; None omits a parameter.
    """
    options: list[str] = []
    arguments: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in changed:
            value = changed[name]
        elif context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            value = context.params.get(name)
        else:
            continue
        if value is None or value is False:
            continue
        values = value if isinstance(value, (list, tuple)) else [value]
        if isinstance(parameter, click.Argument):
            arguments += map(str, values)
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            options.append(parameter.opts[0])
        else:
            for each in values:
                options += [parameter.opts[0], str(each)]
    if any(argument.startswith("-") for argument in arguments):
        arguments.insert(0, "--")
    path = context.command_path.partition(" ")[2]
    shown = [redacted(each) for each in (*options, *arguments)]
    return " ".join([program, path, *map(shlex.quote, shown)])
