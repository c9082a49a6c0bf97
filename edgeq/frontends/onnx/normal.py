"""Normalizations: all but local response are a layer normalization of rows, a root mean square being that of ``[x, -x]``."""

from __future__ import annotations

import math

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import DAMAGED
from edgeq.frontends.onnx.linear import dense, scalar
from edgeq.frontends.onnx.movement import part
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.values import Constant
from edgeq.ir import Array, Tensor
from edgeq.ops import mathematics as maths
from edgeq.ops.add import Add
from edgeq.ops.concat import Concat
from edgeq.ops.layer_norm import LayerNorm
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_sum import ReduceSum

LEAST = 1e-30  # of an epsilon


def rows_normal(call: Call, rows: Tensor, epsilon: float) -> Tensor:
    """Rows ``[..., C]`` less their mean, by the root of their variance."""
    count = rows.type.shape[-1]
    one = call.builder.constant(call.builder.fresh(f"{call.output}.ones"), np.ones(count, np.float32))
    zero = call.builder.constant(call.builder.fresh(f"{call.output}.zeros"), np.zeros(count, np.float32))
    return call.emit(LayerNorm(max(epsilon, LEAST)), rows, one, zero, tag="normal")


def root_mean_square(call: Call, rows: Tensor, epsilon: float) -> Tensor:
    """Rows ``[..., C]`` by the root of the mean of their squares: half of the normalized row ``[x, -x]``, whose mean is 0."""
    rank, count = len(rows.type.shape), rows.type.shape[-1]
    both = call.emit(Concat(rank - 1), rows, call.emit(maths.Neg(), rows, tag="negative"), tag="mirrored")
    return part(call, rows_normal(call, both, epsilon), rank - 1, 0, count, "half")


def affine(call: Call, x: Tensor, scale: Array | None, bias: Array | None) -> Tensor:
    """x times a constant plus a constant, both broadcast against it."""
    for values, op, name in ((scale, Mul(), "scale"), (bias, Add(), "bias")):
        neutral = 1 if name == "scale" else 0
        if values is not None and (values != neutral).any():
            constant = call.builder.constant(call.builder.fresh(f"{call.output}.{name}"), values)
            x = call.emit(op, *call.same_rank(x, constant), tag=name)
    return x


@reads("InstanceNormalization", "GroupNormalization")
def grouped(call: Call) -> Tensor:
    x = call.x()
    shape = x.type.shape
    if len(shape) < 2:
        raise EdgeqError(f"{call.kind} of {x.type} is not supported", why="expected a batch and channels")
    channels = shape[1]
    groups = call.integer("num_groups", 0) if call.kind == "GroupNormalization" else channels
    if groups < 1 or channels % groups:
        raise EdgeqError(f"{channels} channels do not split into {groups} groups", why=DAMAGED)
    rows = call.reshape(x, (shape[0], groups, x.type.size // (shape[0] * groups)), "groups")
    y = call.reshape(rows_normal(call, rows, call.number("epsilon", 1e-5)), shape, "shape")
    parameters = [call.data(i, "a parameter") for i in (1, 2)]
    if call.kind == "GroupNormalization" and call.version < 21:  # one scale and bias per group
        found = [None if p is None else np.repeat(p.astype(np.float32), channels // groups) for p in parameters]
    else:
        found = [None if p is None else p.astype(np.float32) for p in parameters]
    if any(p is not None and p.size != channels for p in found):
        raise EdgeqError(f"the parameters of {call.kind} do not fit {channels} channels", why=DAMAGED)
    across = (1, channels, *(1,) * (len(shape) - 2))
    return affine(call, y, *(None if p is None else p.reshape(across) for p in found))


@reads("RMSNormalization")
def rms_normalization(call: Call) -> Tensor:
    x, scale = call.x(), call.data(1, "the scale")
    shape = x.type.shape
    axis = call.axis(-1, len(shape))
    rows = call.reshape(x, (*shape[:axis], math.prod(shape[axis:])), "rows")
    y = call.reshape(root_mean_square(call, rows, call.number("epsilon", 1e-5)), shape, "shape")
    return affine(call, y, None if scale is None else scale.astype(np.float32), None)


@reads("MeanVarianceNormalization")
def mean_variance(call: Call) -> Tensor:
    x = call.x()
    rank = len(x.type.shape)
    axes = tuple(sorted({call.normal_axis(a, rank) for a in call.integers("axes") or (0, 2, 3)}))
    kept = tuple(a for a in range(rank) if a not in axes)
    moved = call.transpose(x, (*kept, *axes), "axes_last")
    rows = call.reshape(moved, (*(x.type.shape[a] for a in kept), math.prod(x.type.shape[a] for a in axes)), "rows")
    y = call.reshape(rows_normal(call, rows, 1e-9), moved.type.shape, "shape")
    return call.transpose(y, tuple((*kept, *axes).index(a) for a in range(rank)), "axes_back")


@reads("LpNormalization")
def lp_normalization(call: Call) -> Tensor:
    x = call.x()
    axis, p = call.axis(-1, len(x.type.shape)), call.integer("p", 2)
    if p == 2:
        count = x.type.shape[axis]

        def compute(t: Tensor) -> Tensor:
            return call.emit(Mul(), root_mean_square(call, t, LEAST), scalar(call, count**-0.5, len(t.type.shape)), tag="scaled")

        return call.with_axis_last(x, axis, compute)
    size = call.emit(maths.Abs(), x, tag="size")
    total = call.emit(ReduceSum((axis,), True), size, tag="total")
    small = call.emit(Add(), total, scalar(call, 1e-12, len(x.type.shape)), tag="not_zero")
    return call.emit(Mul(), x, call.emit(maths.Reciprocal(), small, tag="inverse"))


@reads("LRN")
def local_response(call: Call) -> Tensor:
    """x times a power of the mean of squares over neighbouring channels; the sum over neighbours is a product with a band of ones."""
    x = call.x()
    channels = x.type.shape[1] if len(x.type.shape) > 1 else 0
    size = call.integer("size", 0)
    if not channels or size < 1:
        raise EdgeqError(f"LRN of {x.type} over {size} channels is not supported")
    alpha, beta, bias = call.number("alpha", 1e-4), call.number("beta", 0.75), call.number("bias", 1.0)
    distance = np.arange(channels)[None] - np.arange(channels)[:, None]
    band = ((distance >= -((size - 1) // 2)) & (distance <= size // 2)).astype(np.float32) * np.float32(alpha / size)

    def neighbours(t: Tensor) -> Tensor:
        return dense(call, t, Constant(f"{call.output}.band", band), np.full(channels, bias, np.float32))

    total = call.with_axis_last(call.emit(maths.Square(), x, tag="square"), 1, neighbours)
    return call.emit(Mul(), x, call.emit(maths.Pow(-beta), total, tag="power"))
