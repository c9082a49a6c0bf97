"""Operators of onnxruntime that have their channels last, as its layout optimization writes them: the same operators between transposes."""

from __future__ import annotations

from collections.abc import Callable

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import fused, pooling, quantized
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import DAMAGED
from edgeq.frontends.onnx.registry import MICROSOFT, Result, reads, tensor_of
from edgeq.ir import Tensor


def _between(call: Call, read: Callable[[Call], Result], kind: str, *images: int) -> Tensor:
    """An operator with channels second, applied to inputs and an output that have them last.

    Args:
        images: positions of the inputs that have channels; what is left out stays so.
    """
    values = list(call.values)
    for i in images:
        if call.value(i) is not None:
            rank = len(call.x(i).type.shape)
            if rank < 3:
                raise EdgeqError(f"{call.kind} of {call.x(i).type}", why=DAMAGED)
            values[i] = call.transpose(call.x(i), (0, rank - 1, *range(1, rank - 1)), f"channels_second{i}")
    result = read(call.with_values(values, kind))
    y = tensor_of(result[0] if isinstance(result, tuple) else result)
    rank = len(y.type.shape)
    return call.transpose(y, (0, *range(2, rank), 1), "channels_last")


@reads("QLinearConv", domain=MICROSOFT, integers=True)
def qlinear_conv(call: Call) -> Tensor:
    if not call.integer("channels_last", 0):
        return tensor_of(quantized.qlinear_conv(call))
    return _between(call, quantized.qlinear_conv, "QLinearConv", 0)


@reads("NhwcMaxPool", domain=MICROSOFT, integers=True)
def max_pool(call: Call) -> Tensor:
    return _between(call, pooling.max_pool, "MaxPool", 0)


@reads("NhwcFusedConv", "NhwcConv", domain=MICROSOFT)
def conv(call: Call) -> Tensor:
    return _between(call, fused.fused_conv, "FusedConv", 0, 3)


@reads("QLinearAveragePool", "QLinearGlobalAveragePool", domain=MICROSOFT, integers=True)
def average_pool(call: Call) -> Tensor:
    if not call.integer("channels_last", 0):
        return tensor_of(quantized.qlinear_unary(call))
    return _between(call, quantized.qlinear_unary, call.kind, 0)
