"""The folders where tlcli caches what it computed and what it fetched."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

# Descriptors of folders that this process uses until its end.
_held: list[int] = []

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


def tuned_folder() -> Path:
    """Return the folder of fine-tunings in progress, and of the weights of finished ones."""
    return cache_folder() / "fine_tuned"


def trial_folder() -> Path:
    """Return the folder of what is known about models that were run on trial."""
    return cache_folder() / "trials"


def archive_folder() -> Path:
    """Return the folder of unpacked archives of images, each named by its SHA-256.

    Copies of models in a bucket are in it too, named by a digest of their ETags.
    """
    return cache_folder() / "archives"


def hold(folder: Path) -> bool:
    """Keep a folder of the cache from being removed until the process ends.

    Returns:
        Whether it is still there. Windows removes no folder whose files are open.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return folder.is_dir()
    with contextlib.suppress(OSError):  # a drive without locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        os.utime(folder)
        stays = os.path.samestat(os.fstat(descriptor), folder.stat())
    except OSError:
        stays = folder.is_dir()
    if stays:
        _held.append(descriptor)
    else:
        os.close(descriptor)
    return stays


def remove_unheld(path: Path) -> bool:
    """Remove a file or folder of the cache unless a process holds it; return whether it is gone."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return True
    with contextlib.ExitStack() as stack:
        try:
            import fcntl

            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except BlockingIOError:
            return False
        except FileNotFoundError:  # another process was faster
            return True
        # Under another name first: no process meets half of a folder.
        aside = path.with_name(f".removed-{os.getpid()}-{path.name}")
        path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
    return True
