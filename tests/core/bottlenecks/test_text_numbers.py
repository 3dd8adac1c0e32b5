from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcli.core.bottlenecks import text_numbers as number_text
from tlcli.core.bottlenecks.text_numbers import parse_numbers

# As many tools write a float: shortest, C's %g, plain decimals, single precision.
SPELLINGS = (repr, "{:g}".format, "{:.6f}".format, lambda value: str(np.float32(value)))


def as_float_reads(text: bytes) -> list[float]:
    return [float(part) for part in text.split(b",")]


def check_against_float(data: bytes) -> None:
    try:
        expected = as_float_reads(data)
    except ValueError:
        with pytest.raises(ValueError, match="could not convert"):
            parse_numbers(data)
    else:
        assert parse_numbers(data).tobytes() == np.array(expected).tobytes()


@given(
    st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=40),
    st.lists(st.sampled_from(SPELLINGS), min_size=1, max_size=4),
)
def test_numbers_have_the_very_bits_of_float(values, spellings):
    spelled = [spellings[i % len(spellings)](value) for i, value in enumerate(values)]
    text = ",".join(spelled).encode()
    expected = np.array(as_float_reads(text))
    assert parse_numbers(text).tobytes() == expected.tobytes()


@given(st.text("0123456789.,-+e \n_x", min_size=1, max_size=30))
def test_what_float_refuses_is_refused(text):
    check_against_float(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "0.5",
        "-0.0,0.0",
        "12345678.1234567,0.12345678,0.123456789,123456.123456789",
        "99999999.9999999,0.99999999999999,1.00000000000001",
        "0.0735578,6.76e-05,1.42926,0.1,0.2,0.3,0.4,0.5,0.6,0.7",
        " 0.5,0.25\n",
        "1.2.3,4",
        "1.,.5",
        "1:.5,2.5",
        "0./5,2.5",
        "\u0661.5",
        "",
        ",",
        "0.5,",
        "0.5\x00,1.5",
    ],
)
def test_forms(text):
    check_against_float(text.encode())


def test_usual_files_are_read_by_words(shared):
    files = sorted((shared / "houses" / "bottlenecks" / "house_with_pool").iterdir())[:5]
    for file in files:
        text = file.read_bytes()
        values = number_text._parse_words(text)
        assert values is not None
        assert values.tobytes() == np.array(as_float_reads(text)).tobytes()
