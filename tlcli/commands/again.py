"""The current command line, with changes, quoted for pasting into a shell."""

from __future__ import annotations

import shlex
from typing import Any

import click
from click.core import ParameterSource


def command_line(context: click.Context, **changed: Any) -> str:
    """Return the command as a line for a shell, quoted where necessary.

    Args:
        context: of the running command.
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
    return " ".join([context.command_path, *map(shlex.quote, [*options, *arguments])])
