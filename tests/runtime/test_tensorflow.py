"""Graphs in TensorFlow: their runs, their errors, and no native log lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.doubling import doubling
from tlcli.errors import GraphError
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import new_graph, node
from tlcli.runtime import tensorflow as engines
from tlcli.runtime import watchdog
from tlcli.runtime.tensorflow import GraphEngine
from tlcli.system.cpus import available_cpus


def test_a_graph_is_run_for_any_batch() -> None:
    with GraphEngine(doubling(), "x", "y:0") as engine:
        for count in (1, 3, 0):
            batch = np.ones((count, 2), np.float32)
            np.testing.assert_array_equal(engine.run(batch), 2 * batch)


@pytest.mark.parametrize(("input", "output"), [("z", "y"), ("x", "z"), ("x", "y:1")])
def test_an_absent_layer_is_named(input: str, output: str) -> None:
    with pytest.raises(GraphError, match=f"no layer {input} or no layer {output}"):
        GraphEngine(doubling(), input, output)


@pytest.mark.parametrize(
    "bad",
    [
        new_graph([node("y", "NoSuchOperation")]),
        new_graph([node("y", "Mul", ["x", "z"], T=np.float32)]),
        new_graph([node("y", "Mul")]),
    ],
    ids=["operation", "inputs", "attributes"],
)
def test_a_graph_that_is_none_is_one_sentence(bad: GraphDef) -> None:
    with pytest.raises(GraphError, match="refuses the graph") as caught:
        GraphEngine(bad, "y", "y")
    assert "\n" not in str(caught.value)


def test_a_batch_that_does_not_fit_is_one_sentence() -> None:
    with GraphEngine(doubling(), "x", "y") as engine, pytest.raises(GraphError, match="run"):
        engine.run(np.ones((1, 3), np.float32))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "Graph execution error:\n\nDetected at node x\n<stack traces\nBad shape.\n\t [[x]]",
            "Bad shape.",
        ),
        ("Graph execution error:\n\nOOM when allocating tensor with shape[9]", "more memory than"),
        ("Cannot parse tensor from proto: dtype: DT_FLOAT", "more memory than there is"),
        ("\nOne line", "One line"),
        ("", "ValueError"),
    ],
)
def test_the_line_that_says_why_is_taken(text: str, line: str) -> None:
    assert line in watchdog.first_line(ValueError(text))


def test_closing_twice_is_allowed() -> None:
    engine = GraphEngine(doubling(), "x", "y")
    engine.close()
    engine.close()


def test_the_processors_of_this_process_are_counted() -> None:
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)


# -- silence


QUIET = """
import json, sys, logging
import numpy as np
from tests.runtime.doubling import doubling
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.runtime.tensorflow import GraphEngine
assert "tensorflow" not in sys.modules and "ai_edge_litert" not in sys.modules
with GraphEngine(doubling(), "x", "y") as engine:
    engine.run(np.ones((1, 2), np.float32))
LiteRTEngine(sys.argv[1])
print(json.dumps("done"))
"""


@pytest.mark.slow
def test_neither_writes_a_line(shared: Path) -> None:
    model = shared / "legacy" / "plates_128" / "graph.tflite"
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(model)],
        capture_output=True, text=True, check=False, cwd=Path(engines.__file__).parents[2],
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == "done"


_KERAS = """
import sys
from tlcli.runtime.tensorflow import import_tensorflow
tf = import_tensorflow()
assert "keras" not in sys.modules
assert tf.keras.layers.Dense(2)(tf.zeros([1, 3])).shape == (1, 2)
import keras
assert keras.layers.Dense is tf.keras.layers.Dense
"""


@pytest.mark.slow
def test_keras_waits_until_it_is_needed() -> None:
    subprocess.run([sys.executable, "-c", _KERAS], check=True, capture_output=True, timeout=300)
