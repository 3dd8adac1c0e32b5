"""Run the command as ``python -m tlcli``."""

from tlcli.cli import main

main()
