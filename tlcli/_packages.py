"""The top-level packages `retrain` and `label`, whose names other modules may have too."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from tlcli.errors import TlcliError


def import_own(name: str) -> ModuleType:
    """Import a module of tlcli by its full name.

    Raises:
        TlcliError: another module hides tlcli's package of that name; it is not run.
    """
    package = name.partition(".")[0]
    found = find_spec(package)
    # A plain folder of that name, such as one of photos, has no origin and hides nothing.
    if found is not None and found.origin is not None:
        root = Path(__file__).resolve().parents[1]
        if Path(found.origin).resolve().parent != root / package:
            raise TlcliError(
                f"{found.origin} hides the package {package!r} of tlcli: rename it, or take its "
                "folder off Python's search path (PYTHONPATH, or the folder of a script)"
            )
    return import_module(name)
