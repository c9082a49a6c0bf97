"""What the operators share where they compute on halves (docs/arithmetic.md, half precision)."""

from __future__ import annotations

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Params, Tensor
from edgeq.ops.linear import NO_CLAMP, Clamp


def law_of(accumulate: str) -> str:
    """The law of a layer whose sums are float32 (``f32``) or halves (``f16``)."""
    return half.SUMS if accumulate == "f16" else half.LAW


def half_params(
    scalars: dict[str, int | str], tables: dict[str, Array] | None = None, clamp: Clamp = NO_CLAMP, law: str = half.LAW
) -> Params:
    """Parameters under a law of halves; `act_min` and `act_max` are limits of `half.order`."""
    low, high = half.limits(clamp)
    return Params(law, {**scalars, "act_min": low, "act_max": high}, tables or {})


def half_layer(where: str, weights: Tensor, bias: Tensor, scalars: dict[str, int | str], clamp: Clamp, accumulate: str = "f32") -> Params:
    """Parameters of a layer: weights in half precision, or in int8 with the table ``scale``; biases as `half.starts`.

    Raises:
        EdgeqError: the weights are neither.
    """
    w = weights.type
    law = law_of(accumulate)
    known = w.dtype is DType.FLOAT16 or (w.dtype is DType.INT8 and w.q is not None and law == half.LAW)
    if weights.data is None or bias.data is None or not known:
        raise EdgeqError(f"weights {w} of a layer on halves are neither constant halves nor constant int8 with a scale", where=where)
    tables: dict[str, Array] = {"weights": weights.data, "bias": half.starts(where, law, bias.data)}
    if w.q is not None:
        tables["scale"] = np.broadcast_to(np.asarray(w.q.scale, np.float32), bias.type.shape).copy()
    return half_params(scalars, tables, clamp, law)


def layer(params: Params, rows: Array, own: slice = slice(None)) -> Array:
    """Results of a layer before rounding: halves ``rows [..., K]`` times the channels `own` -> float32 ``[..., N]``.

    With int8 weights the products, exact in float32, are summed from 0; the sum times the channel's scale, rounded, plus the bias.
    """
    w, bias = params.weights[own].reshape(len(params.bias[own]), -1).T, params.bias[own]
    if "scale" not in params.tables:
        return half.to_float(half.summed(params.law, rows, w, bias))
    with np.errstate(all="ignore"):
        return np.asarray(half.products(rows, w) * params.scale[own] + bias, np.float32)


def finish(params: Params, total: Array) -> Array:
    """float32 results to halves between the limits."""
    return half.clamped(half.from_float(total), params.act_min, params.act_max)


def reciprocals(first: int, last: int) -> Array:
    """float32 1/n for n from `first` to `last`."""
    return np.float32(1) / np.arange(first, last + 1, dtype=np.float32)
