"""Translators of the operators that compare, choose and count: comparisons, truth values, selection, indices, running sums."""

from __future__ import annotations

import math

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.attributes import axis, reads
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import MAX_ELEMENTS, FileOperator
from edgeq.frontends.tflite.movement import broadcast
from edgeq.ir import Array, DType, Tensor
from edgeq.ops.add import Add, Sub
from edgeq.ops.arg_max import ArgMax
from edgeq.ops.comparison import Comparison
from edgeq.ops.concat import Concat
from edgeq.ops.cum_sum import CumSum
from edgeq.ops.extremum import Maximum, Minimum
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.gather import Gather
from edgeq.ops.logic import IsZero, Step
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_max import ReduceMax, ReduceMin
from edgeq.ops.selection import Selection
from edgeq.ops.transpose import Transpose

LONGEST = 1024  # of an axis along which floats are summed up

# Truth values: int8 without a scale beside integers, floats of 1 and 0 beside floats

COMPARISONS = {"EQUAL": "==", "NOT_EQUAL": "!=", "GREATER": ">", "GREATER_EQUAL": ">=", "LESS": "<", "LESS_EQUAL": "<="}


@reads(*COMPARISONS)
def comparison(b: Builder, op: FileOperator) -> None:
    operands, name = b.same_rank(op, b.operands(op, 0, 1)), b.tensor_name(op.outputs[0])
    first = operands[0].type
    if first.dtype is not DType.FLOAT32:
        if first.q is None or first.dtype is not DType.INT8:
            raise EdgeqError(f"{op.kind} of {b.stored(op, 0).kind} is not supported", why="int8 with a scale and float32 are")
        b.emit_whole(Comparison(function=COMPARISONS[op.kind]), operands, op.outputs[0])
        return
    if op.kind.startswith("LESS"):
        operands.reverse()
    below = b.insert(Sub(), operands, f"{name}/difference")
    if not op.kind.endswith("EQUAL") or op.kind in ("GREATER_EQUAL", "LESS_EQUAL"):
        b.alias(op.outputs[0], b.insert(Step(1.0 if op.kind.endswith("EQUAL") else 0.0), [below], name))
        return
    equal = b.insert(IsZero(), [below], name)
    b.alias(op.outputs[0], b.insert(IsZero(), [equal], f"{name}/not") if op.kind == "NOT_EQUAL" else equal)


@reads("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT")
def logical(b: Builder, op: FileOperator) -> None:
    name, negated = b.tensor_name(op.outputs[0]), op.kind == "LOGICAL_NOT"
    x, *others = (truth(b, op, i) for i in range(1 if negated else 2))
    if x.type.dtype is DType.FLOAT32:
        if negated:
            b.alias(op.outputs[0], b.insert(IsZero(), [x], name))
        else:
            cls = Minimum if op.kind == "LOGICAL_AND" else Maximum
            b.alias(op.outputs[0], b.insert(cls(), b.same_rank(op, [x, *others]), name))
        return
    if negated:
        shape = x.type.shape
        sides = [b.new_constant(f"{name}/{v}", np.full(shape, v, np.int8), x.type) for v in (0, 1)]
        b.emit_whole(Selection(), [x, *sides], op.outputs[0])
        return
    shape = np.broadcast_shapes(x.type.shape, others[0].type.shape)
    x, other = (broadcast(b, t, shape, f"{name}/wide") for t in (x, others[0]))
    b.emit_whole(Selection(), [x, other, x] if op.kind == "LOGICAL_AND" else [x, x, other], op.outputs[0])


def truth(b: Builder, op: FileOperator, position: int) -> Tensor:
    """Truth values that an operator reads.

    Raises:
        EdgeqError: they are none.
    """
    x = b.operand(op, position)
    if b.stored(op, position).kind != "BOOL":
        raise EdgeqError(f"input {position} of {op.kind} is {b.stored(op, position).kind}", why="truth values are expected")
    return x


@reads("SELECT", "SELECT_V2")
def select(b: Builder, op: FileOperator) -> None:
    """By constant truth values a choice of elements; by computed ones beside integers a step, beside floats two products and a sum."""
    name, (x, y) = b.tensor_name(op.outputs[0]), b.operands(op, 1, 2)
    known = b.array(op, 0, "the condition").astype(np.bool_) if b.is_constant(op, 0) else None
    condition = None if known is not None else truth(b, op, 0)
    given = known.shape if known is not None else condition.type.shape if condition is not None else ()
    if op.kind == "SELECT" and len(given) == 1 < len(x.type.shape):  # one truth value per row
        given = (*given, *(1,) * (len(x.type.shape) - 1))
    shape = np.broadcast_shapes(given, x.type.shape, y.type.shape)
    if math.prod(shape) > MAX_ELEMENTS:
        raise EdgeqError(f"{op.kind} to {list(shape)}", why=f"at most {MAX_ELEMENTS} elements are accepted")
    if known is not None:
        parts = [b.reshaped(t, (t.type.size,), f"{name}/flat") for t in (x, y)]
        first, second = (np.broadcast_to(np.arange(t.type.size).reshape(t.type.shape), shape) for t in (x, y))
        places = np.where(known.reshape(given), first, second + x.type.size)
        _chosen(b, op, b.insert(Concat(axis=0), parts, f"{name}/both"), places)
        return
    assert condition is not None
    condition = b.reshaped(condition, given, f"{name}/condition")
    if x.type.dtype is not DType.FLOAT32:
        wide = [broadcast(b, t, shape, f"{name}/wide") for t in (condition, x, y)]
        b.emit(Selection(), wide, op.outputs[0], converts=True)
        return
    other = b.insert(IsZero(), [condition], f"{name}/not")
    terms = [b.insert(Mul(), b.same_rank(op, [f, t]), f"{name}/{n}") for f, t, n in ((condition, x, "chosen"), (other, y, "other"))]
    b.emit(Add(), b.same_rank(op, terms), op.outputs[0])


# Indices


def _chosen(b: Builder, op: FileOperator, flat: Tensor, places: Array) -> None:
    """Elements of a flat tensor."""
    if not places.size:
        raise EdgeqError(f"{op.kind} chooses no elements")
    indices = tuple(places.ravel().tolist())
    b.emit(Gather(indices=indices, index_shape=places.shape, axis=0), [flat], op.outputs[0])


@reads("GATHER_ND")
def gather_nd(b: Builder, op: FileOperator) -> None:
    x, indices = b.operand(op, 0), b.array(op, 1, "the indices").astype(np.int64)
    shape, depth = x.type.shape, indices.shape[-1] if indices.ndim else 0
    columns = np.moveaxis(indices, -1, 0) if indices.ndim else indices
    if not 1 <= depth <= len(shape) or any((i < 0).any() or (i >= n).any() for i, n in zip(columns, shape, strict=False)):
        raise EdgeqError(f"the indices {list(indices.shape)} of GATHER_ND do not fit {x.type}", why="the file is damaged")
    if math.prod(indices.shape[:-1]) * math.prod(shape[depth:]) > MAX_ELEMENTS:
        raise EdgeqError(f"GATHER_ND of {x.type}", why=f"at most {MAX_ELEMENTS} elements are accepted")
    places = np.arange(x.type.size).reshape(shape)[tuple(columns)]
    _chosen(b, op, b.reshaped(x, (x.type.size,), f"{b.tensor_name(op.outputs[0])}/flat"), places)


@reads("ARG_MAX", "ARG_MIN")
def arg(b: Builder, op: FileOperator) -> None:
    """Beside integers a step that gives int32; beside floats a float that holds the index."""
    x, axes, lowest = b.operand(op, 0), b.integers(op, 1, "the axis"), op.kind == "ARG_MIN"
    if len(axes) != 1:
        raise EdgeqError(f"{op.kind} along {len(axes)} axes", why="the file is damaged")
    along = axis(op, axes[0], len(x.type.shape))
    if x.type.dtype is not DType.FLOAT32:
        b.emit_whole(ArgMax(along, lowest), [x], op.outputs[0])
        return
    name, shape = b.tensor_name(op.outputs[0]), x.type.shape
    count = shape[along]
    form = tuple(count if i == along else 1 for i in range(len(shape)))
    peak = b.insert((ReduceMin if lowest else ReduceMax)((along,), True), [x], f"{name}/peak")
    hit = b.insert(IsZero(), [b.insert(Sub(), [x, peak], f"{name}/below")], f"{name}/hit")
    weights = b.new_constant(f"{name}/weights", np.arange(count, 0, -1, dtype=np.float32).reshape(form))
    best = b.insert(ReduceMax((along,)), [b.insert(Mul(), [hit, weights], f"{name}/ranked")], f"{name}/best")
    end = b.new_constant(f"{name}/end", np.full((1,) * len(best.type.shape), count, np.float32))
    b.alias(op.outputs[0], b.insert(Sub(), [end, best], name))


# Running sums


@reads("CUMSUM")
def running_sum(b: Builder, op: FileOperator) -> None:
    x, axes, name = b.operand(op, 0), b.integers(op, 1, "the axis"), b.tensor_name(op.outputs[0])
    if len(axes) != 1:
        raise EdgeqError(f"{op.kind} along {len(axes)} axes", why="the file is damaged")
    along = axis(op, axes[0], len(x.type.shape))
    exclusive, reverse = bool(op.option("Exclusive", False)), bool(op.option("Reverse", False))
    if x.type.dtype is not DType.FLOAT32:
        b.emit(CumSum(along, exclusive, reverse), [x], op.outputs[0])
        return
    count, rank = x.type.shape[along], len(x.type.shape)
    if count > LONGEST:
        raise EdgeqError(f"CUMSUM of {count} elements is not supported", why=f"at most {LONGEST} are")
    triangle = np.tri(count, k=-1 if exclusive else 0, dtype=np.float32)
    triangle = np.ascontiguousarray(triangle.T) if reverse else triangle
    perm = (*(i for i in range(rank) if i != along), along)
    turned = x if along == rank - 1 else b.insert(Transpose(perm), [x], f"{name}/axis_last")
    weights = b.new_constant(f"{name}/triangle", triangle)
    none = b.new_constant(f"{name}/none", np.zeros(count, np.float32))
    if along == rank - 1:
        b.emit(FullyConnected(), [turned, weights, none], op.outputs[0])
        return
    y = b.insert(FullyConnected(), [turned, weights, none], f"{name}/sums")
    b.emit(Transpose(tuple(perm.index(i) for i in range(rank))), [y], op.outputs[0])
