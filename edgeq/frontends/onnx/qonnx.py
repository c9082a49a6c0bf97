"""QONNX (Pappalardo et al., 2022), as Brevitas and QKeras export it: nodes that quantize and dequantize at once, to any number of bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.linear import scalar
from edgeq.frontends.onnx.logic import binary
from edgeq.frontends.onnx.quantized import dequantize, in_words, quantize
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.values import Constant, Stored, Value
from edgeq.ir import Array, QParams
from edgeq.ops.add import Sub
from edgeq.ops.clamp import Clamp
from edgeq.ops.logic import Step
from edgeq.ops.mul import Mul

DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
BYTE = 8  # bits that an activation of edgeq's has
ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "ROUND": np.rint, "HALF_EVEN": np.rint, "FLOOR": np.floor, "CEIL": np.ceil, "ROUND_TO_ZERO": np.trunc, "DOWN": np.trunc,
}  # fmt: skip


@dataclass(frozen=True)
class _Grid:
    """Where a Quant node rounds to.

    Attributes:
        scale, zero: float32 and int64, in shapes that broadcast with what is rounded.
        low, high: the integers that it has.
    """

    scale: Array
    zero: Array
    low: int
    high: int


def _grid(call: Call) -> _Grid:
    """The grid of a Quant node.

    Raises:
        EdgeqError: it is computed, or no grid.
    """
    scale, zero, bits = (call.data(i, what) for i, what in ((1, "the scale"), (2, "the zero point"), (3, "the number of bits")))
    if scale is None or zero is None or bits is None or bits.size != 1:
        raise EdgeqError(f"{call.kind} without a scale, a zero point or a number of bits")
    signed, narrow, count = call.integer("signed", 1), call.integer("narrow", 0), float(bits.ravel()[0])
    if not (np.isfinite(scale).all() and (scale > 0).all() and (zero == np.rint(zero)).all()):
        raise EdgeqError(f"{call.kind} with a scale that is not positive, or a zero point that is no integer, is not supported")
    if count != round(count) or not 2 - (not signed) <= count <= 32:
        raise EdgeqError(f"{call.kind} to {count:g} bits is not supported", why="2 to 32 are")
    low = -(2 ** int(count - 1)) + narrow if signed else 0
    high = 2 ** int(count - 1) - 1 if signed else 2 ** int(count) - 1 - narrow
    return _Grid(scale.astype(np.float32), zero.astype(np.int64), low, high)


@reads("Quant", domain=DOMAINS[0])
@reads("Quant", domain=DOMAINS[1])
@reads("Quant", domain=DOMAINS[2])
@reads("IntQuant", domain=DOMAINS[0])
def quant(call: Call) -> Value:
    """``(clip(round(x / scale + zero), low, high) - zero) * scale``: of weights their integers, of activations a pair of stand-ins."""
    grid, value = _grid(call), call.required(0)
    mode = call.text("rounding_mode", "ROUND").upper()
    if mode not in ROUNDINGS:
        raise EdgeqError(f"{call.kind} with rounding mode {mode} is not supported", why=f"{', '.join(ROUNDINGS)} are")
    if isinstance(value, Constant):
        return _rounded(call, value.array, grid, ROUNDINGS[mode])
    if grid.scale.size != 1 or grid.zero.size != 1:
        raise EdgeqError("activations with a scale per channel are not supported", fix="quantize activations per tensor")
    scale, zero = float(grid.scale.ravel()[0]), int(grid.zero.ravel()[0])
    if grid.high - grid.low > 2**BYTE - 1:
        return in_words(call, value, (grid.low - zero) * scale, (grid.high - zero) * scale)
    if ROUNDINGS[mode] is not np.rint:
        raise EdgeqError(f"activations rounded by {mode} are not supported", fix="round to nearest, halves to even (ROUND)")
    if not grid.low <= zero <= grid.high:
        raise EdgeqError(f"{call.kind} with a zero point of {zero} is not supported", why=f"its integers are {grid.low} to {grid.high}")
    shift = -(2 ** (BYTE - 1)) - grid.low if grid.low == 0 else 0
    x = value
    if (grid.low, grid.high) not in ((-128, 127), (0, 255)):
        x = call.emit(Clamp(((grid.low - zero) * scale, (grid.high - zero) * scale)), x, tag="limited")
    q = QParams((scale,), zero + shift)
    return dequantize(call, quantize(call, x, q, False, "integers"), q)


def _rounded(call: Call, x: Array, grid: _Grid, rounding: Callable[[Array], Array]) -> Constant:
    """A constant on the grid; it remembers its integers where int8 has them."""
    steps = np.clip(rounding(x.astype(np.float32) / grid.scale + grid.zero.astype(np.float32)), grid.low, grid.high)
    less = steps.astype(np.int64) - grid.zero
    floats = (less.astype(np.float32) * grid.scale).astype(np.float32)
    axes = [i for i, n in enumerate(grid.scale.shape) if n > 1]
    stored = None
    if floats.shape == x.shape and len(axes) < 2 and less.size and less.min() >= -128 and less.max() <= 127:
        axis = axes[0] + x.ndim - grid.scale.ndim if axes else None
        stored = Stored(less.astype(np.int8), 0, grid.scale.ravel(), axis)
    return Constant(call.output, floats, stored)


@reads("BipolarQuant", domain=DOMAINS[0])
@reads("BipolarQuant", domain=DOMAINS[1])
@reads("BipolarQuant", domain=DOMAINS[2])
def bipolar(call: Call) -> Value:
    """The scale where x is 0 or more, minus the scale elsewhere."""
    value, scale = call.required(0), call.data(1, "the scale")
    if scale is None or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise EdgeqError(f"{call.kind} without a scale that is positive")
    if isinstance(value, Constant):
        grid = _Grid(scale.astype(np.float32), np.zeros(1, np.int64), -1, 1)
        return _rounded(call, np.where(value.array >= 0, grid.scale, -grid.scale), grid, np.rint)
    if scale.size != 1:
        raise EdgeqError("activations with a scale per channel are not supported", fix="quantize activations per tensor")
    size, rank = float(scale.ravel()[0]), len(value.type.shape)
    doubled = binary(call, Mul(), call.emit(Step(1.0), value, tag="sign"), scalar(call, 2 * size, rank), "doubled")
    return binary(call, Sub(), doubled, scalar(call, size, rank))
