"""``tlcli completion``: the script that makes a shell complete commands, options and names."""

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
    """Print the script that makes a shell complete commands, options, files and backbones.

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
    # Not the class's own source(): that of bash looks for a bash to ask for its version.
    return shell_completion.ShellComplete.source(
        found(click.Group(), {}, prog_name=PROGRAM, complete_var=VARIABLE)
    )


class _Bash(shell_completion.BashComplete):
    """Bash breaks ``--name=value`` into three words; here they are two."""

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
    """Make ready to answer a shell, where one asks: it sets a variable and runs the program."""
    if os.environ.get(VARIABLE, "").startswith("bash"):
        shell_completion.add_completion_class(_Bash)
