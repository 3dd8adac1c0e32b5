"""The reader of torch files, on files made here instruction by instruction."""

from __future__ import annotations

import hashlib
import math
import struct
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.backbones import torch_file
from tlcli.backbones.torch_file import read_tensors
from tlcli.errors import BackboneError

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."
SYSTEM = b"\x80\x02}X\x0d\0\0\0little_endian\x88s."
HEAD = MAGIC + PROTOCOL + SYSTEM


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


ORDERED = name("collections", "OrderedDict") + b")R"


@dataclass
class Made:
    """One tensor of a made file: a window on a storage."""

    key: str
    storage: np.ndarray
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    kind: str = "FloatStorage"
    count: int | None = None

    def pickle(self) -> bytes:
        count = self.storage.size if self.count is None else self.count
        identity = tuple_of(
            text("storage"), name("torch", self.kind), text(self.key), text("cpu"),
            number(count), b"N",
        )  # fmt: skip
        return (
            name("torch._utils", "_rebuild_tensor_v2")
            + tuple_of(
                identity + b"Q",
                number(self.offset),
                tuple_of(*map(number, self.shape)),
                tuple_of(*map(number, self.strides)),
                b"\x89",
                ORDERED,
            )
            + b"R"
        )


def legacy(state: dict[str, Made], head: bytes = HEAD) -> bytes:
    """Return a whole file."""
    items = b"".join(text(key) + made.pickle() for key, made in state.items())
    storages = {made.key: made.storage for made in state.values()}
    return (
        head
        + b"\x80\x02" + ORDERED + b"(" + items + b"u}b."
        + b"\x80\x02](" + b"".join(map(text, storages)) + b"e."
        + b"".join(struct.pack("<q", kept.size) + kept.tobytes() for kept in storages.values())
    )  # fmt: skip


def floats(count: int) -> np.ndarray:
    return np.arange(count, dtype="<f4")


def one(**changes: object) -> bytes:
    values = {"key": "7", "storage": floats(6), "shape": (2, 3), "strides": (3, 1), **changes}
    return legacy({"w": Made(**values)})


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torch") / "weights.pth"


def read(path: Path, data: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    path.write_bytes(data)
    return read_tensors(path, hashlib.sha256(data).hexdigest(), shapes, "install it again")


@st.composite
def states(draw: st.DrawFn) -> tuple[dict[str, Made], dict[str, np.ndarray]]:
    """Draw tensors whose axes lie in memory in any order, and what they should read as."""
    state, truth = {}, {}
    kinds = {"FloatStorage": "<f4", "LongStorage": "<i8"}
    for index in range(draw(st.integers(0, 4))):
        shape = tuple(draw(st.lists(st.integers(1, 4), max_size=4)))
        order = draw(st.permutations(range(len(shape))))
        offset = draw(st.integers(0, 3))
        kind = draw(st.sampled_from(sorted(kinds)))
        size = offset + math.prod(shape) + draw(st.integers(0, 2))
        storage = np.arange(size).astype(kinds[kind])
        strides, step = [0] * len(shape), 1
        for axis in order:
            strides[axis] = step
            step *= shape[axis]
        expected = np.zeros(shape, kinds[kind])
        for at in np.ndindex(*shape):
            expected[at] = storage[offset + sum(a * b for a, b in zip(at, strides, strict=True))]
        state[f"t{index}"] = Made(f"k{index}", storage, shape, tuple(strides), offset, kind)
        truth[f"t{index}"] = expected
    return state, truth


@settings(deadline=None)
@given(states())
def test_any_strides_read_as_their_elements(weights: Path, drawn: tuple) -> None:
    state, truth = drawn
    found = read(weights, legacy(state), {key: value.shape for key, value in truth.items()})
    assert list(found) == list(truth)
    for key, value in truth.items():
        assert found[key].dtype == value.dtype
        assert found[key].flags.c_contiguous
        np.testing.assert_array_equal(found[key], value)


def test_tensors_may_share_a_storage(weights: Path) -> None:
    shared = floats(6)
    data = legacy({"a": Made("k", shared, (6,), (1,)), "b": Made("k", shared, (2,), (2,), 1)})
    assert read(weights, data, {"a": (6,), "b": (2,)})["b"].tolist() == [1, 3]


def test_empty_tensors_and_scalars_are_read(weights: Path) -> None:
    state = {"none": Made("a", floats(0), (0, 3), (3, 1)), "one": Made("b", floats(1), (), ())}
    found = read(weights, legacy(state), {"none": (0, 3), "one": ()})
    assert found["none"].shape == (0, 3)
    assert found["one"].tolist() == 0


WHOLE = one()
SHAPES = {"w": (2, 3)}


def test_a_file_with_another_hash_is_never_unpickled(weights: Path) -> None:
    weights.write_bytes(WHOLE)
    with pytest.raises(BackboneError, match=r"damaged or was changed; install it again$"):
        read_tensors(weights, "0" * 64, SHAPES, "install it again")


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_every_shortened_file_is_refused(weights: Path, length: int) -> None:
    with pytest.raises(BackboneError, match="cannot read the weights"):
        read(weights, WHOLE[:length], SHAPES)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_changed_byte_gives_tensors_or_one_sentence(
    weights: Path, position: int, value: int
) -> None:
    data = bytearray(WHOLE)
    data[position] = value
    try:
        found = read(weights, bytes(data), SHAPES)
    except BackboneError:
        return
    assert {name: tensor.shape for name, tensor in found.items()} == SHAPES


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([b"", MAGIC, MAGIC + PROTOCOL, HEAD, HEAD + b"\x80\x02}"]), st.binary())
def test_any_bytes_are_refused(weights: Path, head: bytes, rest: bytes) -> None:
    with pytest.raises(BackboneError):
        read(weights, head + rest, SHAPES)


def attack(pickle: bytes) -> bytes:
    return HEAD + pickle + b"\x80\x02]."


ATTACKS = {
    "system": attack(b"\x80\x02cos\nsystem\n(X\x02\0\0\0idtR."),
    "builtins": attack(b"\x80\x02cbuiltins\neval\n(X\x01\0\0\x001tR."),
    "stack global": attack(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."),
    "inst": attack(b"(S'id'\nios\nsystem\n."),
    "obj": attack(b"(cos\nsystem\nS'id'\no."),
    "extension": attack(b"\x80\x02\x82\x01."),
    "newobj": attack(b"\x80\x02" + name("collections", "OrderedDict") + b")\x81."),
    "arguments": attack(b"\x80\x02" + name("collections", "OrderedDict") + b"](K\x01e\x85R."),
    "build on a name": attack(b"\x80\x02" + name("torch", "FloatStorage") + b"}b."),
    "escaped name": attack(b"\x80\x02c\\ollections\nOrderedDict\n)R."),
    "endless name": attack(b"\x80\x02c" + b"a" * 500),
    "no utf-8": attack(b"\x80\x02}X\x01\0\0\0\xffK\x01s."),
    "far memo": attack(b"\x80\x02}r\xff\xff\xff\x7fj\xff\xff\xff\x7fs."),
    "no memo": attack(b"\x80\x02h\x05."),
    "long text": attack(b"\x80\x02X\xff\xff\xff\x7f."),
    "empty stack": attack(b"\x80\x02."),
    "mark left": attack(b"\x80\x02(."),
    "no mark": attack(b"\x80\x02}u."),
    "list": attack(b"\x80\x02]."),
    "number": attack(b"\x80\x02}X\x01\0\0\0aK\x01s."),
    "key no text": attack(b"\x80\x02}K\x01K\x01s."),
    "far offset": one(offset=1),
    "long stride": one(strides=(4, 1)),
    "huge": one(shape=(1 << 40, 1), strides=(0, 0)),
    "strides past 64 bits": one(shape=(5, 1), strides=(1 << 60, 1)),
    "negative strides past 64 bits": one(shape=(5, 1), strides=(-1 << 60, 1)),
    "repeated row": one(storage=floats(3), strides=(0, 1)),
    "blown up": one(shape=(1000, 1000), strides=(0, 0)),
    "overflow": one(shape=(1 << 29,) * 8, strides=(1 << 29,) * 8),
    "empty and huge": one(shape=(0, *(1 << 29,) * 7), strides=(1,) * 8),
    "negative size": one(shape=(-2, 3)),
    "negative stride": one(strides=(-3, 1)),
    "negative offset": one(offset=-1),
    "many axes": one(shape=(1,) * 40, strides=(1,) * 40),
    "uneven": one(strides=(3,)),
    "count": one(count=7),
    "negative count": one(count=-1),
    "count of all memory": one(count=1 << 50),
    "unknown storage": one(kind="QUInt8Storage"),
    "untyped": one(kind="UntypedStorage"),
    "tail": WHOLE + b"\0",
    "zip": b"PK\x03\x04" + WHOLE,
    "protocol": legacy({}, MAGIC + PROTOCOL.replace(b"\xe9", b"\xea") + SYSTEM),
    "two sizes": legacy(
        {"a": Made("k", floats(2), (2,), (1,)), "b": Made("k", floats(2), (2,), (1,), count=3)}
    ),
}


@pytest.mark.parametrize(
    "case", ["system", "builtins", "stack global", "inst", "obj", "escaped name", "untyped"]
)
def test_no_other_name_is_looked_up(weights: Path, case: str) -> None:
    with pytest.raises(BackboneError, match="which a state dict does not need"):
        read(weights, ATTACKS[case], SHAPES)


@pytest.mark.parametrize("case", ATTACKS)
def test_attacks_end_in_one_sentence_and_take_no_memory(weights: Path, case: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BackboneError, match="cannot read the weights"):
            read(weights, ATTACKS[case], SHAPES)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_storage_list_that_does_not_fit_is_refused(weights: Path) -> None:
    broken = WHOLE.replace(b"\x80\x02](" + text("7") + b"e.", b"\x80\x02].")
    assert broken != WHOLE
    with pytest.raises(BackboneError, match="does not fit its tensors"):
        read(weights, broken, SHAPES)


@pytest.mark.parametrize("shapes", [{"w": (3, 2)}, {"w": (2, 3), "b": (1,)}, {}])
def test_other_tensors_than_expected_are_refused(weights: Path, shapes: dict) -> None:
    with pytest.raises(BackboneError, match="does not hold the tensors of this network"):
        read(weights, WHOLE, shapes)


def test_an_absent_and_an_oversized_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(BackboneError, match=r"weights\.pth: No such file"):
        read_tensors(path, "0" * 64, SHAPES, "install it again")
    assert read(path, WHOLE, SHAPES)["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    monkeypatch.setattr(torch_file, "MAXIMUM_BYTES", len(WHOLE) - 1)
    with pytest.raises(BackboneError, match="larger than"):
        read(path, WHOLE, SHAPES)
