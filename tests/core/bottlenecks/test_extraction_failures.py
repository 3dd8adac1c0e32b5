"""Extraction: what a bad image, a failing network, an interrupt or a kill can do."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.core.bottlenecks.fake_backbone import (
    SIZE,
    FakeEngine,
    backbone,
    picture,
    pictures,
    stored,
    wanted,
)
from tlcli.core.bottlenecks import decode_jobs, extraction
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.extraction import BATCH_SIZE, Request, compute
from tlcli.errors import BackboneError, CacheError, GraphError, ImageError
from tlcli.system.digests import sha256_bytes


def test_a_bad_image_takes_no_other_with_it(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    good = pictures(tmp_path, 10)
    bad = wanted(tmp_path / "bad.jpg", picture(3)[:45])
    copy = wanted(tmp_path / "copy.jpg", picture(3)[:45])
    absent = Request(tmp_path / "absent.jpg", sha256_bytes(b"absent"))
    found = compute(backbone(), [bad, *good, absent, copy], store)
    assert found.computed == 10
    assert found.found.tolist() == [False, *[True] * 10, False, False]
    assert set(found.failures) == {str(each.path) for each in (bad, copy, absent)}
    assert "no such file" in found.failures[str(absent.path)]
    assert store.failures([bad.content]) == {bad.content: found.failures[str(bad.path)]}
    assert store.failures([absent.content]) == {}  # it may come back


def test_a_remembered_failure_is_not_decoded_again(
    tmp_path: Path,
    store: BottleneckStore,
    engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = wanted(tmp_path / "bad.jpg", b"no image")
    first = compute(backbone(), [bad], store)
    monkeypatch.setattr(extraction, "decode", lambda *_: pytest.fail("decoded again"))
    assert compute(backbone(), [bad], store).failures == first.failures
    assert engine.opened == 0  # no network for no image


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("odd"), ZeroDivisionError()])
def test_an_accident_is_not_remembered(
    tmp_path: Path,
    store: BottleneckStore,
    engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    original = extraction.Preprocessing.read
    requests = pictures(tmp_path, 3)
    data = requests[1].path.read_bytes()

    def read(self: object, source: bytes) -> np.ndarray:
        if source == data:
            raise error
        return original(self, source)  # type: ignore[arg-type]

    monkeypatch.setattr(extraction.Preprocessing, "read", read)
    found = compute(backbone(), requests, store)
    assert list(found.failures) == [str(requests[1].path)]
    assert store.failures([requests[1].content]) == {}
    assert found.computed == 2


def test_too_little_memory_inside_a_decoder_is_not_remembered(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def read(self: object, source: bytes) -> np.ndarray:
        raise ImageError("too large for the memory of this machine") from MemoryError()

    monkeypatch.setattr(extraction.Preprocessing, "read", read)
    (request,) = pictures(tmp_path, 1)
    assert compute(backbone(), [request], store).failures
    assert store.failures([request.content]) == {}


def test_a_file_that_changed_meanwhile_is_not_stored_under_its_old_content(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    (request,) = pictures(tmp_path, 1)
    request.path.write_bytes(picture(99))
    found = compute(backbone(), [request], store)
    assert "changed" in found.failures[str(request.path)]
    assert (stored(store, [request]), store.failures([request.content])) == (0, {})


def test_a_giant_file_is_not_taken_into_memory(
    tmp_path: Path,
    store: BottleneckStore,
    engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decode_jobs, "LARGEST_FILE", 10)
    (request,) = pictures(tmp_path, 1)
    assert "larger than" in compute(backbone(), [request], store).failures[str(request.path)]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine], number: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def run(self: FakeEngine, batch: np.ndarray) -> np.ndarray:
        values = batch.mean((1, 2))
        values[-1, -1] = number
        return values

    monkeypatch.setattr(engine, "run", run)
    requests = pictures(tmp_path, 3)
    with pytest.raises(BackboneError, match=r"fake.*NaN"):
        compute(backbone(), requests, store)
    assert stored(store, requests) == 0
    assert engine.closed == 1


@pytest.mark.parametrize("size", [SIZE + 1, None])
def test_an_output_of_another_shape_is_refused(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine], size: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if size is None:
        monkeypatch.setattr(engine, "run", lambda self, batch: batch)
    with pytest.raises(BackboneError, match="shape"):
        compute(backbone(size=size), pictures(tmp_path, 1), store)


def test_an_engine_that_fails_names_the_backbone(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def run(self: FakeEngine, batch: np.ndarray) -> np.ndarray:
        raise GraphError("out of memory")

    monkeypatch.setattr(engine, "run", run)
    with pytest.raises(BackboneError, match="backbone fake cannot be used: out of memory"):
        compute(backbone(), pictures(tmp_path, 1), store)


def test_an_interrupt_keeps_what_was_computed(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def before(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(engine, "before", staticmethod(before))
    requests = pictures(tmp_path, 5 * BATCH_SIZE)
    with pytest.raises(KeyboardInterrupt):
        compute(backbone(), requests, store)
    assert stored(store, requests) == 2 * BATCH_SIZE
    assert engine.closed == 1
    assert not [t for t in threading.enumerate() if t.name.startswith("tlcli-prefetch")]


def test_a_full_disk_is_one_sentence(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert store._database._connection is not None
    store._database._connection.execute("PRAGMA query_only=1")
    with pytest.raises(CacheError, match="--bottleneck_dir"):
        compute(backbone(), pictures(tmp_path, 1), store)


KILLED = """
import sys, time
from pathlib import Path
from tests.core.bottlenecks import fake_backbone as fake
from tlcli.core.bottlenecks import extraction
from tlcli.core.bottlenecks.cache import BottleneckStore
class Slow(fake.FakeEngine):
    def run(self, batch):
        if len(self.batches) == 2:
            print("ready", flush=True)
            time.sleep(60)
        return super().run(batch)
extraction.backbone_engine = Slow
folder = Path(sys.argv[1])
with BottleneckStore(folder / "cache") as store:
    requests = fake.pictures(folder, 5 * extraction.BATCH_SIZE)
    extraction.compute(fake.backbone(), requests, store)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_kill_keeps_what_was_computed(tmp_path: Path, number: signal.Signals) -> None:
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait(timeout=300) == -number
    with BottleneckStore(tmp_path / "cache") as store:
        assert stored(store, pictures(tmp_path, 5 * BATCH_SIZE)) == 2 * BATCH_SIZE
