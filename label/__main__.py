"""Run the label command alone, as scripts that called ``label_image.py`` do."""

from label.command import command
from tlcli.terminal import run

run(command, "python -m label")
