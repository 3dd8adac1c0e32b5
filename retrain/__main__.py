"""Run the retrain command alone, as scripts that called ``retrain.py`` do."""

from retrain.command import command
from tlcli.terminal import run

run(command, "python -m retrain")
