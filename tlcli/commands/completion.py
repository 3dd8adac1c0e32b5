"""``tlcli completion``, and what shells complete: commands, options, files, backbones.

Commands import this; ``click.shell_completion`` is imported where a shell asks.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from tlcli.terminal import CONTEXT_SETTINGS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "tlcli"
VARIABLE = "_TLCLI_COMPLETE"


@click.command(context_settings=CONTEXT_SETTINGS)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"], case_sensitive=False))
def command(shell: str) -> None:
    """Print the script by which a shell completes commands, options, files and backbones.

    \b
    bash   eval "$(tlcli completion bash)"     in ~/.bashrc
    zsh    eval "$(tlcli completion zsh)"      in ~/.zshrc, after compinit
    fish   tlcli completion fish > ~/.config/fish/completions/tlcli.fish
    """
    click.echo(script(shell), nl=False)


def script(shell: str) -> str:
    """Return the script for "bash" (4.4 or newer), "zsh" or "fish"."""
    from click import shell_completion

    found = shell_completion.get_completion_class(shell)
    assert found is not None
    # Not the subclass's source(): for bash it runs bash to check its version.
    return shell_completion.ShellComplete.source(
        found(click.Group(), {}, prog_name=PROGRAM, complete_var=VARIABLE)
    )


def complete_files(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete the names of files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def complete_backbones(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of backbones; where none matches, those of files."""
    from click.shell_completion import CompletionItem

    from tlcli.backbones.catalogue import entries
    from tlcli.backbones.keras_hub.known import NAMES, known_presets

    found = [
        CompletionItem(entry.name, help=f"{entry.side} x {entry.side}, D {entry.bottleneck_size}")
        for entry in entries().values()
        if entry.name.startswith(incomplete) and (entry.listed or incomplete)
    ]
    found += [
        CompletionItem(name, help=f"{each.side} x {each.side}, D {each.bottleneck_size}")
        for each in known_presets()
        if (name := f"{NAMES}{each.name}").startswith(incomplete)
    ]
    return found or complete_files(ctx, param, incomplete)


def prepare() -> None:
    """Let bash complete ``--name=value`` if it runs the program, as its variable shows."""
    if not os.environ.get(VARIABLE, "").startswith("bash"):
        return
    from click import shell_completion

    class Bash(shell_completion.BashComplete):
        """Join ``--name=value``, which bash splits into three words, to two."""

        def get_completion_args(self) -> tuple[list[str], str]:
            args, incomplete = super().get_completion_args()
            if incomplete == "=" and args:
                incomplete = ""
            elif args and args[-1] == "=":
                args = args[:-1]
            joined: list[str] = []
            for position, word in enumerate(args):
                if word == "=" and 0 < position < len(args) - 1 and joined[-1].startswith("--"):
                    continue
                joined.append(word)
            return joined, incomplete

    shell_completion.add_completion_class(Bash)
