"""keras-hub itself: its quiet import."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from tlcli.backbones.keras_hub.known import INSTALL, NAMES
from tlcli.errors import BackboneError, TlcliError
from tlcli.keras_files.loading import import_keras
from tlcli.runtime.native_stderr import quietly
from tlcli.runtime.watchdog import first_line

# keras-hub 0.32 needs it.
_PYTHON = (3, 11)


def require_keras_hub() -> None:
    """Refuse to go on where keras-hub is not installed; imports nothing.

    Raises:
        BackboneError: one sentence with the command that installs it.
    """
    if importlib.util.find_spec("keras_hub") is not None:
        return
    version = ""
    if sys.version_info < _PYTHON:
        version = ", in an environment with Python 3.11 or newer"
    raise BackboneError(f"presets of keras-hub need the package keras-hub; run: {INSTALL}{version}")


def import_keras_hub() -> Any:
    """Return the module ``keras_hub``, imported quietly on TensorFlow.

    Raises:
        BackboneError: absent, or it cannot be imported.
    """
    require_keras_hub()
    import_keras()
    try:
        with quietly():
            import keras_hub
    except TlcliError:
        raise
    except Exception as error:  # its own dependencies fail in their own ways
        raise BackboneError(
            f"keras-hub cannot be imported: {first_line(error)}; run: {INSTALL}"
        ) from error
    return keras_hub


def builtin_handle(name: str) -> str:
    """Return the handle on Kaggle of one of keras-hub's own presets.

    Raises:
        BackboneError: keras-hub is not installed, or has no such preset.
    """
    import difflib

    presets = import_keras_hub().models.Backbone.presets
    found = presets.get(name)
    handle = found.get("kaggle_handle", "") if isinstance(found, dict) else ""
    if not handle.startswith("kaggle://"):
        close = difflib.get_close_matches(name, presets, n=1)
        hint = f"did you mean {NAMES}{close[0]}? " if close else ""
        raise BackboneError(
            f"keras-hub has no preset called {name!r}; {hint}its names are listed at "
            "https://keras.io/keras_hub/presets/"
        )
    return str(handle.removeprefix("kaggle://"))
