"""Layers on int16 with int8 weights: exact sums, then one rounding by a multiplier of 15 bits (TFLM's 16x8).

Activations are symmetric. Sums are int32 where the weights prove that they fit, else int64.
"""

from __future__ import annotations

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.linear import Clamp, clamp_limits, exact_matmul

LEAST = -32768
MOST = 32767


def is_words(t: TensorType) -> bool:
    return t.dtype is DType.INT16


def is_array(x: Array) -> bool:
    """The same of stored elements."""
    return x.dtype == np.int16


def require_int16(where: str, op: Op, *types: TensorType) -> None:
    """Refuse tensors that are not int16 with one scale and zero point 0.

    Raises:
        EdgeqError: names the first that is not.
    """
    for t in types:
        if not is_words(t) or t.q is None or len(t.q.scale) != 1 or t.q.zero_point:
            raise EdgeqError(f"{op.kind()} on int16 wants symmetric int16 with one scale, not {t} {t.q}", where=where)


def require_tflm(law: str, where: str, op: Op, *types: TensorType) -> None:
    """Refuse int16 that no TFLite file gave, and all that is not int16 with one scale and zero point 0.

    Raises:
        EdgeqError: names the first that is not.
    """
    if law != "tflm":
        raise EdgeqError(f"{op.kind()} is not computed on int16 here", where=where, why=f"rounding {law}", fix="use int8 or float16")
    require_int16(where, op, *types)


def layer(where: str, x: TensorType, weights: Tensor, bias: Tensor, output: TensorType, clamp: Clamp, axis: int = 0) -> Params:
    """`stage` and the limits ``act_min`` and ``act_max`` of a layer on int16 whose output channels lie along `axis` of its weights.

    Raises:
        EdgeqError: as `stage`.
    """
    assert bias.data is not None
    own = stage(where, x, weights, bias.data, output.scale, axis)
    low, high = clamp_limits(clamp, output)
    return Params("", {**own.scalars, "act_min": low, "act_max": high}, dict(own.tables))


def stage(where: str, x: TensorType, weights: Tensor, bias: Array, output: float, axis: int = 0) -> Params:
    """What turns sums of products ``[rows]`` into int16 of scale `output`: scalar ``wide``, tables ``bias``, ``multiplier``, ``shift``.

    Args:
        weights: int8, its rows along `axis`.
        bias: int32 ``[rows]``, in the scale of the sums.

    Raises:
        EdgeqError: weights are no constant int8, or the sums are 2^14 times as coarse as the output.
    """
    if weights.data is None or weights.type.dtype is not DType.INT8 or weights.type.q is None:
        raise EdgeqError(f"a layer on int16 wants constant int8 weights, not {weights.type}", where=where)
    others = tuple(i for i in range(weights.data.ndim) if i != axis)
    bound = np.abs(weights.data.astype(np.int64)).sum(others) * -LEAST + np.abs(bias.astype(np.int64))
    scales = np.broadcast_to(np.asarray(weights.type.q.scale, np.float32).astype(np.float64), len(bias))
    multiplier, shift = short_multipliers(where, np.float64(np.float32(x.scale)) * scales, output)
    tables = {"bias": bias.astype(np.int32), "multiplier": multiplier, "shift": shift}
    return Params("", {"wide": int(bound.max(initial=0) >= 2**31)}, tables)


def short_multipliers(where: str, scales: Array, output: float) -> tuple[Array, Array]:
    """What turns sums of some scales into int16 of scale `output`: multipliers int16 and right shifts int8.

    Raises:
        EdgeqError: the sums are 2^14 times as coarse as the output.
    """
    multiplier, shift = numerics.quantize_multipliers(scales / np.float64(np.float32(output)))
    right = 15 - shift.astype(np.int64)
    if right.min() < 1:
        raise EdgeqError(f"the output's scale {output:g} is too fine for these weights", where=where, why="at most 2^14 steps a sum")
    short = np.minimum((multiplier.astype(np.int64) + (1 << 15)) >> 16, MOST)
    return short.astype(np.int16), np.minimum(right, 62).astype(np.int8)


def results(x: Array, w: Array, bias: Array, multiplier: Array, shift: Array) -> Array:
    """int16 ``x [..., K]`` times int8 ``w [rows, K]``, plus bias, in the output's scale, saturated to int16; int64."""
    return rescaled(exact_matmul(x, w.T, float(w.shape[1]) * 128 * 32768) + bias, multiplier, shift)


def rescaled(sums: Array, multiplier: Array, shift: Array) -> Array:
    """Exact sums ``[..., rows]`` in the output's scale, saturated to int16; int64."""
    n = shift.astype(np.int64)
    return np.asarray(np.clip((sums * multiplier.astype(np.int64) + (np.int64(1) << (n - 1))) >> n, LEAST, MOST))


def finish(params: Params, sums: Array) -> Array:
    """The output stage of `layer`: sums with the bias -> int16."""
    return np.asarray(np.clip(rescaled(sums, params.multiplier, params.shift), params.act_min, params.act_max), np.int16)
