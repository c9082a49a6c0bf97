"""Translators of the operators that move elements: reshapes, slices, concatenations, resizes."""

from __future__ import annotations

import math

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.attributes import axis, of_rank, reads
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import MAX_ELEMENTS, FileOperator
from edgeq.ir import DType, Tensor
from edgeq.ops.concat import Concat
from edgeq.ops.gather import Gather
from edgeq.ops.quantize import Dequantize
from edgeq.ops.reshape import Reshape
from edgeq.ops.resize import ResizeBilinear, ResizeNearest
from edgeq.ops.slice import Slice
from edgeq.ops.transpose import Transpose
from edgeq.ops.whole import WholeCast

# Shapes alone


def resolve_shape(op: FileOperator, size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A requested shape with its one -1 replaced."""
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known > 0 and size % known == 0:
        shape = tuple(size // known if n == -1 else n for n in shape)
    if any(n < 1 for n in shape) or math.prod(shape) != size:
        raise EdgeqError(f"{op.kind} of {size} elements to {list(shape)}", why="the number of elements changes")
    return shape


def reshape_target(b: Builder, op: FileOperator) -> tuple[int, ...]:
    """The shape that a RESHAPE asks for: its second input, else its option, else the declared one."""
    if b.index(op, 1) >= 0:
        shape = b.integers(op, 1, "the new shape")
        return () if shape == (0,) else shape
    return tuple(op.option("NewShape", ()) or b.file.tensors[op.outputs[0]].shape)


def squeezed_shape(op: FileOperator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """SQUEEZE: the listed axes of length 1 removed, all of them where none is listed."""
    listed = {axis(op, a, len(shape)) for a in op.option("SqueezeDims", ())}
    axes = listed or {i for i, n in enumerate(shape) if n == 1}
    if any(shape[i] != 1 for i in axes):
        raise EdgeqError(f"SQUEEZE of axes {sorted(axes)} of {list(shape)}", why="they are longer than 1")
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def expanded_shape(b: Builder, op: FileOperator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """EXPAND_DIMS: an axis of length 1 added."""
    axes = b.integers(op, 1, "the axis")
    if len(axes) != 1:
        raise EdgeqError(f"EXPAND_DIMS of {len(axes)} axes", why="the file is damaged")
    at = axis(op, axes[0], len(shape) + 1)
    return (*shape[:at], 1, *shape[at:])


@reads("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CAST")
def reshape(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    if b.stored(op, 0).kind == "COMPLEX64":
        _complex_reshape(b, op, x)
        return
    shape = x.type.shape  # a CAST between equal types changes nothing; others are refused by the output's type
    if op.kind == "RESHAPE":
        shape = resolve_shape(op, x.type.size, reshape_target(b, op))
    elif op.kind == "SQUEEZE":
        shape = squeezed_shape(op, shape)
    elif op.kind == "EXPAND_DIMS":
        shape = expanded_shape(b, op, shape)
    elif b.stored(op, 0).relabelled and x.type.scale == 1:
        b.emit(Dequantize(), [x], op.outputs[0], converts=True)
        return
    elif x.type.q is None and x.type.dtype is not DType.FLOAT32:
        _whole_cast(b, op, x)
        return
    elif x.type.dtype is not DType.FLOAT32:
        raise EdgeqError("CAST of int8 is not supported", fix="use DEQUANTIZE")
    b.emit(Reshape(shape), [x], op.outputs[0])


def _complex_reshape(b: Builder, op: FileOperator, x: Tensor) -> None:
    """A spectrum, whose last axis holds real and imaginary parts in turn, under another shape with the same last axis."""
    shape = (*x.type.shape[:-1], x.type.shape[-1] // 2)
    if op.kind == "RESHAPE":
        shape = resolve_shape(op, x.type.size // 2, reshape_target(b, op))
    elif op.kind == "SQUEEZE":
        shape = squeezed_shape(op, shape)
    elif op.kind == "EXPAND_DIMS":
        shape = expanded_shape(b, op, shape)
    else:
        raise EdgeqError(f"{op.kind} of complex numbers is not supported")
    if not shape or 2 * shape[-1] != x.type.shape[-1]:
        raise EdgeqError(f"{op.kind} of a spectrum {x.type} across its bins is not supported")
    b.alias(op.outputs[0], b.insert(Reshape((*shape[:-1], x.type.shape[-1])), [x], b.tensor_name(op.outputs[0])))


def _whole_cast(b: Builder, op: FileOperator, x: Tensor) -> None:
    """Numbers without a scale in another type of integers; to one of the same bits nothing changes."""
    stored = b.file.tensors[op.outputs[0]]
    to = b.activation_type(stored, x.type.shape)
    if to.q is not None or to.dtype is DType.FLOAT32 or "BOOL" in (stored.kind, b.stored(op, 0).kind):
        raise EdgeqError(f"CAST of {b.stored(op, 0).kind} to {stored.kind} is not supported")
    b.emit(Reshape(x.type.shape) if to.dtype is x.type.dtype else WholeCast(to.dtype.value), [x], op.outputs[0], converts=True)


@reads("TRANSPOSE")
def transpose(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    b.emit(Transpose(perm=permutation(b, op, len(x.type.shape))), [x], op.outputs[0])


def permutation(b: Builder, op: FileOperator, rank: int) -> tuple[int, ...]:
    """The axes of a TRANSPOSE."""
    perm = tuple(axis(op, a, rank) for a in b.integers(op, 1, "the permutation"))
    if sorted(perm) != list(range(rank)):
        raise EdgeqError(f"TRANSPOSE by {list(perm)} at rank {rank}", why="the file is damaged")
    return perm


@reads("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def shuffle(b: Builder, op: FileOperator) -> None:
    x, block, name = b.operand(op, 0), int(op.option("BlockSize")), b.tensor_name(op.outputs[0])
    n, h, w, c = of_rank(op, x, 4)
    inner = op.kind == "DEPTH_TO_SPACE"
    if not 1 <= block <= 2**14 or (c % (block * block) if inner else h % block or w % block):
        raise EdgeqError(f"{op.kind} of {x.type} by {block}", why="the sizes are no multiples of the block")
    if inner:
        split, perm, shape = (n, h, w, block, block, c // block**2), (0, 1, 3, 2, 4, 5), (n, h * block, w * block, c // block**2)
    else:
        split, perm, shape = (n, h // block, block, w // block, block, c), (0, 1, 3, 2, 4, 5), (n, h // block, w // block, c * block**2)
    x = b.insert(Reshape(split), [x], f"{name}/blocks")
    x = b.insert(Transpose(perm=perm), [x], f"{name}/shuffled")
    b.emit(Reshape(shape), [x], op.outputs[0])


# Slices


@reads("SPLIT", "SPLIT_V")
def split(b: Builder, op: FileOperator) -> None:
    position, at = (1, 0) if op.kind == "SPLIT" else (0, 2)
    x = b.operand(op, position)
    axes = b.integers(op, at, "the axis")
    if len(axes) != 1:
        raise EdgeqError(f"{op.kind} along {len(axes)} axes", why="the file is damaged")
    along = axis(op, axes[0], len(x.type.shape))
    length, count = x.type.shape[along], len(op.outputs)
    sizes = b.integers(op, 1, "the sizes") if op.kind == "SPLIT_V" else (length // count,) * count
    if sizes.count(-1) == 1:
        sizes = tuple(length - sum(sizes) - 1 if n == -1 else n for n in sizes)
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != length:
        raise EdgeqError(f"{op.kind} of {length} into {list(sizes)}", why="the sizes do not add up")
    start = 0
    for index, size in zip(op.outputs, sizes, strict=True):
        begin, extent = [0] * len(x.type.shape), list(x.type.shape)
        begin[along], extent[along] = start, size
        start += size
        b.emit(Slice(begin=tuple(begin), size=tuple(extent), stride=(1,) * len(begin)), [x], index)


@reads("UNPACK")
def unpack(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    along = axis(op, int(op.option("Axis", 0)), len(x.type.shape))
    if len(op.outputs) != x.type.shape[along]:
        raise EdgeqError(f"UNPACK of {x.type} into {len(op.outputs)}", why="the file is damaged")
    rest = x.type.shape[:along] + x.type.shape[along + 1 :]
    for i, index in enumerate(op.outputs):
        begin, size = [0] * len(x.type.shape), list(x.type.shape)
        begin[along], size[along] = i, 1
        node = Slice(begin=tuple(begin), size=tuple(size), stride=(1,) * len(begin))
        part = b.insert(node, [x], f"{b.tensor_name(index)}/slice")
        b.emit(Reshape(rest), [part], index)


def slice_bounds(b: Builder, op: FileOperator, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Begin and size of a SLICE, which may be empty: lists that loops fill begin and end so."""
    begin, size = b.integers(op, 1, "the begin"), b.integers(op, 2, "the size")
    if not len(begin) == len(size) == len(shape):
        raise EdgeqError(f"SLICE of {list(shape)} with begin {list(begin)} and size {list(size)}", why="the file is damaged")
    size = tuple(n - at if s == -1 else s for n, at, s in zip(shape, begin, size, strict=True))
    if any(at < 0 or s < 0 or at + s > n for n, at, s in zip(shape, begin, size, strict=True)):
        raise EdgeqError(f"SLICE of {list(shape)} with begin {list(begin)} and size {list(size)} is outside")
    return begin, size


@reads("SLICE")
def slice_(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    begin, size = slice_bounds(b, op, x.type.shape)
    if 0 in size:
        b.folded[op.outputs[0]] = np.zeros(size, x.type.dtype.numpy)
        return
    b.emit(Slice(begin=begin, size=size, stride=(1,) * len(begin)), [x], op.outputs[0])


def strided_bounds(b: Builder, op: FileOperator, shape: tuple[int, ...]) -> list[tuple[int, int, int, str]]:
    """STRIDED_SLICE, one entry per axis of the result or removed axis: first index, size, step, and
    "keep", "new" (an axis of length 1 that the input lacks) or "drop"."""
    spec = list(zip(*(b.integers(op, i, "the bounds") for i in (1, 2, 3)), strict=False))
    if len({len(b.integers(op, i, "the bounds")) for i in (1, 2, 3)}) != 1:
        raise EdgeqError("STRIDED_SLICE with bounds of different lengths", why="the file is damaged")
    masks = {n: int(op.option(f"{n}Mask", 0)) for n in ("Begin", "End", "Ellipsis", "NewAxis", "ShrinkAxis")}
    used = sum(1 for i in range(len(spec)) if not (masks["NewAxis"] | masks["Ellipsis"]) >> i & 1)
    if used > len(shape) or masks["Ellipsis"].bit_count() > 1:
        raise EdgeqError(f"STRIDED_SLICE with {len(spec)} bounds on {list(shape)}", why="the file is damaged")
    entries: list[tuple[int, int, int, str]] = []
    at = 0

    def rest(count: int) -> None:
        nonlocal at
        for n in shape[at : at + count]:
            entries.append((0, n, 1, "keep"))
        at += count

    for i, (begin, end, step) in enumerate(spec):
        if masks["Ellipsis"] >> i & 1:
            rest(len(shape) - used)
        elif masks["NewAxis"] >> i & 1:
            entries.append((0, 1, 1, "new"))
        else:
            entries.append(_strided_axis(shape[at], begin, end, step, i, masks))
            at += 1
    rest(len(shape) - at)
    return entries


def _strided_axis(n: int, begin: int, end: int, step: int, i: int, masks: dict[str, int]) -> tuple[int, int, int, str]:
    if step == 0:
        raise EdgeqError("STRIDED_SLICE with step 0", why="the file is damaged")
    if masks["ShrinkAxis"] >> i & 1:
        if not -n <= begin < n:
            raise EdgeqError(f"STRIDED_SLICE takes index {begin} of {n}", why="the file is damaged")
        return begin % n, 1, 1, "drop"
    indices = range(n)[slice(None if masks["Begin"] >> i & 1 else begin, None if masks["End"] >> i & 1 else end, step)]
    if not indices:
        raise EdgeqError(f"STRIDED_SLICE from {begin} to {end} by {step} of {n} is empty")
    return indices[0], len(indices), step, "keep"


@reads("STRIDED_SLICE")
def strided_slice(b: Builder, op: FileOperator) -> None:
    if op.option("Offset", False):
        raise EdgeqError("STRIDED_SLICE with end as an offset is not supported", fix="convert the model without it")
    x = b.operand(op, 0)
    entries = strided_bounds(b, op, x.type.shape)
    moving = [e for e in entries if e[3] != "new"]
    node = Slice(begin=tuple(e[0] for e in moving), size=tuple(e[1] for e in moving), stride=tuple(e[2] for e in moving))
    shape = tuple(e[1] for e in entries if e[3] != "drop")
    if shape == node.size:
        b.emit(node, [x], op.outputs[0])
        return
    whole = node.size == x.type.shape and set(node.stride) <= {1}
    part = x if whole else b.insert(node, [x], f"{b.tensor_name(op.outputs[0])}/slice")
    b.emit(Reshape(shape), [part], op.outputs[0])


@reads("GATHER")
def gather(b: Builder, op: FileOperator) -> None:
    if op.option("BatchDims", 0) != 0:
        raise EdgeqError("GATHER with batch dimensions is not supported")
    x, array = b.operand(op, 0), b.array(op, 1, "the indices")
    along = axis(op, int(op.option("Axis", 0)), len(x.type.shape))
    indices, n = b.integers(op, 1, "the indices"), x.type.shape[along]
    if not indices or any(not 0 <= i < n for i in indices):
        raise EdgeqError(f"GATHER takes indices outside 0 to {n - 1}", why="the file is damaged")
    b.emit(Gather(indices=indices, index_shape=array.shape, axis=along), [x], op.outputs[0])


# Joining and growing


@reads("CONCATENATION")
def concatenation(b: Builder, op: FileOperator) -> None:
    if op.option("FusedActivationFunction", 0) != 0:
        raise EdgeqError("a fused activation of CONCATENATION is not supported", fix="make the activation an operator of its own")
    empty = [i for i in range(len(op.inputs)) if b.is_constant(op, i) and not b.constant(b.index(op, i)).size]
    parts = b.operands(op, *(i for i in range(len(op.inputs)) if i not in empty))
    if not parts:
        raise EdgeqError("CONCATENATION of nothing", why="the file is damaged")
    along = axis(op, int(op.option("Axis")), len(parts[0].type.shape))
    b.emit(Concat(axis=along), parts, op.outputs[0])


@reads("PACK")
def pack(b: Builder, op: FileOperator) -> None:
    parts, name = b.operands(op, *range(len(op.inputs))), b.tensor_name(op.outputs[0])
    shape = parts[0].type.shape
    along = axis(op, int(op.option("Axis", 0)), len(shape) + 1)
    if any(t.type.shape != shape for t in parts):
        raise EdgeqError("PACK of different shapes", why="the file is damaged")
    parts = [b.reshaped(t, (*shape[:along], 1, *shape[along:]), f"{name}/expand") for t in parts]
    b.emit(Concat(axis=along), parts, op.outputs[0])


def gathered(b: Builder, op: FileOperator, x: Tensor, indices: dict[int, tuple[int, ...]]) -> None:
    """Pick indices along axes, one axis after the other."""
    shape = [len(indices.get(i, range(n))) for i, n in enumerate(x.type.shape)]
    if math.prod(shape) > MAX_ELEMENTS:
        raise EdgeqError(f"{op.kind} of {x.type} to {shape}", why=f"at most {MAX_ELEMENTS} elements are accepted")
    *first, last = list(indices.items()) or [(0, ())]
    for i, picks in first:
        x = b.insert(Gather(indices=picks, index_shape=(len(picks),), axis=i), [x], f"{b.tensor_name(op.outputs[0])}/axis")
    if not indices:
        b.emit(Reshape(x.type.shape), [x], op.outputs[0])
    else:
        b.emit(Gather(indices=last[1], index_shape=(len(last[1]),), axis=last[0]), [x], op.outputs[0])


@reads("TILE")
def tile(b: Builder, op: FileOperator) -> None:
    x, counts = b.operand(op, 0), b.integers(op, 1, "the repetitions")
    shape = [n * c for n, c in zip(x.type.shape, counts, strict=False)]
    if len(counts) != len(x.type.shape) or min(counts, default=1) < 1 or math.prod(shape) > MAX_ELEMENTS:
        raise EdgeqError(f"TILE of {x.type} by {list(counts)}", why="the repetitions are out of range")
    gathered(b, op, x, {i: tuple(range(n)) * c for i, (n, c) in enumerate(zip(x.type.shape, counts, strict=True)) if c > 1})


@reads("BROADCAST_TO")
def broadcast_to(b: Builder, op: FileOperator) -> None:
    x, shape = b.operand(op, 0), b.integers(op, 1, "the shape")
    own = (1,) * (len(shape) - len(x.type.shape)) + x.type.shape
    fits = len(own) == len(shape) and all(n in (1, m) and m >= 1 for n, m in zip(own, shape, strict=True))
    if not fits or math.prod(shape) > MAX_ELEMENTS:
        raise EdgeqError(f"BROADCAST_TO of {x.type} to {list(shape)}", why="the shape does not fit or is out of range")
    x = b.reshaped(x, own, f"{b.tensor_name(op.outputs[0])}/expand")
    gathered(b, op, x, {i: (0,) * m for i, (n, m) in enumerate(zip(own, shape, strict=True)) if n != m})


def broadcast(b: Builder, x: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    """x repeated along the axes in which it is 1; of a constant at once. The shape fits."""
    if x.data is not None:
        return x if x.type.shape == shape else b.new_constant(name, np.broadcast_to(x.data, shape).copy(), x.type)
    x = b.reshaped(x, (1,) * (len(shape) - len(x.type.shape)) + x.type.shape, f"{name}/expand")
    for i, m in enumerate(shape):
        if x.type.shape[i] != m:
            x = b.insert(Gather(indices=(0,) * m, index_shape=(m,), axis=i), [x], name)
    return x


@reads("REVERSE_V2")
def reverse(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    shape = x.type.shape
    axes = {axis(op, a, len(shape)) for a in b.integers(op, 1, "the axes")}
    begin = tuple(n - 1 if i in axes else 0 for i, n in enumerate(shape))
    b.emit(Slice(begin=begin, size=shape, stride=tuple(-1 if i in axes else 1 for i in range(len(shape)))), [x], op.outputs[0])


@reads("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR")
def resize(b: Builder, op: FileOperator) -> None:
    x, size = b.operand(op, 0), b.integers(op, 1, "the size")
    of_rank(op, x, 4)
    if len(size) != 2 or min(size) < 1 or math.prod(size) > MAX_ELEMENTS:
        raise EdgeqError(f"{op.kind} to {list(size)}", why="the size is out of range")
    cls = ResizeBilinear if op.kind == "RESIZE_BILINEAR" else ResizeNearest
    corners, centers = bool(op.option("AlignCorners", False)), bool(op.option("HalfPixelCenters", False))
    b.emit(cls(size=(size[0], size[1]), align_corners=corners, half_pixel_centers=centers), [x], op.outputs[0])
