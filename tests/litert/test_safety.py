"""Hostile LiteRT files: refused with a sentence, where LiteRT alone would end the process."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.classifier.loading import load
from tlcli.errors import GraphError
from tlcli.litert import safety as litert_check
from tlcli.litert.flatbuffer import LiteRTModel, OperatorOptions
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.safety import check_litert
from tlcli.litert.safety_rules import OPERATORS, OTHER_OPERATORS, SIZING

_ADD, _CONVOLUTION, _FILL, _TILE, _SIGN = 0, 3, 94, 69, 158
_CUSTOM, _WHILE, _READ = 32, 119, 143
_WINDOW = OperatorOptions(1, (("int8", 0), ("int32", 1), ("int32", 1)))


def model(
    change: Callable[[LiteRTModel, int], int] | None = None, inputs: tuple[int, ...] = (0,)
) -> bytes:
    """Return a model of one convolution, then of what ``change`` adds to its output."""
    made = LiteRTModel()
    image = made.add_tensor("image", (None, 8, 8, 3))
    weights = made.add_constant("weights", np.ones((2, 1, 1, 3), np.float32))
    bias = made.add_constant("bias", np.zeros(2, np.float32))
    last = made.add_tensor("features", (None, 8, 8, 2))
    made.add_operator(_CONVOLUTION, [image, weights, bias], [last], _WINDOW)
    if change is not None:
        last = change(made, last)
    return made.serialise(inputs, [last])


def refused(content: bytes) -> str:
    with pytest.raises(GraphError) as error:
        check_litert(content, "x.tflite")
    text = str(error.value)
    assert text.startswith("x.tflite ")
    assert "\n" not in text
    return text


def test_what_we_and_others_write_passes(shared: Path, tmp_path: Path) -> None:
    check_litert(model(), "ours")
    path = tmp_path / "ours.tflite"
    path.write_bytes(model())
    engine = LiteRTEngine(path)
    assert engine.run(np.ones((2, 8, 8, 3), np.float32)).ravel()[0] == 3
    engine.close()
    for old in shared.glob("legacy/*/graph.tflite"):
        check_litert(old.read_bytes(), old.name)


def test_a_convolution_without_its_bias_costs_no_more_than_a_sentence(tmp_path: Path) -> None:
    """LiteRT's own kernel reads the bias wherever it may be, and dies."""

    def change(made: LiteRTModel, last: int) -> int:
        out = made.add_tensor("out", (None, 8, 8, 2))
        weights = made.add_constant("more", np.ones((2, 1, 1, 2), np.float32))
        made.add_operator(_CONVOLUTION, [last, weights], [out], _WINDOW)
        return out

    path = tmp_path / "crash.tflite"
    path.write_bytes(model(change))
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(GraphError, match=r"crash\.tflite "):
        load(path)


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ((0, 99), (4,), "names the tensor 99 of 5"),
        ((0, -(2**31)), (4,), "names the tensor -2147483648"),
        ((0, 4), (4,), "reads what nothing computed"),
        ((), (), "nothing computes one of its outputs"),
        ((0, 0), (4, 4), "gives a tensor that was there before"),
        ((0, 0), (3,), "gives a tensor that was there before"),
        ((0, 0), (1,), "gives a tensor that was there before"),
    ],
)
def test_tensors_that_are_not_there(
    inputs: tuple[int, ...], outputs: tuple[int, ...], reason: str
) -> None:
    def change(made: LiteRTModel, last: int) -> int:
        out = made.add_tensor("out", (None, 8, 8, 3))
        made.add_operator(_ADD, inputs, outputs, OperatorOptions(11))
        return out

    assert reason in refused(model(change))


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (_CUSTOM, "the custom operator"),
        (_WHILE, "operator WHILE"),
        (_READ, "operator READ_VARIABLE"),
        (9999, "operator with the number 9999"),
    ],
)
def test_operators_outside_inference_are_named(code: int, what: str) -> None:
    def change(made: LiteRTModel, last: int) -> int:
        out = made.add_tensor("out", (None, 8, 8, 2))
        made.add_operator(code, [last], [out])
        return out

    text = refused(model(change))
    assert what in text
    assert "--trust" in text


def test_trust_loads_what_litert_itself_takes(tmp_path: Path) -> None:
    def change(made: LiteRTModel, last: int) -> int:
        out = made.add_tensor("out", (None, 8, 8, 2))
        made.add_operator(_SIGN, [last], [out])
        return out

    path = tmp_path / "sign.tflite"
    path.write_bytes(model(change))
    with pytest.raises(GraphError, match="--trust"):
        LiteRTEngine(path)
    engine = LiteRTEngine(path, trust=True)
    assert engine.run(-np.ones((1, 8, 8, 3), np.float32)).ravel()[0] == -1
    engine.close()


def test_a_size_that_is_computed_is_refused() -> None:
    def change(made: LiteRTModel, last: int) -> int:
        out = made.add_tensor("out", (None, 8, 8, 2))
        made.add_operator(_TILE, [last, last], [out])
        return out

    assert "a TILE whose result's size is computed" in refused(model(change))


@pytest.mark.parametrize("sizes", [(1, 20_000, 20_000, 1), (1, 30_000, 30_000, 2)])
def test_a_tensor_that_would_take_all_memory_is_not_computed(
    tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    """The file says (1, 1, 1, 1): only LiteRT's own inference knows how large it is."""

    def change(made: LiteRTModel, last: int) -> int:
        out = made.add_tensor("out", (1, 1, 1, 1))
        dims = made.add_constant("dims", np.array(sizes, np.int32))
        one = made.add_constant("one", np.float32(1))
        made.add_operator(_FILL, [dims, one], [out], OperatorOptions(74))
        return out

    path = tmp_path / "bomb.tflite"
    path.write_bytes(model(change))
    with pytest.raises(GraphError, match=r"a tensor of the shape|no LiteRT model"):
        LiteRTEngine(path)


def test_shapes_and_constants_that_do_not_fit() -> None:
    def huge(made: LiteRTModel, last: int) -> int:
        return made.add_tensor("huge", (1 << 30, 1 << 30))

    assert "impossible shape [1073741824, 1073741824]" in refused(model(huge))
    whole = model()
    bias = whole.index(struct.pack("<I", 8) + bytes(8))
    shorter = whole[:bias] + struct.pack("<I", 4) + whole[bias + 4 :]
    assert "a constant of the shape [2] has 4 bytes" in refused(shorter)


def test_what_is_no_litert_file() -> None:
    for content in (b"", b"TFL3", b"\x04\0\0\0TFL3", b"\xff\xff\xff\xffTFL3" + bytes(100)):
        refused(content)
    # A vector of more entries than the file has bytes.
    assert "leads out of the file" in refused(b"\x10\0\0\0TFL3" + b"\xff" * 60)


def test_every_cut_and_every_changed_number_is_a_sentence_or_passes() -> None:
    """The bytes of tables come last; whatever is wrong there, only GraphError leaves."""
    whole = model()
    for length in range(0, len(whole), 7):
        refused(whole[:length])
    numbers = random.Random(0)
    outcomes = {True: 0, False: 0}
    for _ in range(3000):
        changed = bytearray(whole)
        place = numbers.randrange(len(whole))
        changed[place] ^= 1 << numbers.randrange(8)
        try:
            check_litert(bytes(changed), "x.tflite")
        except GraphError:
            outcomes[False] += 1
        else:
            outcomes[True] += 1
    assert min(outcomes.values()) > 300


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused(rest: bytes) -> None:
    refused(b"\x0c\0\0\0TFL3" + rest)


def test_the_list_names_what_is_needed_and_nothing_that_keeps_state() -> None:
    taken = set(OPERATORS.values())
    assert SIZING.keys() <= taken
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "SOFTMAX"} <= taken
    assert {"CALL_ONCE", "WHILE", "IF", "VAR_HANDLE", "HASHTABLE"} <= set(OTHER_OPERATORS.values())
    assert not OPERATORS.keys() & OTHER_OPERATORS.keys()
    assert not taken & set(OTHER_OPERATORS.values())


def test_the_limit_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert_check, "LARGEST_FILE", 100)
    with pytest.raises(GraphError, match="2 GB"):
        check_litert(model(), "x.tflite")
