"""Files are whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlcli.core import files
from tlcli.errors import OutputError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "labels.txt"
    files.write_text(path, "daisy\n")
    files.write_text(path, "데이지\n")
    assert path.read_text(encoding="utf-8") == "데이지\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["labels.txt"]


def test_a_failing_block_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(b"old")

    def fail_halfway() -> None:
        with files.atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["graph.pb"]


def test_a_folder_replaces_a_filled_folder(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("old")
    with files.atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*graph\.pb"):
        files.write_bytes(tmp_path / "file" / "graph.pb", b"")


def test_only_old_temporary_files_are_swept(tmp_path: Path) -> None:
    old = tmp_path / (files.TEMPORARY_PREFIX + "old")
    young = tmp_path / (files.TEMPORARY_PREFIX + "young")
    old.mkdir()
    young.mkdir()
    long_ago = time.time() - files.STALE_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    files.sweep_temporary(tmp_path)
    assert not old.exists()
    assert young.exists()


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_file(path) == files.sha256_bytes(b"abc") == expected


def test_what_a_killed_process_left_is_swept_at_once(tmp_path: Path) -> None:
    left = (
        "import os, signal\nfrom pathlib import Path\nfrom tlcli.core.files import OutputSet\n"
        "OutputSet().place(Path('graph.pb'))\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", left], cwd=tmp_path, check=False)
    own = files.OutputSet().place(tmp_path / "labels.txt").parent
    assert len(list(tmp_path.iterdir())) == 2
    files.sweep_temporary(tmp_path)
    assert list(tmp_path.iterdir()) == [own]


def test_outputs_appear_together_or_not_at_all(tmp_path: Path) -> None:
    card, graph = tmp_path / "graph.json", tmp_path / "graph.pb"
    for path in (card, graph):
        path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        _write_both(card, graph, interrupted_before=True)
    assert (card.read_text(), graph.read_text()) == ("old", "old")
    with pytest.raises(KeyboardInterrupt):
        _write_both(card, graph, interrupted_before=False)
    assert (card.read_text(), graph.read_text()) == ("new", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.json", "graph.pb"]


def _write_both(card: Path, graph: Path, *, interrupted_before: bool) -> None:
    with files.OutputSet() as outputs:
        for path in (card, graph):
            outputs.place(path).write_text("new")
        if interrupted_before:
            signal.raise_signal(signal.SIGINT)
        replace = Path.replace

        def interrupted(self: Path, target: Path) -> Path:
            signal.raise_signal(signal.SIGINT)
            return replace(self, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", interrupted)
            outputs.commit(card)


def test_the_certificate_goes_first_and_comes_last(tmp_path: Path) -> None:
    card, graph = tmp_path / "graph.json", tmp_path / "graph.pb"
    card.write_text("old")
    seen = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append((target.name, card.exists()))
        return replace(self, target)

    with files.OutputSet() as outputs, pytest.MonkeyPatch.context() as patch:
        for path in (card, graph):
            outputs.place(path).write_text("new")
        patch.setattr(Path, "replace", watched)
        outputs.commit(card)
    assert seen == [("graph.pb", False), ("graph.json", False)]
