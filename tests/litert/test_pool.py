"""Interpreters of one model: how many are made, for whom, and that all give the same bits."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tlcli.errors import GraphError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.litert import pool as litert_pool
from tlcli.litert.pool import LiteRTPool
from tlcli.litert.writer import write_model

F = np.float32


class FakeEngine:
    """Doubles what it gets; ``entered`` counts the calls that wait for ``gate``."""

    made: ClassVar[list[int]] = []
    closed: ClassVar[list[int]] = []
    gate: ClassVar[threading.Event]
    entered: ClassVar[threading.Semaphore]
    fails_from = 99
    input_name, input_type, input_shape = "x", "float32", (1, 2)
    outputs: ClassVar[list[Any]] = [("y", (1, 2))]
    output = 0

    def __init__(self, source: object, threads: int, *more: object, **others: object) -> None:
        if len(self.made) >= self.fails_from:
            raise GraphError("no memory for another")
        self.threads = threads
        self.made.append(threads)

    def run(self, batch: np.ndarray, scale: object = None) -> np.ndarray:
        self.entered.release()
        assert self.gate.wait(300)
        return 2 * batch

    def close(self) -> None:
        self.closed.append(self.threads)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[FakeEngine]:
    class Engine(FakeEngine):
        made: ClassVar[list[int]] = []
        closed: ClassVar[list[int]] = []
        gate = threading.Event()
        entered = threading.Semaphore(0)

    Engine.gate.set()
    monkeypatch.setattr(litert_pool, "LiteRTEngine", Engine)
    return Engine


def image(value: float = 1) -> Any:
    return np.full((1, 2), value, F)


def at_once(pool: LiteRTPool, engine: type[FakeEngine], number: int) -> None:
    """Ask for ``number`` images, all before any is ready."""
    engine.gate.clear()
    threads = [threading.Thread(target=pool.run_one, args=(image(),)) for _ in range(number)]
    for thread in threads:
        thread.start()
    for _ in range(min(number, pool.workers)):
        assert engine.entered.acquire(timeout=300)
    engine.gate.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_single_images_have_all_threads(engine: type[FakeEngine]) -> None:
    pool = LiteRTPool(b"model", 4)
    for _ in range(100):
        assert pool.run_one(image(), crowded=False).tolist() == [[2, 2]]
    assert engine.made == [4]


def test_more_interpreters_come_when_images_have_waited(
    engine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litert_pool, "FEW_IMAGES", 3)
    pool = LiteRTPool(b"model", 2)
    for _ in range(3):
        pool.run_one(image())
    assert engine.made == [2]
    at_once(pool, engine, 6)
    assert engine.made == [2, 1, 1]
    pool.run_one(image(), crowded=False)
    pool.close()
    assert engine.closed == [2, 1, 1]


def test_many_images_need_no_interpreter_with_all_threads(engine: type[FakeEngine]) -> None:
    pool = LiteRTPool(b"model", 3, many=True)
    assert engine.made == [1]
    at_once(pool, engine, 9)
    assert engine.made == [1, 1, 1]


def test_large_models_get_fewer_interpreters(
    engine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(litert_pool, "WEIGHTS_IN_MEMORY", 400)
    path = tmp_path / "model"
    path.write_bytes(b"x" * 100)
    for source in (path, path.read_bytes()):
        engine.made.clear()
        pool = LiteRTPool(source, 16, many=True, trust=True)  # no real model
        at_once(pool, engine, 6)
        assert engine.made == [4, 4, 4, 4]
    engine.made.clear()
    pool = LiteRTPool(b"x" * 1000, 16, many=True)
    np.testing.assert_array_equal(pool.run(np.concatenate([image(), image(3)]))[:, 0], [2, 6])
    assert engine.made == [16]


def test_an_interpreter_that_cannot_be_made_blocks_nobody(engine: type[FakeEngine]) -> None:
    engine.fails_from = 1
    pool = LiteRTPool(b"model", 2, many=True)
    engine.gate.clear()
    thread = threading.Thread(target=pool.run_one, args=(image(),))
    thread.start()
    assert engine.entered.acquire(timeout=300)
    with pytest.raises(GraphError, match="no memory"):
        pool.run_one(image())
    engine.gate.set()
    thread.join(60)
    assert pool.run_one(image()).tolist() == [[2, 2]]


def test_who_waits_for_a_closed_pool_is_told(engine: type[FakeEngine]) -> None:
    pool = LiteRTPool(b"model", 1)
    pool.close()
    pool.close()
    with pytest.raises(GraphError, match="closed"):
        pool.run_one(image())
    with pytest.raises(GraphError, match="closed"):
        pool.run(np.concatenate([image(), image()]))


def test_results_do_not_depend_on_threads_order_or_neighbours() -> None:
    generator = np.random.default_rng(1)
    nodes = [
        placeholder("x", F, [None, 32, 32, 3]),
        const("kernel", generator.normal(0, 1, (3, 3, 3, 64)).astype(F)),
        node(
            "convolution", "Conv2D", ["x", "kernel"],
            T=F, strides=[1, 1, 1, 1], padding="SAME", data_format="NHWC",
        ),
        const("axes", np.array([1, 2], np.int32)),
        node("mean", "Mean", ["convolution", "axes"], T=F, keep_dims=False),
        const("matrix", generator.normal(0, 1, (64, 300)).astype(F)),
        node("y", "MatMul", ["mean", "matrix"], T=F, transpose_a=False, transpose_b=False),
    ]  # fmt: skip
    model = write_model(new_graph(nodes), "x", "y")
    batch = generator.random((9, 32, 32, 3), F)
    single, many = LiteRTPool(model, 4), LiteRTPool(model, 3, many=True)
    alone = np.concatenate([single.run_one(row[None], crowded=False) for row in batch])
    np.testing.assert_array_equal(many.run(batch), alone)
    np.testing.assert_array_equal(single.run(batch[::-1])[::-1], alone)
    assert many.run(batch[:0]).shape == (0, 300)
    assert (single.input_name, single.input_type, single.output_name) == ("x", "float32", "y")
    assert single.input_shape == (None, 32, 32, 3)
    single.close()
    many.close()
