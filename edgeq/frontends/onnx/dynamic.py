"""Dynamic quantization, whose scales the data decide at run time: read as the float model that it stands for, with its integer weights.

``DynamicQuantizeLinear`` gives its own input with the scale 1, integer products are float ones, and the multiplication by both scales
that follows leaves the weights'. Fused forms are onnxruntime's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import linear, recurrent
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.registry import MICROSOFT, Result, reads, tensor_of
from edgeq.frontends.onnx.values import Constant, UnknownScale, Unscaled, Value
from edgeq.ir import Array, Tensor
from edgeq.ops.add import Add

PRODUCTS = ("MatMulInteger", "ConvInteger", "MatMulIntegerToFloat", "QAttention")
FIX = "use static quantization, or the float model"


def check(kind: str, values: Sequence[Value | None]) -> None:
    """Refuse an operator that wants dynamically quantized integers themselves, or their scale.

    Raises:
        EdgeqError: it does.
    """
    for value in values:
        if isinstance(value, Unscaled | UnknownScale) and kind not in value.readers:
            raise EdgeqError(f"{kind} of dynamically quantized integers is not supported", fix=FIX)


def carried(call: Call, results: Iterable[Value | None]) -> list[Value | None]:
    """What a node computes, with what is still to be multiplied: integers by the scales that were found at run time, directly or by a
    product with the weights' scale.

    Raises:
        EdgeqError: a scale meets what it is not the scale of.
    """
    found = list(results)
    left, scales = ([s for v in call.values if isinstance(v, kind) for s in v.sources] for kind in (Unscaled, UnknownScale))
    if call.kind not in ("Cast", "Mul") or not (left or scales):
        return found
    (y,) = found
    if not isinstance(y, Tensor):
        return [y if y is None else UnknownScale(y.name, y.array, readers=("Mul",), sources=tuple(scales))]
    for source in scales:
        if source not in left:
            raise _stranger(call, source, "what is no product of its integers")
        left.remove(source)
    return [_unscaled(y, left, "Mul") if left else Tensor(y.name, y.type, y.data)]


def _unscaled(y: Tensor, sources: Sequence[str], *readers: str) -> Unscaled:
    return Unscaled(y.name, y.type, y.data, readers=readers, sources=tuple(sources))


def _stranger(call: Call, source: str, what: str) -> EdgeqError:
    return EdgeqError(f"{call.kind} of {what} and the scale or zero point that '{source}' is quantized with at run time", fix=FIX)


def own(call: Call, integers: int, *parameters: int) -> None:
    """Check that integers are read with their own scale and zero point, both of run time, and a file's own with none of run time.

    Raises:
        EdgeqError: a parameter is a number, is left out, or is another tensor's; or integers are themselves a zero point of run time.
    """
    value = call.value(integers)
    if isinstance(value, UnknownScale):
        raise EdgeqError(f"{call.kind} of a scale or zero point that '{value.sources[0]}' is quantized with at run time", fix=FIX)
    for found in map(call.value, parameters):
        if not isinstance(value, Unscaled):
            if isinstance(found, UnknownScale):
                raise _stranger(call, found.sources[0], "integers of the file")
            continue
        if not isinstance(found, UnknownScale):
            raise EdgeqError(f"{call.kind} of dynamically quantized integers without their scale or zero point is not supported", fix=FIX)
        if found.sources != value.sources:
            raise _stranger(call, found.sources[0], f"the integers of '{value.sources[0]}'")


@reads("DynamicQuantizeLinear")
def dynamic_quantize_linear(call: Call) -> Result:
    x = call.x()
    call.builder.dynamic.append(call.node.input[0])
    sources = (call.node.input[0],)
    scale = UnknownScale("", np.array(1, np.float32), readers=("Mul", "DequantizeLinear", *PRODUCTS), sources=sources)
    zero = UnknownScale("", np.array(0, np.uint8), readers=("DequantizeLinear", *PRODUCTS), sources=sources)
    return _unscaled(x, sources, "DequantizeLinear", *PRODUCTS), scale, zero


def _weights(call: Call, position: int, zero: int, scale: Array | None = None, axis: int = -1) -> Value:
    """Integer weights less their zero points and times their scales; what is computed as it is.

    Raises:
        EdgeqError: an integer that nothing has quantized dynamically.
    """
    value = call.required(position)
    if isinstance(value, Unscaled):
        return Tensor(value.name, value.type, value.data)
    if isinstance(value, Tensor):
        raise EdgeqError(f"{call.kind} of integers that are no result of DynamicQuantizeLinear is not supported", fix=FIX)
    data, points = value.array.astype(np.float32), call.data(zero, "the zero point")

    def along(values: Array) -> Array:
        across = [-1 if i == axis % data.ndim else 1 for i in range(data.ndim)]
        return values.astype(np.float32) if values.size == 1 or values.ndim > 1 else values.astype(np.float32).reshape(across)

    data = data if points is None else data - along(points)
    return Constant(value.name, data if scale is None else (data * along(scale)).astype(np.float32))


@reads("MatMulInteger", "ConvInteger", integers=True)
def integer_products(call: Call) -> Tensor:
    convolution = call.kind == "ConvInteger"
    if not isinstance(call.value(0), Unscaled) and not isinstance(call.value(1), Unscaled):
        raise EdgeqError(f"{call.kind} of integers that are no result of DynamicQuantizeLinear is not supported", fix=FIX)
    own(call, 0, 2)
    own(call, 1, 3)
    sources = [s for v in call.values[:2] if isinstance(v, Unscaled) for s in v.sources]
    operands = [_weights(call, 0, 2, axis=0), _weights(call, 1, 3, axis=0 if convolution else -1)]
    inner = call.with_values(operands, "Conv" if convolution else "MatMul")
    return _unscaled(tensor_of((linear.conv if convolution else linear.matmul)(inner)), sources, "Cast")


def _with_bias(call: Call, y: Tensor, bias: int) -> Tensor:
    return y if call.value(bias) is None else call.emit(Add(), *call.same_rank(y, call.x(bias)), tag="bias")


@reads("MatMulIntegerToFloat", domain=MICROSOFT)
def to_float(call: Call) -> Tensor:
    own(call, 0, 2, 4)
    own(call, 1, 3, 5)
    values = [_weights(call, 0, 4, call.data(2, "the scale")), _weights(call, 1, 5, call.data(3, "the scale"))]
    return _with_bias(call, tensor_of(linear.matmul(call.with_values(values, "MatMul"))), 6)


@reads("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_matmul(call: Call) -> Tensor:
    call.builder.dynamic.append(call.node.input[0])
    weights = _weights(call, 1, 3, call.data(2, "the scale"))
    return _with_bias(call, tensor_of(linear.matmul(call.with_values([call.x(0), weights], "MatMul"))), 4)


@reads("DynamicQuantizeLSTM", domain=MICROSOFT)
def dynamic_lstm(call: Call) -> Result:
    """Weights ``[directions, inputs, 4 cells]``, transposed against LSTM's, with a scale per direction or per row."""
    call.builder.dynamic.append(call.node.input[0])
    weights: list[Value | None] = []
    for position, scale, zero in ((1, 8, 9), (2, 10, 11)):
        data, factors, points = (call.data(p, "a parameter") for p in (position, scale, zero))
        if data is None or factors is None:
            raise EdgeqError("DynamicQuantizeLSTM lacks weights or scales", why="the file is damaged")
        spread = [a.reshape(len(data), 1, -1).astype(np.float32) for a in (factors, np.zeros(len(data)) if points is None else points)]
        floats = (data.astype(np.float32) - spread[1]) * spread[0]
        weights.append(Constant(f"{call.node.input[position]}.float", np.ascontiguousarray(floats.transpose(0, 2, 1), np.float32)))
    return recurrent.recurrent(call.with_values([call.value(0), *weights, *(call.value(i) for i in range(3, 8))], "LSTM"))
