"""Products of matrices in parts, and by them linear equations with a positive definite matrix.

NumPy's own Cholesky factor is copied between orders of memory, and its equations are solved by a
general method; halving the matrix leaves products, in parts for all processors, and small factors.
"""

from __future__ import annotations

import itertools

import numpy as np

from tlcli.arrays import Array, Doubles, Floats
from tlcli.runtime.blas_threads import in_parallel, one_blas_thread

# A solution in float32 is corrected until what is left is this share of the right side.
_RESIDUAL = 1e-9
_CORRECTIONS = 8
_ROWS_AT_ONCE = 512
# So few equations are solved by a general method, which costs fewer calls.
_FEW_ROWS = 400
# Of so few rows NumPy's own factor is the fastest.
_SMALL = 128
# Rows of a product that one thread computes: fewer would make it slower than a whole.
_ROWS_OF_PART = 384
# Multiplications below which starting threads costs more than they save.
_WORK_OF_THREADS = 1 << 25


def product_in_parts(left: Array, right: Array, out: Array | None = None) -> Array:
    """Return left [N, M] @ right [M, K], whose bits no number of threads changes.

    Parts of the longer side are computed side by side, each in one thread.

    Args:
        left: any matrix.
        right: any matrix.
        out: where the result is written, [N, K].
    """
    rows, columns = len(left), right.shape[1]
    if out is None:
        out = np.empty((rows, columns), np.result_type(left, right))
    if left.size * columns < _WORK_OF_THREADS:
        with one_blas_thread():
            np.matmul(left, right, out=out)
        return out

    def multiply(part: slice) -> None:
        if rows >= columns:
            np.matmul(left[part], right, out=out[part])
        else:
            np.matmul(left, right[:, part], out=out[:, part])

    in_parallel(multiply, row_parts(max(rows, columns)))
    return out


def factorise(matrix: Array) -> None:
    """Replace the lower triangle of ``matrix`` [N, N] by what `solve` takes.

    It is the Cholesky factor, except that the small blocks on the diagonal are inverted.

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
    parts = row_parts(len(crossing))
    in_parallel(lambda part: _divide_rows(upper, crossing[part]), parts)

    def subtract(part: slice) -> None:
        lower[part, : part.stop] -= crossing[part] @ crossing[: part.stop].T

    in_parallel(subtract, parts[::-1])  # the last is the widest
    factorise(lower)


def row_parts(count: int, rows: int = _ROWS_OF_PART) -> list[slice]:
    """Return ranges of up to ``rows`` that cover ``count`` rows, all of much the same length.

    Without rows, one empty range.
    """
    parts = max(1, -(-count // rows))
    ends = [count * number // parts for number in range(parts + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]


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


@one_blas_thread()
def solution(matrix: Floats, diagonal: float, right: Doubles, exact: bool) -> Doubles:
    """Solve the equations of a positive definite matrix with more on its diagonal.

    Args:
        matrix: [N, N], left as it is.
        diagonal: added to each value on the diagonal, above 0.
        right: the right side, [N, M].
        exact: correct the solution's rounding to float32.

    Returns:
        The solution [N, M].
    """
    if len(matrix) <= _FEW_ROWS:
        whole = matrix.astype(np.float64 if exact else np.float32)
        whole[np.diag_indices_from(whole)] += diagonal
        return np.linalg.solve(whole, right.astype(whole.dtype)).astype(np.float64)
    factor = matrix.copy()
    factor[np.diag_indices_from(factor)] += np.float32(diagonal)
    try:
        factorise(factor)
    except np.linalg.LinAlgError:
        return _solution_in_double(matrix, diagonal, right)
    # Each column on a scale of its own: float32 has no room for products of large vectors.
    scale = np.maximum(np.abs(right).max(axis=0), 1e-300)
    residual = right / scale
    result: Doubles = np.zeros_like(residual)
    size = np.linalg.norm(residual)
    for correction in range(_CORRECTIONS if exact else 1):
        step = residual.astype(np.float32)
        solve(factor, step)
        result += step
        if not exact:
            break
        residual = right / scale - diagonal * result
        for start in range(0, len(matrix), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            residual[part] -= matrix[part].astype(np.float64) @ result
        if np.linalg.norm(residual) <= _RESIDUAL * size:
            break
        if correction == _CORRECTIONS - 1:
            return _solution_in_double(matrix, diagonal, right)
    result *= scale
    return result


def _solution_in_double(matrix: Floats, diagonal: float, right: Doubles) -> Doubles:
    factor = matrix.astype(np.float64)
    result: Doubles = right.copy()
    factor[np.diag_indices_from(factor)] += diagonal
    try:
        factorise(factor)
    except np.linalg.LinAlgError:  # rounding of the products themselves
        whole = matrix + diagonal * np.eye(len(matrix))
        return np.asarray(np.linalg.lstsq(whole, right, rcond=None)[0], np.float64)
    solve(factor, result)
    return result
