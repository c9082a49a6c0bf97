"""Translators of the operators that pad."""

from __future__ import annotations

import math

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.attributes import reads
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import MAX_ELEMENTS, FileOperator
from edgeq.frontends.tflite.movement import gathered
from edgeq.ir import DType, Tensor, TensorType
from edgeq.ops.pad import Pad


def _paddings(b: Builder, op: FileOperator, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    flat = b.integers(op, 1, "the paddings")
    pads = tuple(zip(flat[::2], flat[1::2], strict=False))
    sizes = [n + before + after for n, (before, after) in zip(shape, pads, strict=False)]
    if len(flat) != 2 * len(shape) or min(flat, default=0) < 0 or math.prod(sizes) > MAX_ELEMENTS:
        raise EdgeqError(f"{op.kind} of {list(shape)} by {list(pads)}", why="the paddings are out of range")
    return pads


@reads("PAD", "PADV2")
def pad(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    pads = _paddings(b, op, x.type.shape)
    b.emit(Pad(pads=pads, value=_pad_value(b, op, x) if op.kind == "PADV2" else None), [x], op.outputs[0])


def _pad_value(b: Builder, op: FileOperator, x: Tensor) -> float:
    value = b.array(op, 2, "the padding value")
    if value.size != 1:
        raise EdgeqError(f"PADV2 with {value.size} padding values", why="the file is damaged")
    if x.type.dtype is DType.FLOAT32:
        return float(b.dequantize(value, b.stored(op, 2)).item())
    if value.dtype != x.type.dtype.numpy:
        raise EdgeqError(f"PADV2 with a padding value of {value.dtype} beside {x.type.dtype.value}", why="the file is damaged")
    return _real_value(int(value.item()), x.type)


def _real_value(q: int, type: TensorType) -> float:
    return (q - type.zero_point) * type.scale


@reads("MIRROR_PAD")
def mirror_pad(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    pads, symmetric = _paddings(b, op, x.type.shape), int(op.option("Mode", 0)) == 1
    widest = [max(p) for p in pads]
    if any(p > (n if symmetric else n - 1) for p, n in zip(widest, x.type.shape, strict=True)):
        raise EdgeqError(f"MIRROR_PAD of {x.type} by {list(pads)}", why="the padding is longer than what it mirrors")
    if symmetric and max(widest, default=0) > 1:
        indices = {i: np.pad(np.arange(n), p, "symmetric") for i, (n, p) in enumerate(zip(x.type.shape, pads, strict=True)) if any(p)}
        gathered(b, op, x, {i: tuple(v.tolist()) for i, v in indices.items()})
        return
    b.emit(Pad(pads=pads, value=None, mode="edge" if symmetric else "reflect"), [x], op.outputs[0])
