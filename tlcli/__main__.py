"""Run the command, as ``tlcli`` and as ``python -m tlcli``."""

import os
import signal
from types import FrameType
from typing import NoReturn

from tlcli.errors import INTERRUPTED


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    """End at once: nothing was begun, and Python would print where it stood."""
    os.write(2, b"Interrupted.\n")
    os._exit(INTERRUPTED)


def main() -> NoReturn:
    """Run `tlcli` and end the process with its exit code.

    Ctrl-C is answered from here on, before the imports, in which Python may lose it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, _interrupted)
    from tlcli.cli import main as run

    run()


if __name__ == "__main__":
    main()
