"""Translators of the operators that compute: convolutions, products, activations, pools, reductions."""

from __future__ import annotations

import math

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.attributes import axis, number, of_rank, reads
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import FileOperator
from edgeq.ir import Array, DType, Op, Tensor
from edgeq.ops import activations as act
from edgeq.ops import mathematics as maths
from edgeq.ops.add import Add, Sub
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.div import Div
from edgeq.ops.extremum import Maximum, Minimum
from edgeq.ops.fixed_log_softmax import FixedLogSoftmax
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.l2_normalization import L2Normalization
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.linear import Clamp as Limits
from edgeq.ops.log_softmax import LogSoftmax
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.prelu import Prelu
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.ops.reduce_max import ReduceMax, ReduceMin
from edgeq.ops.reduce_sum import ReduceSum
from edgeq.ops.requantize import Requantize
from edgeq.ops.rescale import Rescale
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.squared_difference import SquaredDifference
from edgeq.ops.transpose import Transpose
from edgeq.ops.transpose_conv2d import TransposeConv2d
from edgeq.ops.whole import Whole
from edgeq.ops.windows import Pads, Pair, same_pads

MAX_WINDOW = 2**14  # of strides, dilations, window sizes and pads

# Windows


def _pair(op: FileOperator, vertical: str, horizontal: str) -> Pair:
    pair = int(op.option(vertical)), int(op.option(horizontal))
    if not all(1 <= n <= MAX_WINDOW for n in pair):
        raise EdgeqError(f"{vertical}, {horizontal} of {op.kind} are {pair}", why=f"expected 1 to {MAX_WINDOW}")
    return pair


def _pads(op: FileOperator, size: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pads:
    if max((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)) > MAX_WINDOW:
        raise EdgeqError(f"window {kernel} with dilation {dilation} of {op.kind} is too large")
    return (0, 0, 0, 0) if _is_valid(op) else same_pads(size, kernel, stride, dilation)


def _is_valid(op: FileOperator) -> bool:
    padding = int(op.option("Padding"))
    if padding not in (0, 1):
        raise EdgeqError(f"padding number {padding} of {op.kind} is not SAME or VALID", why="the file is damaged")
    return padding == 1


@reads("CONV_2D", "DEPTHWISE_CONV_2D")
def convolution(b: Builder, op: FileOperator) -> None:
    depthwise = op.kind != "CONV_2D"
    x = b.operand(op, 0)
    w = b.weights(op, 1, 3 if depthwise else 0, x)
    _, in_h, in_w, in_c = of_rank(op, x, 4)
    out_c, kernel_h, kernel_w, per_group = of_rank(op, w, 4)
    stride, dilation = _pair(op, "StrideH", "StrideW"), _pair(op, "DilationHFactor", "DilationWFactor")
    pads = _pads(op, (in_h, in_w), (kernel_h, kernel_w), stride, dilation)
    if depthwise:
        if out_c != 1:
            raise EdgeqError(f"weights {w.type} of {op.kind} must begin with 1")
        node: Op = DepthwiseConv2d(stride=stride, dilation=dilation, pads=pads, clamp=b.activation(op))
        bias = b.bias(op, 2, per_group, x)
    else:
        if in_c % per_group:
            raise EdgeqError(f"weights {w.type} do not fit input {x.type}")
        node = Conv2d(stride=stride, dilation=dilation, pads=pads, groups=in_c // per_group, clamp=b.activation(op))
        bias = b.bias(op, 2, out_c, x)
    b.emit(node, [x, w, bias], op.outputs[0])


@reads("CUSTOM Convolution2DTransposeBias")
def biased_transposed_convolution(b: Builder, op: FileOperator) -> None:
    """MediaPipe's: input, weights, bias; padding, horizontal and vertical stride as int32 in its options."""
    words = np.frombuffer(bytes(op.option("Custom", ())), "<i4")
    if len(words) < 3 or words[0] not in (1, 2):
        raise EdgeqError(f"options {words.tolist()[:4]} of {op.kind}", why="the file is damaged")
    options = {"Padding": int(words[0]) - 1, "StrideW": int(words[1]), "StrideH": int(words[2])}
    inputs = (-1, *(b.index(op, i) for i in (1, 0, 2)))
    _transposed_convolution(b, FileOperator(op.kind, inputs, op.outputs, options), b.file.tensors[op.outputs[0]].shape)


@reads("TRANSPOSE_CONV")
def transposed_convolution(b: Builder, op: FileOperator) -> None:
    _transposed_convolution(b, op, b.integers(op, 0, "the output shape"))


def _transposed_convolution(b: Builder, op: FileOperator, shape: tuple[int, ...]) -> None:
    x = b.operand(op, 2)
    w = b.weights(op, 1, 0, x)
    size = of_rank(op, x, 4)[1:3]
    out_c, *kernel, _ = of_rank(op, w, 4)
    stride = _pair(op, "StrideH", "StrideW")
    if len(shape) != 4 or max(kernel) > MAX_WINDOW:
        raise EdgeqError(f"output shape {list(shape)} with window {kernel} of {op.kind}", why="the file is damaged")
    full = [(n - 1) * s + k for n, s, k in zip(size, stride, kernel, strict=True)]
    total = [0, 0] if _is_valid(op) else [max(f - n, 0) for f, n in zip(full, shape[1:3], strict=True)]
    extra = [n - f + t for f, n, t in zip(full, shape[1:3], total, strict=True)]
    if any(not 0 <= e <= MAX_WINDOW for e in extra):
        raise EdgeqError(f"output shape {list(shape)} of {op.kind} does not fit its padding", why=f"without padding it is {full}")
    top, left = total[0] // 2, total[1] // 2
    pads = (top, left, total[0] - top, total[1] - left)
    node = TransposeConv2d(stride=stride, pads=pads, output_pads=(extra[0], extra[1]), clamp=b.activation(op))
    b.emit(node, [x, w, b.bias(op, 3, out_c, x)], op.outputs[0])


@reads("AVERAGE_POOL_2D", "MAX_POOL_2D")
def pool(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    _, in_h, in_w, _ = of_rank(op, x, 4)
    kernel, stride = _pair(op, "FilterHeight", "FilterWidth"), _pair(op, "StrideH", "StrideW")
    pads = _pads(op, (in_h, in_w), kernel, stride)
    node: Op = MaxPool2d(kernel=kernel, stride=stride, pads=pads, clamp=b.activation(op))
    if op.kind == "AVERAGE_POOL_2D":
        node = AveragePool2d(kernel=kernel, stride=stride, pads=pads, clamp=b.activation(op), halves_up=b.stored(op, 0).relabelled)
    b.emit(node, [x], op.outputs[0])


# Products


@reads("FULLY_CONNECTED")
def fully_connected(b: Builder, op: FileOperator) -> None:
    if op.option("WeightsFormat", 0) != 0:
        raise EdgeqError("shuffled weights of FULLY_CONNECTED are not supported", fix="convert the model again with the default format")
    x = b.operand(op, 0)
    w = b.weights(op, 1, 0, x)
    rows, depth = of_rank(op, w, 2)
    name, shape = b.tensor_name(op.outputs[0]), x.type.shape
    if not shape or shape[-1] != depth:
        if x.type.size % depth:
            raise EdgeqError(f"weights {w.type} do not fit input {x.type}")
        x = b.reshaped(x, (x.type.size // depth, depth), f"{name}/rows")
    elif not op.option("KeepNumDims", False):
        x = b.reshaped(x, (x.type.size // depth, depth), f"{name}/rows")
    b.emit(FullyConnected(clamp=b.activation(op)), [x, w, b.bias(op, 2, rows, x)], op.outputs[0])


@reads("BATCH_MATMUL")
def batch_matmul(b: Builder, op: FileOperator) -> None:
    operands, name = b.operands(op, 0, 1), b.tensor_name(op.outputs[0])
    if min(len(t.type.shape) for t in operands) < 2:
        raise EdgeqError(f"BATCH_MATMUL of {operands[0].type} and {operands[1].type}", why="both must have two axes or more")
    for i, option in enumerate(("AdjX", "AdjY")):
        if op.option(option, False):
            operands[i] = _transposed(b, operands[i], f"{name}/transposed")
    a, c = operands
    zero_point = c.type.zero_point
    narrow = c.type.dtype in (DType.FLOAT32, DType.INT8)
    if c.data is not None and a.data is None and narrow and zero_point == 0 and c.type.size == c.type.shape[-1] * c.type.shape[-2]:
        matrix = b.reshaped(c, c.type.shape[-2:], f"{name}/matrix")
        w = _transposed(b, matrix, f"{name}/weights")
        batch = (1,) * (len(c.type.shape) - len(a.type.shape)) + a.type.shape
        x = b.reshaped(a, batch, f"{name}/expand")
        b.emit(FullyConnected(), [x, w, b.bias(op, 2, w.type.shape[0], x)], op.outputs[0])
        return
    b.emit(MatMul(), b.same_rank(op, [a, c]), op.outputs[0])


def _transposed(b: Builder, x: Tensor, name: str) -> Tensor:
    """The last two axes exchanged; a constant is transposed at once."""
    rank = len(x.type.shape)
    perm = (*range(rank - 2), rank - 1, rank - 2)
    if x.data is None:
        node: Op = Transpose(perm=perm)
        return b.insert(node, [x], name)
    return b.new_constant(name, x.data.transpose(perm).copy(), x.type)


# Elementwise


ARITHMETIC: dict[str, type[Add] | type[Mul]] = {"ADD": Add, "SUB": Sub, "MUL": Mul}


def _whole(b: Builder, op: FileOperator, function: str, clamp: Limits = NO_CLAMP) -> bool:
    """Integers without a scale; False where the operands are others.

    Raises:
        EdgeqError: they are unsigned, and the function tells signs apart.
    """
    x = b.operand(op, 0).type
    if x.dtype is not DType.INT32 or x.q is not None:
        return False
    if b.stored(op, 0).kind == "UINT32" and function not in ("add", "sub", "mul"):
        raise EdgeqError(f"{op.kind} of unsigned integers is not supported", fix="cast them to int32")
    b.emit(Whole(clamp, function), b.same_rank(op, b.operands(op, 0, 1)), op.outputs[0])
    return True


@reads(*ARITHMETIC)
def arithmetic(b: Builder, op: FileOperator) -> None:
    if _whole(b, op, op.kind.lower(), b.activation(op)):
        return
    b.emit(ARITHMETIC[op.kind](clamp=b.activation(op)), b.same_rank(op, b.operands(op, 0, 1)), op.outputs[0])


@reads("DIV")
def divide(b: Builder, op: FileOperator) -> None:
    if _whole(b, op, "div", b.activation(op)):
        return
    x, divisor = b.same_rank(op, b.operands(op, 0, 1))
    if x.type.dtype is DType.INT8:
        b.emit(Div(clamp=b.activation(op)), [x, divisor], op.outputs[0])
        return
    name = f"{b.tensor_name(op.outputs[0])}/inverse"
    if divisor.data is None:
        inverse = b.insert(maths.Reciprocal(), [divisor], name)
    elif divisor.data.all():
        inverse = b.new_constant(name, 1 / divisor.data)
    else:
        raise EdgeqError("DIV by a constant that holds 0")
    b.emit(Mul(clamp=b.activation(op)), [x, inverse], op.outputs[0])


def _floats(b: Builder, op: FileOperator, *positions: int) -> list[Tensor]:
    """Operands (both of a binary one) of an operator that is built from others, which only float arithmetic allows."""
    operands = b.operands(op, *(positions or (0, 1)))
    if operands[0].type.dtype is not DType.FLOAT32:
        raise EdgeqError(f"{op.kind} on int8 is not supported", fix="give edgeq the float model")
    return operands


@reads("MINIMUM", "MAXIMUM")
def extremum(b: Builder, op: FileOperator) -> None:
    if _whole(b, op, op.kind.lower()):
        return
    cls, operands = Minimum if op.kind == "MINIMUM" else Maximum, b.operands(op, 0, 1)
    for x, bound in (operands, operands[::-1]):
        if x.data is None and bound.data is not None and (limits := _limits(op.kind, x, bound.data)):
            b.emit(Clamp(limits), [x], op.outputs[0])
            return
    b.emit(cls(), b.same_rank(op, operands), op.outputs[0])


def _limits(kind: str, x: Tensor, bound: Array) -> Limits | None:
    """The clamp that the minimum or maximum of floats and one constant number is, which may be an infinity; None where it is not that."""
    one = bound.dtype == np.float32 and bound.size == 1 and bound.ndim <= len(x.type.shape) and not np.isnan(bound).any()
    value = float(bound.ravel()[0]) if one else 0.0
    return None if not one else (-math.inf, value) if kind == "MINIMUM" else (value, math.inf)


@reads("SQUARED_DIFFERENCE")
def squared_difference(b: Builder, op: FileOperator) -> None:
    operands = b.same_rank(op, b.operands(op, 0, 1))
    if operands[0].type.dtype in (DType.INT8, DType.INT16):
        b.emit(SquaredDifference(), operands, op.outputs[0])
        return
    b.emit(maths.Square(), [b.insert(Sub(), operands, f"{b.tensor_name(op.outputs[0])}/difference")], op.outputs[0])


CLAMPS: dict[str, Limits] = {
    "RELU": (0.0, math.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0),
}  # fmt: skip


@reads(*CLAMPS)
def clamp(b: Builder, op: FileOperator) -> None:
    b.emit(Clamp(CLAMPS[op.kind]), [b.operand(op, 0)], op.outputs[0])


UNARY: dict[str, Op] = {
    "LOGISTIC": act.Sigmoid(), "TANH": act.Tanh(), "HARD_SWISH": act.HardSwish(), "ELU": act.Elu(), "EXP": maths.Exp(),
    "SQRT": maths.Sqrt(), "RSQRT": maths.Rsqrt(), "ABS": maths.Abs(), "NEG": maths.Neg(), "LOG": maths.Log(), "SQUARE": maths.Square(),
    "FLOOR": maths.Floor(), "CEIL": maths.Ceil(), "ROUND": maths.Round(), "SIN": maths.Sin(), "COS": maths.Cos(), "SIGN": maths.Sign(),
}  # fmt: skip


@reads(*UNARY)
def unary(b: Builder, op: FileOperator) -> None:
    b.emit(UNARY[op.kind], [b.operand(op, 0)], op.outputs[0])


@reads("LEAKY_RELU", "GELU")
def shaped_unary(b: Builder, op: FileOperator) -> None:
    leaky = op.kind == "LEAKY_RELU"
    node: Op = act.LeakyRelu(number(op, "Alpha")) if leaky else act.Gelu(bool(op.option("Approximate", False)))
    b.emit(node, [b.operand(op, 0)], op.outputs[0])


@reads("PRELU")
def prelu(b: Builder, op: FileOperator) -> None:
    x, slope = b.operands(op, 0, 1)
    channels = x.type.shape[-1] if x.type.shape else 1
    if slope.data is None:
        raise EdgeqError("PRELU with computed slopes is not supported", fix="make the slopes constant")
    if slope.type.size not in (1, channels) or (slope.type.size > 1 and slope.type.shape[-1] != channels):
        raise EdgeqError(f"PRELU with slopes {slope.type} on {x.type} is not supported", fix="share the slopes over height and width")
    if slope.type.shape != (channels,):
        data = slope.data.ravel().repeat(channels // slope.type.size)
        slope = b.new_constant(f"{slope.name}/channels", data, slope.type)
    b.emit(Prelu(), [x, slope], op.outputs[0])


@reads("POW")
def power(b: Builder, op: FileOperator) -> None:
    x, exponent = _floats(b, op)
    if exponent.data is None or exponent.data.size != 1:
        raise EdgeqError("POW with computed or several exponents is not supported", fix="use one constant exponent")
    b.emit(maths.Pow(float(exponent.data.item())), [x], op.outputs[0])


@reads("ADD_N")
def add_all(b: Builder, op: FileOperator) -> None:
    total, *others = _floats(b, op, *range(len(op.inputs)))
    if not others:
        b.emit(Reshape(total.type.shape), [total], op.outputs[0])
        return
    for x in others[:-1]:
        total = b.insert(Add(), [total, x], f"{b.tensor_name(op.outputs[0])}/sum")
    b.emit(Add(), [total, others[-1]], op.outputs[0])


@reads("L2_NORMALIZATION")
def l2_normalization(b: Builder, op: FileOperator) -> None:
    """x / max(sqrt(sum of squares), 1e-6) along the last axis."""
    x = b.operand(op, 0)
    if x.type.dtype is not DType.FLOAT32:
        if b.activation(op) != NO_CLAMP:
            raise EdgeqError("a fused activation of L2_NORMALIZATION is not supported", fix="make the activation an operator of its own")
        b.emit(L2Normalization(), [x], op.outputs[0])
        return
    name, last = b.tensor_name(op.outputs[0]), len(x.type.shape) - 1
    squares = b.insert(maths.Square(), [x], f"{name}/squares")
    total = b.insert(ReduceSum(axes=(last,), keepdims=True), [squares], f"{name}/sum")
    least = b.new_constant(f"{name}/least", np.full((1,) * (last + 1), 1e-12, np.float32))
    inverse = b.insert(maths.Rsqrt(), [b.insert(Maximum(), [total, least], f"{name}/limited")], f"{name}/inverse")
    b.emit(Mul(clamp=b.activation(op)), [x, inverse], op.outputs[0])


@reads("SOFTMAX")
def softmax(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    if not x.type.shape:
        raise EdgeqError("SOFTMAX of a scalar is not supported")
    b.emit(Softmax(beta=number(op, "Beta")), [x], op.outputs[0], converts=b.file.tensors[op.outputs[0]].kind == "INT16")


@reads("LOG_SOFTMAX")
def log_softmax(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    if not x.type.shape:
        raise EdgeqError("LOG_SOFTMAX of a scalar is not supported")
    b.emit(LogSoftmax() if x.type.dtype is DType.FLOAT32 else FixedLogSoftmax(), [x], op.outputs[0])


# Reductions and types

REDUCTIONS: dict[str, type[Mean] | type[ReduceMax]] = {"MEAN": Mean, "SUM": ReduceSum, "REDUCE_MAX": ReduceMax, "REDUCE_MIN": ReduceMin}


@reads(*REDUCTIONS)
def reduction(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    rank = len(x.type.shape)
    axes = tuple(sorted({axis(op, a, rank) for a in b.integers(op, 1, "the axes")}))
    if not axes:
        raise EdgeqError(f"{op.kind} over no axes is not supported", fix="remove the operator")
    b.emit(REDUCTIONS[op.kind](axes=axes, keepdims=bool(op.option("KeepDims", False))), [x], op.outputs[0])


@reads("QUANTIZE")
def quantize(b: Builder, op: FileOperator) -> None:
    x, kind = b.operand(op, 0), b.file.tensors[op.outputs[0]].kind
    within = x.type.dtype is DType.INT8 and kind == "INT8"
    b.emit(Quantize() if x.type.dtype is DType.FLOAT32 else Requantize() if within else Rescale(), [x], op.outputs[0], converts=True)


@reads("DEQUANTIZE")
def dequantize(b: Builder, op: FileOperator) -> None:
    x = b.operand(op, 0)
    if x.type.dtype not in (DType.INT8, DType.INT16):
        raise EdgeqError(f"DEQUANTIZE of {x.type} is not supported")
    b.emit(Dequantize(), [x], op.outputs[0], converts=True)
