"""Selection by indices: known ones become one gather of a flat tensor, computed ones a product with their one-hot rows."""

from __future__ import annotations

import math

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import DAMAGED, MAX_ELEMENTS
from edgeq.frontends.onnx.indexed import written
from edgeq.frontends.onnx.linear import dense, scalar
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.values import Constant, Index
from edgeq.ir import Array, Op, Tensor
from edgeq.ops import mathematics as maths
from edgeq.ops.add import Add, Sub
from edgeq.ops.concat import Concat
from edgeq.ops.extremum import Maximum, Minimum
from edgeq.ops.gather import Gather
from edgeq.ops.logic import IsZero, Step
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_max import ReduceMax, ReduceMin
from edgeq.ops.reduce_sum import ReduceSum

LONGEST = 2**16  # rows that a computed index may choose from
MOST = 1024  # elements that are ranked
ROUNDS = 64  # updates that one element may get


def chosen(call: Call, x: Tensor, places: Array, tag: str = "") -> Tensor:
    """Elements of a tensor by their flat places, in the shape of the places."""
    if places.size > MAX_ELEMENTS or places.size == 0:
        raise EdgeqError(f"{call.kind} gives {places.size} elements")
    flat = call.reshape(x, (x.type.size,), f"{tag}flat")
    found = call.emit(Gather(tuple(places.ravel().tolist()), (places.size,), 0), flat, tag=f"{tag}chosen")
    return call.reshape(found, places.shape, f"{tag}shape")


def _indices(call: Call, position: int, what: str = "the indices") -> Array:
    found = call.data(position, what)
    if found is None or found.dtype.kind not in "iu":
        raise EdgeqError(f"{what} of {call.kind} are no integers", why=DAMAGED)
    return found.astype(np.int64)


def _wrapped(call: Call, indices: Array, length: int) -> Array:
    """Indices from 0; negative ones count from the end."""
    if indices.size and (indices.min() < -length or indices.max() >= length):
        raise EdgeqError(f"an index of {call.kind} lies outside its axis", why=f"the axis has {length}")
    return np.asarray(indices % length)


def _numbers(shape: tuple[int, ...]) -> Array:
    return np.arange(math.prod(shape)).reshape(shape)


@reads("GatherElements")
def gather_elements(call: Call) -> Tensor:
    x = call.x(0)
    axis = call.axis(0, len(x.type.shape))
    if isinstance(call.required(1), Tensor):
        return _gather_elements_computed(call, x, axis)
    places = _wrapped(call, _indices(call, 1), x.type.shape[axis])
    return chosen(call, x, np.take_along_axis(_numbers(x.type.shape), places, axis))


def _gather_elements_computed(call: Call, x: Tensor, axis: int) -> Tensor:
    """Elements along the last axis: one-hot rows times the elements, summed."""
    indices, rank = call.x(1), len(x.type.shape)
    others = [a for a in range(rank) if a != axis]
    if any(x.type.shape[a] != indices.type.shape[a] for a in others):
        raise EdgeqError("GatherElements by computed indices of part of its input is not supported")
    perm = (*others, axis)
    x, indices = call.transpose(x, perm, "axis_last"), call.transpose(indices, perm, "indices_last")
    hot = one_hot(call, indices, x.type.shape[-1])
    rows = call.reshape(x, (*x.type.shape[:-1], 1, x.type.shape[-1]), "rows")
    y = call.emit(ReduceSum((rank,), False), call.emit(Mul(), *call.same_rank(hot, rows), tag="product"), tag="sum")
    return call.transpose(y, tuple(perm.index(a) for a in range(rank)), "axis_back")


def one_hot(call: Call, indices: Tensor, count: int) -> Tensor:
    """``[..., count]``: 1 at the index, else 0."""
    if count > LONGEST:
        raise EdgeqError(f"{call.kind} by computed indices into {count} rows is not supported", why=f"at most {LONGEST} are")
    column = call.reshape(indices, (*indices.type.shape, 1), "column")
    places = call.builder.constant(call.builder.fresh(f"{call.output}.places"), np.arange(count, dtype=np.float32))
    return call.emit(IsZero(), call.emit(Sub(), *call.same_rank(column, places), tag="distance"), tag="one_hot")


def gather_computed(call: Call) -> Tensor:
    """Rows of a table (an embedding) or of a tensor by computed indices."""
    source, indices = call.required(0), call.x(1)
    shape = source.array.shape if isinstance(source, Constant) else source.type.shape
    axis = call.axis(0, len(shape))
    hot = call.reshape(one_hot(call, indices, shape[axis]), (indices.type.size, shape[axis]), "hot")
    others = [a for a in range(len(shape)) if a != axis]
    rest, width = tuple(shape[a] for a in others), math.prod(shape[a] for a in others)
    if isinstance(source, Constant):
        data = source.array.astype(np.float32) if source.array.dtype.kind in "iub" else source.array
        table = np.moveaxis(data, axis, 0).reshape(shape[axis], width)
        y = dense(call, hot, Constant(f"{source.name}.table", np.ascontiguousarray(table.T)))
    else:
        rows = call.reshape(call.transpose(source, (axis, *others), "rows"), (shape[axis], width), "table")
        y = call.emit(MatMul(), hot, rows, tag="rows_of")
    y = call.reshape(y, (*indices.type.shape, *rest), "found")
    inner = len(indices.type.shape)
    order = (*range(inner, inner + axis), *range(inner), *range(inner + axis, inner + len(rest)))
    return call.transpose(y, order, "axis_back")


@reads("GatherND")
def gather_nd(call: Call) -> Tensor:
    index, batch = call.value(1), call.integer("batch_dims", 0)
    if isinstance(index, Tensor) and index.type.shape[-1:] == (1,) and not batch:  # rows, as PyTorch's exporter writes `table[i]`
        inner = call.with_values([call.value(0), call.reshape(index, index.type.shape[:-1], "rows_index")], "Gather")
        return gather_computed(inner)
    x, indices = call.x(0), _indices(call, 1)
    shape = x.type.shape
    depth = indices.shape[-1] if indices.ndim else 0
    if not 0 <= batch < min(len(shape), indices.ndim) or not 0 < depth <= len(shape) - batch or indices.shape[:batch] != shape[:batch]:
        raise EdgeqError("the indices of GatherND do not fit its input", why=f"{list(indices.shape)} into {x.type}")
    columns = [_wrapped(call, indices[..., k], shape[batch + k]) for k in range(depth)]
    grid = [np.arange(n).reshape([-1 if i == k else 1 for i in range(indices.ndim - 1)]) for k, n in enumerate(shape[:batch])]
    return chosen(call, x, _numbers(shape)[(*grid, *columns)])


def _scattered(call: Call, x: Tensor, updates: Tensor, places: Array, reduction: str) -> Tensor:
    """x with elements replaced by updates, or combined with them.

    Args:
        places: per update, in order, the flat place that it goes to.
    """
    size, count = x.type.size, updates.type.size
    flat = call.reshape(x, (size,), "data")
    given = call.reshape(updates, (count,), "updates")
    if reduction == "none":
        joined = call.emit(Concat(0), flat, given, tag="joined")
        source = np.arange(size)
        source[places.ravel()] = size + np.arange(count)
        return chosen(call, joined, source.reshape(x.type.shape))
    op, neutral = {"add": (Add(), 0.0), "mul": (Mul(), 1.0), "max": (Maximum(), None), "min": (Minimum(), None)}[reduction]
    if np.unique(places, return_counts=True)[1].max() > ROUNDS:
        raise EdgeqError(f"{call.kind} of more than {ROUNDS} updates of one element is not supported")
    if neutral is None:  # an element itself changes nothing
        rest, unchanged = flat, count + np.arange(size)
    else:
        rest, unchanged = call.builder.constant(f"{call.output}.neutral", np.array([neutral], np.float32)), np.full(size, count)
    joined = call.emit(Concat(0), given, rest, tag="joined")
    seen: dict[int, int] = {}
    rounds: list[Array] = []
    for i, place in enumerate(places.ravel().tolist()):
        turn = seen.get(place, 0)
        seen[place] = turn + 1
        if turn == len(rounds):
            rounds.append(unchanged.copy())
        rounds[turn][place] = i
    for k, source in enumerate(rounds):
        flat = call.emit(op, flat, chosen(call, joined, source, f"round{k}_"), tag=f"round{k}")
    return call.reshape(flat, x.type.shape, "shape")


REDUCTIONS = ("none", "add", "mul", "max", "min")


@reads("ScatterElements", "Scatter")
def scatter_elements(call: Call) -> Tensor:
    x, indices, updates = call.x(0), _indices(call, 1), call.x(2)
    axis = call.axis(0, len(x.type.shape))
    if indices.shape != updates.type.shape or indices.ndim != len(x.type.shape):
        raise EdgeqError(f"the indices of {call.kind} do not fit its updates", why=DAMAGED)
    places = [np.broadcast_to(np.arange(n).reshape([-1 if i == k else 1 for i in range(indices.ndim)]), indices.shape)
              for k, n in enumerate(indices.shape)]  # fmt: skip
    places[axis] = _wrapped(call, indices, x.type.shape[axis])
    if any(p.max(initial=0) >= n for p, n in zip(places, x.type.shape, strict=True)):
        raise EdgeqError(f"the indices of {call.kind} do not fit its data", why=DAMAGED)
    return _scattered(call, x, updates, _numbers(x.type.shape)[tuple(places)], call.choice("reduction", "none", REDUCTIONS))


@reads("ScatterND")
def scatter_nd(call: Call) -> Tensor:
    x, indices, updates = call.x(0), _indices(call, 1), call.x(2)
    shape, depth = x.type.shape, indices.shape[-1] if indices.ndim else 0
    if not 0 < depth <= len(shape) or updates.type.shape != (*indices.shape[:-1], *shape[depth:]):
        raise EdgeqError("the indices of ScatterND do not fit its updates", why=f"{list(indices.shape)} into {x.type}")
    columns = tuple(_wrapped(call, indices[..., k], shape[k]) for k in range(depth))
    return _scattered(call, x, updates, _numbers(shape)[columns], call.choice("reduction", "none", REDUCTIONS))


@reads("TensorScatter")
def tensor_scatter(call: Call) -> Tensor:
    """A cache ``[B, ..., S, ...]`` with new rows written from known places on, or from one that is an input."""
    index = call.value(2)
    if isinstance(index, Index):
        return written(call, index)
    x, updates, starts = call.x(0), call.x(1), call.vector(2, "the write indices")
    axis, shape = call.axis(-2, len(x.type.shape)), x.type.shape
    starts = starts or (0,) * shape[0]
    circular = call.choice("mode", "linear", ("linear", "circular")) == "circular"
    length, count = shape[axis], updates.type.shape[axis]
    numbers = np.moveaxis(_numbers(shape), axis, 1)
    rows = []
    for batch, start in enumerate(starts):
        at = np.arange(start, start + count)
        at = at % length if circular else at
        if at.min() < 0 or at.max() >= length:
            raise EdgeqError("TensorScatter writes outside its cache")
        rows.append(numbers[batch][at])
    return _scattered(call, x, updates, np.moveaxis(np.stack(rows), 1, axis), "none")


@reads("Compress")
def compress(call: Call) -> Tensor:
    x, condition = call.x(0), call.data(1, "the condition")
    assert condition is not None
    if not call.has("axis"):
        return chosen(call, x, np.flatnonzero(condition[: x.type.size]))
    axis = call.axis(0, len(x.type.shape))
    return chosen(call, x, np.compress(condition, _numbers(x.type.shape), axis))


@reads("ReverseSequence")
def reverse_sequence(call: Call) -> Tensor:
    x, lengths = call.x(0), call.vector(1, "the lengths")
    batch, time = call.integer("batch_axis", 1), call.integer("time_axis", 0)
    shape = x.type.shape
    if {batch, time} != {0, 1} or len(shape) < 2 or lengths is None or len(lengths) != shape[batch]:
        raise EdgeqError("the lengths of ReverseSequence do not fit its input", why=DAMAGED)
    places = np.moveaxis(_numbers(shape).copy(), time, 0)  # a view: [time, batch, ...]
    for b, n in enumerate(lengths):
        if not 1 <= n <= shape[time]:
            raise EdgeqError("the lengths of ReverseSequence do not fit its input", why=DAMAGED)
        places[:n, b] = places[:n, b][::-1].copy()
    return chosen(call, x, np.moveaxis(places, 0, time))


def first(call: Call, x: Tensor, axis: int, last: bool, smallest: bool) -> Tensor:
    """The index of the extreme along an axis, which stays: the first of several, or the last."""
    count, shape = x.type.shape[axis], [1] * len(x.type.shape)
    shape[axis] = count
    peak = call.emit(ReduceMin((axis,), True) if smallest else ReduceMax((axis,), True), x, tag="peak")
    hit = call.emit(IsZero(), call.emit(Sub(), x, peak, tag="below"), tag="hit")
    weight = np.arange(1, count + 1) if last else np.arange(count, 0, -1)
    weights = call.builder.constant(call.builder.fresh(f"{call.output}.weights"), weight.reshape(shape).astype(np.float32))
    best = call.emit(ReduceMax((axis,), True), call.emit(Mul(), hit, weights, tag="ranked"), tag="best")
    end = scalar(call, 1.0 if last else float(count), len(shape))
    return call.emit(Sub(), best, end, tag="index") if last else call.emit(Sub(), end, best, tag="index")


@reads("ArgMax", "ArgMin")
def arg(call: Call) -> Tensor:
    x = call.x()
    axis = call.axis(0, len(x.type.shape))
    y = first(call, x, axis, bool(call.integer("select_last_index", 0)), call.kind == "ArgMin")
    if call.integer("keepdims", 1):
        return y
    return call.reshape(y, tuple(n for i, n in enumerate(y.type.shape) if i != axis), "index_shape")


@reads("Hardmax")
def hardmax(call: Call) -> Tensor:
    x = call.x()
    shape, axis = x.type.shape, call.axis(-1 if call.version >= 13 else 1, len(x.type.shape))
    if call.version < 13:  # older versions see a matrix
        rows = math.prod(shape[:axis])
        x, axis = call.reshape(x, (rows, x.type.size // rows), "matrix"), 1
    form = [1] * len(x.type.shape)
    form[axis] = x.type.shape[axis]
    places = call.builder.constant(f"{call.output}.places", np.arange(form[axis], dtype=np.float32).reshape(form))
    y = call.emit(IsZero(), call.emit(Sub(), places, first(call, x, axis, False, False), tag="distance"))
    return call.reshape(y, shape, "shape")


@reads("OneHot")
def hot_rows(call: Call) -> Tensor:
    depth, values = call.vector(1, "the depth"), call.data(2, "the values")
    if not depth or values is None or values.size != 2 or not 0 < depth[0] <= LONGEST:
        raise EdgeqError("depth or values of OneHot do not fit", why=DAMAGED)
    off, on = (float(v) for v in values.ravel())
    hot = one_hot(call, call.x(0), depth[0])
    rank = len(hot.type.shape)
    axis = call.axis(-1, rank)
    y = call.emit(Mul(), hot, scalar(call, on - off, rank), tag="scaled")
    y = call.emit(Add(), y, scalar(call, off, rank), tag="moved")
    order = (*range(axis), rank - 1, *range(axis, rank - 1))
    return call.transpose(y, order, "axis_back")


@reads("TopK")
def top_k(call: Call) -> tuple[Tensor, Tensor]:
    """By rank: how many elements are larger, or as large and earlier; the k first ranks as one-hot rows choose."""
    x, ks = call.x(0), call.vector(1, "k") if call.value(1) is not None else (call.integer("k", 0),)
    rank = len(x.type.shape)
    axis = call.axis(-1, rank)
    count = x.type.shape[axis]
    if not ks or not 1 <= ks[0] <= count or count > MOST:
        raise EdgeqError(f"TopK of {ks and ks[0]} of {count} is not supported", why=f"1 to all of at most {MOST} are")
    perm = (*(a for a in range(rank) if a != axis), axis)
    x = call.transpose(x, perm, "axis_last")
    sign: Op | None = None if call.integer("largest", 1) else maths.Neg()
    key = x if sign is None else call.emit(sign, x, tag="negative")
    column = call.reshape(key, (*key.type.shape, 1), "column")
    row = call.reshape(key, (*key.type.shape[:-1], 1, count), "row")
    above = call.emit(Sub(), row, column, tag="above")  # [..., i, j]: x_j - x_i
    earlier = call.builder.constant(call.builder.fresh(f"{call.output}.earlier"), np.tri(count, k=-1, dtype=np.float32))
    equal = call.emit(Mul(), *call.same_rank(call.emit(IsZero(), above, tag="equal"), earlier), tag="ties")
    places = call.emit(ReduceSum((rank,), False), call.emit(Add(), call.emit(Step(), above, tag="larger"), equal, tag="before"), tag="rank")
    ranks = call.builder.constant(call.builder.fresh(f"{call.output}.ranks"), np.arange(ks[0], dtype=np.float32).reshape(-1, 1))
    own = call.reshape(places, (*places.type.shape[:-1], 1, count), "ranks_row")
    hot: Tensor = call.emit(IsZero(), call.emit(Sub(), *call.same_rank(own, ranks), tag="distance"), tag="hot")  # [..., k, count]
    values = call.emit(MatMul(), hot, call.reshape(x, (*x.type.shape, 1), "values_column"), tag="values")
    numbers = np.arange(count, dtype=np.float32).reshape((1,) * (rank - 1) + (count, 1))
    index = call.emit(MatMul(), hot, call.builder.constant(call.builder.fresh(f"{call.output}.numbers"), numbers), tag="indices")
    back = tuple(perm.index(a) for a in range(rank))
    results = [call.transpose(call.reshape(t, (*x.type.shape[:-1], ks[0]), n), back, f"{n}_back") for t, n in ((values, "v"), (index, "i"))]
    return results[0], results[1]
