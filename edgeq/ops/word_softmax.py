"""Softmax on int16 as TensorFlow Lite Micro computes it: the exponential and the reciprocal are interpolated in tables of 513 entries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq import numerics, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Params, TensorType

LEAST, MOST = -32768, 32767
ENTRIES = 512  # and one more, behind the last
REACH = 10.0  # exponentials of what lies further below the largest are 0


def _table(function: Callable[[Array], Array], low: float, high: float) -> Array:
    """TFLM's int16 table of a function on [low, high] whose values lie in [-1, 1]: half the error of a chord's middle is taken off."""
    one, half = np.float32(32768), np.float32(0.5)
    step = np.float32(high - low) / np.float32(ENTRIES)
    at = np.append(np.float32(low) + np.arange(ENTRIES, dtype=np.float32) * step, np.float32(high))
    ends, middles = (function(v.astype(np.float64)).astype(np.float32) * one for v in (at, at[:-1] + step * half))
    samples = numerics.round_half_away(ends)
    chords = numerics.round_half_away((ends[1:] + samples[:-1].astype(np.float32)) * half)
    error = chords - numerics.round_half_away(middles)
    table = np.append(samples[:-1] - numerics.round_half_away(error / 2), samples[-1])
    return np.asarray(np.clip(table, LEAST, MOST), np.int16)


def bind(where: str, x: TensorType, output: TensorType, beta: float) -> Params:
    """Rows, the multiplier to the table's steps, and both tables.

    Raises:
        EdgeqError: the output's scale is not 2^-15, or a row is longer than 65536.
    """
    depth = x.shape[-1]
    if abs(output.scale * 32768 - 1) > 1e-3 or output.zero_point or x.zero_point:
        found = f"{output.scale:g} and {output.zero_point}"
        raise EdgeqError(f"softmax on int16 gives scale 2^-15 and zero point 0, not {found}", where=where, fix="convert the model again")
    numerics.check_accumulator(where, np.array([depth * MOST]))
    multiplier, shift = numerics.quantize_multiplier(float(np.float32(x.scale)) * float(np.float32(beta)) / (REACH / 65535.0))
    scalars = {"rows": x.size // depth, "depth": depth, "multiplier": multiplier, "shift": -shift}
    exponentials, reciprocals = _table(reals.exp, -REACH, 0.0), _table(lambda v: 1 / (1 + v), 0.0, 1.0)
    return Params("tflm", scalars, {"exponentials": exponentials, "reciprocals": reciprocals})


def _looked_up(table: Array, x: Array) -> Array:
    """The table at x, int16 over its whole range, interpolated; int64."""
    x = np.clip(x, LEAST, MOST)
    at, wide = (x >> 7) + ENTRIES // 2, table.astype(np.int64)
    return np.asarray(wide[at] + (((wide[at + 1] - wide[at]) * (x & 127) + 64) >> 7))


def reference(params: Params, x: Array) -> Array:
    """int16 -> int16 along the last axis."""
    p, wide = params, x.astype(np.int64)
    difference = numerics.requantize_tflm(wide - wide.max(-1, keepdims=True), p.multiplier, -p.shift)
    e = _looked_up(p.exponentials, difference + MOST)
    total = e.sum(-1, keepdims=True)
    zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros of the 32-bit sum
    mantissa = ((total << (zeros - 1)) + (1 << 13)) >> 14
    reciprocal = _looked_up(p.reciprocals, mantissa - (1 << 15) - (1 << 16))
    right = 31 - zeros
    return np.asarray(np.clip((e * reciprocal + (np.int64(1) << (right - 1))) >> right, 0, MOST), np.int16)
