"""What the operators share where they compute on halves (docs/arithmetic.md, half precision)."""

from __future__ import annotations

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Params, Tensor
from edgeq.ops.linear import NO_CLAMP, Clamp


def half_params(scalars: dict[str, int | str], tables: dict[str, Array] | None = None, clamp: Clamp = NO_CLAMP) -> Params:
    """Parameters under the law of halves; `act_min` and `act_max` are limits of `half.order`."""
    low, high = half.limits(clamp)
    return Params(half.LAW, {**scalars, "act_min": low, "act_max": high}, tables or {})


def half_layer(where: str, weights: Tensor, bias: Tensor, scalars: dict[str, int | str], clamp: Clamp) -> Params:
    """Parameters of a layer: half weights, and float32 biases that are not -0.

    Raises:
        EdgeqError: the weights are not halves.
    """
    if weights.data is None or bias.data is None or weights.type.dtype is not DType.FLOAT16:
        raise EdgeqError(f"weights {weights.type} of a layer on halves are not constant halves", where=where)
    return half_params(scalars, {"weights": weights.data, "bias": bias.data.astype(np.float32) + np.float32(0)}, clamp)


def finish(params: Params, total: Array) -> Array:
    """float32 results to halves between the limits."""
    return half.clamped(half.from_float(total), params.act_min, params.act_max)


def reciprocals(first: int, last: int) -> Array:
    """float32 1/n for n from `first` to `last`."""
    return np.float32(1) / np.arange(first, last + 1, dtype=np.float32)
