"""What a drive can do."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from pathlib import Path

import pytest

from tlcli.core.bottlenecks import cache_database
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.errors import CacheError
from tlcli.system.drives import is_network_drive, supports_locks

MOUNTS = r"""/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/vdb /home/local ext4 rw 0 0
//files/big /mnt/my\040photos cifs rw 0 0
tmpfs /mnt/twice tmpfs rw 0 0
host:/x /mnt/twice fuse.sshfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/", False),
        ("/srv/cache", False),
        ("/home", True),
        ("/home/me/.cache/tlcli", True),
        ("/home/local/cache", False),
        ("/homework", False),
        ("/mnt/my photos/cache", True),
        ("/mnt/twice", True),
    ],
)
def test_the_mount_that_is_nearest_decides(tmp_path: Path, folder: str, expected: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert is_network_drive(Path(folder), mounts) is expected


def test_a_system_that_does_not_tell_has_local_drives(tmp_path: Path) -> None:
    assert not is_network_drive(tmp_path, tmp_path / "absent")


def test_a_local_folder_supports_locks(tmp_path: Path) -> None:
    assert supports_locks(tmp_path)
    assert supports_locks(tmp_path / "absent")  # opening it gives the clearer error
    assert list(tmp_path.iterdir()) == []


def test_on_a_network_drive_locks_alone_keep_machines_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mode(store: BottleneckStore) -> str:
        with contextlib.closing(sqlite3.connect(store.path)) as connection:
            return str(connection.execute("PRAGMA journal_mode").fetchone()[0])

    with BottleneckStore(tmp_path) as store:
        assert mode(store) == "wal"
        store.record_failure("0" * 64, "of no kind")
    monkeypatch.setattr(cache_database, "is_network_drive", lambda folder: True)
    with BottleneckStore(tmp_path) as store:
        assert mode(store) == "delete"
        assert store.failures(["0" * 64]) == {"0" * 64: "of no kind"}
        assert [path.name for path in tmp_path.iterdir()] == ["bottlenecks.sqlite"]


def test_a_drive_without_locks_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(file: object, command: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(CacheError, match=r"has no file locks.*--bottleneck_dir"):
        BottleneckStore(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_lock_that_another_holds_is_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(file: object, command: int) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    assert supports_locks(tmp_path)
