"""Named weight layouts for kernels: array -> array, applied when a call is lowered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array


def interleaved(*blocks: int) -> Callable[[Array], Array]:
    """The layout of kernels that compute several outputs at a time.

    ``[N, ...]`` -> flat: blocks of rows, of which first come the first elements, then the second ones, and so on.
    As many blocks of the first size as fit, then of the second, and so on; at last single rows.
    """

    def pack(weights: Array) -> Array:
        matrix = weights.reshape(len(weights), -1)
        parts, start = [], 0
        for block in (*blocks, 1):
            while start + block <= len(matrix):
                parts.append(matrix[start : start + block].T.ravel())
                start += block
        return np.concatenate(parts)

    return pack


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "rows4": interleaved(4),
    "rows8": interleaved(8),
}
