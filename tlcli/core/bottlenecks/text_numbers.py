"""Comma-separated decimal numbers, read for a whole text at once.

A million calls of float() take a quarter of a second; here eight digits are one 64-bit word.
The results are the same to the bit: a number of at most 15 digits is an exact integer over an
exact power of ten, and one division rounds correctly. What is written otherwise goes to float().
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]
Words = npt.NDArray[np.uint64]

_COMMA, _DOT, _MINUS, _ZERO = b",.-0"
# Zeros in front of the text, so that the sixteen characters before any position exist.
_MARGIN = 16
_MOST_DIGITS = 15
_POWERS = 10 ** np.arange(_MOST_DIGITS + 1, dtype=np.int64)
# Entry k keeps the last k of eight characters; the first character is the lowest byte.
_LAST = np.array(
    [0xFF_FF_FF_FF_FF_FF_FF_FF << 8 * (8 - k) & 2**64 - 1 for k in range(9)], np.uint64
)
_ALL_ZERO_CHARACTERS = np.uint64(0x30_30_30_30_30_30_30_30)
# Added to a byte of 0 to 9 this leaves its top bit clear.
_NO_DIGIT_ABOVE_9 = np.uint64(0x76_76_76_76_76_76_76_76)
_TOP_BITS = np.uint64(0x80_80_80_80_80_80_80_80)
# Numbers of a rare form go to float() one by one, up to this share of all.
_FEW = 1 / 16


def parse_numbers(text: bytes) -> Doubles:
    """Return the numbers of ``text``, float64 [N], as float() reads each part between commas.

    Raises:
        ValueError: a part is no number.
    """
    values = _parse_words(text)
    return np.array([float(part) for part in text.split(b",")]) if values is None else values


def _parse_words(text: bytes) -> Doubles | None:
    """Return the numbers, or None where too many are not of the form -12.345."""
    characters = np.full(_MARGIN + len(text) + 1, _ZERO, np.uint8)
    characters[_MARGIN:-1] = np.frombuffer(text, np.uint8)
    characters[-1] = _COMMA
    ends, dots = np.flatnonzero(characters == _COMMA), np.flatnonzero(characters == _DOT)
    if len(dots) != len(ends):
        return None
    starts = np.concatenate(([_MARGIN], ends[:-1] + 1))
    negative = characters[starts] == _MINUS
    starts += negative
    whole, fraction = dots - starts, ends - dots - 1
    if whole.min() < 0 or fraction.min() < 0:
        return None
    plain = (whole >= 1) & (whole <= 8) & (fraction >= 1) & (whole + fraction <= _MOST_DIGITS)
    whole[~plain] = fraction[~plain] = 1
    number, valid = _digits(characters, dots, whole)
    low, low_valid = _digits(characters, ends, np.minimum(fraction, 8))
    scales = _POWERS.take(fraction)
    number *= scales
    number += low
    plain &= valid
    plain &= low_valid
    long = np.flatnonzero(fraction > 8)
    if len(long) > _FEW * len(ends):
        high, high_valid = _digits(characters, ends[long] - 8, fraction[long] - 8)
        number[long] += high * _POWERS[8]
        plain[long] &= high_valid
    else:
        plain[long] = False
    values: Doubles = number / scales
    np.negative(values, out=values, where=negative)
    others = np.flatnonzero(~plain)
    if len(others) > _FEW * len(ends):
        return None
    starts -= negative
    for other in others:
        values[other] = float(text[starts[other] - _MARGIN : ends[other] - _MARGIN])
    return values


def _digits(
    characters: npt.NDArray[np.uint8], ends: Positions, lengths: Positions
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the numbers of 1 to 8 digits that stop before ``ends``, and which are digits alone."""
    every_word = np.ndarray((len(characters) - 7,), "<u8", characters, strides=(1,))
    words: Words = every_word[ends - 8].astype(np.uint64, copy=False)
    words ^= _ALL_ZERO_CHARACTERS
    words &= _LAST.take(lengths)
    valid = ((words | (words + _NO_DIGIT_ABOVE_9)) & _TOP_BITS) == 0
    # Neighbours are joined into pairs, pairs into fours, fours into eight digits.
    for bits, ten, mask in (
        (8, 10, 0x00FF_00FF_00FF_00FF),
        (16, 100, 0x0000_FFFF_0000_FFFF),
        (32, 10_000, 0x0000_0000_FFFF_FFFF),
    ):
        words = (words * np.uint64(ten) + (words >> np.uint64(bits))) & np.uint64(mask)
    return words.view(np.int64), valid
