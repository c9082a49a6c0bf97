"""Sums of products in other clothes: Einsum, cumulative sums, products along axes, and linear maps with known coefficients."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from onnx import NodeProto, ValueInfoProto, helper
from onnx.reference import ReferenceEvaluator

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import DAMAGED
from edgeq.frontends.onnx.linear import dense
from edgeq.frontends.onnx.movement import part
from edgeq.frontends.onnx.registry import MICROSOFT, reads
from edgeq.frontends.onnx.values import Constant, Value, is_whole
from edgeq.ir import Array, Tensor
from edgeq.ops.concat import Concat
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_sum import ReduceSum
from edgeq.ops.slice import Slice

MAX_COEFFICIENTS = 2**20  # of a linear map
MAX_BASIS = 2**12  # vectors that its coefficients are found with


@reads("CumSum")
def cumulative_sum(call: Call) -> Tensor:
    """A product with a triangle of ones."""
    x, axes = call.x(), call.vector(1, "the axis")
    if not axes or len(axes) != 1:
        raise EdgeqError("CumSum without an axis", why=DAMAGED)
    axis = call.normal_axis(axes[0], len(x.type.shape))
    count = x.type.shape[axis]
    if count * count > MAX_COEFFICIENTS:
        raise EdgeqError(f"CumSum of {count} elements is not supported", why=f"at most {math.isqrt(MAX_COEFFICIENTS)} are")
    triangle = np.tri(count, k=-1 if call.integer("exclusive", 0) else 0, dtype=np.float32)
    if call.integer("reverse", 0):
        triangle = np.ascontiguousarray(triangle.T)
    return call.with_axis_last(x, axis, lambda t: dense(call, t, Constant(f"{call.output}.triangle", triangle)))


@reads("Trilu")
@reads("Trilu", domain=MICROSOFT)
def triangle(call: Call) -> Tensor:
    x, shift = call.x(), call.vector(1, "k")
    if len(x.type.shape) < 2:
        raise EdgeqError(f"Trilu of {x.type}", why="expected a matrix")
    k, (rows, columns) = (shift[0] if shift else 0), x.type.shape[-2:]
    kept = np.tri(rows, columns, k) if not call.integer("upper", 1) else 1 - np.tri(rows, columns, k - 1)
    mask = call.builder.constant(call.builder.fresh(f"{call.output}.mask"), kept.astype(np.float32))
    return call.emit(Mul(), *call.same_rank(x, mask))


@reads("EyeLike", integers=True)
def identity(call: Call) -> Constant:
    """Ones on one diagonal of a matrix as large as the input, whose values do not matter."""
    x, wanted = call.required(0), call.integer("dtype", 0)
    shape = x.array.shape if isinstance(x, Constant) else x.type.shape
    if len(shape) != 2:
        raise EdgeqError(f"EyeLike of shape {list(shape)}", why="expected a matrix")
    call.builder.spend(8 * math.prod(shape), "EyeLike")
    own = x.array.dtype if isinstance(x, Constant) else np.int64 if is_whole(x) else np.float32
    dtype = helper.tensor_dtype_to_np_dtype(wanted) if wanted else own
    return Constant(call.output, np.eye(shape[0], shape[1], call.integer("k", 0), dtype=dtype))


@reads("ReduceProd")
def product(call: Call) -> Tensor:
    """Both halves of an axis multiplied until one element is left."""
    x = call.x()
    rank = len(x.type.shape)
    listed, keepdims = call.parameter("axes", 1), bool(call.integer("keepdims", 1))
    if call.integer("noop_with_empty_axes", 0) and not listed:
        return x
    axes = sorted({call.normal_axis(a, rank) for a in listed}) if listed else list(range(rank))
    for axis in axes:
        turn = 0
        while (n := x.type.shape[axis]) > 1:
            half = n // 2
            tag = f"axis{axis}_{turn}"
            y = call.emit(Mul(), part(call, x, axis, 0, half, f"{tag}a"), part(call, x, axis, half, half, f"{tag}b"), tag=tag)
            if n % 2:
                rest = part(call, x, axis, n - 1, 1, f"{tag}c")
                first = part(call, y, axis, 0, 1, f"{tag}d")
                last = call.emit(Mul(), first, rest, tag=f"{tag}e")
                y = last if half == 1 else _join(call, axis, last, part(call, y, axis, 1, half - 1, f"{tag}f"), f"{tag}g")
            x, turn = y, turn + 1
    return x if keepdims else call.reshape(x, tuple(n for i, n in enumerate(x.type.shape) if i not in axes), "shape")


def _join(call: Call, axis: int, a: Tensor, b: Tensor, tag: str) -> Tensor:
    return call.emit(Concat(axis), a, b, tag=tag)


# Einsum


@reads("Einsum")
def einsum(call: Call) -> Tensor:
    """Operands multiplied in pairs, each pair as a batch of matrices; letters that occur in one operand alone are summed first."""
    text = call.text("equation", "").replace(" ", "")
    left, arrow, right = text.partition("->")
    tensors = [call.x(i) for i in range(len(call.values))]
    terms = left.split(",")
    if len(terms) != len(tensors) or not terms:
        raise EdgeqError(f"the equation of Einsum has {len(terms)} terms for {len(tensors)} inputs", why=DAMAGED)
    terms, right = _letters(terms, right, bool(arrow), [len(t.type.shape) for t in tensors])
    pairs = [_diagonal(call, x, term, str(k)) for k, (x, term) in enumerate(zip(tensors, terms, strict=True))]
    tensors, terms = [x for x, _ in pairs], [term for _, term in pairs]
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, tensors, strict=True):
        for letter, n in zip(term, tensor.type.shape, strict=True):
            if sizes.setdefault(letter, n) not in (n, 1) and n != 1:
                raise EdgeqError("the shapes of Einsum do not fit its equation", why=f"'{letter}' is {sizes[letter]} and {n}")
            sizes[letter] = max(sizes[letter], n)
    y, term = tensors[0], terms[0]
    y, term = _reduced(call, y, term, set("".join(terms[1:])) | set(right), "0")
    for k in range(1, len(tensors)):
        later = set("".join(terms[k + 1 :])) | set(right)
        b, other = _reduced(call, tensors[k], terms[k], set(term) | later, str(k))
        y, term = _reduced(call, y, term, set(other) | later, f"{k}left")
        y, term = _pair(call, y, term, b, other, later, sizes, str(k))
    y, term = _reduced(call, y, term, set(right), "last")
    return call.transpose(y, tuple(term.index(c) for c in right), "order")


def _letters(terms: list[str], right: str, given: bool, ranks: list[int]) -> tuple[list[str], str]:
    """Terms with letters of their own for ``...``; the result's in the standard's order where it is left out."""
    dots = max((r - len(t.replace("...", "")) for t, r in zip(terms, ranks, strict=True) if "..." in t), default=0)
    spare = [chr(0x100 + i) for i in range(max(dots, 0))]
    filled = []
    for term, rank in zip(terms, ranks, strict=True):
        count = rank - len(term.replace("...", ""))
        if count < 0 or ("..." not in term and count):
            raise EdgeqError("the equation of Einsum does not fit the ranks of its inputs", why=DAMAGED)
        filled.append(term.replace("...", "".join(spare[len(spare) - count :])))
    if not given:
        joined = "".join(filled)
        right = "..." + "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c not in spare))
    right = right.replace("...", "".join(spare))
    if not set(right) <= set("".join(filled)) or len(set(right)) != len(right):
        raise EdgeqError("the equation of Einsum gives letters that it does not have", why=DAMAGED)
    return filled, right


def _diagonal(call: Call, x: Tensor, term: str, tag: str) -> tuple[Tensor, str]:
    """Axes that share a letter as one: the elements whose places on both are the same."""
    while twice := next((c for c in term if term.count(c) > 1), ""):
        a = term.index(twice)
        b = term.index(twice, a + 1)
        perm = (*(i for i in range(len(term)) if i not in (a, b)), a, b)
        *rest, n, m = (x.type.shape[i] for i in perm)
        if n != m:
            raise EdgeqError("the shapes of Einsum do not fit its equation", why=f"'{twice}' is {n} and {m}")
        square = call.reshape(call.transpose(x, perm, f"{tag}square"), (*rest, n * n), f"{tag}row")
        x = call.emit(Slice((0,) * (len(rest) + 1), (*rest, n), (*(1,) * len(rest), n + 1)), square, tag=f"{tag}diagonal")
        term = "".join(term[i] for i in perm[:-1])
    return x, term


def _reduced(call: Call, x: Tensor, term: str, kept: set[str], tag: str) -> tuple[Tensor, str]:
    """Letters that nothing else needs, summed."""
    axes = tuple(i for i, c in enumerate(term) if c not in kept)
    if axes:
        x = call.emit(ReduceSum(axes, False), x, tag=f"sum{tag}")
    return x, "".join(c for c in term if c in kept)


def _pair(call: Call, a: Tensor, left: str, b: Tensor, right: str, later: set[str], sizes: dict[str, int], tag: str) -> tuple[Tensor, str]:
    """The product of two operands as a batch of matrices."""
    batch = [c for c in left if c in right and c in later]
    summed = [c for c in left if c in right and c not in later]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]

    def arrange(x: Tensor, term: str, order: list[str], middle: list[str], last: list[str], name: str) -> Tensor:
        shape = dict(zip(term, x.type.shape, strict=True))
        if any(shape[c] != sizes[c] for c in term):
            raise EdgeqError("Einsum that broadcasts an axis of length 1 is not supported")
        x = call.transpose(x, tuple(term.index(c) for c in (*order, *middle, *last)), f"{name}{tag}_order")
        form = (*(sizes[c] for c in order), math.prod(sizes[c] for c in middle), math.prod(sizes[c] for c in last))
        return call.reshape(x, form, f"{name}{tag}_matrix")

    first = arrange(a, left, batch, rows, summed, "a")
    second = arrange(b, right, batch, summed, columns, "b")
    y = call.emit(MatMul(), first, second, tag=f"product{tag}")
    order = [*batch, *rows, *columns]
    return call.reshape(y, tuple(sizes[c] for c in order), f"product{tag}_shape"), "".join(order)


# Linear maps with known coefficients: the standard's own results for unit vectors


def coefficients(call: Call, count: int, feed: list[Array | None], without: tuple[str, ...] = ()) -> tuple[Array, tuple[int, ...]]:
    """``[outputs, inputs]`` of a map that is linear in its first input, and the shape of one result.

    Args:
        count: elements of the first input.
        feed: shape and dtype of the first input by an array of zeros, values of the others.
        without: attributes that do not count.
    """
    if count > MAX_BASIS:
        raise EdgeqError(f"{call.kind} of {count} elements is not supported", why=f"at most {MAX_BASIS} are")
    node = NodeProto()
    node.CopyFrom(call.node)
    node.op_type, node.domain = call.kind, ""
    kept = [a for a in call.node.attribute if a.name not in without]
    del node.attribute[:]
    node.attribute.extend(kept)
    del node.input[:], node.output[:]
    node.input.extend(f"i{k}" if a is not None else "" for k, a in enumerate(feed))
    node.output.extend(["y"])
    arrays: dict[str, Any] = {f"i{k}": a for k, a in enumerate(feed) if a is not None}
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in arrays.items()]
    graph = helper.make_graph([node], "map", infos, [ValueInfoProto(name="y")])
    evaluator: Any = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", call.version)]))
    first = feed[0]
    assert first is not None
    columns = []
    shape: tuple[int, ...] = ()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for k in range(count):
                unit = np.zeros(count, np.float32)
                unit[k] = 1
                result = np.asarray(evaluator.run(None, {**arrays, "i0": unit.reshape(first.shape)})[0])
                shape = result.shape
                if result.size * count > MAX_COEFFICIENTS:
                    raise EdgeqError(f"{call.kind} of {count} to {result.size} elements is not supported")
                columns.append(result.ravel().astype(np.float32))
    except EdgeqError:
        raise
    except Exception as e:  # the evaluator raises whatever numpy or its own checks raise
        raise EdgeqError(f"{call.kind} cannot be computed", why=f"{type(e).__name__}: {e}"[:120]) from e
    return np.stack(columns, 1), shape


def mapped(call: Call, x: Tensor, feed: list[Array | None]) -> Tensor:
    """x, flat, times the coefficients."""
    matrix, shape = coefficients(call, x.type.size, feed)
    row = call.reshape(x, (1, x.type.size), "row")
    return call.reshape(dense(call, row, Constant(f"{call.output}.map", matrix)), shape, "shape")


@reads("Col2Im", "GridSample", "RoiAlign", "DeformConv")
def linear_map(call: Call) -> Tensor:
    """What is linear in its first input for known further ones, as a product with its coefficients."""
    for attribute in call.node.attribute:
        call.has(attribute.name)
    x = call.x()
    if call.kind == "RoiAlign" and call.choice("mode", "avg", ("avg", "max")) == "max":
        raise EdgeqError("RoiAlign of maxima is not supported", fix="use averages")
    if call.kind == "DeformConv" and call.value(3) is not None:
        raise EdgeqError("DeformConv with a bias is not supported", fix="add the bias behind it")
    others: list[Value | None] = list(call.values[1:])
    if any(isinstance(v, Tensor) for v in others):
        raise EdgeqError(f"{call.kind} with computed parameters is not supported", fix="make them constant")
    feed = [np.zeros(x.type.shape, np.float32), *(None if v is None else v.array for v in others if not isinstance(v, Tensor))]
    return mapped(call, x, feed)
