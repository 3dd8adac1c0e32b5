"""Near copies: the same picture in another size, quality or colour, cropped, or mirrored.

Whole pictures are compared by the correlation of grey thumbnails, by blocks of matrix products.
Crops and mirrors are looked for among the nearest photos only, by template matching (J. P. Lewis,
Fast Normalized Cross-Correlation, 1995). The vectors must be alike as well: two pictures of a flat
sky correlate without being copies.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Array, Floats, Indices
from tlcli.core.photos.facts import THUMBNAIL
from tlcli.core.photos.neighbours import Neighbours, blocks_of_rows
from tlcli.runtime.blas_threads import in_parallel

ALIKE = 0.97
"""Correlation of thumbnails from which on photos are copies."""
ALIKE_CROPPED = 0.93
"""The same of crops and mirror images, which do not have the pixels of the picture's thumbnail.

Fine patterns lose most by that. Only near photos are compared, of which few correlate by chance.
"""
NEAR = 0.5
"""Cosine of the angle between the vectors of copies, on their main axes, at least."""
_NEAR_WHOLE = 0.35  # a grey copy of a colourful photo lies farther off
_SIDE = 32
# Coarse thumbnails find the pairs that fine ones decide on.
_COARSE, _COARSELY_ALIKE = 16, 0.94
# Before them, so many of their main axes, found on so many rows, and half of the squared distance
# of such a correlation, a little more for rounding.
_AXES, _ROWS_FOR_AXES = 48, 1000
_FAR = 1 - _COARSELY_ALIKE + 1e-4
# Of a thumbnail with less contrast, noise is all that could correlate.
_LEAST_DEVIATION = 3.0
# Products that a thread has in memory at once.
_PRODUCTS = 4 << 20
# Thumbnails that are made smaller at once.
_THUMBNAILS = 8192
# Sides of a crop relative to the picture, and what a coarse position must reach.
_SCALES = (0.95, 0.9, 0.85, 0.8)
_WORTH_REFINING = 0.65
# A crop has nearly the mean and the contrast of the picture: most pairs need no matching.
_SAME_MEAN, _SAME_DEVIATION = 20.0, 12.0
# Then what is added to the scale, and to the place in pixels of a thumbnail, in two rounds.
_REFINEMENTS = (
    ((-0.05, -0.025, 0.0, 0.025, 0.05), (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)),
    ((-0.0125, 0.0, 0.0125), (-0.5, 0.0, 0.5)),
)


@dataclass(frozen=True)
class Copy:
    """Two rows with the same picture, ``first`` below ``second``.

    Attributes:
        kind: "same file", "copy", "crop", "mirrored" or "mirrored crop".
        correlation: of the thumbnails, 0 to 1.
    """

    first: int
    second: int
    kind: str
    correlation: float


def near_copies(thumbnails: Array, directions: Floats, near: Neighbours) -> list[Copy]:
    """Return the pairs of near copies, sorted by row.

    Args:
        thumbnails: grey, uint8 [N, 64, 64].
        directions: of the vectors on their main axes, length 1, float32 [N, A].
        near: the nearest rows by these directions.
    """
    found = {(each.first, each.second): each for each in _whole(thumbnails, directions)}
    for each in _cropped(thumbnails, near, found.keys()):
        found.setdefault((each.first, each.second), each)
    return [found[pair] for pair in sorted(found)]


def thumbnail_rows(thumbnails: Array, side: int) -> Floats:
    """Return thumbnails of a smaller side, centred and of length 1, float32 [N, side * side].

    One without contrast is a row of zeros, which correlates with nothing.
    """
    rows = np.empty((len(thumbnails), side * side), np.float32)
    for part in blocks_of_rows(len(thumbnails), _THUMBNAILS):
        rows[part] = _normalised(shrunken(thumbnails[part], side).reshape(-1, side * side))
    return rows


def shrunken(thumbnails: Array, side: int) -> Floats:
    """Return uint8 thumbnails [N, S, S] of a side that divides theirs, float32 [N, side, side]."""
    step = thumbnails.shape[1] // side
    # Sums of slices take a tenth of the time of a mean over two axes; 16 bits hold 256 pixels.
    wide = np.zeros((len(thumbnails), side, thumbnails.shape[2]), np.uint16)
    for shift in range(step):
        wide += thumbnails[:, shift::step]
    small = np.zeros((len(thumbnails), side, side), np.uint16)
    for shift in range(step):
        small += wide[:, :, shift::step]
    means: Floats = small / np.float32(step**2)
    return means


def _normalised(rows: Floats) -> Floats:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=-1, keepdims=True)
    flat = lengths < _LEAST_DEVIATION * np.sqrt(rows.shape[-1])
    result: Floats = np.where(flat, np.float32(0), centred / np.where(flat, 1, lengths))
    return result


def _lengths(rows: Floats) -> Floats:
    """Return the lengths of rows without their means, [N, 1]; infinite for those without contrast.

    Templates sum to zero, so that the means of rows need not be subtracted.
    """
    squares = np.einsum("nd,nd->n", rows, rows) - rows.sum(axis=1) ** 2 / rows.shape[1]
    flat = squares < _LEAST_DEVIATION**2 * rows.shape[1]
    result: Floats = np.where(flat, np.float32(np.inf), np.sqrt(np.maximum(squares, 1)))
    return result[:, np.newaxis]


def _whole(thumbnails: Array, directions: Floats) -> list[Copy]:
    coarse = thumbnail_rows(thumbnails, _COARSE)
    left, right = _pruned(coarse)
    found: list[Copy] = []

    def work(part: slice) -> None:
        products = left[part] @ right[part.start :].T
        # Faster than the positions in two dimensions.
        positions = np.flatnonzero((products > -_FAR).reshape(-1))
        first, second = np.divmod(positions, products.shape[1])
        later = second > first
        first, second = first[later] + part.start, second[later] + part.start
        near = np.einsum("nd,nd->n", coarse[first], coarse[second]) > _COARSELY_ALIKE
        first, second = first[near], second[near]
        # Few rows get so far, of which alone fine thumbnails are made.
        rows, places = np.unique(np.concatenate([first, second]), return_inverse=True)
        fine = thumbnail_rows(thumbnails[rows], _SIDE)
        one, other = places.reshape(2, -1)
        correlations = np.einsum("nd,nd->n", fine[one], fine[other])
        cosines = np.einsum("nd,nd->n", directions[first], directions[second])
        chosen = (correlations > ALIKE) & (cosines > _NEAR_WHOLE)
        for row in np.flatnonzero(chosen).tolist():
            pair = int(first[row]), int(second[row])
            found.append(Copy(*pair, "copy", float(correlations[row])))

    in_parallel(work, blocks_of_rows(len(coarse), _PRODUCTS // max(1, len(coarse))))
    return found


def _pruned(coarse: Floats) -> tuple[Floats, Floats]:
    """Return short rows [N, A + 2], twice, whose products exceed `-_FAR` for all that correlate.

    Rows of length 1 with a correlation c are the root of 2 - 2 c apart, and on a few axes no
    farther. The products are minus half the squared distance on the axes of the largest variance.
    """
    some = coarse[np.unique(np.linspace(0, len(coarse) - 1, _ROWS_FOR_AXES).astype(np.intp))]
    _, columns = np.linalg.eigh(some.T @ some)
    short = coarse @ columns[:, -_AXES:]
    half = np.einsum("nd,nd->n", short, short)[:, np.newaxis] / 2
    ones = np.ones_like(half)
    # Rows without contrast correlate with nothing.
    half = np.where(coarse.any(axis=1, keepdims=True), half, np.float32(2))
    return np.hstack([short, -half, ones]), np.hstack([short, ones, -half])


def _cropped(
    thumbnails: Array, near: Neighbours, known: Container[tuple[int, int]]
) -> Iterator[Copy]:
    if not near.rows.shape[1]:
        return
    pairs: dict[int, set[int]] = {}
    pixels = thumbnails.reshape(len(thumbnails), -1)
    means, deviations = pixels.mean(axis=1, dtype=np.float32), pixels.std(axis=1, dtype=np.float32)
    for row, (others, cosines) in enumerate(zip(near.rows, near.cosines, strict=True)):
        alike = cosines > NEAR
        alike &= np.abs(means[others] - means[row]) < _SAME_MEAN
        alike &= np.abs(deviations[others] - deviations[row]) < _SAME_DEVIATION
        for other in others[alike].tolist():
            if (min(row, other), max(row, other)) not in known:
                # Either may be the crop.
                pairs.setdefault(row, set()).add(other)
                pairs.setdefault(other, set()).add(row)
    matcher = _Matcher()
    for row, found in pairs.items():
        others = sorted(found)
        for other, (correlation, mirrored, scale) in zip(
            others, matcher.match(thumbnails[row], thumbnails[others]), strict=True
        ):
            if correlation > ALIKE_CROPPED:
                words = ["mirrored"] * mirrored + ["crop"] * (scale < 1)
                yield Copy(min(row, other), max(row, other), " ".join(words), correlation)


class _Matcher:
    """Finds thumbnails, or their mirror images, inside another one."""

    def __init__(self) -> None:
        self._half = _resampling(0, THUMBNAIL)
        self._templates = {
            scale: _resampling(0, _SIDE, round(scale * _SIDE), _SIDE) for scale in (1.0, *_SCALES)
        }

    def match(self, whole: Array, others: Array) -> list[tuple[float, bool, float]]:
        """Return of each of the others how well it matches, whether mirrored, and its scale.

        Args:
            whole: uint8 [64, 64].
            others: uint8 [K, 64, 64].
        """
        picture = whole.astype(np.float32)
        # Around zero, so that sums of squares keep their digits.
        small = self._half @ (picture - picture.mean()) @ self._half.T
        straight = self._half @ others.astype(np.float32) @ self._half.T
        both = np.concatenate([straight, straight[:, :, ::-1]])
        best = np.full(len(both), -1.0)
        places: list[tuple[float, int, int]] = [(1.0, 0, 0)] * len(both)
        for scale, resampling in self._templates.items():
            side = len(resampling)
            windows = np.lib.stride_tricks.sliding_window_view(small, (side, side))
            positions = windows.shape[1]
            rows = windows.reshape(-1, side * side)
            resized = resampling @ straight @ resampling.T
            mirrored_too = np.concatenate([resized, resized[:, :, ::-1]])
            templates = _normalised(mirrored_too.reshape(len(both), -1))
            correlations = (rows @ templates.T) / _lengths(rows)
            where = correlations.argmax(axis=0)
            for number, position in enumerate(where.tolist()):
                if correlations[position, number] > best[number]:
                    best[number] = correlations[position, number]
                    places[number] = (scale, *divmod(position, positions))
        found = []
        for number in range(len(others)):
            mirrored = bool(best[number + len(others)] > best[number])
            chosen = number + mirrored * len(others)
            scale, correlation = places[chosen][0], float(best[chosen])
            if correlation > _WORTH_REFINING and scale < 1:
                correlation = self._refined(picture, both[chosen], places[chosen])
            # A whole picture that is not mirrored is no crop; it was compared before.
            found.append((correlation if mirrored or scale < 1 else 0.0, mirrored, scale))
        return found

    def _refined(self, picture: Floats, other: Floats, place: tuple[float, int, int]) -> float:
        """Return the best correlation of a picture with another one [32, 32] near a place."""
        scale, top, left = place
        target = _normalised(other.reshape(-1))
        step, best = THUMBNAIL / _SIDE, 0.0
        size, centre = scale, (step * top, step * left)
        for scalings, shifts in _REFINEMENTS:
            lengths = THUMBNAIL * (size + np.array(scalings))[:, np.newaxis]
            # [scalings, shifts, 32, 64] each
            tops, lefts = (_resampling(start + np.array(shifts), lengths) for start in centre)
            columns = np.swapaxes(lefts, 2, 3)[:, np.newaxis]
            crops = ((tops @ picture)[:, :, np.newaxis] @ columns).astype(np.float32, copy=False)
            count = len(shifts)
            found = _normalised(crops.reshape(-1, _SIDE * _SIDE)) @ target
            position = int(found.argmax())
            if found[position] > best:
                best = float(found[position])
                scaling, rest = divmod(position, count**2)
                row, column = divmod(rest, count)
                size += scalings[scaling]
                centre = (centre[0] + shifts[row], centre[1] + shifts[column])
        return best


def _resampling(
    start: Array | float, length: Array | float, side: int = _SIDE, pixels: int = THUMBNAIL
) -> Floats:
    """Return what takes pixels to means over equal parts of ranges, [..., side, pixels].

    Args:
        start: of each range, in pixels; what lies outside of the picture counts as its edge.
        length: of each range, in pixels.
        side: number of parts.
        pixels: of the picture.
    """
    start, length = np.broadcast_arrays(start, length)
    parts = np.arange(side + 1) / side
    edges = np.clip(start[..., np.newaxis] + length[..., np.newaxis] * parts, 0, pixels)
    # What of each pixel is before each edge, 0 to 1.
    before = np.clip(edges.astype(np.float32)[..., np.newaxis] - np.arange(pixels), 0, 1)
    before = before.astype(np.float32)
    weights = np.diff(before, axis=-2) + np.float32(1e-9)
    result: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return result


def groups_of(pairs: Sequence[tuple[int, int]]) -> list[Indices]:
    """Return the rows that pairs join, each group rising, the largest group first."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent.setdefault(row, row) != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    members: dict[int, list[int]] = {}
    for row in sorted(parent):
        members.setdefault(root(row), []).append(row)
    return [
        np.array(rows, np.intp)
        for rows in sorted(members.values(), key=lambda rows: (-len(rows), rows[0]))
    ]
