"""Functions of one int16 variable as TensorFlow Lite Micro computes them: sigmoid and tanh by one table, and two slopes with limits."""

from __future__ import annotations

import math

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Params, TensorType

STEPS = 3 * 4096.0  # of an argument in 1: the table lies on multiples of 1/24
LEAST, MOST = -32768, 32767


def curve(where: str, name: str, x: TensorType, output: TensorType) -> Params:
    """Of ``sigmoid`` or ``tanh``: what brings x to the table's steps, and the table. The output has scale 2^-15.

    Raises:
        EdgeqError: it has another scale, or that of x is beyond 2.6.
    """
    if output.scale != 2.0**-15:
        raise EdgeqError(f"{name} on int16 gives scale 2^-15, not {output.scale:g}", where=where, fix="convert the model again")
    scale = float(np.float32(x.scale))
    exponent = 11 + math.frexp(scale)[1]  # of a power of two
    if scale == 2.0 ** (exponent - 12) and exponent in ((0,) if name == "sigmoid" else (0, 1)):
        multiplier, shift = 3 << exponent, 0
    else:
        shift, factor = 0, scale * STEPS
        while factor <= MOST / 2 and shift <= 30:
            shift, factor = shift + 1, factor * 2
        multiplier = int(factor)
    if multiplier > MOST:
        raise EdgeqError(f"{name} cannot read scale {scale:g} on int16", where=where, why="at most 2.6 a step")
    scalars: dict[str, int | str] = {"function": name, "multiplier": multiplier, "shift": shift, "rounding": (1 << shift) >> 1}
    return Params("tflm", scalars, {"table": numerics.sigmoid_table()})


def slopes(x: TensorType, output: TensorType, below: float, limits: tuple[int, int]) -> Params:
    """x in the output's scale, times `below` where it is negative, within limits."""
    scalars: dict[str, int | str] = {"function": "slopes", "act_min": limits[0], "act_max": limits[1]}
    for name, factor in (("above", 1.0), ("below", below)):
        multiplier, shift = numerics.quantize_multiplier(abs(factor) * float(np.float32(x.scale)) / float(np.float32(output.scale)))
        scalars |= {f"{name}_multiplier": -multiplier if factor < 0 else multiplier, f"{name}_shift": -shift}
    return Params("tflm", scalars)


def reference(params: Params, x: Array) -> Array:
    """int16 -> int16."""
    p, wide = params, x.astype(np.int64)
    if p.function == "slopes":
        above = numerics.requantize_tflm(wide, p.above_multiplier, -p.above_shift)
        below = numerics.requantize_tflm(wide, p.below_multiplier, -p.below_shift)
        return np.clip(np.where(wide >= 0, above, below), p.act_min, p.act_max).astype(np.int16)
    argument = (wide * p.multiplier + p.rounding) >> p.shift
    return (numerics.sigmoid_q15 if p.function == "sigmoid" else numerics.tanh_q15)(p.table, argument).astype(np.int16)
