"""Operators that move, select or repeat values."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import MAX_ELEMENTS
from edgeq.frontends.onnx.indexed import looked_up
from edgeq.frontends.onnx.indexing import gather_computed
from edgeq.frontends.onnx.registry import MICROSOFT, reads
from edgeq.frontends.onnx.values import Constant, Index, Value
from edgeq.ir import DType, Tensor
from edgeq.ops.concat import Concat
from edgeq.ops.gather import Gather
from edgeq.ops.pad import Mode, Pad
from edgeq.ops.slice import Slice

INFINITY = 1e38  # stands for it in a padding
MODES: dict[str, Mode] = {mode: mode for mode in get_args(Mode)}


@reads("Identity", "Dropout", integers=True)
def identity(call: Call) -> tuple[Value]:
    training = call.value(2)
    if isinstance(training, Tensor) or (training is not None and training.array.any()):
        raise EdgeqError("Dropout in training mode is not supported", fix="export the model in inference mode")
    return (call.required(0),)


@reads("Shape", "Size", integers=True)
def shape_of(call: Call) -> Constant:
    shape = call.x().type.shape
    if call.kind == "Size":
        return Constant(call.output, np.array(math.prod(shape), np.int64))
    rank = len(shape)
    start, end = (call.integer(n, d) for n, d in (("start", 0), ("end", rank)))
    return Constant(call.output, np.array(shape[slice(start, end)], np.int64))


@reads("Reshape", integers=True)
def reshape(call: Call) -> Tensor:
    x = call.x()
    wanted = call.parameter("shape", 1)
    if wanted is None:
        raise EdgeqError("Reshape without a shape", why="the file is damaged")
    old = x.type.shape
    if not call.integer("allowzero", 0):
        if any(n == 0 and i >= len(old) for i, n in enumerate(wanted)):
            raise EdgeqError(f"Reshape of {list(old)} to {list(wanted)} keeps an axis that does not exist")
        wanted = tuple(old[i] if n == 0 else n for i, n in enumerate(wanted))
    rest = math.prod(n for n in wanted if n != -1)
    if wanted.count(-1) == 1 and rest > 0 and x.type.size % rest == 0:
        wanted = tuple(x.type.size // rest if n == -1 else n for n in wanted)
    if any(n < 1 for n in wanted) or math.prod(wanted) != x.type.size:
        raise EdgeqError(f"Reshape of {list(old)} to {list(wanted)}", why="the number of elements changes", fix="check the input's shape")
    return call.reshape(x, wanted, "")


@reads("Flatten", integers=True)
def flatten(call: Call) -> Tensor:
    x = call.x()
    axis, rank = call.integer("axis", 1), len(x.type.shape)
    if not -rank <= axis <= rank:
        raise EdgeqError(f"axis {axis} of Flatten does not exist", why=f"the input has {rank}")
    rows = math.prod(x.type.shape[: axis % rank if axis < 0 else axis])
    return call.reshape(x, (rows, x.type.size // rows), "")


@reads("Squeeze", integers=True)
def squeeze(call: Call) -> Tensor:
    x = call.x()
    shape = x.type.shape
    listed = call.parameter("axes", 1)
    axes = {i for i, n in enumerate(shape) if n == 1} if listed is None else {call.normal_axis(a, len(shape)) for a in listed}
    if any(shape[a] != 1 for a in axes):
        raise EdgeqError(f"Squeeze of axes {sorted(axes)} of {list(shape)}", why="they are longer than 1")
    return call.reshape(x, tuple(n for i, n in enumerate(shape) if i not in axes), "")


@reads("Unsqueeze", integers=True)
def unsqueeze(call: Call) -> Tensor:
    x = call.x()
    listed = call.parameter("axes", 1) or ()
    rank = len(x.type.shape) + len(listed)
    axes = {call.normal_axis(a, rank) for a in listed}
    if len(axes) != len(listed):
        raise EdgeqError(f"Unsqueeze of axes {list(listed)}", why="an axis occurs twice")
    rest = iter(x.type.shape)
    return call.reshape(x, tuple(1 if i in axes else next(rest) for i in range(rank)), "")


@reads("Transpose", integers=True)
def transpose(call: Call) -> Tensor:
    x = call.x()
    perm = call.integers("perm") or tuple(reversed(range(len(x.type.shape))))
    if sorted(perm) != list(range(len(x.type.shape))):
        raise EdgeqError(f"Transpose by {list(perm)} of {list(x.type.shape)}", why="the file is damaged")
    return call.transpose(x, perm, "")


@reads("Concat", integers=True)
def concat(call: Call) -> Tensor:
    operands = [call.tensor(v) for v in call.values if v is not None and not (isinstance(v, Constant) and v.array.size == 0)]
    if not operands:
        raise EdgeqError("Concat of nothing")
    if len({t.type.dtype for t in operands}) > 1:
        raise EdgeqError("Concat of integers and floats is not supported")
    if any(t.type.dtype is DType.INT8 and t.type.q != operands[0].type.q for t in operands):
        raise EdgeqError("Concat of integers with different scales is not supported", fix="use QDQ format, or QLinearConcat")
    axis = call.axis(1, len(operands[0].type.shape))
    return operands[0] if len(operands) == 1 else call.emit(Concat(axis), *operands)


def part(call: Call, x: Tensor, axis: int, start: int, size: int, tag: str) -> Tensor:
    """`size` elements along an axis."""
    shape = x.type.shape
    begin = tuple(start if a == axis else 0 for a in range(len(shape)))
    sizes = tuple(size if a == axis else n for a, n in enumerate(shape))
    return call.emit(Slice(begin, sizes, (1,) * len(shape)), x, tag=tag)


@reads("Split", integers=True)
def split(call: Call) -> list[Value | None]:
    x = call.x()
    axis, count = call.axis(0, len(x.type.shape)), len(call.node.output)
    length = x.type.shape[axis]
    sizes = call.parameter("split", 1)
    if sizes is None:
        each = -(-length // max(call.integer("num_outputs", count), 1))
        sizes = tuple(min(each, length - i * each) for i in range(count))
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != length:
        raise EdgeqError(f"Split of {length} into {list(sizes)[:8]}", why="the sizes do not add up")
    names, nothing = call.node.output, np.zeros([0 if a == axis else n for a, n in enumerate(x.type.shape)], np.float32)

    def piece(i: int) -> Value:
        start = sum(sizes[:i])
        return part(call, x, axis, start, sizes[i], f"part{i}") if sizes[i] else Constant(names[i], nothing)

    return [piece(i) if names[i] else None for i in range(count)]


@reads("Slice", integers=True)
def slice_(call: Call) -> Value:
    x = call.x()
    shape = x.type.shape
    starts, ends = call.parameter("starts", 1), call.parameter("ends", 2)
    if starts is None or ends is None:
        raise EdgeqError("Slice without starts or ends", why="the file is damaged")
    axes = call.parameter("axes", 3)
    axes = tuple(range(len(starts))) if axes is None else tuple(call.normal_axis(a, len(shape)) for a in axes)
    steps = call.vector(4, "'steps'") or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps or len(set(axes)) != len(axes):
        raise EdgeqError("starts, ends, axes and steps of Slice do not fit together", why="the file is damaged")
    begin, size, stride = [0] * len(shape), list(shape), [1] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        taken = range(shape[axis])[slice(start, end, step)]
        begin[axis], size[axis], stride[axis] = taken[0] if taken else 0, len(taken), step if len(taken) > 1 else 1
    if 0 in size:
        return Constant(call.output, np.zeros(size, np.float32))
    if tuple(size) == shape and all(s == 1 for s in stride):
        return x
    return call.emit(Slice(tuple(begin), tuple(size), tuple(stride)), x)


@reads("Pad", integers=True)
@reads("Pad", domain=MICROSOFT, integers=True)
def pad(call: Call) -> Tensor:
    x = call.x()
    shape = x.type.shape
    mode = MODES[call.choice("mode", "constant", tuple(MODES))]
    pads = call.parameter("pads", 1)
    axes = call.vector(3, "'axes'")
    axes = tuple(range(len(shape))) if axes is None else tuple(call.normal_axis(a, len(shape)) for a in axes)
    if pads is None or len(pads) != 2 * len(axes) or len(set(axes)) != len(axes) or any(abs(p) >= MAX_ELEMENTS for p in pads):
        raise EdgeqError("pads of Pad do not fit its input", why="the file is damaged")
    each = [(0, 0)] * len(shape)
    for i, axis in enumerate(axes):
        each[axis] = (pads[i], pads[i + len(axes)])
    x = _cropped(call, x, each)
    added = tuple((max(b, 0), max(a, 0)) for b, a in each)
    if not any(p for pair in added for p in pair):
        return x
    return call.emit(Pad(added, _pad_value(call, x) if mode == "constant" else 0.0, mode), x)


def _cropped(call: Call, x: Tensor, pads: list[tuple[int, int]]) -> Tensor:
    """Negative pads cut off."""
    if all(p >= 0 for pair in pads for p in pair):
        return x
    begin = tuple(max(-b, 0) for b, _ in pads)
    size = tuple(n + min(b, 0) + min(a, 0) for n, (b, a) in zip(x.type.shape, pads, strict=True))
    if min(size) < 1:
        raise EdgeqError("Pad cuts everything off")
    return call.emit(Slice(begin, size, (1,) * len(size)), x, tag="crop")


def _pad_value(call: Call, x: Tensor) -> float:
    """The real value of the padding."""
    found = call.data(2, "the value")
    if found is None or found.size == 0:
        stored: float = 0.0 if x.type.dtype is DType.FLOAT32 else float(-128 if x.name in call.builder.unsigned else 0)
        given = call.number("value", 0.0)
    else:
        given = float(found.ravel()[0])
        stored = given - (128 if x.name in call.builder.unsigned else 0)
    if x.type.dtype is DType.FLOAT32:
        if math.isnan(given):
            raise EdgeqError("Pad with a value that is no number is not supported")
        return min(max(given, -INFINITY), INFINITY)
    return (stored - x.type.zero_point) * x.type.scale


@reads("Gather", integers=True)
def gather(call: Call) -> Tensor:
    index = call.required(1)
    if isinstance(index, Index):
        return looked_up(call, index)
    if isinstance(index, Tensor):
        return gather_computed(call)
    x, indices = call.x(), call.data(1, "the indices")
    assert indices is not None
    axis, length = call.axis(0, len(x.type.shape)), 0
    length = x.type.shape[axis]
    if indices.dtype.kind not in "iu" or indices.size == 0 or indices.min() < -length or indices.max() >= length:
        raise EdgeqError(f"indices of Gather do not fit axis {axis} of {x.type}")
    chosen = [int(i) % length for i in indices.ravel()]
    shape = (*x.type.shape[:axis], *indices.shape, *x.type.shape[axis + 1 :])
    step = chosen[1] - chosen[0] if len(chosen) > 1 else 1
    if step and chosen == list(range(chosen[0], chosen[0] + step * len(chosen), step)):  # a slice, which layouts may pass
        begin = tuple(chosen[0] if a == axis else 0 for a in range(len(x.type.shape)))
        size = tuple(len(chosen) if a == axis else n for a, n in enumerate(x.type.shape))
        stride = tuple(step if a == axis else 1 for a in range(len(x.type.shape)))
        return call.reshape(call.emit(Slice(begin, size, stride), x), shape, "shape")
    return call.emit(Gather(tuple(chosen), indices.shape, axis), x)


def repeat(call: Call, x: Tensor, axis: int, indices: list[int], tag: str) -> Tensor:
    """Elements along an axis by their indices, any number of times."""
    if math.prod(x.type.shape) // x.type.shape[axis] * len(indices) > MAX_ELEMENTS:
        raise EdgeqError(f"the result of {call.kind} is too large")
    return call.emit(Gather(tuple(indices), (len(indices),), axis), x, tag=tag)


@reads("Expand", integers=True)
def expand(call: Call) -> Tensor:
    x, shape = call.x(), call.vector(1, "the shape")
    assert shape is not None
    rank = max(len(shape), len(x.type.shape))
    x = call.reshape(x, (1,) * (rank - len(x.type.shape)) + x.type.shape, "rank")
    shape = (1,) * (rank - len(shape)) + shape
    for axis, n in enumerate(shape):
        have = x.type.shape[axis]
        if n < 1 or (n != have and 1 not in (n, have)):
            raise EdgeqError(f"Expand of {list(x.type.shape)} to {list(shape)}", why="the lengths do not fit")
        if n > have:
            x = repeat(call, x, axis, [0] * _countable(call, n), f"axis{axis}")
    return x


def _countable(call: Call, n: int) -> int:
    if n > 2**20:
        raise EdgeqError(f"{call.kind} to a length of {n} is not supported")
    return n


@reads("Tile", integers=True)
def tile(call: Call) -> Tensor:
    x, counts = call.x(), call.vector(1, "the repeats")
    if counts is None or len(counts) != len(x.type.shape) or min(counts, default=1) < 1:
        raise EdgeqError("repeats of Tile do not fit its input", why="the file is damaged")
    for axis, count in enumerate(counts):
        if count > 1:
            length = x.type.shape[axis]
            x = repeat(call, x, axis, list(range(length)) * _countable(call, count * length // length), f"axis{axis}")
    return x


@reads("DepthToSpace", "SpaceToDepth", integers=True)
def depth_and_space(call: Call) -> Tensor:
    x, block = call.x(), call.integer("blocksize", 0)
    if len(x.type.shape) != 4:
        raise EdgeqError(f"{call.kind} of {x.type}", why="expected [N, C, H, W]")
    n, c, h, w = x.type.shape
    inwards = call.kind == "SpaceToDepth"
    if block < 1 or (h % block or w % block if inwards else c % (block * block)):
        raise EdgeqError(f"{call.kind} of {x.type} by {block}", why="the sizes are no multiples of the block")
    depth_first = call.choice("mode", "DCR", ("DCR", "CRD")) == "DCR"
    if inwards:
        x = call.reshape(x, (n, c, h // block, block, w // block, block), "blocks")
        x = call.transpose(x, (0, 3, 5, 1, 2, 4) if depth_first else (0, 1, 3, 5, 2, 4), "shuffle")
        return call.reshape(x, (n, c * block**2, h // block, w // block), "")
    out = c // block**2
    if depth_first:
        x = call.transpose(call.reshape(x, (n, block, block, out, h, w), "blocks"), (0, 3, 4, 1, 5, 2), "shuffle")
    else:
        x = call.transpose(call.reshape(x, (n, out, block, block, h, w), "blocks"), (0, 1, 4, 2, 5, 3), "shuffle")
    return call.reshape(x, (n, out, h * block, w * block), "")
