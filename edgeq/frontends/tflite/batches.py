"""Translators of SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND; around a convolution they are its dilation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.attributes import reads
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import MAX_ELEMENTS, FileOperator
from edgeq.ir import Node, Tensor
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.pad import Pad
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.transpose import Transpose

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Spread:
    """What a SPACE_TO_BATCH_ND was made of."""

    source: Tensor
    block: tuple[int, ...]
    pads: Pairs


def _arguments(b: Builder, op: FileOperator, x: Tensor) -> tuple[tuple[int, ...], Pairs]:
    """Block and pads (or crops) of the axes behind the first."""
    block, flat = b.integers(op, 1, "the block"), b.integers(op, 2, "the pads")
    count = len(block)
    if not 1 <= count < len(x.type.shape) or len(flat) != 2 * count or min(block) < 1 or min(flat) < 0 or max(*block, *flat) > 2**14:
        raise EdgeqError(f"{op.kind} of {x.type} by {list(block)} and {list(flat)}", why="the file is damaged")
    return block, tuple(zip(flat[::2], flat[1::2], strict=True))


@reads("SPACE_TO_BATCH_ND")
def spread(b: Builder, op: FileOperator) -> None:
    """[N, H, W, C] -> [h w N, H / h, W / w, C] for block [h, w]."""
    x, name = b.operand(op, 0), b.tensor_name(op.outputs[0])
    block, pads = _arguments(b, op, x)
    source, (batch, *sizes) = x, x.type.shape
    rank = len(block)
    padded = [n + sum(p) for n, p in zip(sizes, pads, strict=False)]
    if any(n % d for n, d in zip(padded, block, strict=True)) or batch * math.prod(padded) * math.prod(sizes[rank:]) > MAX_ELEMENTS:
        raise EdgeqError(f"{op.kind} of {x.type} by {list(block)}", why="the sizes are no multiples of the block")
    if any(map(any, pads)):
        x = b.insert(Pad(pads=((0, 0), *pads, *((0, 0),) * (len(sizes) - rank)), value=None), [x], f"{name}/padded")
    split = (batch, *(v for n, d in zip(padded, block, strict=True) for v in (n // d, d)), *sizes[rank:])
    x = b.insert(Reshape(split), [x], f"{name}/blocks")
    rest = range(2 * rank + 1, len(split))
    x = b.insert(Transpose(perm=(*range(2, 2 * rank + 1, 2), 0, *range(1, 2 * rank, 2), *rest)), [x], f"{name}/moved")
    shape = (batch * math.prod(block), *(n // d for n, d in zip(padded, block, strict=True)), *sizes[rank:])
    y = b.emit(Reshape(shape), [x], op.outputs[0])
    b.spreads[y.name] = Spread(source, block, pads)


@reads("BATCH_TO_SPACE_ND")
def gather(b: Builder, op: FileOperator) -> None:
    x, name = b.operand(op, 0), b.tensor_name(op.outputs[0])
    block, crops = _arguments(b, op, x)
    batch, *sizes = x.type.shape
    rank, count = len(block), math.prod(block)
    if batch % count or any(n * d <= sum(c) for n, d, c in zip(sizes, block, crops, strict=False)):
        raise EdgeqError(f"{op.kind} of {x.type} by {list(block)}, cropped by {list(crops)}", why="the sizes do not fit")
    if _dilated(b, op, x, block, crops):
        return
    x = b.insert(Reshape((*block, batch // count, *sizes)), [x], f"{name}/blocks")
    pairs = [v for i in range(rank) for v in (rank + 1 + i, i)]
    x = b.insert(Transpose(perm=(rank, *pairs, *range(2 * rank + 1, len(sizes) + rank + 1))), [x], f"{name}/moved")
    whole = (batch // count, *(n * d for n, d in zip(sizes, block, strict=False)), *sizes[rank:])
    if not any(map(any, crops)):
        b.emit(Reshape(whole), [x], op.outputs[0])
        return
    x = b.insert(Reshape(whole), [x], f"{name}/whole")
    begin = (0, *(c[0] for c in crops), *(0,) * (len(sizes) - rank))
    size = (whole[0], *(n - sum(c) for n, c in zip(whole[1:], crops, strict=False)), *whole[rank + 1 :])
    b.emit(Slice(begin=begin, size=size, stride=(1,) * len(size)), [x], op.outputs[0])


def _dilated(b: Builder, op: FileOperator, x: Tensor, block: tuple[int, ...], crops: Pairs) -> bool:
    """Replace a convolution between both operators by a dilated one, where it has no stride and no padding of its own."""
    makers: dict[str, Node] = {out: n for n in b.nodes for out in n.outputs}
    conv = _behind_reshapes(makers, x.name)
    if conv is None or not isinstance(conv.op, Conv2d | DepthwiseConv2d):
        return False
    maker = _behind_reshapes(makers, conv.inputs[0], set(b.spreads))
    found = None if maker is None else b.spreads.get(maker.outputs[0])
    shape = b.tensors[conv.inputs[0]].type.shape
    if found is None or found.block != block or conv.op.stride != (1, 1) or conv.op.dilation != (1, 1) or any(conv.op.pads):
        return False
    source, pads = found.source, [(p[0] - c[0], p[1] - c[1]) for p, c in zip(found.pads, crops, strict=True)]
    own, full = list(source.type.shape), tuple(block)
    if len(own) == 3:  # one-dimensional: the convolution has an axis of length 1 beside the spread one
        at = 1 if shape[1] == 1 else 2
        if shape[at] != 1:
            return False
        own.insert(at, 1)
        pads.insert(at - 1, (0, 0))
        full = (1, *block) if at == 1 else (*block, 1)
    if len(own) != 4 or len(full) != 2 or min(min(p) for p in pads) < 0:
        return False
    inputs = [b.reshaped(source, tuple(own), f"{op.kind}/expand"), *(b.tensors[n] for n in conv.inputs[1:])]
    node = replace(conv.op, dilation=(full[0], full[1]), pads=(pads[0][0], pads[1][0], pads[0][1], pads[1][1]))
    if len(source.type.shape) == 4:
        b.emit(node, inputs, op.outputs[0])
        return True
    y = b.insert(node, inputs, f"{b.tensor_name(op.outputs[0])}/dilated", b.tensors[conv.outputs[0]].type)
    b.emit(Reshape(tuple(n for i, n in enumerate(y.type.shape) if i != at)), [y], op.outputs[0])
    return True


def _behind_reshapes(makers: dict[str, Node], name: str, ends: set[str] | None = None) -> Node | None:
    """The node that computes a tensor but for reshapes, or the first of `ends`."""
    node = makers.get(name)
    while node is not None and isinstance(node.op, Reshape) and not (ends and node.outputs[0] in ends):
        node = makers.get(node.inputs[0])
    return node
