"""Imported vectors as one matrix, which is not copied where it is one already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrain.sources import Vectors
from tlcli.backbone import Backbone
from tlcli.errors import UsageError
from tlcli.text import counted


def stack_imported(
    vectors: Sequence[Vectors], backbone: Backbone | None, computed: int | None = None
) -> Vectors:
    """Return imported vectors as one matrix; they must have the size of computed ones.

    It is that of the import itself, not a copy, where the vectors are all of its rows in order.

    Args:
        vectors: of some images, float32 [D] each.
        backbone: what computes the others; None: there are none.
        computed: D of the computed ones, where it is known.

    Raises:
        UsageError: they have another size.
    """
    sizes = sorted({len(vector) for vector in vectors})
    expected = computed or (backbone.bottleneck_size if backbone is not None else None)
    if len(sizes) > 1 or (sizes and expected is not None and sizes != [expected]):
        assert backbone is not None
        wrong = next(size for size in sizes if size != expected)
        raise UsageError(
            f"the imported bottlenecks have {counted(wrong, 'value')}, those of {backbone.name} "
            f"have {expected or sizes[0]}; name the backbone that made them with --module, or give "
            "--final_layer_only and no other images"
        )
    if not vectors:
        return np.zeros((0, expected or 0), np.float32)
    matrix = vectors[0].base
    if matrix is not None and _are_rows(vectors, matrix):
        return matrix
    return np.stack(vectors).astype(np.float32, copy=False)


def _are_rows(vectors: Sequence[Vectors], matrix: Vectors) -> bool:
    """Return whether the vectors are the rows of ``matrix``, all of them, in their order."""
    if matrix.shape != (len(vectors), len(vectors[0])) or matrix.dtype != np.float32:
        return False
    start, step = _address(matrix), matrix.strides[0]
    return all(
        vector.base is matrix and _address(vector) == start + row * step
        for row, vector in enumerate(vectors)
    )


def _address(array: Vectors) -> int:
    return int(array.__array_interface__["data"][0])
