"""Archives that try to leave their folder or to fill the disk."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tlcli.backbones.download import archives
from tlcli.backbones.download.archives import ArchiveRefused, unpack

Fill = Callable[[tarfile.TarFile], None]


def archive(*fills: Fill, mode: str = "w:gz") -> io.BytesIO:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as made:  # type: ignore[call-overload]
        for fill in fills:
            fill(made)
    content.seek(0)
    return content


def file(name: str, content: bytes = b"evil") -> Fill:
    def fill(made: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        made.addfile(entry, io.BytesIO(content))

    return fill


def special(name: str, kind: bytes, target: str = "") -> Fill:
    def fill(made: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, target
        made.addfile(entry)

    return fill


def left(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_files_and_folders_come_out(tmp_path: Path, mode: str) -> None:
    content = archive(
        special("./", tarfile.DIRTYPE),
        file("./saved_model.pb", b"graph"),
        file("variables/variables.index", b"index"),
        file("a" * 150 + "/" + "b" * 150, b"a long name"),
        special("assets", tarfile.DIRTYPE),
        mode=mode,
    )
    unpack(content, tmp_path / "module")
    assert (tmp_path / "module/saved_model.pb").read_bytes() == b"graph"
    assert (tmp_path / "module/variables/variables.index").read_bytes() == b"index"
    assert (tmp_path / "module" / ("a" * 150) / ("b" * 150)).read_bytes() == b"a long name"
    assert (tmp_path / "module/assets").is_dir()


@pytest.mark.parametrize(
    "evil",
    [
        [file("../escaped")],
        [file("a/../../escaped")],
        [file("/escaped")],
        [special("a", tarfile.SYMTYPE, ".."), file("a/escaped")],
        [special("a", tarfile.SYMTYPE, "/etc/passwd")],
        [file("b"), special("a", tarfile.LNKTYPE, "b")],
        [special("a", tarfile.LNKTYPE, "../../escaped")],
        [special("a", tarfile.FIFOTYPE)],
        [special("a", tarfile.CHRTYPE)],
        [special("a", tarfile.BLKTYPE)],
    ],
    ids=lambda fills: str(len(fills)),
)
def test_what_leads_elsewhere_is_refused(tmp_path: Path, evil: list[Fill]) -> None:
    with pytest.raises(ArchiveRefused, match=r"paths that leave|links, devices"):
        unpack(archive(*evil), tmp_path / "x" / "module")
    assert not list(tmp_path.rglob("escaped"))
    assert set(left(tmp_path)) <= {"x", "x/module", "x/module/b"}


def test_two_files_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        unpack(archive(file("a", b"1"), file("a", b"2")), tmp_path)
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_bomb_stops_early(tmp_path: Path) -> None:
    bomb = archive(file("a", bytes(100 << 20)))
    assert len(bomb.getvalue()) < 300_000
    with pytest.raises(ArchiveRefused, match="more than 100 times its size"):
        unpack(bomb, tmp_path)
    # The ratio is checked from 64 MB on.
    assert (tmp_path / "a").stat().st_size < 72 << 20


def test_too_much_and_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_CONTENT", 1000)
    monkeypatch.setattr(archives, "MOST_ENTRIES", 3)
    with pytest.raises(ArchiveRefused, match="unpacks to more than"):
        unpack(archive(file("a", bytes(600)), file("b", bytes(600))), tmp_path / "1")
    with pytest.raises(ArchiveRefused, match="more than 3 files"):
        unpack(archive(*(file(str(number)) for number in range(4))), tmp_path / "2")


def test_sparse_files_and_endless_headers(tmp_path: Path) -> None:
    sparse = tarfile.TarInfo("sparse")
    sparse.type, sparse.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"77777777777\0"  # the size that it has when unpacked: 8 GB
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(ArchiveRefused, match="sparse"):
        unpack(io.BytesIO(bytes(block) + bytes(1024)), tmp_path / "1")
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 4 << 30
    content = gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    with pytest.raises(ArchiveRefused, match="header of an impossible size"):
        unpack(io.BytesIO(content), tmp_path / "2")


@pytest.mark.parametrize("content", [b"", b"<html>no</html>", bytes(300), b"\x1f\x8b" + bytes(99)])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    with pytest.raises((tarfile.TarError, EOFError, OSError)):
        unpack(io.BytesIO(content), tmp_path)
