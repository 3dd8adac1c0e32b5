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
from tlcli.core.photos.neighbours import Neighbours

ALIKE = 0.97
"""Correlation of thumbnails from which on photos are copies."""
NEAR = 0.5
"""Cosine of the angle between the vectors of copies, on their main axes, at least."""
_NEAR_WHOLE = 0.35  # a grey copy of a colourful photo lies farther off
_SIDE = 32
# Coarse thumbnails find the pairs that fine ones decide on.
_COARSE, _COARSELY_ALIKE = 16, 0.94
# Of a thumbnail with less contrast, noise is all that could correlate.
_LEAST_DEVIATION = 3.0
_PRODUCTS = 16 << 20
# Sides of a crop relative to the picture, and what a coarse position must reach.
_SCALES = (0.95, 0.9, 0.85, 0.8)
_WORTH_REFINING = 0.85
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
    count, step = len(thumbnails), THUMBNAIL // side
    blocks = thumbnails.reshape(count, side, step, side, step)
    return _normalised(blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1))


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


def _whole(thumbnails: Array, directions: Floats) -> Iterator[Copy]:
    coarse, fine = (thumbnail_rows(thumbnails, side) for side in (_COARSE, _SIDE))
    step = max(1, _PRODUCTS // max(1, len(coarse)))
    for start in range(0, len(coarse), step):
        products = coarse[start : start + step] @ coarse[start:].T
        first, second = np.nonzero(products > _COARSELY_ALIKE)
        later = second > first
        first, second = first[later] + start, second[later] + start
        correlations = np.einsum("nd,nd->n", fine[first], fine[second])
        cosines = np.einsum("nd,nd->n", directions[first], directions[second])
        chosen = (correlations > ALIKE) & (cosines > _NEAR_WHOLE)
        for row in np.flatnonzero(chosen).tolist():
            yield Copy(int(first[row]), int(second[row]), "copy", float(correlations[row]))


def _cropped(
    thumbnails: Array, near: Neighbours, known: Container[tuple[int, int]]
) -> Iterator[Copy]:
    pairs: dict[int, set[int]] = {}
    pixels = thumbnails.reshape(len(thumbnails), -1)
    means, deviations = pixels.mean(axis=1), pixels.std(axis=1)
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
            if correlation > ALIKE:
                words = ["mirrored"] * mirrored + ["crop"] * (scale < 1)
                yield Copy(min(row, other), max(row, other), " ".join(words), correlation)


class _Matcher:
    """Finds thumbnails, or their mirror images, inside another one."""

    def __init__(self) -> None:
        self._half = _resampling(0, THUMBNAIL, _SIDE)
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
            around, (first, second) = size, centre
            for scaling in scalings:
                side = (around + scaling) * THUMBNAIL
                tops, lefts = (
                    np.stack([_resampling(start + shift, side, _SIDE) for shift in shifts])
                    for start in (first, second)
                )
                crops = np.einsum("aip,pq,bjq->abij", tops, picture, lefts, optimize=True)
                found = _normalised(crops.reshape(len(shifts) ** 2, -1)) @ target
                position = int(found.argmax())
                if found[position] > best:
                    best = float(found[position])
                    row, column = divmod(position, len(shifts))
                    size, centre = around + scaling, (first + shifts[row], second + shifts[column])
        return best


def _resampling(start: float, length: float, side: int, pixels: int = THUMBNAIL) -> Floats:
    """Return what takes pixels to means over ``side`` equal parts of a range, [side, pixels].

    Args:
        start: of the range, in pixels; what lies outside of the picture counts as its edge.
        length: of the range, in pixels.
        side: number of parts.
        pixels: of the picture.
    """
    edges = np.clip(start + length * np.arange(side + 1) / side, 0, pixels)
    numbers = np.arange(pixels)
    low = np.maximum(edges[:-1, np.newaxis], numbers)
    high = np.minimum(edges[1:, np.newaxis], numbers + 1)
    weights = np.maximum(high - low, 0.0) + 1e-9
    result: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
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
