"""Functions of one number, clamps, and conversions between halves, float32 and integers."""

import numpy as np
import triton
import triton.language as tl

from edgeq.ir import DType
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes, halves
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.law import limit, requantize_tflm
from edgeq.run.gpu.step import Step, Value


@triton.jit
def mathematics(x, a, b, F: tl.constexpr):
    """The function of edgeq.floats with the name F, of x and its constants, where it is no activation."""
    if F == "absolute":
        y = halves.magnitude(x)
    elif F == "opposite":
        y = halves.negative(x)
    elif F == "exp":
        y = halves.exp(x)
    elif F == "log":
        y = halves.log(x)
    elif F == "sqrt":
        y = halves.sqrt(x)
    elif F == "rsqrt":
        y = halves.reciprocal(halves.sqrt(x))
    elif F == "reciprocal":
        y = halves.reciprocal(x)
    elif F == "square":
        y = x * x
    elif F == "erf":
        y = halves.erf(x)
    elif F == "sin":
        y = halves.circle(x, 0)
    elif F == "cos":
        y = halves.circle(x, 1)
    elif F == "floor":
        y = halves.floor(x)
    elif F == "ceil":
        y = halves.ceil(x)
    elif F == "nearest":
        y = halves.nearest(x)
    elif F == "sign":
        y = halves.sign(x)
    elif F == "tan":
        y = halves.tan(x)
    elif F == "sinh":
        y = halves.sinh(x)
    elif F == "cosh":
        y = halves.cosh(x)
    elif F == "asin":
        y = halves.asin(x)
    elif F == "acos":
        y = halves.acos(x)
    elif F == "atan":
        y = halves.atan(x)
    elif F == "asinh":
        y = halves.asinh(x)
    elif F == "acosh":
        y = halves.acosh(x)
    elif F == "atanh":
        y = halves.atanh(x)
    elif F == "is_zero":
        y = halves.is_zero(x)
    elif F == "step":
        y = halves.step(x, a)
    else:
        tl.static_assert(F == "power")
        y = halves.power(x, a, b)
    return y


@triton.jit
def evaluate(x, a, b, F: tl.constexpr):
    """The function of edgeq.floats with the name F, of x and its constants."""
    if F == "sigmoid":
        y = halves.sigmoid(x)
    elif F == "tanh":
        y = halves.tanh(x)
    elif F == "hard_sigmoid":
        y = halves.hard_sigmoid(x, a, b)
    elif F == "hard_swish":
        y = halves.hard_swish(x)
    elif F == "silu":
        y = halves.silu(x)
    elif F == "gelu":
        y = halves.gelu(x)
    elif F == "gelu_tanh":
        y = halves.gelu_tanh(x)
    elif F == "leaky_relu":
        y = halves.leaky_relu(x, a)
    elif F == "thresholded_relu":
        y = tl.where(x > a, x, 0.0)
    elif F == "elu":
        y = halves.elu(x, a)
    elif F == "selu":
        y = b * halves.elu(x, a)
    elif F == "celu":
        y = halves.celu(x, a)
    elif F == "softplus":
        y = halves.softplus(x)
    elif F == "softsign":
        y = halves.softsign(x)
    elif F == "mish":
        y = halves.mish(x)
    else:
        y = mathematics(x, a, b, F)
    return y


@kernel()
def table_s8(x_ptr, values_ptr, y_ptr, total, BLOCK: tl.constexpr):
    """values int8 ``[256]``."""
    i = elements(BLOCK)
    live = i < total
    q = tl.load(x_ptr + i, mask=live, other=0).to(tl.int32) + 128
    tl.store(y_ptr + i, tl.load(values_ptr + q), mask=live)


@kernel()
def function_f16(x_ptr, constants_ptr, y_ptr, total, CONSTANTS: tl.constexpr, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):
    """constants float32 ``[CONSTANTS]``, at most two."""
    i = elements(BLOCK)
    live = i < total
    x = tl.load(x_ptr + i, mask=live, other=0.0).to(tl.float32)
    a = tl.load(constants_ptr) if CONSTANTS > 0 else 0.0
    b = tl.load(constants_ptr + 1) if CONSTANTS > 1 else 0.0
    tl.store(y_ptr + i, halves.from_float(evaluate(x, a, b, FUNCTION)), mask=live)


@kernel()
def clamp_f16(x_ptr, y_ptr, total, low, high, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < total
    n = halves.order(tl.load(x_ptr + i, mask=live, other=0.0))
    tl.store(y_ptr + i, halves.of_order(limit(n, low, high)), mask=live)


@kernel()
def quantize(x_ptr, factor_ptr, y_ptr, total, zero, low, high, SINGLE: tl.constexpr, BLOCK: tl.constexpr):
    """float32 or halves to int8 or int16; halves of a step to even in law ``single``, else away from zero."""
    i = elements(BLOCK)
    live = i < total
    x = tl.load(x_ptr + i, mask=live, other=0.0).to(tl.float32)
    factor = tl.load(factor_ptr)
    steps = x * factor if SINGLE else tl.div_rn(x, factor)
    y = limit(halves.round_float(steps, SINGLE) + zero, low, high)
    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=live)


@kernel()
def rescale(x_ptr, y_ptr, total, zero, multiplier, shift, offset, low, high, BLOCK: tl.constexpr):
    """Integers to integers of another scale."""
    i = elements(BLOCK)
    live = i < total
    x = tl.load(x_ptr + i, mask=live, other=0).to(tl.int64) - zero
    y = limit(requantize_tflm(x, multiplier, shift) + offset, low, high)
    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=live)


@kernel()
def dequantize(x_ptr, scale_ptr, y_ptr, total, zero, HALF: tl.constexpr, BLOCK: tl.constexpr):
    """int8 or int16 to float32 or halves: the difference times the scale, rounded once in float32."""
    i = elements(BLOCK)
    live = i < total
    y = (tl.load(x_ptr + i, mask=live, other=0).to(tl.int32) - zero).to(tl.float32) * tl.load(scale_ptr)
    tl.store(y_ptr + i, halves.from_float(y) if HALF else y, mask=live)


@kernel()
def cast(x_ptr, y_ptr, total, HALF: tl.constexpr, BLOCK: tl.constexpr):
    """float32 to halves (HALF) or halves to float32."""
    i = elements(BLOCK)
    live = i < total
    x = tl.load(x_ptr + i, mask=live, other=0.0)
    tl.store(y_ptr + i, halves.from_float(x) if HALF else x.to(tl.float32), mask=live)


@computes("table")
def function(step: Step) -> tuple[Value, ...]:
    """A function of one number: of int8 a table, of halves a sequence."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, x.total)
    if not step.half:
        step.device.launch(table_s8, grid, x.data, step.table("values")[0], y.data, x.total, BLOCK=block)
    elif p.function == "limit":
        step.device.launch(clamp_f16, grid, x.data, y.data, x.total, *step.limits(), BLOCK=block)
    else:
        fixed = {"CONSTANTS": p.constants, "FUNCTION": p.function, "BLOCK": block}
        step.device.launch(function_f16, grid, x.data, step.table("values")[0], y.data, x.total, **fixed)
    return (y,)


@computes("quantize", on=("f32_s8", "f16_s8", "f32_s16", "f16_s16"))
def to_integers(step: Step) -> tuple[Value, ...]:
    """Real numbers to int8 or int16."""
    x, y = step.operands[0], step.result()
    block, grid = flat(step, x.total)
    info = np.iinfo(step.graph.type(step.node.outputs[0]).dtype.numpy)
    arguments = x.data, step.table("factor")[0], y.data, x.total, step.params.zero, int(info.min), int(info.max)
    step.device.launch(quantize, grid, *arguments, SINGLE=step.single, BLOCK=block)
    return (y,)


@computes("dequantize", on=("s8_f32", "s8_f16", "s16_f32", "s16_f16"))
def to_real(step: Step) -> tuple[Value, ...]:
    """int8 or int16 to real numbers."""
    x, y = step.operands[0], step.result()
    block, grid = flat(step, x.total)
    arguments = x.data, step.table("scale")[0], y.data, x.total, step.params.zero
    step.device.launch(dequantize, grid, *arguments, HALF=bool(step.params.half), BLOCK=block)
    return (y,)


@computes("cast", on=("f32_f16", "f16_f32"))
def convert(step: Step) -> tuple[Value, ...]:
    """float32 to halves or back."""
    x, y = step.operands[0], step.result()
    block, grid = flat(step, x.total)
    step.device.launch(cast, grid, x.data, y.data, x.total, HALF=step.graph.type(step.node.outputs[0]).dtype is DType.FLOAT16, BLOCK=block)
    return (y,)


@computes("rescale", on=("s8", "s8_s16", "s8_s32", "s16", "s16_s8", "s16_s32", "s32_s8", "s32_s16"))
def rescaled(step: Step) -> tuple[Value, ...]:
    """Integers in another scale and type."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, x.total)
    end = 1 << 8 * p.bytes - 1
    step.device.launch(rescale, grid, x.data, y.data, x.total, p.in_zero, p.multiplier, p.shift, p.out_offset, -end, end - 1, BLOCK=block)
    return (y,)
