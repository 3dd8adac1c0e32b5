"""Class activation maps: where in an image a classifier saw a label.

A bottleneck is the mean of a feature map over its h x w places, and the final layer is
linear, so a label's logit is the mean over the places of (features @ weights) plus a bias.
That map is exact: no gradients, no second network, one matrix product. A bottleneck that joins
the means of several maps has a share of the logit from each: the shares are enlarged to one size
by a rule that keeps their means, and added up.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcli.arrays import Array, Floats
from tlcli.core.heat_maps.feature_maps import FeatureMaps
from tlcli.core.heat_maps.linear_head import (
    AveragedMap,
    LinearEnd,
    NoActivationMapError,
    find_linear_end,
)
from tlcli.graph.shapes import infer_shapes
from tlcli.system.closing import Closing


@dataclass(frozen=True)
class _Share:
    """A part of the final layer: what one map contributes to the logits.

    Attributes:
        map: of the graph.
        weights: float32 [C, L]; None where the scores are the averaged features themselves.
    """

    map: AveragedMap
    weights: Array | None

    def of(self, features: Array, labels: Sequence[int] | None) -> Array:
        """Return the share of each place, as `ActivationMapper.maps` does.

        Raises:
            NoActivationMapError: what was averaged is no map of all places.
        """
        if (
            features.ndim != 4
            or self.map.window not in (None, features.shape[1:3])
            or (self.weights is not None and features.shape[-1] != len(self.weights))
        ):
            # A pooled map that was flattened, not averaged, has more values than channels.
            raise NoActivationMapError(
                f"its feature map of the shape {list(features.shape[1:])} is not averaged as a "
                "whole"
            )
        if self.weights is None:
            return features
        if labels is None:
            return np.asarray(features @ self.weights, np.float32)
        columns = self.weights[:, np.asarray(labels, np.intp)]  # [C, n]
        found: Array = np.einsum("nhwd,dn->nhw", features, columns)
        return found.astype(np.float32, copy=False)


class ActivationMapper(Closing):
    """Gives activation maps of images, to several threads at once where LiteRT runs the graph.

    Attributes:
        label_count: L; None where the scores are the averaged features themselves.
        any_batch: False when it takes one image at a time, which `maps` sees to.
        shown: of each part that is joined before the final layer, in order, whether the maps have
            its share; empty where nothing is joined.
    """

    def __init__(
        self,
        graph: Any,
        input: str,
        output: str,
        *,
        any_batch: bool = True,
        allow_tensorflow: bool = False,
    ) -> None:
        """Prepare the maps of a backbone or a whole classifier.

        Args:
            graph: a frozen ``GraphDef``, plain as exported or as `simplify` leaves it.
            input: name of its placeholder.
            output: name of its bottleneck or of its scores.
            any_batch: False when it takes one image at a time.
            allow_tensorflow: import TensorFlow (seconds) for a graph that LiteRT cannot run.

        Raises:
            NoActivationMapError: the output is not linear in averaged features, or not to be run.
        """
        end = find_linear_end(graph, output)
        self.shown = shown_parts(end)
        self.label_count = None if end.weights is None else end.weights.shape[1]
        self.any_batch = any_batch
        self._shares = _shares(end.maps, end.weights, functools.partial(_sizes, graph, input))
        features = [str(share.map.features) for share in self._shares]
        self._features = FeatureMaps(graph, input, features, allow_tensorflow=allow_tensorflow)

    def maps(self, batch: Array, labels: Sequence[int] | None = None) -> Array:
        """Return how much each place speaks for a label.

        Args:
            batch: float32 [n, height, width, 3] in the range that the graph takes, for graphs
                made by tlcli [0, 1].
            labels: the index of one label for each image; None: all labels of each.

        Returns:
            float32 [n, gh, gw], or [n, gh, gw, L] for all labels, of the size of the largest
            feature map. The mean over the places plus the label's bias is the label's logit, if
            all parts are `shown`. Without a linear layer: the features, [n, gh, gw, D].

        Raises:
            NoActivationMapError: what was averaged is no map of all places.
            GraphError: the graph cannot be run.
        """
        batches = [batch] if self.any_batch else [batch[i : i + 1] for i in range(len(batch))]
        runs = [self._features.run(each) for each in batches]
        shares = [
            share.of(np.concatenate(found), labels)
            for share, found in zip(self._shares, zip(*runs, strict=True), strict=True)
        ]
        if len(shares) == 1:
            return shares[0]
        size = max(share.shape[1] for share in shares), max(share.shape[2] for share in shares)
        enlarged = [enlarge(share, *size) for share in shares]
        if self.label_count is None:
            return np.concatenate(enlarged, axis=-1)
        return functools.reduce(np.add, enlarged)

    def close(self) -> None:
        """Release the graph; no maps afterwards."""
        self._features.close()


def shown_parts(end: LinearEnd) -> tuple[bool, ...]:
    """Return `ActivationMapper.shown` of the end of a graph."""
    return tuple(each.features is not None for each in end.maps) if len(end.maps) > 1 else ()


def note_of_layers(shown: Sequence[bool], names: Sequence[str] = ()) -> str:
    """Return a sentence on the layers whose shares heat maps have; "" where there is one layer.

    Args:
        shown: as in `ActivationMapper`.
        names: of the layers, in the same order; left out where they are not as many.
    """
    if not shown:
        return ""
    known = names if len(names) == len(shown) else ()
    seen = [name for name, is_shown in zip(known, shown, strict=False) if is_shown]
    count = f"{len(shown)} layers"
    if all(shown):
        return f"Heat maps add up the shares of {count}{_listed(': ', seen)}."
    left = [name for name, is_shown in zip(known, shown, strict=False) if not is_shown]
    return (
        f"Heat maps show {sum(shown)} of {count}{_listed(' (', seen, ')')}; the others"
        f"{_listed(' (', left, ')')} have no map."
    )


def _listed(before: str, names: Sequence[str], after: str = "") -> str:
    return f"{before}{', '.join(names)}{after}" if names else ""


def enlarge(maps: Array, height: int, width: int) -> Array:
    """Return maps [n, h, w, ...] with height x width places, no fewer, and the same means.

    Every value lies between those of the places next to it.
    """
    for axis, size in ((1, height), (2, width)):
        if maps.shape[axis] != size:
            rows = _enlarging(maps.shape[axis], size)
            maps = np.moveaxis(np.tensordot(rows, maps, (1, axis)), 0, axis)
    return maps.astype(np.float32, copy=False)


@functools.cache
def _enlarging(small: int, large: int) -> Floats:
    """Return [large, small], whose rows add up to 1 and whose columns are of one sum.

    Linear interpolation by a whole factor and averages over areas both keep the mean; they are
    done one after the other.
    """
    factor = -(-large // small)
    fine = small * factor
    # Between the middles of two places; at the edges their value goes on.
    middles = np.clip((np.arange(fine) + 0.5) / factor - 0.5, 0, small - 1)
    linear = np.maximum(0, 1 - np.abs(middles[:, None] - np.arange(small)))
    # Where the places of both sizes overlap, in parts of a place of the new size.
    new, old = np.arange(large)[:, None] * fine, np.arange(fine) * large
    overlap = np.minimum(new + fine, old + large) - np.maximum(new, old)
    found: Floats = (np.maximum(0, overlap) / fine @ linear).astype(np.float32)
    return found


def _shares(maps: Sequence[AveragedMap], weights: Array | None, sizes: Any) -> list[_Share]:
    """Return the maps with their rows of the final layer.

    Args:
        maps: what is joined.
        weights: [D, L] of the final layer, or None.
        sizes: returns the size of each.
    """
    if len(maps) == 1:
        inner = maps[0].weights
        whole = inner if weights is None else weights if inner is None else inner @ weights
        return [_Share(maps[0], whole)]
    if weights is None:
        return [_Share(each, each.weights) for each in maps if each.features is not None]
    ends = np.cumsum(sizes(maps))
    if ends[-1] != len(weights):
        raise NoActivationMapError("its final layer does not fit the values that are joined")
    rows = np.split(weights, ends[:-1])
    return [
        _Share(each, part if each.weights is None else each.weights @ part)
        for each, part in zip(maps, rows, strict=True)
        if each.features is not None
    ]


def _sizes(graph: Any, input: str, maps: Sequence[AveragedMap]) -> list[int]:
    """Return how many values each part of the joint has."""
    values = [each.values for each in maps]
    shapes = infer_shapes(graph, input, outputs=values)
    sizes = [(shapes.get(name) or (None,))[-1] for name in values]
    if None in sizes:
        raise NoActivationMapError("the sizes of the values that are joined are not known")
    return [int(size) for size in sizes if size is not None]
