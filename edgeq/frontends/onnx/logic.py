"""Comparisons, truth values, selection by them and casts: truth values are floats of 1 and 0, integers are floats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call, as_floats
from edgeq.frontends.onnx.file import FLOATS, type_name
from edgeq.frontends.onnx.linear import scalar
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.values import Constant, Value, Whole, is_whole, whole
from edgeq.ir import Array, Op, Tensor
from edgeq.ops import mathematics as maths
from edgeq.ops.add import Add, Sub
from edgeq.ops.attention import MASKED
from edgeq.ops.extremum import Maximum, Minimum
from edgeq.ops.logic import IsZero, Step
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_max import ReduceMax
from edgeq.ops.softmax import Softmax

WHOLE = (TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32, TensorProto.INT64, TensorProto.UINT64)
LARGEST = np.float32(1e38)  # stands for infinity, so that sums of several stay finite
INFINITE = 1e37  # what is as large counts as infinite in comparisons
BEYOND = 1e9  # in magnitude far beyond all activations: what is added to it is lost
COMPARISONS = ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal")
LOGICAL = frozenset((*COMPARISONS, "And", "Or", "Xor", "Not", "IsNaN", "IsInf"))
COUNTING = frozenset(("ArgMax", "ArgMin"))
MOVING = frozenset(
    """Identity Reshape Flatten Squeeze Unsqueeze Transpose Split Slice Pad Gather GatherElements GatherND Expand Tile DepthToSpace
    SpaceToDepth Trilu ReverseSequence Compress Dropout Resize MaxPool TopK""".split()
)  # the results are elements of the first input
ARITHMETIC = frozenset(
    """Add Sub Mul Sum Min Max Neg Abs Sign Mod Clip Relu Concat ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceSumSquare CumSum
    ScatterElements ScatterND Scatter TensorScatter MatMul Div Pow""".split()
)  # of integers gives integers


def marked(kind: str, values: Sequence[Value | None], results: Sequence[Value | None]) -> list[Value | None]:
    """A node's results, those that are integers or truth values in the file marked as such."""
    data = list(values[:1]) if kind in MOVING else list(values[1:3]) if kind == "Where" else list(values)
    of_whole = bool(data) and all(is_whole(v) for v in data if v is not None)
    logical = of_whole and all(_is_logical(v) for v in data if v is not None)
    found: list[Value | None] = []
    for i, result in enumerate(results):
        if not isinstance(result, Tensor) or isinstance(result, Whole):
            found.append(result)
        elif kind in LOGICAL or (logical and (kind in MOVING or kind in ("Where", "Concat"))):
            found.append(whole(result, True))
        elif kind in COUNTING or (kind == "TopK" and i == 1) or (of_whole and (kind in MOVING or kind in ARITHMETIC or kind == "Where")):
            found.append(whole(result))
        else:
            found.append(result)
    return found


def _is_logical(value: Value | None) -> bool:
    return value.logical if isinstance(value, Whole) else isinstance(value, Constant) and value.array.dtype.kind == "b"


def finite(call: Call, value: Value) -> Tensor:
    """A value as a tensor, infinities in a constant as the largest floats."""
    if isinstance(value, Constant) and value.array.dtype.kind == "f" and np.isinf(value.array).any():
        found = call.builder.constant(f"{value.name or call.output}.finite", np.clip(value.array, -LARGEST, LARGEST))
        call.builder.infinite.add(found.name)
        return found
    return call.tensor(value)


def binary(call: Call, op: Op, a: Tensor, b: Tensor, tag: str = "") -> Tensor:
    return call.emit(op, *call.same_rank(a, b), tag=tag)


@reads(*COMPARISONS)
def compare(call: Call) -> Tensor:
    a, b = (finite(call, call.required(i)) for i in (0, 1))
    if call.kind.startswith("Less"):
        a, b = b, a
    if call.kind == "Equal" and b.data is not None and (np.abs(b.data) > INFINITE).all():  # is it (minus) infinity?
        sign = float(np.sign(b.data.ravel()[0]))
        maker = next((n for n in reversed(call.builder.nodes) if a.name in n.outputs), None)
        if sign < 0 and maker is not None and isinstance(maker.op, ReduceMax):  # is a whole row masked?
            return call.emit(Step(0.0), binary(call, Sub(), scalar(call, MASKED, len(a.type.shape)), a, "difference"))
        if (np.sign(b.data) == sign).all():
            limit = call.builder.constant(call.builder.fresh(f"{call.output}.infinite"), np.full(b.type.shape, sign * INFINITE, np.float32))
            a, b = (a, limit) if sign > 0 else (limit, a)
            return call.emit(Step(1.0), binary(call, Sub(), a, b, "difference"))
    op = IsZero() if call.kind == "Equal" else Step(1.0 if call.kind.endswith("OrEqual") else 0.0)
    zero = b.data is not None and not b.data.any() and b.type.size == 1 and len(b.type.shape) <= len(a.type.shape)
    return call.emit(op, a if zero else binary(call, Sub(), a, b, "difference"))


@reads("And", "Or", "Xor")
def both(call: Call) -> Value:
    values = [call.required(i) for i in (0, 1)]
    absorbing = call.kind == "Or"
    if call.kind != "Xor" and any(isinstance(v, Constant) and (v.array == absorbing).all() for v in values):
        shape = np.broadcast_shapes(*(v.type.shape if isinstance(v, Tensor) else v.array.shape for v in values))
        return Constant(call.output, np.full(shape, absorbing))
    a, b = call.x(0), call.x(1)
    if call.kind == "Xor":
        return call.emit(maths.Abs(), binary(call, Sub(), a, b, "difference"))
    return binary(call, Minimum() if call.kind == "And" else Maximum(), a, b)


@reads("Not")
def negation(call: Call) -> Tensor:
    return call.emit(IsZero(), call.x())


@reads("IsNaN")
def is_nan(call: Call) -> Tensor | Constant:
    """False, for activations are numbers; of a softmax, as exporters of attention ask, true where a mask hides a whole row.

    Raises:
        EdgeqError: of a softmax whose scores have several masks.
    """
    x, made = call.x(), {n.outputs[0]: n for n in call.builder.nodes}
    softmax = made.get(x.name)
    if softmax is None or not isinstance(softmax.op, Softmax):
        return _never(call)
    scores = softmax.inputs[0]
    hidden: Array = np.zeros(1, np.bool_)
    if scores in call.builder.infinite:
        adding = made.get(scores)
        terms = adding.inputs if adding is not None and isinstance(adding.op, Add) else ()
        masks = [call.builder.tensors[i] for i in terms if i in call.builder.infinite]
        if len(masks) != 1:
            raise EdgeqError("IsNaN of a softmax whose scores are masked in several ways is not supported", fix="add the masks first")
        (mask,) = masks
        if mask.data is None:
            rank = len(mask.type.shape)
            largest = call.emit(ReduceMax((rank - 1,), True), mask, tag="largest")
            return call.emit(Step(0.0), binary(call, Sub(), scalar(call, MASKED, rank), largest, "below"))
        hidden = np.all(mask.data <= -INFINITE, axis=-1, keepdims=True)
    return Constant(call.output, np.broadcast_to(hidden, x.type.shape))


@reads("IsInf")
def is_infinite(call: Call) -> Constant:
    call.integer("detect_negative", 1), call.integer("detect_positive", 1)
    return _never(call)


def _never(call: Call) -> Constant:
    """False: what a network computes are finite numbers, in int8 by its form, in floats by calibration's law.

    Raises:
        EdgeqError: it comes from an infinite mask.
    """
    x, made = call.x(), {n.outputs[0]: n for n in call.builder.nodes}
    pending, seen = [x.name], {x.name}
    while pending:
        name = pending.pop()
        if name in call.builder.infinite:
            raise EdgeqError(f"{call.kind} of what comes from an infinite mask is not supported", fix="mask with a finite number")
        fresh = [i for i in (made[name].inputs if name in made else ()) if i not in seen]
        seen.update(fresh)
        pending += fresh
    call.builder.assumed.add(call.output)
    return Constant(call.output, np.zeros(x.type.shape, np.bool_))


@reads("Where")
def where(call: Call) -> Tensor:
    """The second input where the first is true, else the third: a sum of two products with truth values."""
    condition, a, b = (call.required(i) for i in range(3))
    shapes = [v.type.shape if isinstance(v, Tensor) else v.array.shape for v in (condition, a, b)]
    shape = tuple(np.broadcast_shapes(*shapes))
    if isinstance(condition, Constant):
        return _where_known(call, condition.array != 0, a, b, shape)
    chosen = call.tensor(condition)
    terms = []
    for value, tag in ((a, "chosen"), (b, "other")):
        tensor = finite(call, value)
        if tensor.data is None or tensor.data.any():
            factor = chosen if tag == "chosen" else call.emit(IsZero(), chosen, tag="not")
            terms.append(binary(call, Mul(), factor, tensor, tag))
    if not terms:
        return call.emit(Mul(), chosen, scalar(call, 0.0, len(chosen.type.shape)))
    y = terms[0] if len(terms) == 1 else binary(call, Add(), terms[0], terms[1])
    return _widened(call, y, shape)


def _where_known(call: Call, condition: Array, a: Value, b: Value, shape: tuple[int, ...]) -> Tensor:
    """Selection by known truth values; what is far below all activations is added, so that a mask before a softmax is one sum."""
    if isinstance(a, Constant):
        condition, a, b = ~condition, b, a
    x = finite(call, a)
    if condition.all():
        return _widened(call, x, shape)
    if isinstance(b, Constant):
        other = np.where(condition, np.float32(0), np.clip(b.array.astype(np.float32), -LARGEST, LARGEST))
        if (np.abs(other[np.broadcast_to(~condition, other.shape)]) < BEYOND).any():
            x = _times(call, x, condition, "chosen")
        if not other.any():
            return _widened(call, x, shape)
        term = call.builder.constant(call.builder.fresh(f"{call.output}.other"), other)
        call.builder.infinite |= {term.name} if np.isinf(b.array.astype(np.float32)).any() else set()
    else:
        x, term = _times(call, x, condition, "chosen"), _times(call, finite(call, b), ~condition, "other")
    return _widened(call, binary(call, Add(), x, term), shape)


def _times(call: Call, x: Tensor, condition: Array, tag: str) -> Tensor:
    factor = call.builder.constant(call.builder.fresh(f"{call.output}.{tag}.mask"), condition.astype(np.float32))
    return binary(call, Mul(), x, factor, tag)


def _widened(call: Call, y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """y in the full shape of its node's result."""
    if y.type.shape == shape:
        return y
    zeros = call.builder.constant(call.builder.fresh(f"{call.output}.zeros"), np.zeros(shape, np.float32))
    return binary(call, Add(), y, zeros, "widened")


@reads("Cast", "CastLike")
def cast(call: Call) -> Value:
    """Between float types, activations are float32 whatever float type the file says; integers are truncated floats."""
    value, to = call.required(0), call.integer("to", 0) if call.kind == "Cast" else _code(call.required(1))
    if not isinstance(value, Tensor):
        return Constant(value.name, as_floats(value.array, call.kind) if to in FLOATS else value.array)
    if to in FLOATS:
        return Tensor(value.name, value.type, value.data)
    if to == TensorProto.BOOL:
        if isinstance(value, Whole) and value.logical:
            return value
        return whole(call.emit(IsZero(), call.emit(IsZero(), value, tag="zero")), True)
    if to not in WHOLE:
        raise EdgeqError(f"{call.kind} of computed values to {type_name(to)} is not supported", fix="cut the model before it")
    return whole(value) if isinstance(value, Whole) else whole(truncated(call, value))


def truncated(call: Call, x: Tensor) -> Tensor:
    """x without its fraction."""
    size = call.emit(maths.Floor(), call.emit(maths.Abs(), x, tag="size"), tag="floor")
    return call.emit(Mul(), size, call.emit(maths.Sign(), x, tag="sign"), tag="truncated")


def _code(value: Value) -> int:
    """The ONNX type that a value has in the file."""
    if isinstance(value, Constant):
        return {"f": TensorProto.FLOAT, "b": TensorProto.BOOL}.get(value.array.dtype.kind, TensorProto.INT64)
    return (TensorProto.BOOL if value.logical else TensorProto.INT64) if isinstance(value, Whole) else TensorProto.FLOAT


def quotient(call: Call, a: Tensor, divisor: Array) -> Tensor:
    """The whole part of integers divided by constant ones, toward zero: half a step is added, so that no rounding takes one away."""
    with np.errstate(all="ignore"):
        inverse = (1 / divisor.astype(np.float64)).astype(np.float32)
    inverses = call.builder.constant(call.builder.fresh(f"{call.output}.inverse"), inverse)
    halves = call.builder.constant(call.builder.fresh(f"{call.output}.half_step"), np.abs(inverse) / 2)
    ratio = binary(call, Mul(), a, inverses, "ratio")
    size = binary(call, Add(), call.emit(maths.Abs(), ratio, tag="size"), halves, "nudged")
    return call.emit(Mul(), call.emit(maths.Floor(), size, tag="floor"), call.emit(maths.Sign(), ratio, tag="sign"), tag="quotient")


@reads("Mod")
def modulo(call: Call) -> Tensor:
    """a less b times their quotient, rounded down or, with fmod, toward zero."""
    a, divisor = call.x(0), call.data(1, "the divisor")
    if divisor is None or not divisor.all() or not np.isfinite(divisor.astype(np.float64)).all():
        raise EdgeqError("Mod by zero or infinity is not supported")
    whole_numbers = is_whole(call.required(0))
    b = call.builder.constant(f"{call.output}.divisor", divisor.astype(np.float32))
    if call.integer("fmod", 0):
        inverse = call.builder.constant(f"{call.output}.inverse", 1 / divisor.astype(np.float64))
        turns = quotient(call, a, divisor) if whole_numbers else truncated(call, binary(call, Mul(), a, inverse, "ratio"))
    else:
        nudge = 0.5 / np.abs(divisor.astype(np.float64)) if whole_numbers else np.zeros(divisor.shape)
        inverse = call.builder.constant(f"{call.output}.inverse", 1 / divisor.astype(np.float64))
        ratio = binary(call, Mul(), a, inverse, "ratio")
        if whole_numbers:
            ratio = binary(call, Add(), ratio, call.builder.constant(f"{call.output}.nudge", nudge), "nudged")
        turns = call.emit(maths.Floor(), ratio, tag="turns")
    return binary(call, Sub(), a, binary(call, Mul(), turns, b, "whole"))
