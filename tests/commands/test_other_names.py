"""What other tools call an option or a command leads to what it is called here."""

from __future__ import annotations

import click

from tests.support import commands
from tlcli.cli import command as tlcli
from tlcli.commands.other_names import COMMANDS, NOTES, OPTIONS


def test_every_name_leads_to_an_option_or_command_that_exists() -> None:
    known = dict(commands(tlcli, "tlcli"))
    options = {name for command in known.values() for each in command.params for name in each.opts}
    for name, meant in OPTIONS.items():
        assert any(each in options for each in meant), name
    for name, meant in COMMANDS.items():
        assert meant == "--help" or f"tlcli {meant}" in known, name
    assert isinstance(tlcli, click.Group)
    assert not set(COMMANDS) & set(tlcli.list_commands(click.Context(tlcli)))
    assert set(NOTES) <= set(OPTIONS)
