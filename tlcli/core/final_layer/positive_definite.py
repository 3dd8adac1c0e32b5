"""Linear equations with a symmetric positive definite matrix, by products of matrices.

NumPy's own Cholesky factor is copied between orders of memory, and its equations are solved by a
general method; halving the matrix leaves products, which take all cores, and small factors.
"""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Array

# Of so few rows NumPy's own factor is the fastest.
_SMALL = 128


def factorise(matrix: Array) -> None:
    """Replace the lower triangle of ``matrix`` [N, N] by what `solve` takes.

    It is the Cholesky factor, but for the small blocks on the diagonal, which are inverted.

    Raises:
        numpy.linalg.LinAlgError: the matrix is not positive definite, or so nearly that rounding
            makes it so.
    """
    count = len(matrix)
    if count <= _SMALL:
        matrix[:] = np.linalg.inv(np.linalg.cholesky(matrix))
        return
    half = count // 2
    upper, crossing, lower = matrix[:half, :half], matrix[half:, :half], matrix[half:, half:]
    factorise(upper)
    _divide_rows(upper, crossing)
    lower -= crossing @ crossing.T
    factorise(lower)


def solve(factor: Array, right: Array) -> None:
    """Replace ``right`` [N, M] by the solution of the equations of what `factorise` left."""
    _divide(factor, right)
    _divide_transposed(factor, right)


def _divide_rows(factor: Array, left: Array) -> None:
    """Replace ``left`` [M, N] by itself times the inverse of a lower triangle's transpose."""
    count = len(factor)
    if count <= _SMALL:
        left[:] = left @ factor.T
        return
    half = count // 2
    _divide_rows(factor[:half, :half], left[:, :half])
    left[:, half:] -= left[:, :half] @ factor[half:, :half].T
    _divide_rows(factor[half:, half:], left[:, half:])


def _divide(factor: Array, right: Array) -> None:
    """Replace ``right`` [N, M] by the inverse of a lower triangle times it."""
    count = len(factor)
    if count <= _SMALL:
        right[:] = factor @ right
        return
    half = count // 2
    _divide(factor[:half, :half], right[:half])
    right[half:] -= factor[half:, :half] @ right[:half]
    _divide(factor[half:, half:], right[half:])


def _divide_transposed(factor: Array, right: Array) -> None:
    """Replace ``right`` [N, M] by the inverse of a lower triangle's transpose times it."""
    count = len(factor)
    if count <= _SMALL:
        right[:] = factor.T @ right
        return
    half = count // 2
    _divide_transposed(factor[half:, half:], right[half:])
    right[:half] -= factor[half:, :half].T @ right[half:]
    _divide_transposed(factor[:half, :half], right[:half])
