"""What the multiply-accumulate operators share: exact integer products, output stage, clamps."""

from __future__ import annotations

import math

import numpy as np

from edgeq import numerics
from edgeq.ir import Array, Params, Tensor, TensorType

INT8_MIN, INT8_MAX = -128, 127
Clamp = tuple[float, float]
NO_CLAMP: Clamp = (-math.inf, math.inf)


def exact_matmul(a: Array, b: Array, bound: float) -> Array:
    """``a @ b`` of integer arrays through BLAS, exact because every partial sum is at most `bound`.

    float32 holds integers up to 2^24, float64 up to 2^53. Returns int64.
    """
    dtype = np.float32 if bound < 2**24 else np.float64
    return np.matmul(a.astype(dtype), b.astype(dtype)).astype(np.int64)


def clamp_limits(clamp: Clamp, output: TensorType) -> tuple[int, int]:
    """The integer limits of a fused activation (TFLM's CalculateActivationRangeQuantized)."""
    scale, zero_point = np.float32(output.scale), output.zero_point

    def quantize(x: float, otherwise: int) -> int:
        if math.isinf(x):
            return otherwise
        return zero_point + int(numerics.round_half_away(float(np.float32(x) / scale)))

    low, high = INT8_MIN, INT8_MAX
    return (
        min(max(low, quantize(clamp[0], low)), high),
        max(min(high, quantize(clamp[1], high)), low),
    )


def output_stage(
    law: str, where: str, x: TensorType, weights: Tensor, bias: Tensor, output: TensorType, clamp: Clamp, sums: Array
) -> Params:
    """Folded bias, multipliers and clamps of a layer whose weights lie along output channels.

    Args:
        sums: int64 ``[channels, 2]``, per output channel the sum of the weights and of their magnitudes.
    """
    assert bias.data is not None and weights.type.q is not None
    channels = len(sums)
    zero_point = x.zero_point
    folded = bias.data.astype(np.int64) - zero_point * sums[:, 0]
    # raw x (|x| <= 128) meets the folded bias; x - zp (|x - zp| <= 255) meets the original one
    raw = sums[:, 1] * -INT8_MIN + np.abs(folded)
    bound = np.maximum(raw, sums[:, 1] * max(INT8_MAX - zero_point, zero_point - INT8_MIN) + np.abs(bias.data.astype(np.int64)))
    numerics.check_accumulator(where, bound)
    s_w = np.broadcast_to(np.float64(np.float32(weights.type.q.scale)), channels)
    ratios = np.float64(np.float32(x.scale)) * s_w / np.float64(np.float32(output.scale))
    multiplier, shift = numerics.quantize_multipliers(ratios)
    low, high = clamp_limits(clamp, output)
    scalars = {"out_offset": output.zero_point, "act_min": low, "act_max": high}
    left, stage = requantize_tables(law, where, multiplier, shift, bound)
    return Params(
        law,
        {**scalars, "left": left},
        {"bias": folded.astype(np.int32), "multiplier": multiplier, "shift": stage},
    )


def requantize_tables(law: str, where: str, multiplier: Array, shift: Array, bound: Array | int) -> tuple[int, Array]:
    """The common left shift and the int8 right shifts that the kernels use.

    Law ``single``: right shifts count beyond 32 after ``x << left`` (1 and more). Law ``tflm``:
    left is 0 and the table is TFLM's shift, negated: right shifts positive.
    """
    if law == "tflm":
        left = int(max(0, np.max(shift)))
        return left, (-shift).astype(np.int8)
    left = int(max(0, 2 + np.max(shift)))
    numerics.check_accumulator(where, np.asarray(bound, np.int64) << left)
    return left, np.minimum(left - 1 - shift, 30).astype(np.int8)


def apply_output_stage(params: Params, accumulator: Array) -> Array:
    """Requantize int accumulators ``[..., channels]`` (bias included) to int8."""
    shift = np.asarray(params.shift, np.int64)
    shift = params.left - 1 - shift if params.law == "single" else -shift
    y = numerics.requantize(params.law, accumulator, params.multiplier, shift)
    return np.clip(y + params.out_offset, params.act_min, params.act_max).astype(np.int8)
