"""The folders where tlcli caches what it computed and what it fetched."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "TLCLI_CACHE_DIR"
"""Environment variable that names another cache folder."""


def cache_folder() -> Path:
    """Return the folder of all caches; it may not exist yet."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    # Imported here: platformdirs is not needed where the variable is set.
    import platformdirs

    return Path(platformdirs.user_cache_dir("tlcli"))


def bottleneck_folder() -> Path:
    """Return the default folder of the bottleneck cache."""
    return cache_folder() / "bottlenecks"


def model_folder() -> Path:
    """Return the default folder of backbones that were downloaded or placed by hand."""
    return cache_folder() / "models"


def converted_folder() -> Path:
    """Return the folder of graphs that were converted to LiteRT, which start faster."""
    return cache_folder() / "converted"


def compiled_folder() -> Path:
    """Return the folder of exported backbones."""
    return cache_folder() / "graphs"


def trial_folder() -> Path:
    """Return the folder of what is known about models that were run on trial."""
    return cache_folder() / "trials"


def archive_folder() -> Path:
    """Return the folder of unpacked archives of images, each named by its SHA-256."""
    return cache_folder() / "archives"
