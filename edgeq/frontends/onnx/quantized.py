"""Quantized operators: QuantizeLinear, DequantizeLinear and the QLinear family.

A QLinear operator is read as what it means: its inputs dequantized, the float operator, its output quantized.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import dynamic, elementwise, linear, logic, movement, pooling
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.casts import FromInteger, ToInteger
from edgeq.frontends.onnx.file import printable, type_name
from edgeq.frontends.onnx.registry import MICROSOFT, Result, reads
from edgeq.frontends.onnx.values import INTEGERS, Constant, Stored, Unscaled, Value, is_integer, is_whole
from edgeq.ir import Array, DType, QParams, Tensor, TensorType
from edgeq.ops.add import Sub
from edgeq.ops.clamp import Clamp
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mul import Mul

CLOSE = 1e-5  # relative difference of two scales that are one
WORDS: dict[int, np.dtype[Any]] = {TensorProto.INT16: np.dtype(np.int16), TensorProto.UINT16: np.dtype(np.uint16)}


def _scale(call: Call, position: int) -> Array:
    """A constant scale or several, float32.

    Raises:
        EdgeqError: not positive and finite.
    """
    found = call.data(position, "the scale")
    if found is None or found.size == 0 or found.ndim > 1 or found.dtype.kind != "f":
        raise EdgeqError(f"the scale of {call.kind} is missing or damaged", fix="quantize per tensor or per channel")
    scale = found.astype(np.float32).ravel()
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise EdgeqError(f"a scale of {call.kind} is not a positive finite number")
    return scale


def _qparams(call: Call, scale_at: int, zero_at: int) -> tuple[QParams, bool]:
    """Scale and zero point of an activation, and whether it is uint8 in the file."""
    scale, zero = _scale(call, scale_at), call.data(zero_at, "the zero point")
    if scale.size != 1:
        raise EdgeqError("activations with a scale per channel are not supported", fix="quantize activations per tensor")
    if zero is None:
        code = call.integer("output_dtype", 0)
        if code not in (0, 2, 3):
            raise EdgeqError(f"quantization to {type_name(code)} is not supported", fix="quantize to int8 or uint8")
        zero = np.zeros(1, np.int8 if code == 3 else np.uint8)
    if zero.dtype not in INTEGERS or zero.size != 1:
        fix = "quantize activations to int8 or uint8, per tensor"
        raise EdgeqError(f"'{printable(call.node.input[0])}' is quantized to {zero.dtype}, which is not supported", fix=fix)
    return QParams((float(scale[0]),), int(zero.ravel()[0]) - INTEGERS[zero.dtype]), zero.dtype == np.uint8


def quantize(call: Call, x: Tensor, q: QParams, unsigned: bool, tag: str = "") -> Tensor:
    y = call.emit(ToInteger(q), x, tag=tag, like=TensorType((), DType.INT8, q))
    if unsigned:
        call.builder.unsigned.add(y.name)
    return y


def dequantize(call: Call, x: Tensor, q: QParams, tag: str = "") -> Tensor:
    """An int8 tensor as floats.

    Raises:
        EdgeqError: it was quantized with another scale or zero point.
    """
    if x.type.q is None:
        x = call.builder.retype(x, q)
    have = x.type.q
    assert have is not None
    if have.zero_point != q.zero_point or abs(have.scale[0] - q.scale[0]) > CLOSE * q.scale[0]:
        why = f"scale {have.scale[0]:.6g}, zero point {have.zero_point} against {q.scale[0]:.6g}, {q.zero_point}"
        raise EdgeqError("a tensor is dequantized otherwise than it was quantized", why=why, fix="quantize the model again")
    y = call.emit(FromInteger(), x, tag=tag, like=TensorType(()))
    call.builder.unsigned.discard(y.name)
    return y


@reads("QuantizeLinear")
@reads("QuantizeLinear", domain=MICROSOFT)
def quantize_linear(call: Call) -> Value:
    value = call.required(0)
    if isinstance(value, Constant):
        return _quantized_constant(call, value)
    if _in_words(call):
        scale, zero = float(_scale(call, 1)[0]), call.data(2, "the zero point")
        info, offset = np.iinfo(np.uint16 if zero is None else zero.dtype), 0 if zero is None else int(zero.ravel()[0])
        if zero is None and call.integer("output_dtype", 0) == TensorProto.INT16:
            info = np.iinfo(np.int16)
        return in_words(call, value, (info.min - offset) * scale, (info.max - offset) * scale)
    q, unsigned = _qparams(call, 1, 2)
    return quantize(call, value, q, unsigned)


def in_words(call: Call, x: Tensor, low: float, high: float) -> Tensor:
    """A tensor of 16 bits, whose steps are so fine that it is read as floats, within its limits: they stand for a ReLU that is left out."""
    call.builder.words.append(call.node.input[0])
    makers = {o: n for n in call.builder.nodes for o in n.outputs}
    source = x.name
    while (maker := makers.get(source)) is not None and (maker.op.traits.moves or isinstance(maker.op, MaxPool2d)):
        source = maker.inputs[0]
    if maker is not None and isinstance(maker.op, Clamp) and maker.op.clamp[0] >= low and maker.op.clamp[1] <= high:
        return Tensor(x.name, x.type, x.data)
    y = call.emit(Clamp((low, high)), x, tag="limited")
    return Tensor(y.name, y.type, y.data)


def _in_words(call: Call) -> bool:
    """Whether a scale is of int16 or uint16, whose steps are so fine that the tensor is read as a float one."""
    zero = call.data(2, "the zero point")
    dtype = zero.dtype if zero is not None else WORDS.get(call.integer("output_dtype", 0) if call.kind == "QuantizeLinear" else 0)
    if dtype not in WORDS.values():
        return False
    if _scale(call, 1).size != 1:
        raise EdgeqError("activations with a scale per channel are not supported", fix="quantize activations per tensor")
    return True


def _along(values: Array, array: Array, axis: int) -> Array:
    return values if values.size == 1 else values.reshape([-1 if i == axis else 1 for i in range(array.ndim)])


def _axis(call: Call, array: Array, scale: Array) -> int:
    """The axis along which several scales run."""
    if scale.size == 1:
        return 0
    axis = call.axis(1, array.ndim)
    if array.shape[axis] != scale.size:
        raise EdgeqError(f"{scale.size} scales along axis {axis} of {list(array.shape)}", why="the file is damaged")
    return axis


def _quantized_constant(call: Call, value: Constant) -> Constant:
    """A float constant as integers: divided by the scale, rounded half to even, saturated."""
    scale, zero = _scale(call, 1), call.data(2, "the zero point")
    zero = np.zeros(1, np.int8 if call.integer("output_dtype", 2) == 3 else np.uint8) if zero is None else zero.ravel()
    if zero.dtype not in (*INTEGERS, *WORDS.values(), np.int32) or zero.size not in (1, scale.size) or value.array.dtype.kind != "f":
        raise EdgeqError(f"quantization of a constant to {zero.dtype} is not supported", fix="quantize weights to int8")
    axis = _axis(call, value.array, scale)
    info = np.iinfo(zero.dtype)
    steps = np.rint(value.array.astype(np.float32) / _along(scale, value.array, axis)) + _along(zero.astype(np.int64), value.array, axis)
    return Constant(call.output, np.clip(steps, info.min, info.max).astype(zero.dtype))


@reads("DequantizeLinear", integers=True)
@reads("DequantizeLinear", domain=MICROSOFT, integers=True)
def dequantize_linear(call: Call) -> Value:
    value = call.required(0)
    dynamic.own(call, 0, 1, 2)
    if isinstance(value, Constant):
        return dequantized_constant(call, value, 1, 2)
    if isinstance(value, Unscaled):
        return Tensor(value.name, value.type, value.data)
    if call.integer("block_size", 0):
        raise EdgeqError("activations with a scale per block are not supported", fix="quantize activations per tensor")
    if is_whole(value):
        return _dequantized_whole(call, value)
    if not is_integer(value) and (call.value(2) is None or _in_words(call)):  # quantized to int16 or uint16: a float
        return Tensor(value.name, value.type, value.data)
    return dequantize(call, value, activation(call, value, 1, 2))


def _dequantized_whole(call: Call, value: Tensor) -> Tensor:
    """int32, or int16 from elsewhere than a QuantizeLinear: floats hold it, less the zero point and times the scale."""
    scale, zero, rank = _scale(call, 1), call.data(2, "the zero point"), len(value.type.shape)
    if scale.size != 1 or (zero is not None and zero.size != 1):
        raise EdgeqError("activations with a scale per channel are not supported", fix="quantize activations per tensor")
    if zero is not None and zero.any():
        value = call.emit(Sub(), value, linear.scalar(call, float(zero.ravel()[0]), rank), tag="centred")
    return call.emit(Mul(), value, linear.scalar(call, float(scale.ravel()[0]), rank))


def activation(call: Call, x: Tensor, scale_at: int, zero_at: int) -> QParams:
    """Scale and zero point of an int8 or uint8 tensor, whose type the file may leave to the tensor itself."""
    if call.value(zero_at) is not None:
        return _qparams(call, scale_at, zero_at)[0]
    scale = _scale(call, scale_at)
    if scale.size != 1:
        raise EdgeqError("activations with a scale per channel are not supported", fix="quantize activations per tensor")
    return QParams((float(scale[0]),), -128 if x.name in call.builder.unsigned else 0)


def dequantized_constant(call: Call, value: Constant, scale_at: int, zero_at: int, axis: int | None = None) -> Constant:
    """Integer weights as floats that remember their integers, where edgeq can keep them."""
    data = value.array
    if data.dtype.kind not in "iu":
        raise EdgeqError(f"DequantizeLinear of a constant of type {data.dtype} is not supported", fix="quantize weights to int8")
    block = call.integer("block_size", 0) if call.kind == "DequantizeLinear" else 0
    if block:
        return _blockwise(call, value, block)
    scale, zero = _scale(call, scale_at), call.data(zero_at, "the zero point")
    axis = axis if axis is not None and scale.size > 1 else _axis(call, data, scale)
    if zero is not None and zero.size not in (1, scale.size):
        raise EdgeqError(f"{zero.size} zero points for {scale.size} scales", why="the file is damaged")
    offset = np.zeros(1, np.int64) if zero is None else zero.ravel().astype(np.int64)
    floats = ((data.astype(np.int64) - _along(offset, data, axis)).astype(np.float32) * _along(scale, data, axis)).astype(np.float32)
    stored = None
    if data.dtype in INTEGERS:
        stored = Stored(*_centred(data, offset, axis), scale, axis if scale.size > 1 else None)
    elif data.dtype == np.int32 and not offset.any():
        stored = Stored(data, 0, scale, axis if scale.size > 1 else None)
    return Constant(value.name or call.output, floats, stored)


def _centred(data: Array, zeros: Array, axis: int) -> tuple[Array, int | None]:
    """Integers as int8 and their zero point: less it where that fits, so that it is 0; None where it differs by slice."""
    less = data.astype(np.int64) - _along(zeros, data, axis)
    if less.size == 0 or (less.min() >= -128 and less.max() <= 127):
        return less.astype(np.int8), 0
    shift = INTEGERS[data.dtype]
    return (data.astype(np.int16) - shift).astype(np.int8), int(zeros[0]) - shift if np.all(zeros == zeros[0]) else None


def _blockwise(call: Call, value: Constant, block: int) -> Constant:
    """Weights with a scale per block: floats, which edgeq quantizes again."""
    data, scale, zero = value.array, call.data(1, "the scale"), call.data(2, "the zero point")
    axis = call.axis(1, data.ndim)
    fits = scale is not None and scale.ndim == data.ndim and -(-data.shape[axis] // block) == scale.shape[axis]
    if scale is None or not fits or block < 0 or (zero is not None and zero.shape != scale.shape):
        raise EdgeqError("blockwise scales do not fit their weights", why="the file is damaged")

    def spread(values: Array) -> Array:
        return np.repeat(values, block, axis).take(range(data.shape[axis]), axis)

    offset = 0 if zero is None else spread(zero.astype(np.int64))
    return Constant(value.name, ((data.astype(np.int64) - offset) * spread(scale.astype(np.float32))).astype(np.float32))


# The QLinear family


def _operand(call: Call, position: int) -> Value:
    """The float meaning of the quantized input at `position`, followed by its scale and zero point."""
    value = call.required(position)
    if isinstance(value, Constant):
        return dequantized_constant(call, value, position + 1, position + 2, 0)
    if not is_integer(value):
        raise EdgeqError(f"input {position} of {call.kind} is not quantized", why="the file is damaged")
    return dequantize(call, value, activation(call, value, position + 1, position + 2), f"real{position}")


def _quantized_result(call: Call, result: Result, scale_at: int, zero_at: int) -> Tensor:
    y = result if isinstance(result, Tensor | Constant) else result[0]
    q, unsigned = _qparams(call, scale_at, zero_at)
    assert isinstance(y, Tensor)
    return quantize(call, y, q, unsigned, "quantized")


@reads("QLinearConv", integers=True)
def qlinear_conv(call: Call) -> Tensor:
    x, w = _operand(call, 0), _operand(call, 3)
    bias: Value | None = call.constant(8, "the bias")
    if isinstance(bias, Constant):
        x_scale, w_scale = _scale(call, 1), _scale(call, 4)
        scale = (x_scale * w_scale).astype(np.float32)
        floats = (bias.array.astype(np.float64) * scale).astype(np.float32)
        if bias.array.dtype != np.int32:
            raise EdgeqError(f"the bias of QLinearConv is {bias.array.dtype}", why="expected int32")
        bias = Constant(bias.name, floats, Stored(bias.array, 0, scale, 0 if scale.size > 1 else None))
    return _quantized_result(call, linear.conv(call.with_values([x, w, bias])), 6, 7)


@reads("QLinearMatMul", integers=True)
def qlinear_matmul(call: Call) -> Tensor:
    a = _operand(call, 0)
    b = call.required(3)
    right = dequantized_constant(call, b, 4, 5, b.array.ndim - 1) if isinstance(b, Constant) else _operand(call, 3)
    return _quantized_result(call, linear.matmul(call.with_values([a, right])), 6, 7)


@reads("QGemm", domain=MICROSOFT, integers=True)
def qgemm(call: Call) -> Tensor:
    a, b, bias = _operand(call, 0), call.required(3), call.constant(6, "the bias")
    if isinstance(b, Tensor):
        raise EdgeqError("QGemm with computed weights is not supported", fix=linear.WEIGHTS_FIX)
    w = dequantized_constant(call, b, 4, 5, 0 if call.integer("transB", 0) else 1)
    c: Value | None = None
    if bias is not None:
        scale = (_scale(call, 1) * _scale(call, 4) * np.float32(call.number("alpha", 1.0))).astype(np.float32)
        floats = (bias.array.astype(np.float64) * scale).astype(np.float32)
        c = Constant(bias.name, floats, Stored(bias.array.astype(np.int32), 0, scale, 0))
    if call.value(7) is None:
        raise EdgeqError("QGemm with a float output is not supported", fix="quantize its output")
    return _quantized_result(call, linear.gemm(call.with_values([a, w, c])), 7, 8)


@reads("QLinearAdd", "QLinearMul", domain=MICROSOFT, integers=True)
def qlinear_binary(call: Call) -> Tensor:
    values = [_operand(call, 0), _operand(call, 3)]
    return _quantized_result(call, elementwise.chain(call.with_values(values, call.kind.removeprefix("QLinear"))), 6, 7)


UNARY = {
    "QLinearSigmoid": elementwise.unary, "QLinearLeakyRelu": elementwise.parametric, "QLinearAveragePool": pooling.average_pool,
    "QLinearGlobalAveragePool": pooling.global_pool, "QLinearReduceMean": pooling.reduce, "QLinearSoftmax": elementwise.softmax,
}  # fmt: skip


@reads(*(k for k in UNARY if not k.endswith("Pool")), domain=MICROSOFT, integers=True)
def qlinear_unary(call: Call) -> Tensor:
    inner = call.with_values([_operand(call, 0)], call.kind.removeprefix("QLinear"))
    if call.kind == "QLinearSoftmax":
        inner.version = call.integer("opset", 13)
    return _quantized_result(call, UNARY[call.kind](inner), 3, 4)


@reads("QLinearWhere", domain=MICROSOFT, integers=True)
def qlinear_where(call: Call) -> Tensor:
    values = [call.required(0), _operand(call, 1), _operand(call, 4)]
    return _quantized_result(call, logic.where(call.with_values(values, "Where")), 7, 8)


@reads("QLinearConcat", domain=MICROSOFT, integers=True)
def qlinear_concat(call: Call) -> Tensor:
    operands = [_operand(call, i) for i in range(2, len(call.values), 3)]
    return _quantized_result(call, movement.concat(call.with_values(operands, "Concat")), 0, 1)
