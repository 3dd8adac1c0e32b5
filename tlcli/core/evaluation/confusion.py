"""Which labels are taken for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.notebook import block, confusion_html, data_frame, draw_confusion, new_figure
from tlcli.text import counted

# Above so many labels the matrix is written as its cells: of 10,000 it has 100 million.
DENSE_LABELS = 120


@dataclass(frozen=True, repr=False)
class ConfusionMatrix:
    """How often images of a true label were given a predicted one; zeros are not stored.

    Attributes:
        size: number of labels, L.
        cells: (true label, predicted label, count) of each cell above zero, row by row.
        labels: their names, in output order; empty where nobody gave them.
    """

    size: int
    cells: tuple[tuple[int, int, int], ...] = ()
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, truth: npt.ArrayLike, predicted: npt.ArrayLike, size: int) -> ConfusionMatrix:
        """Count true and predicted label indices, [N] each, of ``size`` labels."""
        rows, columns = (np.asarray(each, np.int64).reshape(-1) for each in (truth, predicted))
        cells, counts = np.unique(rows * size + columns, return_counts=True)
        columns_of = [(cells // size).tolist(), (cells % size).tolist(), counts.tolist()]
        return cls(size, tuple(zip(*columns_of, strict=True)))

    @property
    def matrix(self) -> npt.NDArray[np.int32]:
        """All counts: int32 [L, L], rows by true label, columns by predicted label."""
        matrix = np.zeros((self.size, self.size), np.int32)
        for row, column, count in self.cells:
            matrix[row, column] = count
        return matrix

    def row_sums(self) -> dict[int, int]:
        """Return how many images each true label has; labels without any are left out."""
        sums: dict[int, int] = {}
        for row, _, count in self.cells:
            sums[row] = sums.get(row, 0) + count
        return sums

    def to_dict(self) -> dict[str, Any]:
        """Return "confusion": [true label][predicted label] counts.

        Of more than `DENSE_LABELS` labels "confusion" is None, and "confusion_cells" lists the
        cells above zero.
        """
        if self.size <= DENSE_LABELS:
            return {"confusion": self.matrix.tolist()}
        return {"confusion": None, "confusion_cells": [list(cell) for cell in self.cells]}

    def to_frame(self) -> Any:
        """Return a pandas.DataFrame, rows by true label, columns by predicted label.

        Raises:
            OutputError: pandas is not installed.
        """
        return data_frame(dict(zip(self._names, self.matrix.T, strict=True)), self._names)

    def plot(self) -> Any:
        """Return a matplotlib Figure; save it with its method ``savefig``.

        Raises:
            OutputError: matplotlib is not installed.
        """
        side = min(4 + 0.3 * self.size, 12)
        figure = new_figure(side, side)
        draw_confusion(figure.subplots(), self.matrix, self._names)
        return figure

    def __repr__(self) -> str:
        images = sum(count for _, _, count in self.cells)
        return f"<ConfusionMatrix of {counted(self.size, 'label')}, {counted(images, 'image')}>"

    def _repr_html_(self) -> str:
        title = repr(self)[1:-1].replace("ConfusionMatrix", "Confusion matrix")
        return block(title, end=confusion_html(self._names, self.cells))

    @property
    def _names(self) -> tuple[str, ...]:
        return self.labels or tuple(map(str, range(self.size)))
