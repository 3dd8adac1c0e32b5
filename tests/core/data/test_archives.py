"""Archives that try to leave their folder or to fill the disk."""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tlcli.core.data.archives import ArchiveRefused, Limits, as_folder, unpack
from tlcli.core.data.image_folder import scan_folder
from tlcli.errors import DataError, UsageError
from tlcli.system.cache_folders import archive_folder

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


@pytest.mark.slow
def test_a_bomb_stops_early(tmp_path: Path) -> None:
    bomb = archive(file("a", bytes(100 << 20)))
    assert len(bomb.getvalue()) < 300_000
    with pytest.raises(ArchiveRefused, match="more than 100 times its size"):
        unpack(bomb, tmp_path)
    # The ratio is checked from 64 MB on.
    assert (tmp_path / "a").stat().st_size < 72 << 20


def test_too_much_and_too_many(tmp_path: Path) -> None:
    limits = Limits(entries=3, content=1000)
    with pytest.raises(ArchiveRefused, match="unpacks to more than"):
        unpack(archive(file("a", bytes(600)), file("b", bytes(600))), tmp_path / "1", limits)
    with pytest.raises(ArchiveRefused, match="more than 3 files"):
        unpack(archive(*(file(str(number)) for number in range(4))), tmp_path / "2", limits)


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


def zipped(path: Path, *names: str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in names:
            made.writestr(name, content)
    return path


NAMES = ("photos/cat/1.jpg", "photos/dog/1.jpg", "photos/.DS_Store", "__MACOSX/photos/._cat")


def test_a_zip_of_folders_is_a_folder(tmp_path: Path) -> None:
    path = zipped(tmp_path / "photos.zip", *NAMES)
    folder = as_folder(path)
    assert scan_folder(folder).labels == ("cat", "dog")
    assert folder.name == "photos"
    assert folder.parent.name == hashlib.sha256(path.read_bytes()).hexdigest()
    # Unpacked once: by its content, wherever the archive is.
    (folder / "mark").touch()
    assert (as_folder(path.rename(tmp_path / "other.bin")) / "mark").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_of_folders_is_a_folder(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "photos"
    path.write_bytes(archive(*(file(name) for name in NAMES), mode=mode).getvalue())
    assert scan_folder(as_folder(path)).labels == ("cat", "dog")


def test_labels_at_the_top_are_not_looked_through(tmp_path: Path) -> None:
    folder = as_folder(zipped(tmp_path / "1.zip", "cat/1.jpg", "dog/1.jpg"))
    assert scan_folder(folder).labels == ("cat", "dog")
    folder = as_folder(zipped(tmp_path / "2.zip", "cat/1.jpg"))
    assert scan_folder(folder, minimum_labels=1).labels == ("cat",)
    folder = as_folder(zipped(tmp_path / "3.zip", "a/b/c/cat/1.jpg", "a/b/c/dog/1.jpg"))
    assert scan_folder(folder).labels == ("cat", "dog")


def test_names_of_macos_and_windows(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("cat\\1.jpg", b"x")
        made.writestr("ee/1.jpg", b"x")
    # As macOS writes: the bytes are UTF-8, and nothing says so.
    path.write_bytes(path.read_bytes().replace(b"ee/1.jpg", "é/1.jpg".encode()))
    assert scan_folder(as_folder(path)).labels == ("cat", "é")


def linked(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        entry = zipfile.ZipInfo("a/1.jpg")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(entry, "/etc/passwd")
    return path


def encrypted(path: Path) -> Path:
    content = bytearray(zipped(path, "a/1.jpg").read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    return path


def truncated(path: Path) -> Path:
    content = zipped(path, *NAMES).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: zipped(path, "../escaped"), "paths that leave its folder"),
        (lambda path: zipped(path, "/escaped"), "paths that leave its folder"),
        (lambda path: zipped(path, "a\\..\\..\\escaped"), "paths that leave its folder"),
        (lambda path: zipped(path, "C:\\escaped"), "paths that leave its folder"),
        (linked, "holds links or devices"),
        (encrypted, "its files are encrypted"),
        (lambda path: zipped(path, "a/1.jpg", "b.zip"), r"holds another archive \(b.zip\)"),
        (lambda path: zipped(path, "a/1.jpg", "a/1.jpg"), "two of its files have one name"),
        (truncated, "is damaged"),
        (lambda path: zipped(path, "a", content=bytes(100 << 20)), "more than 100 times its size"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_not_unpacked_leaves_nothing(
    tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    path = make(tmp_path / "photos.zip")
    with pytest.raises(DataError, match=reason):
        as_folder(path)
    assert not list(tmp_path.rglob("escaped"))
    assert left(archive_folder()) == []


def test_a_tar_that_is_refused_or_cut_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "photos.tar.gz"
    whole = archive(*(file(name, b"x" * 999) for name in NAMES)).getvalue()
    for content, reason in (
        (archive(special("a", tarfile.SYMTYPE, "/etc")).getvalue(), "holds links, devices"),
        (archive(file("a/b.tar.gz")).getvalue(), "another archive"),
        (whole[: len(whole) // 2], "damaged"),
        (gzip.compress(b"hello"), "no tar archive, or a damaged one"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=reason):
            as_folder(path)
    assert left(archive_folder()) == []


def test_what_is_neither_folder_nor_archive(tmp_path: Path) -> None:
    for name, content, reason in (
        ("list.csv", b"a,b", r"a table of images and labels is given as --manifest .*list.csv"),
        ("1.jpg", b"\xff\xd8\xff", "is an image; give a folder"),
        ("photos.7z", b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it"),
        ("photos.rar", b"Rar!\x1a\x07\1", "is a RAR archive; unpack it"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=reason):
            as_folder(tmp_path / name)
    with pytest.raises(UsageError, match=r"https://x.org/photos.zip is an archive; downl"):
        as_folder(Path("https://x.org/photos.zip"))
    with pytest.raises(UsageError, match=r"ftp://x.org/photos is a URL of an unknown kind"):
        as_folder(Path("ftp://x.org/photos"))
    assert as_folder(tmp_path) == tmp_path
    assert as_folder(tmp_path / "absent") == tmp_path / "absent"
