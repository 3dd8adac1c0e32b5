"""``tlcli completion``: print the script by which a shell completes commands and options."""

from __future__ import annotations

import os

import click
from click import shell_completion

from tlcli.terminal import CONTEXT_SETTINGS

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
    found = shell_completion.get_completion_class(shell)
    assert found is not None
    # Not the subclass's source(): for bash it runs bash to check its version.
    return shell_completion.ShellComplete.source(
        found(click.Group(), {}, prog_name=PROGRAM, complete_var=VARIABLE)
    )


class _Bash(shell_completion.BashComplete):
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


def prepare() -> None:
    """Register `_Bash` if bash runs the program for completions, as its variable shows."""
    if os.environ.get(VARIABLE, "").startswith("bash"):
        shell_completion.add_completion_class(_Bash)
