"""Operators on constants alone, computed while reading: shape arithmetic, float16 and int8 weights, float constants."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.attributes import TRANSLATORS, axis
from edgeq.frontends.tflite.builder import CONTRADICTIONS, Builder
from edgeq.frontends.tflite.file import MAX_ELEMENTS, NUMPY, FileOperator
from edgeq.frontends.tflite.movement import expanded_shape, permutation, reshape_target, slice_bounds, squeezed_shape, strided_bounds
from edgeq.ir import Array, DType
from edgeq.numerics import round_half_away

MAX_MACS = 2**30
Folder = Callable[[Builder, FileOperator, list[Array]], Array]

BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "MINIMUM": np.minimum, "MAXIMUM": np.maximum,
    "FLOOR_DIV": np.floor_divide, "FLOOR_MOD": np.mod, "DIV": lambda a, b: np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)),
}  # fmt: skip


def _reshape(b: Builder, op: FileOperator, x: list[Array]) -> Array:
    return x[0].reshape(reshape_target(b, op))


def _strided(b: Builder, op: FileOperator, x: list[Array]) -> Array:
    entries = strided_bounds(b, op, x[0].shape)
    picks = tuple(np.arange(first, first + step * size, step) for first, size, step, what in entries if what != "new")
    return x[0][np.ix_(*picks)].reshape([size for _, size, _, what in entries if what != "drop"])


def _slice(b: Builder, op: FileOperator, x: list[Array]) -> Array:
    begin, size = slice_bounds(b, op, x[0].shape)
    return x[0][tuple(slice(at, at + n) for at, n in zip(begin, size, strict=True))]


def _broadcast(b: Builder, op: FileOperator, x: list[Array]) -> Array:
    shape = b.integers(op, 1, "the shape")
    _limit(b, shape)
    return np.broadcast_to(x[0], shape).copy()


def _fill(b: Builder, op: FileOperator, x: list[Array]) -> Array:
    shape = b.integers(op, 0, "the shape")
    _limit(b, shape)
    return np.full(shape, x[1].item(), x[1].dtype)


def _range(b: Builder, op: FileOperator, x: list[Array]) -> Array:
    start, stop, step = (v.item() for v in x)
    _limit(b, (max(0, math.ceil((stop - start) / step)),))
    return np.arange(start, stop, step).astype(x[0].dtype)


def _concatenate(b: Builder, op: FileOperator, x: list[Array]) -> Array:
    _limit(b, (sum(a.size for a in x),))
    return np.concatenate(x, axis(op, int(op.option("Axis")), x[0].ndim))


def _pack(b: Builder, op: FileOperator, x: list[Array]) -> Array:
    _limit(b, (len(x), x[0].size))
    return np.stack(x, axis(op, int(op.option("Axis", 0)), x[0].ndim + 1))


def _gather(b: Builder, op: FileOperator, x: list[Array]) -> Array:
    along = axis(op, int(op.option("Axis", 0)), x[0].ndim)
    if op.option("BatchDims", 0) != 0:
        raise EdgeqError("GATHER with batch dimensions is not supported")
    _limit(b, (x[0].size // max(1, x[0].shape[along]), x[1].size))
    return np.take(x[0], x[1], along)


def _compare(compared: Callable[[Array, Array], Array]) -> Folder:
    def folder(b: Builder, op: FileOperator, x: list[Array]) -> Array:
        _limit(b, np.broadcast_shapes(x[0].shape, x[1].shape))
        return compared(x[0], x[1])

    return folder


def _limit(b: Builder, shape: tuple[int, ...]) -> None:
    """Refuse a constant before it is allocated."""
    if min(shape, default=1) < 0 or math.prod(shape) > min(MAX_ELEMENTS, b.left // 8):
        raise EdgeqError(f"a constant of shape {list(shape)} is out of range")


def _cast(b: Builder, op: FileOperator, x: list[Array]) -> Array:
    kind = b.file.tensors[op.outputs[0]].kind
    if kind not in NUMPY:
        raise EdgeqError(f"CAST to {kind} is not supported")
    return x[0].astype(NUMPY[kind].newbyteorder("="))


FOLDERS: dict[str, Folder] = {
    "RESHAPE": _reshape,
    "SQUEEZE": lambda b, op, x: x[0].reshape(squeezed_shape(op, x[0].shape)),
    "EXPAND_DIMS": lambda b, op, x: x[0].reshape(expanded_shape(b, op, x[0].shape)),
    "TRANSPOSE": lambda b, op, x: x[0].transpose(permutation(b, op, x[0].ndim)).copy(),
    "STRIDED_SLICE": _strided,
    "SLICE": _slice,
    "PACK": _pack,
    "CONCATENATION": _concatenate,
    "GATHER": _gather,
    "REDUCE_PROD": lambda b, op, x: np.prod(x[0], tuple(x[1].ravel()), keepdims=bool(op.option("KeepDims", False)), dtype=x[0].dtype),
    "BROADCAST_TO": _broadcast,
    "DENSIFY": lambda b, op, x: x[0],  # constants are read dense
    "FILL": _fill,
    "RANGE": _range,
    "CAST": _cast,
    "LESS": _compare(np.less),
    "LESS_EQUAL": _compare(np.less_equal),
    "GREATER": _compare(np.greater),
    "LOGICAL_AND": _compare(np.logical_and),
    "WHERE": lambda b, op, x: np.argwhere(x[0]).astype(np.int64),
}


def fold(b: Builder, op: FileOperator) -> bool:
    """Compute an operator whose inputs are all constant; False where they are not.

    Integers are computed here, exactly; float32 goes through the operator's own float meaning.

    Raises:
        EdgeqError: it cannot be folded.
    """
    present = [i for i in range(len(op.inputs)) if op.inputs[i] >= 0]
    if op.kind == "SHAPE" and b.index(op, 0) in b.values:
        shape = b.values[b.index(op, 0)].type.shape
        _store(b, op, np.array(shape, np.int64 if b.file.tensors[op.outputs[0]].kind == "INT64" else np.int32))
        return True
    if not present or not all(b.is_constant(op, i) for i in present):
        return False
    arrays = [b.constant(op.inputs[i]) for i in present]
    try:
        with np.errstate(all="ignore"):
            _fold_constants(b, op, arrays)
    except CONTRADICTIONS as e:
        raise EdgeqError(f"{op.kind} on constants contradicts itself", why=f"{type(e).__name__}: {e}"[:120]) from e
    return True


def _fold_constants(b: Builder, op: FileOperator, arrays: list[Array]) -> None:
    integers = all(a.dtype.kind in "ib" for a in arrays) and b.stored(op, 0).quantization is None
    if op.kind == "DEQUANTIZE":
        _store(b, op, b.dequantize(arrays[0], b.stored(op, 0)))
    elif op.kind == "QUANTIZE" and arrays[0].dtype == np.float32:
        type = b.activation_type(b.file.tensors[op.outputs[0]], arrays[0].shape)
        if type.dtype is not DType.INT8:
            raise EdgeqError(f"QUANTIZE of a constant to {type} is not supported", fix="fold constants when exporting")
        steps = round_half_away(arrays[0] / np.float32(type.scale)) + type.zero_point
        _store(b, op, np.clip(steps, -128, 127).astype(np.int8))
    elif op.kind in BINARY and integers:
        _limit(b, np.broadcast_shapes(*(a.shape for a in arrays)))
        if op.kind in ("DIV", "FLOOR_DIV", "FLOOR_MOD") and not arrays[1].all():
            raise EdgeqError(f"{op.kind} by zero", why="the file is damaged")
        _store(b, op, BINARY[op.kind](arrays[0], arrays[1]).astype(arrays[0].dtype))
    elif op.kind in FOLDERS and (op.kind in ("CAST", "FILL", "RANGE", "BROADCAST_TO", "DENSIFY") or arrays[0].dtype != np.int8):
        _store(b, op, FOLDERS[op.kind](b, op, arrays))
    else:
        _evaluate(b, op)


def _store(b: Builder, op: FileOperator, array: Array) -> None:
    index = op.outputs[0]
    if index in b.values or index in b.folded or b.file.tensors[index].data is not None:
        raise EdgeqError(f"tensor '{b.file.tensors[index].name}' is computed twice or is constant", why="the file is damaged")
    b.spend(array)
    b.folded[index] = np.ascontiguousarray(array).reshape(array.shape)


def _evaluate(b: Builder, op: FileOperator) -> None:
    """Translate the operator, then take its nodes out again and keep what they compute."""
    start = len(b.nodes)
    TRANSLATORS[op.kind](b, op)
    nodes, b.nodes = b.nodes[start:], b.nodes[:start]
    for node in nodes:
        inputs = [b.tensors[n] for n in node.inputs]
        output = b.tensors[node.outputs[0]]
        if output.type.dtype is not DType.FLOAT32 or any(t.type.dtype is not DType.FLOAT32 for t in inputs):
            raise EdgeqError(f"{op.kind} on int8 constants alone is not supported", fix="fold constants when exporting")
        if node.op.macs(*(t.type for t in inputs)) > MAX_MACS:
            raise EdgeqError(f"{op.kind} on constants alone takes too much work", fix="fold constants when exporting")
        arrays = [t.data for t in inputs if t.data is not None]
        result = node.op.real(*(a if i in node.op.parameters else a[None] for i, a in enumerate(arrays)))[0]
        data = np.ascontiguousarray(result.reshape(output.type.shape), np.float32)
        b.spend(data)
        b.tensors[output.name] = type(output)(output.name, output.type, data)
    for index in op.outputs:
        tensor = b.tensors[b.values.pop(index).name]
        assert tensor.data is not None
        b.folded[index] = tensor.data
