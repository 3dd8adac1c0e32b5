"""Every reader of foreign files: seeds, what was found before, and changes of both."""

from __future__ import annotations

from itertools import islice, product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

FOUND = Path(__file__).with_name("found")


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_findings(name: str) -> None:
    target = TARGETS[name]
    for data in [b"", *target.seeds(), *(path.read_bytes() for path in FOUND.glob(f"{name}/*"))]:
        target.run(data)


def test_findings_belong_to_a_target() -> None:
    assert {path.name for path in FOUND.iterdir()} <= {*TARGETS, "README.md"}


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Return a seed with some bytes replaced, cut out or put in, or nothing but rubbish."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        gone = draw(st.sampled_from((0, 0, 1, 1, 1, 2, 4, 30, len(data))))
        data[place : place + gone] = draw(
            st.one_of(
                st.binary(min_size=min(gone, 4), max_size=8),
                st.sampled_from((b"\xff" * 4, b"\0" * 8, b"\xff\xff\xff\x7f", b"\x80" * 9)),
            )
        )
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=40 if name == "cache" else 120,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changed(target.seeds()))
    def run(data: bytes) -> None:
        target.run(data)

    run()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["graph", "litert", "model_card", "packed_litert", "saved_model", "torch_file"]
)
def test_single_bits_turned(name: str) -> None:
    target = TARGETS[name]
    for number, seed in enumerate(target.seeds()):
        data = bytearray(seed)
        # One or two bits of every byte: five times as many take minutes.
        for place, bit in islice(product(range(len(seed)), range(8)), number % 5, None, 5):
            data[place] ^= 1 << bit
            target.run(bytes(data))
            data[place] ^= 1 << bit


@pytest.mark.slow
def test_a_short_run_of_the_fuzzer(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the extra fuzz is not installed")
    from tests.fuzz.run import fuzz

    for name in ("graph", "litert"):
        corpus = tmp_path / name
        corpus.mkdir()
        assert fuzz(name, 1, corpus, tmp_path) > 0, name
