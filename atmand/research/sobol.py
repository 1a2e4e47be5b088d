"""Sobol's sequence: points that fill a cube evenly, better than drawn ones, the same every time.

Direction numbers: S. Joe and F. Y. Kuo, "Constructing Sobol sequences with better two-dimensional projections", SIAM
Journal on Scientific Computing 30 (2008) 2635, their file new-joe-kuo-6.21201, the first 21 dimensions.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_DIMENSIONS", "sobol"]

_BITS: Final = 30
_POLYNOMIALS: Final = (
    (1, 0, (1,)),
    (2, 1, (1, 3)),
    (3, 1, (1, 3, 1)),
    (3, 2, (1, 1, 1)),
    (4, 1, (1, 1, 3, 3)),
    (4, 4, (1, 3, 5, 13)),
    (5, 2, (1, 1, 5, 5, 17)),
    (5, 4, (1, 1, 5, 5, 5)),
    (5, 7, (1, 1, 7, 11, 19)),
    (5, 11, (1, 1, 5, 1, 1)),
    (5, 13, (1, 1, 1, 3, 11)),
    (5, 14, (1, 3, 5, 5, 31)),
    (6, 1, (1, 3, 3, 9, 7, 49)),
    (6, 13, (1, 1, 1, 15, 21, 21)),
    (6, 16, (1, 3, 1, 13, 27, 49)),
    (6, 19, (1, 1, 1, 15, 7, 5)),
    (6, 22, (1, 3, 1, 15, 13, 25)),
    (6, 25, (1, 1, 5, 5, 19, 61)),
    (7, 1, (1, 3, 7, 11, 23, 15, 103)),
    (7, 4, (1, 3, 7, 13, 13, 15, 69)),
)
"""Degree, coefficients and first direction numbers of each dimension past the first."""

MOST_DIMENSIONS: Final = len(_POLYNOMIALS) + 1


def sobol(n: int, dimensions: int, seed: int = 0) -> NDArray[np.float64]:
    """Return the first `n` points (n, dimensions) in [0, 1), in Gray code's order.

    A seed other than 0 shifts all points by one drawn pattern of bits, which keeps them as even as they were.
    """
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise ValueError(f"{dimensions} dimensions; 1 to {MOST_DIMENSIONS} are known")
    if not 1 <= n <= 1 << _BITS:
        raise ValueError(f"{n} points; 1 to {1 << _BITS} can be made")
    directions = np.array([_directions(place) for place in range(dimensions)], np.uint64)
    points = np.empty((n, dimensions), np.uint64)
    shift = np.zeros(dimensions, np.uint64)
    if seed:
        shift = np.random.default_rng(seed).integers(0, 1 << _BITS, dimensions).astype(np.uint64)
    point = np.zeros(dimensions, np.uint64)
    for index in range(n):
        points[index] = point ^ shift
        lowest_zero = (~index & (index + 1)).bit_length() - 1
        point = point ^ directions[:, lowest_zero] if lowest_zero < _BITS else point
    return points / float(1 << _BITS)


def _directions(dimension: int) -> list[int]:
    if dimension == 0:
        return [1 << (_BITS - 1 - bit) for bit in range(_BITS)]
    degree, coefficients, first = _POLYNOMIALS[dimension - 1]
    found = [number << (_BITS - 1 - bit) for bit, number in enumerate(first)]
    for bit in range(degree, _BITS):
        value = found[bit - degree] ^ (found[bit - degree] >> degree)
        for back in range(1, degree):
            if coefficients >> (degree - 1 - back) & 1:
                value ^= found[bit - back]
        found.append(value)
    return found
