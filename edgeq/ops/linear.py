"""What the multiply-accumulate operators share: exact integer products, output stage, clamps."""

from __future__ import annotations

import math

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Params, Tensor, TensorType

INT8_MIN, INT8_MAX = -128, 127
TFLM_SHIFT = 21  # the widest right shift of eq_rescale_tflm
PRODUCTS, LEAST_ROWS = 2**18, 16  # multiply-accumulates of a part of a product of matrices, and the rows that are worth a part
EXACT = 2.0**53  # float64 holds integers below it
BLOCK, ROW = 2**16, 2**11
BIAS = 128  # makes int8 positive
Clamp = tuple[float, float]
NO_CLAMP: Clamp = (-math.inf, math.inf)


def exact_products(a: Array, b: Array, bound: float) -> Array:
    """``a @ b`` of integer arrays through BLAS, exact because every partial sum is at most `bound`.

    float32 holds integers up to 2^24, float64 up to 2^53; which of them is returned. Many rows are multiplied some at a time, few
    enough for BLAS to start no threads: those take more processor time than they save.
    """
    dtype = np.float32 if bound < 2**24 else np.float64
    a, b = np.asarray(a, dtype), np.asarray(b, dtype)
    rows = PRODUCTS // b.size if a.ndim == b.ndim == 2 and b.size else 0
    if rows < LEAST_ROWS or len(a) <= rows:
        return np.asarray(np.matmul(a, b))
    result, even = np.empty((len(a), b.shape[1]), dtype), len(a) // rows * rows
    np.matmul(a[:even].reshape(-1, rows, len(b)), b, out=result[:even].reshape(-1, rows, b.shape[1]))
    np.matmul(a[even:], b, out=result[even:])
    return result


def exact_matmul(a: Array, b: Array, bound: float) -> Array:
    """`exact_products` as int64."""
    return exact_products(a, b, bound).astype(np.int64)


def weight_zero(weights: TensorType) -> dict[str, int]:
    """The scalar ``w_zero``, the zero point of asymmetric weights; nothing of symmetric ones."""
    return {"w_zero": weights.zero_point} if weights.zero_point else {}


def centred(params: Params) -> Array:
    """The weights less their zero point: int8, or int16 of asymmetric ones."""
    if "w_zero" not in params.scalars:
        return np.asarray(params.weights)
    return params.derived("centred", lambda: params.weights.astype(np.int16) - params.w_zero)


def largest_sums(w: Array, axes: tuple[int, ...]) -> Array:
    """The largest magnitude of sums of int8 times weights of at most 9 bits, over all axes but the channels': int64."""
    total: Array = np.abs(w.astype(np.int16)).sum(axes, dtype=np.int64) * 128
    return total


def clamp_limits(clamp: Clamp, output: TensorType) -> tuple[int, int]:
    """The integer limits of a fused activation (TFLM's CalculateActivationRangeQuantized); those of the dtype where it has none."""
    scale, zero_point = np.float32(output.scale), output.zero_point

    def quantize(x: float, otherwise: int) -> int:
        if math.isinf(x):
            return otherwise
        return zero_point + int(numerics.round_half_away(float(np.float32(x) / scale)))

    info = np.iinfo(output.dtype.numpy)
    low, high = int(info.min), int(info.max)
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
    s_w = np.broadcast_to(np.asarray(weights.type.q.scale, np.float32).astype(np.float64), channels)
    ratios = np.float64(np.float32(x.scale)) * s_w / np.float64(np.float32(output.scale))
    stage = rescaling(law, where, *numerics.quantize_multipliers(ratios), output, clamp, bound)
    return Params(law, stage.scalars, {"bias": folded.astype(np.int32), **stage.tables})


def rescaling(law: str, where: str, multiplier: Array, shift: Array, output: TensorType, clamp: Clamp, bound: Array | int) -> Params:
    """What requantizes int32 accumulators to `output`.

    Scalars ``out_offset``, ``act_min``, ``act_max`` and ``left``, tables ``multiplier`` and ``shift`` (int8).
    Law ``single``: every accumulator is first
    shifted left by ``left``; ``shift`` counts the right shift beyond 32, from 1 to 30. Law ``tflm``: ``shift`` is TFLM's,
    negated; ``left`` is 0 where all accumulators are below 2^29 and all shifts go right by at most 21 (a channel whose
    results are all 0 gets the multiplier 0 for that), else 1.

    Args:
        multiplier: int32 per channel, as `numerics.quantize_multiplier` gives them.
        shift: int32, likewise.
        bound: largest magnitude of an accumulator, in all or per channel.

    Raises:
        EdgeqError: an accumulator shifted left could overflow.
    """
    low, high = clamp_limits(clamp, output)
    scalars = {"out_offset": output.zero_point, "act_min": low, "act_max": high}
    if law == "tflm":
        reach = (np.asarray(bound, np.int64) * (multiplier >> np.maximum(-shift, 0)) >> 31) + max(512, 2 * (high - low))
        numerics.check_accumulator(where, np.where(shift > 0, 0, reach))  # eq_clamp takes differences with its limits
        peak = (np.asarray(bound, np.int64) * multiplier >> 31) + 1  # before the shift to the right
        vanish = (shift < -TFLM_SHIFT) & (peak < np.int64(1) << np.maximum(-1 - shift, 0).astype(np.int64))
        multiplier, shift = np.where(vanish, np.int32(0), multiplier), np.where(vanish, np.int32(-TFLM_SHIFT), shift)
        simple = np.max(shift) < 0 and np.min(shift) >= -TFLM_SHIFT and np.max(bound) < 2**29
        return Params(law, {**scalars, "left": int(not simple)}, {"multiplier": multiplier, "shift": (-shift).astype(np.int8)})
    left = int(max(0, 2 + np.max(shift)))
    numerics.check_accumulator(where, np.asarray(bound, np.int64) << left)
    right = left - 1 - shift
    multiplier = multiplier >> np.maximum(right - 30, 0)
    return Params(law, {**scalars, "left": left}, {"multiplier": multiplier, "shift": np.minimum(right, 30).astype(np.int8)})


def apply_output_stage(params: Params, accumulator: Array) -> Array:
    """Requantize int accumulators ``[..., channels]`` (bias included) to int8."""
    return apply_rescaling(params, accumulator, params.multiplier, params.shift)


def finish_sums(params: Params, sums: Array, bound: Array) -> Array:
    """Bias, requantization and clamp of a layer's sums ``[..., channels]``, whole numbers of any dtype, to int8: `apply_output_stage`.

    In float64 where that is exact: with one product and one sum per value it takes a quarter of the time.

    Args:
        bound: per channel, largest magnitude of a sum.
    """
    factors = params.derived("factors", lambda: _factors(params, bound))
    if not factors.size:
        return apply_output_stage(params, sums.astype(np.int64) + params.bias)
    channels = sums.shape[-1]
    count = sums.size // channels
    tiles = next(n for n in range(max(1, min(count, ROW // channels)), 0, -1) if count % n == 0)
    factor, start, step = np.tile(factors, tiles)
    flat, result = sums.reshape(-1, channels * tiles), np.empty((count // tiles, channels * tiles), np.uint8)
    rows = max(1, BLOCK // flat.shape[1])
    wide, start = np.empty((rows, flat.shape[1])), start + BIAS
    low, high, down = float(params.act_min + BIAS), np.nextafter(params.act_max + BIAS + 1.0, 0.0), bool(step.any())
    for first in range(0, len(flat), rows):
        part = wide[: len(flat) - first]
        part[...] = flat[first : first + rows]  # quicker than a product of two types
        part *= factor
        part += start
        if down:
            np.subtract(part, step, out=part, where=part < params.out_offset + BIAS + 0.5)
        np.clip(part, low, high, out=part)
        result[first : first + rows] = part  # cut, which is `floor` of what is positive
    result ^= BIAS
    return result.view(np.int8).reshape(sums.shape)


def _factors(params: Params, bound: Array) -> Array:
    """``[3, channels]``: y = floor(sum * factor + start), less `step` below the offset and a half: halves of negative numbers go down.

    Both laws come down to that: ``floor((floor(u) + k) / n) = floor((u + k) / n)`` for whole k and n makes one rounding of law
    ``tflm``'s two. Empty where a product or a sum could leave 53 bits, or a shifted accumulator 32.
    """
    multiplier, shift = params.multiplier.astype(np.float64), params.shift.astype(np.int64)
    reach, none = np.asarray(bound, np.float64) + np.abs(params.bias.astype(np.float64)), np.zeros((0, 3))
    if (reach * 2.0**params.left >= 2**31).any():
        return none
    most = abs(params.out_offset) + BIAS + 1.0
    if params.law == "single":
        right = 32 - params.left + shift
        exact, factor = reach * multiplier + most * np.exp2(right), np.ldexp(multiplier, -right)
        start, step = params.bias * factor + 0.5, np.zeros(len(shift))
    else:
        left, right = np.maximum(-shift, 0), np.maximum(shift, 0)
        exact, factor = reach * multiplier + most * np.exp2(31 + right), np.ldexp(multiplier, left - 31 - right)
        start = params.bias * factor + np.where(right > 0, np.exp2(-right - 1.0) + 0.5, 0.5)
        down = (right > 0) & (params.act_min < params.out_offset)  # else what is negative is clamped
        step = np.where(down, np.exp2(-1.0 * right), 0.0)
    return np.stack([factor, start + params.out_offset, step]) if (exact < EXACT).all() else none


def apply_rescaling(params: Params, accumulator: Array, multiplier: Array, shift: Array) -> Array:
    """The same with some of the entries of the tables ``multiplier`` and ``shift``, which broadcast."""
    return rescaled(params, accumulator, multiplier, shift).astype(np.int8)


def rescaled(params: Params, accumulator: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """What `apply_rescaling` computes, as int64. Accumulators wrap as int32 does, which faulty biases alone can make them."""
    accumulator = np.asarray(accumulator)
    if params.law == "single" and params.left:
        accumulator = accumulator.astype(np.int64) << params.left
    accumulator = accumulator.astype(np.int32)
    if params.law == "single":
        accumulator = accumulator >> params.left
    wide = np.asarray(shift, np.int64)
    wide = params.left - 1 - wide if params.law == "single" else -wide
    y = numerics.requantize(params.law, accumulator, multiplier, wide)
    y += params.out_offset
    return np.asarray(np.clip(y, params.act_min, params.act_max))


def require_same_scale(law: str, where: str, x: TensorType, output: TensorType) -> None:
    """Refuse an operator that only selects values but whose ends have different scales.

    Raises:
        EdgeqError: the zero points differ, or the scales by more than rounding (1e-6 in law ``tflm``, as in TFLM).
    """
    allowed = 1e-6 if law == "tflm" else 1e-6 * output.scale
    if abs(x.scale - output.scale) > allowed or x.zero_point != output.zero_point:
        raise EdgeqError(
            f"input (scale {x.scale}, zero point {x.zero_point}) and output ({output.scale}, {output.zero_point}) must have one scale",
            where=where, fix="requantize before or after it",
        )  # fmt: skip
