"""The `tlcli` command: a group that imports a command only when it is called."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tlcli._packages import import_own
from tlcli._version import __version__
from tlcli.terminal import CONTEXT_SETTINGS, run

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name -> (module with the click object `command`, its line in `tlcli --help`).
# The line is here so that help imports no command.
COMMANDS = {
    "retrain": ("retrain.command", "Fit a new final layer on folders of images and export it."),
    "label": ("label.command", "Label images with a retrained graph."),
    "check": ("tlcli.check.command", "Find wrong labels, copies and odd photos among your own."),
    "evaluate": ("tlcli.commands.evaluate", "Measure a graph's accuracy on labelled images."),
    "export": ("tlcli.commands.exporting.command", "Write a graph in other programs' formats."),
    "serve": ("tlcli.review.command", "Serve a page and a REST API for a graph."),
    "modules": ("tlcli.commands.modules", "List, download or compare backbones."),
    "cache": ("tlcli.commands.cache", "Show, clear or limit the cache."),
    "doctor": ("tlcli.commands.doctor", "Show versions, caches and a self-test."),
    "completion": ("tlcli.commands.completion", "Print the completion script for a shell."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_own(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the names of commands, without importing any, and the group's own options."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=line)
            for name, (_, line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, or print completions for a shell."""
        if "_TLCLI_COMPLETE" in os.environ:
            from tlcli.commands.completion import prepare

            prepare()
        return super().main(*args, **kwargs)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that ``args`` names; suggest the closest one for a misspelled name."""
        # Shell completion must not end with an error.
        resilient = ctx.resilient_parsing
        if args and not resilient and not args[0].startswith("-") and args[0] not in COMMANDS:
            from tlcli.commands.other_names import COMMANDS as MEANT

            meant = MEANT.get(args[0].lower().replace("-", "_"))
            close = [meant] if meant else difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings=CONTEXT_SETTINGS)
@click.version_option(__version__, message="%(prog)s %(version)s")
def command() -> None:
    """Retrain the final layer of an image network on your own images, and label new ones.

    \b
    Examples:
      tlcli retrain --image_dir photos         one subfolder of images per label
      tlcli label new.jpg                      labels and scores
      tlcli evaluate --image_dir new_photos    accuracy on labelled images
    """


def main() -> NoReturn:
    """Run `tlcli` and end the process with its exit code (see `tlcli.errors`)."""
    run(command, "tlcli")
