"""Files are whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlcli.errors import OutputError
from tlcli.system import atomic_files
from tlcli.system.digests import sha256_bytes, sha256_file


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "labels.txt"
    atomic_files.write_text(path, "daisy\n")
    atomic_files.write_text(path, "데이지\n")
    assert path.read_text(encoding="utf-8") == "데이지\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["labels.txt"]


def test_a_failing_block_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(b"old")

    def fail_halfway() -> None:
        with atomic_files.atomic_path(path) as temporary:
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
    with atomic_files.atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*graph\.pb"):
        atomic_files.write_bytes(tmp_path / "file" / "graph.pb", b"")


def test_what_is_written_beside_its_place_is_named_by_its_place(tmp_path: Path) -> None:
    with atomic_files.OutputSet() as outputs:
        beside = outputs.stage(tmp_path / "graph.pb")
        (beside.parent / "blocked").write_text("")
        with pytest.raises(OutputError) as refused:
            atomic_files.write_bytes(beside.parent / "blocked" / "graph.pb", b"")
    assert f"cannot write {tmp_path / 'blocked' / 'graph.pb'}: " in str(refused.value)


def test_only_old_temporary_files_are_swept(tmp_path: Path) -> None:
    old = tmp_path / (atomic_files.TEMPORARY_PREFIX + "old")
    young = tmp_path / (atomic_files.TEMPORARY_PREFIX + "young")
    old.mkdir()
    young.mkdir()
    long_ago = time.time() - atomic_files.STALE_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    atomic_files.sweep_temporary(tmp_path)
    assert not old.exists()
    assert young.exists()


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(path) == sha256_bytes(b"abc") == expected


def test_what_a_killed_process_left_is_swept_at_once(tmp_path: Path) -> None:
    left = (
        "import os, signal\nfrom pathlib import Path\n"
        "from tlcli.system.atomic_files import OutputSet\n"
        "outputs = OutputSet()\noutputs.stage(Path('graph.pb'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", left], cwd=tmp_path, check=False)
    with atomic_files.OutputSet() as outputs:
        assert len(list(tmp_path.iterdir())) == 1
        own = outputs.stage(tmp_path / "labels.txt").parent
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
    with atomic_files.OutputSet() as outputs:
        for path in (card, graph):
            outputs.stage(path).write_text("new")
        if interrupted_before:
            signal.raise_signal(signal.SIGINT)
        replace = Path.replace

        def interrupted(self: Path, target: Path) -> Path:
            signal.raise_signal(signal.SIGINT)
            return replace(self, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", interrupted)
            outputs.commit(card)


def test_what_depends_goes_first_and_the_certificate_comes_last(tmp_path: Path) -> None:
    card, labels, graph = (tmp_path / name for name in ("graph.json", "labels.txt", "graph.pb"))
    for path in (card, labels, graph):
        path.write_text("old")
    seen = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append((target.name, labels.exists(), card.read_text()))
        return replace(self, target)

    with atomic_files.OutputSet() as outputs, pytest.MonkeyPatch.context() as patch:
        for path in (card, graph, labels):
            outputs.stage(path).write_text("new")
        patch.setattr(Path, "replace", watched)
        outputs.commit(card, dependent=[labels])
    assert seen == [
        ("graph.pb", False, "old"), ("labels.txt", False, "old"), ("graph.json", True, "old")
    ]  # fmt: skip
    assert {path.read_text() for path in (card, labels, graph)} == {"new"}


def test_what_depends_and_does_not_change_is_never_away(tmp_path: Path) -> None:
    card, labels = tmp_path / "graph.json", tmp_path / "labels.txt"
    labels.write_text("same")
    there = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        there.append(labels.exists())
        return replace(self, target)

    with atomic_files.OutputSet() as outputs, pytest.MonkeyPatch.context() as patch:
        for path in (card, labels):
            outputs.stage(path).write_text("same")
        patch.setattr(Path, "replace", watched)
        outputs.commit(card, dependent=[labels])
    assert there == [True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="swaps folders as Linux does")
def test_a_folder_in_the_way_is_never_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    path.mkdir()
    monkeypatch.setattr(Path, "rename", None)
    monkeypatch.setattr(Path, "replace", None)
    with atomic_files.atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


_COMMITS = """
import sys, time
from pathlib import Path
from tlcli.system.atomic_files import OutputSet
replace = Path.replace
Path.replace = lambda self, target: (time.sleep(0.002), replace(self, target))
for number in range(15):
    with OutputSet() as outputs:
        for name in ("graph.pb", "labels.txt", "graph.json"):
            outputs.stage(Path(name)).write_text(sys.argv[1])
        outputs.commit(Path("graph.json"))
        time.sleep(0.001)
"""


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX systems only")
def test_processes_that_commit_at_once_leave_the_set_of_one(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", _COMMITS, name], cwd=tmp_path) for name in "ab"
    ]
    assert [process.wait() for process in running] == [0, 0]
    names = ["graph.json", "graph.pb", "labels.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert len({(tmp_path / name).read_text() for name in names}) == 1


def test_a_refused_rename_takes_the_others_back(tmp_path: Path) -> None:
    card, labels, graph = (tmp_path / name for name in ("graph.json", "labels.txt", "graph.pb"))
    model, fresh = tmp_path / "model", tmp_path / "fresh"
    for path in (card, labels, graph):
        path.write_text("old")
    model.mkdir()
    (model / "old").touch()
    replace = Path.replace

    def refused(self: Path, target: Path) -> Path:
        if target == card and self.read_text() == "new":
            raise PermissionError(1, "Operation not permitted")
        return replace(self, target)

    with atomic_files.OutputSet() as outputs, pytest.MonkeyPatch.context() as patch:
        for path in (card, graph, labels, fresh):
            outputs.stage(path).write_text("new")
        outputs.stage(model).mkdir()
        patch.setattr(Path, "replace", refused)
        with pytest.raises(OutputError, match=r"graph\.json: Operation not permitted"):
            outputs.commit(card, dependent=[labels])
    assert {path.read_text() for path in (card, labels, graph)} == {"old"}
    assert (model / "old").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "graph.json", "graph.pb", "labels.txt", "model",
    ]  # fmt: skip


def test_what_is_outdated_goes_with_the_outputs_or_stays(tmp_path: Path) -> None:
    graph, report = tmp_path / "graph.pb", tmp_path / "report.html"
    for path in (graph, report):
        path.write_text("old")
    with atomic_files.OutputSet() as outputs:
        outputs.stage(graph).write_text("new")
        outputs.remove(report)
    assert (graph.read_text(), report.read_text()) == ("old", "old")

    replace = Path.replace

    def refused(self: Path, target: Path) -> Path:
        if self.read_text() == "new":
            raise PermissionError(1, "Operation not permitted")
        return replace(self, target)

    with atomic_files.OutputSet() as outputs, pytest.MonkeyPatch.context() as patch:
        outputs.stage(graph).write_text("new")
        outputs.remove(report)
        patch.setattr(Path, "replace", refused)
        with pytest.raises(OutputError):
            outputs.commit(graph)
    assert (graph.read_text(), report.read_text()) == ("old", "old")
    with atomic_files.OutputSet() as outputs:
        outputs.stage(graph).write_text("new")
        outputs.remove(report)
        outputs.commit(graph)
    assert graph.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["graph.pb"]


def test_folders_that_stay_empty_are_taken_back(tmp_path: Path) -> None:
    kept, made = tmp_path / "kept", tmp_path / "a" / "b"
    kept.mkdir()

    def interrupted(*, fill: bool) -> None:
        with atomic_files.made_folders([kept, made, made / "c"]):
            assert (made / "c").is_dir()
            if fill:
                (made / "x").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(fill=False)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    with pytest.raises(KeyboardInterrupt):
        interrupted(fill=True)
    assert [path.name for path in made.iterdir()] == ["x"]
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="file"),
        atomic_files.made_folders([tmp_path / "new", tmp_path / "file" / "x"]),
    ):
        raise AssertionError
    assert not (tmp_path / "new").exists()
