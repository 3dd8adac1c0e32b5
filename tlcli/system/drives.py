"""Facts about the drive of a folder: whether other machines use it, and its file locks."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

# Drives that several machines may write to at once; none of them shares memory.
_NETWORK = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf"),
        *("virtiofs", "fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    )
)
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
_OCTAL = re.compile(r"\\([0-7]{3})")


def is_network_drive(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Return whether other machines may write to the folder; False where that is unknown."""
    return _file_system(Path(os.path.realpath(folder)), mounts) in _NETWORK


def _file_system(folder: Path, mounts: Path) -> str | None:
    """Return the type of the mount that an absolute folder lies on, as Linux names it."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return None
    best, kind = -1, None
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[1]))
        # Of two mounts on one path the later one is visible.
        if len(point.parts) >= best and (point == folder or point in folder.parents):
            best, kind = len(point.parts), fields[2]
    return kind


def supports_locks(folder: Path) -> bool:
    """Return whether files in the folder can be locked; True where that cannot be tested."""
    try:
        import fcntl
    except ImportError:  # Windows always can
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _NO_LOCKS
    return True
