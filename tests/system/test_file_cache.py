"""The cache of computed files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tlcli.core.classifier.load_frozen import CONVERSION_SOURCES
from tlcli.core.export.backbone_cache import BACKBONE_SOURCES
from tlcli.system import file_cache
from tlcli.system.file_cache import FileCache, code_digest

SOURCES = ("graph", "litert")
FACTS = {"size": 3, "name": "꽃"}


def cache(folder: Path, largest: int = 1 << 20) -> FileCache:
    return FileCache(folder / "files", SOURCES, largest)


def stored(folder: Path) -> list[Path]:
    return sorted((folder / "files").iterdir())


@pytest.mark.parametrize("content", [b"", b"abc", bytes(3 << 20)])
def test_what_is_stored_is_found(tmp_path: Path, content: bytes) -> None:
    files = cache(tmp_path, 4 << 20)
    assert files.find(["key", 1]) is None
    files.store(["key", 1], FACTS, content[:2], memoryview(content)[2:])
    found = files.find(["key", 1], read=True)
    assert found is not None
    assert (found.facts, found.content) == (FACTS, content)
    assert found.path.read_bytes().startswith(content)
    unread = files.find(["key", 1])
    assert unread is not None
    assert (unread.facts, unread.content) == (FACTS, b"")
    assert files.find(["key", 2]) is None


@pytest.mark.parametrize("read", [True, False])
def test_every_damage_is_a_miss(tmp_path: Path, read: bool) -> None:
    files = cache(tmp_path)
    files.store(["key"], FACTS, b"content")
    [path] = stored(tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert files.find(["key"], read=read) is None
        path.write_bytes(whole[:place])
        assert files.find(["key"], read=read) is None
    path.write_bytes(b"\xff" * len(whole))
    assert files.find(["key"], read=read) is None
    path.write_bytes(whole)
    assert files.find(["key"], read=read) is not None


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    files = cache(tmp_path)
    for key in "abc":
        files.store([key], {}, bytes(1000))
    size = stored(tmp_path)[0].stat().st_size
    now = time.time()
    for path in stored(tmp_path):
        os.utime(path, (now - 100, now - 100))
    assert files.find(["b"]) is not None  # used again: it is the newest now
    cache(tmp_path, 2 * size).store(["d"], {}, bytes(1000))
    assert [key for key in "abcd" if files.find([key]) is not None] == ["b", "d"]
    cache(tmp_path, 999).store(["e"], {}, bytes(1000))
    assert len(stored(tmp_path)) == 2  # too large for the folder: nothing is stored or removed


def test_other_code_finds_nothing_and_its_files_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = cache(tmp_path)
    for key in "ab":
        files.store([key], {}, b"old")
    old = stored(tmp_path)
    monkeypatch.setattr(file_cache, "code_digest", lambda *_: "f" * 12)
    assert files.find(["a"]) is None
    long_ago = time.time() - 8 * 24 * 3600
    os.utime(old[0], (long_ago, long_ago))
    files.store(["a"], {}, b"new")
    assert len(stored(tmp_path)) == 2  # another installation may still use the younger one
    assert not old[0].exists()


def test_the_digest_is_of_the_content_of_all_source_files(tmp_path: Path) -> None:
    def digest(*sources: str) -> str:
        code_digest.cache_clear()
        return code_digest(*sources, root=str(tmp_path))

    for name in ("one/a.py", "one/b.py", "one/more/a.py", "two/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("same = 1\n")
    digests = {digest("one"), digest("two"), digest("one", "two"), digest("absent")}
    assert len(digests) == 4
    (tmp_path / "one" / "b.py").write_text("same = 2\n")  # as long as before
    assert digest("one") not in digests
    digests.add(digest("one"))
    (tmp_path / "one" / "b.py").rename(tmp_path / "one" / "c.py")
    assert digest("one") not in digests
    digests.add(digest("one"))
    (tmp_path / "one" / "more" / "a.py").write_text("same = 3\n")
    assert digest("one") not in digests


@pytest.mark.parametrize("source", BACKBONE_SOURCES + CONVERSION_SOURCES)
def test_the_sources_of_the_caches_exist(source: str) -> None:
    assert code_digest(source) != code_digest("absent")


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("a file where the folder would be")
    files = cache(tmp_path)
    files.store(["key"], {}, b"content")
    assert files.find(["key"]) is None
