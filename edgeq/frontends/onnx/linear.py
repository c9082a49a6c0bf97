"""Convolutions, matrix products and batch normalization."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import volumes
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.registry import MICROSOFT, reads
from edgeq.frontends.onnx.values import Constant
from edgeq.frontends.onnx.windows import Window, window
from edgeq.ir import Array, Tensor
from edgeq.ops.add import Add
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.mul import Mul
from edgeq.ops.transpose_conv2d import TransposeConv2d
from edgeq.ops.windows import Pair

VOLUME = 5  # the rank of what has three spatial axes
WEIGHTS_FIX = "make the weights constant (an initializer)"


def image_rank(call: Call, x: Tensor) -> int:
    """3, 4 or `VOLUME`: batch, channels and up to three spatial axes."""
    rank = len(x.type.shape)
    if rank not in (3, 4, VOLUME):
        raise EdgeqError(f"{call.kind} with {rank - 2} spatial axes is not supported", why="one to three are")
    return rank


def weights_of(call: Call, position: int, rank: int) -> Constant:
    """A constant weight of at least two axes; one-dimensional kernels get a height of 1."""
    value = call.required(position)
    if isinstance(value, Tensor):
        raise EdgeqError(f"{call.kind} with computed weights is not supported", fix=WEIGHTS_FIX)
    if value.array.dtype.kind != "f" or value.array.ndim != rank:
        found = f"{value.array.dtype} of rank {value.array.ndim}"
        raise EdgeqError(f"weights of {call.kind} are {found}", why=f"expected floats of rank {rank}")
    if rank == 3:
        return value.reshaped((*value.array.shape[:2], 1, value.array.shape[2]))
    return value


def constant_of(call: Call, value: Constant) -> Tensor:
    """A weight as a tensor of the graph."""
    return call.builder.constant(value.name, value.array, value.stored)


def bias_of(call: Call, position: int, channels: int) -> Tensor:
    """The bias ``[channels]``; zeros where there is none."""
    found = call.constant(position, "the bias")
    if found is None:
        return call.builder.constant(f"{call.output}.bias", np.zeros(channels, np.float32))
    if found.array.size != channels:
        raise EdgeqError(f"the bias of {call.kind} has {found.array.size} values for {channels} channels")
    return constant_of(call, found.reshaped((channels,)))


@reads("Conv")
def conv(call: Call) -> Tensor:
    x = call.x(0)
    rank = image_rank(call, x)
    w = weights_of(call, 1, rank)
    if rank == VOLUME:
        return volumes.conv(call, w, conv)
    groups, channels = call.integer("group", 1), x.type.shape[1]
    out = w.array.shape[0]
    if groups < 1 or w.array.shape[1] * groups != channels or out % groups:
        raise EdgeqError(f"weights {list(w.array.shape)} do not fit input {list(x.type.shape)} with {groups} group(s)")
    at = window(call, x.type.shape[2:], w.array.shape[2:])
    b = bias_of(call, 2, out)
    data = call.nhwc(x)
    if groups == channels and groups > 1:
        w = w.transposed((1, 2, 3, 0))
        y = call.emit(DepthwiseConv2d(at.stride, at.dilation, at.pads), data, constant_of(call, w), b)
    else:
        w = w.transposed((0, 2, 3, 1))
        y = call.emit(Conv2d(at.stride, at.dilation, at.pads, groups), data, constant_of(call, w), b)
    return call.nchw(y, rank)


@reads("ConvTranspose")
def conv_transpose(call: Call) -> Tensor:
    x = call.x(0)
    rank = image_rank(call, x)
    w = weights_of(call, 1, rank)
    if rank == VOLUME:
        return volumes.conv_transpose(call, w, conv_transpose)
    groups, channels = call.integer("group", 1), x.type.shape[1]
    per_in, per_out, kernel_h, kernel_w = (channels // max(groups, 1), *w.array.shape[1:])
    if groups < 1 or channels % groups or w.array.shape[0] != channels:
        raise EdgeqError(f"weights {list(w.array.shape)} do not fit input {list(x.type.shape)} with {groups} group(s)")
    at = window(call, x.type.shape[2:], (kernel_h, kernel_w), automatic=False)
    pads, output_pads = _transposed_pads(call, at, x.type.shape[2:], (kernel_h, kernel_w))
    b = bias_of(call, 2, groups * per_out)
    weights = _transposed_weights(call, w, groups, per_in, per_out)
    op = TransposeConv2d(at.stride, at.dilation, pads, output_pads, groups)
    return call.nchw(call.emit(op, call.nhwc(x), weights, b), rank)


def _transposed_weights(call: Call, w: Constant, groups: int, per_in: int, per_out: int) -> Tensor:
    """``[C, O / groups, h, w]`` as ``[O, h, w, C / groups]``."""

    def arrange(data: Array) -> Array:
        split = data.reshape(groups, per_in, per_out, *data.shape[2:])
        return np.ascontiguousarray(split.transpose(0, 2, 3, 4, 1).reshape(groups * per_out, *data.shape[2:], per_in))

    stored = w.stored
    if stored and len(stored.scale) > 1:
        if stored.axis != 1:
            raise EdgeqError("weights of ConvTranspose are quantized along an axis other than output channels")
        stored = type(stored)(arrange(stored.data), stored.zero_point, np.tile(stored.scale, groups), 0)
    elif stored:
        stored = type(stored)(arrange(stored.data), stored.zero_point, stored.scale, None)
    return call.builder.constant(w.name, arrange(w.array), stored)


def _transposed_pads(call: Call, at: Window, size: tuple[int, ...], kernel: Pair) -> tuple[tuple[int, int, int, int], Pair]:
    """Pads and output pads of a transposed convolution, from pads, output_shape or auto_pad."""
    size = size if len(size) == 2 else (1, *size)
    extra = call.integers("output_padding") or (0,) * (len(size))
    extra = extra if len(extra) == 2 else (0, *extra)
    wanted, auto = call.integers("output_shape"), call.text("auto_pad", "NOTSET")
    full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(size, at.stride, kernel, at.dilation, strict=True)]
    if auto.startswith("SAME") and not wanted:
        wanted = tuple(n * s for n, s in zip(size, at.stride, strict=True))
    if not wanted:
        return at.pads, (extra[0], extra[1])
    wanted = wanted[-2:] if len(wanted) >= 2 and at.rank == 2 else (1, wanted[-1])
    totals = [f + e - n for f, e, n in zip(full, extra, wanted, strict=True)]
    # output_shape beyond the full size: the rest is padding of the output
    output_pads = [e + max(0, -t) for e, t in zip(extra, totals, strict=True)]
    totals = [max(0, t) for t in totals]
    less = [t // 2 for t in totals]
    rest = [t - h for t, h in zip(totals, less, strict=True)]
    begin, end = (less, rest) if auto != "SAME_LOWER" else (rest, less)
    if auto == "NOTSET":
        begin, end = rest, less
    return (begin[0], begin[1], end[0], end[1]), (output_pads[0], output_pads[1])


def scalar(call: Call, value: float, rank: int) -> Tensor:
    """A constant with one element."""
    return call.builder.constant(call.builder.fresh(f"{call.output}.constant"), np.full((1,) * rank, value, np.float32))


def dense(call: Call, x: Tensor, w: Constant, bias: Array | None = None, name: str = "") -> Tensor:
    """``x [..., K]`` times a constant ``[N, K]``."""
    channels = w.array.shape[0]
    data = np.zeros(channels, np.float32) if bias is None else bias
    b = call.builder.constant(name or f"{call.output}.bias", data)
    return call.emit(FullyConnected(), x, constant_of(call, w), b)


@reads("Gemm")
def gemm(call: Call) -> Tensor:
    a, b = call.x(0), call.required(1)
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    if len(a.type.shape) != 2:
        raise EdgeqError(f"Gemm of an input of rank {len(a.type.shape)}", why="expected 2")
    if call.integer("transA", 0):
        a = call.transpose(a, (1, 0), "transposed_a")
    if isinstance(b, Tensor):
        return _gemm_of_tensors(call, a, b, alpha, beta)
    w = weights_of(call, 1, 2)
    w = w if call.integer("transB", 0) else w.transposed((1, 0))
    if alpha != 1:
        w = Constant(f"{w.name}.scaled", w.array * np.float32(alpha))
    addend = call.value(2)
    if isinstance(addend, Constant) and _is_row(addend.array, w.array.shape[0]) and (beta == 1 or not addend.stored):
        row = addend.reshaped((addend.array.size,)) if addend.array.size == w.array.shape[0] else None
        if row is not None and beta == 1:
            return call.emit(FullyConnected(), a, constant_of(call, w), constant_of(call, row))
        return dense(call, a, w, np.broadcast_to(addend.array.reshape(-1) * np.float32(beta), w.array.shape[:1]))
    return _add_scaled(call, dense(call, a, w), beta)


def _is_row(array: Array, channels: int) -> bool:
    """Whether an addend broadcasts along rows, so that it is a bias."""
    return array.size in (1, channels) and array.ndim <= 2 and (array.ndim < 2 or array.shape[0] == 1)


def _gemm_of_tensors(call: Call, a: Tensor, b: Tensor, alpha: float, beta: float) -> Tensor:
    if call.integer("transB", 0):
        b = call.transpose(b, (1, 0), "transposed_b")
    y = call.emit(MatMul(), a, b)
    if alpha != 1:
        y = call.emit(Mul(), y, scalar(call, alpha, 2), tag="alpha")
    return _add_scaled(call, y, beta)


def _add_scaled(call: Call, y: Tensor, beta: float) -> Tensor:
    """Gemm's third input, where it is no bias."""
    addend = call.value(2)
    if addend is None or beta == 0:
        return y
    if isinstance(addend, Constant):
        c = call.builder.constant(f"{call.output}.addend", addend.array * np.float32(beta))
    else:
        c = addend if beta == 1 else call.emit(Mul(), addend, scalar(call, beta, len(addend.type.shape)), tag="beta")
    return call.emit(Add(), *call.same_rank(y, c), tag="add")


@reads("MatMul")
@reads("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def matmul(call: Call) -> Tensor:
    if call.kind in ("FusedMatMul", "TransposeMatMul"):
        call = _untransposed(call)
    left, right = call.required(0), call.required(1)
    scale = np.float32(call.number("alpha", 1.0))
    if isinstance(right, Constant) and right.array.ndim <= 2:
        return _times_constant(call, call.x(0), right, scale)
    if scale == 1 and isinstance(left, Constant) and left.array.ndim <= 2 and left.array.dtype.kind == "f":
        return _constant_times(call, left, call.x(1))
    a, b = call.x(0), call.x(1)
    if scale != 1:
        a = call.emit(Mul(), a, scalar(call, float(scale), len(a.type.shape)), tag="alpha")
    vector_a, vector_b = len(a.type.shape) == 1, len(b.type.shape) == 1
    if vector_a:
        a = call.reshape(a, (1, *a.type.shape), "row")
    if vector_b:
        b = call.reshape(b, (*b.type.shape, 1), "column")
    y = call.emit(MatMul(), *call.same_rank(a, b))
    shape = list(y.type.shape)
    kept = shape[:-2] + ([] if vector_a else shape[-2:-1]) + ([] if vector_b else shape[-1:])
    return call.reshape(y, tuple(kept), "vector")


def _untransposed(call: Call) -> Call:
    """A FusedMatMul whose operands are transposed before it, or have their rows in front of the batch."""
    values = list(call.values)
    for i, side in enumerate("AB"):
        value = call.required(i)
        order = list(range(len(value.type.shape) if isinstance(value, Tensor) else value.array.ndim))
        if call.integer(f"transBatch{side}", 0):
            order = [*order[1:-1], 0, order[-1]]
        if call.integer(f"trans{side}", 0) and len(order) > 1:
            order = [*order[:-2], order[-1], order[-2]]
        perm = tuple(order)
        if perm != tuple(range(len(perm))):
            values[i] = call.transpose(value, perm, f"trans{side}") if isinstance(value, Tensor) else value.transposed(perm)
    return call.with_values(values)


def _times_constant(call: Call, x: Tensor, right: Constant, scale: np.float32) -> Tensor:
    """``x [..., K]`` times a constant ``[K, N]`` or ``[K]``."""
    if right.array.dtype.kind != "f" or right.array.ndim == 0:
        raise EdgeqError(f"MatMul with a constant of type {right.array.dtype} and rank {right.array.ndim} is not supported")
    w = right.transposed((1, 0)) if right.array.ndim == 2 else right.reshaped((1, right.array.size))
    if scale != 1:
        w = Constant(f"{w.name}.scaled", w.array * scale)
    flat = len(x.type.shape) == 1
    if flat:
        x = call.reshape(x, (1, *x.type.shape), "row")
    y = dense(call, x, w)
    shape = y.type.shape[:-1] if right.array.ndim == 1 else y.type.shape
    return call.reshape(y, shape[1:] if flat else shape, "vector")


def _constant_times(call: Call, left: Constant, x: Tensor) -> Tensor:
    """A constant ``[M, K]`` or ``[K]`` times ``x [..., K, N]``: the transpose of ``x^T`` times its transpose."""
    w = left if left.array.ndim == 2 else left.reshaped((1, left.array.size))
    if len(x.type.shape) == 1:
        return call.reshape(dense(call, call.reshape(x, (1, *x.type.shape), "row"), w), left.array.shape[:-1], "vector")
    rank = len(x.type.shape)
    perm = (*range(rank - 2), rank - 1, rank - 2)
    y = call.transpose(dense(call, call.transpose(x, perm, "columns"), w), perm, "rows")
    return y if left.array.ndim == 2 else call.reshape(y, (*y.type.shape[:-2], y.type.shape[-1]), "vector")


@reads("BatchNormalization")
def batch_normalization(call: Call) -> Tensor:
    """A factor and a term per channel, which later passes fold into a neighbouring layer where there is one."""
    if call.integer("training_mode", 0):
        raise EdgeqError("BatchNormalization in training mode is not supported", fix="export the model in inference mode")
    x = call.x()
    shape = x.type.shape
    scale, bias, mean, variance = (np.asarray(call.data(i, "a parameter"), np.float64).ravel() for i in range(1, 5))
    if len(shape) < 2 or any(p.shape != (shape[1],) for p in (scale, bias, mean, variance)):
        raise EdgeqError("the parameters of BatchNormalization do not fit its input", why=f"{x.type}")
    variance = variance + call.number("epsilon", 1e-5)
    if not (variance > 0).all():
        raise EdgeqError("BatchNormalization has a variance that is not positive")
    factor = scale / np.sqrt(variance)
    across = (1, shape[1], *(1 for _ in shape[2:]))
    w = call.builder.constant(f"{call.output}.factor", factor.reshape(across))
    b = call.builder.constant(f"{call.output}.term", (bias - mean * factor).reshape(across))
    b = call.builder.tensors[b.name] = replace(b, norm=np.stack([bias, np.abs(scale)]))
    return call.emit(Add(), call.emit(Mul(), x, w, tag="factor"), b)
