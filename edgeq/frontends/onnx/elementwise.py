"""Operators that work element by element, and softmax."""

from __future__ import annotations

import math

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import DAMAGED
from edgeq.frontends.onnx.indexed import shifted
from edgeq.frontends.onnx.linear import scalar
from edgeq.frontends.onnx.logic import finite, quotient
from edgeq.frontends.onnx.registry import MICROSOFT, reads
from edgeq.frontends.onnx.values import Constant, Index, Value, is_integer, is_whole
from edgeq.ir import Array, DType, Op, Tensor
from edgeq.ops import activations as act
from edgeq.ops import mathematics as maths
from edgeq.ops import trigonometry as trig
from edgeq.ops.add import Add, Sub
from edgeq.ops.clamp import Clamp
from edgeq.ops.extremum import Maximum, Minimum
from edgeq.ops.layer_norm import LayerNorm
from edgeq.ops.log_softmax import LogSoftmax
from edgeq.ops.mul import Mul
from edgeq.ops.prelu import Prelu
from edgeq.ops.softmax import Softmax

UNARY: dict[str, Op] = {
    "Sigmoid": act.Sigmoid(), "Tanh": act.Tanh(), "HardSwish": act.HardSwish(), "Softplus": act.Softplus(), "Softsign": act.Softsign(),
    "Mish": act.Mish(), "Exp": maths.Exp(), "Log": maths.Log(), "Sqrt": maths.Sqrt(), "Abs": maths.Abs(), "Neg": maths.Neg(),
    "Erf": maths.Erf(), "Reciprocal": maths.Reciprocal(), "Sin": maths.Sin(), "Cos": maths.Cos(), "Floor": maths.Floor(),
    "Tan": trig.Tan(), "Sinh": trig.Sinh(), "Cosh": trig.Cosh(), "Asin": trig.Asin(), "Acos": trig.Acos(), "Atan": trig.Atan(),
    "Asinh": trig.Asinh(), "Acosh": trig.Acosh(), "Atanh": trig.Atanh(),
    "Ceil": maths.Ceil(), "Round": maths.Round(), "Sign": maths.Sign(), "Relu": Clamp((0.0, math.inf)),
}  # fmt: skip

MOST_POWERS = 8  # of one Pow
POWERS: dict[float, Op] = {2.0: maths.Square(), 0.5: maths.Sqrt(), -0.5: maths.Rsqrt(), -1.0: maths.Reciprocal()}


@reads(*UNARY)
def unary(call: Call) -> Tensor:
    return call.emit(UNARY[call.kind], call.x())


@reads("LeakyRelu", "Elu", "Celu", "ThresholdedRelu", "HardSigmoid", "Selu", "Swish", "Gelu")
def parametric(call: Call) -> Tensor:
    match call.kind:
        case "LeakyRelu":
            op: Op = act.LeakyRelu(call.number("alpha", 0.01))
        case "Elu":
            op = act.Elu(call.number("alpha", 1.0))
        case "Celu":
            op = act.Celu(call.number("alpha", 1.0))
        case "ThresholdedRelu":
            op = act.ThresholdedRelu(call.number("alpha", 1.0))
        case "HardSigmoid":
            op = act.HardSigmoid(call.number("alpha", 0.2), call.number("beta", 0.5))
        case "Selu":
            op = act.Selu(call.number("alpha", 1.6732632), call.number("gamma", 1.0507010))
        case "Gelu":
            op = act.Gelu(call.choice("approximate", "none", ("none", "tanh")) == "tanh")
        case _:
            return swish(call, call.x(), call.number("alpha", 1.0))
    return call.emit(op, call.x())


def swish(call: Call, x: Tensor, alpha: float) -> Tensor:
    """x sigmoid(alpha x)."""
    if alpha == 1:
        return call.emit(act.Silu(), x)
    if alpha == 0:
        raise EdgeqError("Swish with alpha 0 is not supported", fix="replace it by a multiplication by 0.5")
    scaled = call.emit(Mul(), x, scalar(call, alpha, len(x.type.shape)), tag="scaled")
    return call.emit(Mul(), call.emit(act.Silu(), scaled, tag="silu"), scalar(call, 1 / alpha, len(x.type.shape)))


@reads("Gelu", "FastGelu", "QuickGelu", "BiasGelu", domain=MICROSOFT)
def fused_gelu(call: Call) -> Tensor:
    x = call.x()
    if call.kind == "QuickGelu":
        return swish(call, x, call.number("alpha", 1.702))
    if call.value(1) is not None:
        x = call.emit(Add(), *call.same_rank(x, call.x(1)), tag="bias")
    return call.emit(act.Gelu(call.kind == "FastGelu"), x)


def known(value: Value) -> Array | None:
    """The floats of a constant operand."""
    return value.array if isinstance(value, Constant) and value.array.dtype.kind == "f" else None


def binary(call: Call, op: Op, left: Tensor, right: Tensor, tag: str = "") -> Tensor:
    return call.emit(op, *call.same_rank(left, right), tag=tag)


def unchanged(call: Call, neutral: float) -> Tensor | None:
    """The computed operand where the other is a constant that leaves it as it is."""
    for value, other in (call.values, call.values[::-1]):
        if isinstance(value, Tensor) and isinstance(other, Constant) and not is_integer(value) and other.stored is None:
            shape = np.broadcast_shapes(value.type.shape, other.array.shape)
            if shape == value.type.shape and (other.array == neutral).all():
                return value
    return None


@reads("Add", "Sum", "Mul", "Mean")
def chain(call: Call) -> Tensor:
    """Sums and products of any number of operands, from left to right."""
    if any(isinstance(v, Index) for v in call.values):
        return shifted(call)
    op: Op = Mul() if call.kind == "Mul" else Add()
    if len(call.values) == 2 and call.kind in ("Add", "Mul") and (same := unchanged(call, 0.0 if call.kind == "Add" else 1.0)):
        return same
    operands = [call.x(i) if call.kind == "Mul" else finite(call, call.required(i)) for i in range(len(call.values))]
    if len(operands) == 2 and operands[0].name == operands[1].name and call.kind == "Mul":
        return call.emit(maths.Square(), operands[0])
    y = operands[0]
    last = len(operands) - 1
    for i, other in enumerate(operands[1:], start=1):
        y = binary(call, op, y, other, "" if i == last and call.kind != "Mean" else f"partial{i}")
    if call.kind == "Mean" and last:
        return call.emit(Mul(), y, scalar(call, 1 / len(operands), len(y.type.shape)))
    return y


@reads("Sub")
def sub(call: Call) -> Tensor:
    left, right = call.required(0), call.required(1)
    negative = known(right)
    if negative is not None and isinstance(left, Tensor):
        name = f"{right.name}.negative" if right.name else f"{call.output}.constant"
        return binary(call, Add(), left, call.builder.constant(name, -negative))
    return binary(call, Sub(), call.tensor(left), call.tensor(right))


@reads("Div")
def div(call: Call) -> Tensor:
    left, right = call.required(0), call.required(1)
    if is_whole(left) and is_whole(right):
        if not isinstance(right, Constant) or not right.array.all():
            raise EdgeqError("Div of integers by computed ones is not supported")
        return quotient(call, call.tensor(left), right.array)
    divisor = known(right)
    if divisor is not None:
        if not divisor.all():
            raise EdgeqError("division by a constant that holds zeros")
        name = f"{right.name}.inverse" if right.name else f"{call.output}.constant"
        inverse = (1 / divisor.astype(np.float64)).astype(np.float32)
        return binary(call, Mul(), call.tensor(left), call.builder.constant(name, inverse))
    inverse_tensor = call.emit(maths.Reciprocal(), call.x(1), tag="inverse")
    dividend = known(left)
    if dividend is not None and dividend.size == 1 and dividend.ravel()[0] == 1:
        return inverse_tensor
    return binary(call, Mul(), call.tensor(left), inverse_tensor)


@reads("Pow")
def power(call: Call) -> Tensor:
    exponent = call.data(1, "the exponent")
    if exponent is None or exponent.size == 0:
        raise EdgeqError("Pow without an exponent", why=DAMAGED)
    if (exponent != exponent.ravel()[0]).any():
        return _powers(call, exponent)
    x = call.x()
    if np.broadcast_shapes(exponent.shape, x.type.shape) != x.type.shape:
        raise EdgeqError("Pow whose exponent widens its input is not supported", fix="use one constant exponent")
    power = float(exponent.ravel()[0])
    if power == 1:
        return x
    return call.emit(POWERS.get(power) or maths.Pow(power), x)


def _powers(call: Call, exponent: Array) -> Tensor:
    """Several whole exponents: the powers 0 to the largest, each where it is wanted."""
    most = int(exponent.max()) if np.array_equal(exponent, np.rint(exponent)) and exponent.min() >= 0 else MOST_POWERS + 1
    if most > MOST_POWERS:
        raise EdgeqError("Pow with several exponents is not supported", why=f"whole ones from 0 to {MOST_POWERS} are")
    x = call.x()
    y: Tensor | None = None
    for n in sorted({int(v) for v in exponent.ravel()}):
        mask = call.builder.constant(call.builder.fresh(f"{call.output}.is{n}"), (exponent == n).astype(np.float32))
        power = x if n == 1 else call.emit(POWERS.get(float(n)) or maths.Pow(float(n)), x, tag=f"power{n}") if n else None
        term = mask if power is None else binary(call, Mul(), power, mask, f"term{n}")
        y = term if y is None else binary(call, Add(), y, term, f"sum{n}")
    assert y is not None
    return y


@reads("Min", "Max")
def extreme(call: Call) -> Tensor:
    """The smallest or largest of any number of operands; single constants become clamps."""
    low = call.kind == "Max"
    op: Op = Maximum() if low else Minimum()
    bounds = [float(k.ravel()[0]) for v in call.values if v is not None and (k := known(v)) is not None and k.size == 1 and k.ndim <= 1]
    others = [call.tensor(v) for v in call.values if v is not None and not ((k := known(v)) is not None and k.size == 1 and k.ndim <= 1)]
    if not others:
        raise EdgeqError(f"{call.kind} of constants alone is not supported")
    y = others[0]
    for i, other in enumerate(others[1:], start=1):
        y = binary(call, op, y, other, "" if i == len(others) - 1 and not bounds else f"partial{i}")
    if bounds:
        y = call.emit(Clamp((max(bounds), math.inf) if low else (-math.inf, min(bounds))), y)
    return y


@reads("Clip", integers=True)
def clip(call: Call) -> Tensor:
    x = call.x()
    if x.type.dtype is DType.INT8:
        return _clip_integers(call, x)
    bounds = [call.value(1), call.value(2)]
    if any(isinstance(v, Tensor) or (v is not None and v.array.size != 1) for v in bounds):
        for value, op, tag in ((bounds[0], Maximum(), "low"), (bounds[1], Minimum(), "high")):
            if value is not None and (isinstance(value, Tensor) or np.isfinite(value.array).any()):
                x = binary(call, op, x, finite(call, value), tag)
        return x
    limits = []
    for position, name, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        found = call.data(position, f"'{name}'")
        if found is not None:
            limits.append(float(found.ravel()[0]))
        else:
            limits.append(call.number(name, default) if call.has(name) else default)
    if any(math.isnan(v) for v in limits):
        raise EdgeqError("Clip with a limit that is not a number")
    low, high = limits
    return call.emit(Clamp((min(low, high), high)), x)  # ONNX: the upper limit wins


def _clip_integers(call: Call, x: Tensor) -> Tensor:
    """Limits of integers, as quantizers for few bits write them, as the real values that they stand for."""
    if x.type.q is None:
        raise EdgeqError("Clip of integers without a scale is not supported", fix="use the QDQ format")
    moved = 128 if x.name in call.builder.unsigned else 0
    found = [call.data(1, "'min'"), call.data(2, "'max'")]
    stored = [None if a is None else float(a.ravel()[0]) - moved - x.type.zero_point for a in found]
    low, high = (default if v is None else v * x.type.scale for v, default in zip(stored, (-math.inf, math.inf), strict=True))
    return call.emit(Clamp((min(low, high), high)), x)


@reads("PRelu")
def prelu(call: Call) -> Tensor:
    x, slope = call.x(), call.constant(1, "the slope")
    assert slope is not None
    rank = len(x.type.shape)
    shape = (1,) * (rank - slope.array.ndim) + slope.array.shape
    if slope.array.size == 1:
        return call.emit(act.LeakyRelu(float(slope.array.ravel()[0])), x)
    axes = [i for i, n in enumerate(shape) if n > 1]
    if len(shape) != rank or len(axes) != 1 or shape[axes[0]] != x.type.shape[axes[0]]:  # a slope per element
        negative = call.emit(Clamp((-math.inf, 0.0)), x, tag="negative")
        return binary(call, Add(), call.emit(Clamp((0.0, math.inf)), x, tag="positive"), binary(call, Mul(), negative, call.x(1), "sloped"))
    flat = slope.reshaped((slope.array.size,))
    values = call.builder.constant(flat.name, flat.array, flat.stored)
    return call.with_axis_last(x, axes[0], lambda t: call.emit(Prelu(), t, values))


@reads("Softmax", "LogSoftmax")
def softmax(call: Call) -> Tensor:
    x = call.x()
    shape = x.type.shape
    axis = call.axis(-1 if call.version >= 13 else 1, len(shape))

    def compute(t: Tensor) -> Tensor:
        return call.emit(LogSoftmax() if call.kind == "LogSoftmax" else Softmax(), t)

    if call.version >= 13:
        return call.with_axis_last(x, axis, compute)
    rows = math.prod(shape[:axis])  # older versions see a matrix
    return call.reshape(compute(call.reshape(x, (rows, x.type.size // rows), "matrix")), shape, "shape")


@reads("LayerNormalization")
def layer_normalization(call: Call) -> Tensor:
    x = call.x()
    shape = x.type.shape
    axis = call.axis(-1, len(shape))
    inner, outer = shape[axis:], shape[:axis]
    size = math.prod(inner)
    values = []
    for position, (name, default) in enumerate((("scale", 1.0), ("bias", 0.0)), start=1):
        found = call.data(position, f"the {name}")
        try:
            full = np.broadcast_to(np.float32(default) if found is None else found.astype(np.float32), inner)
        except ValueError:
            raise EdgeqError(f"the {name} of {call.kind} does not fit {list(inner)}", why=DAMAGED) from None
        values.append(call.builder.constant(f"{call.output}.{name}", np.ascontiguousarray(full).reshape(size)))
    y = call.emit(LayerNorm(call.number("epsilon", 1e-5)), call.reshape(x, (*outer, size), "rows"), *values)
    return call.reshape(y, shape, "shape")
