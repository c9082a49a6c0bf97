"""What onnxruntime writes when it saves the model that it has optimized: layers with an activation, normalizations of a sum."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import elementwise, linear, normal
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import printable
from edgeq.frontends.onnx.registry import MICROSOFT, Result, reads, tensor_of
from edgeq.ir import Op, Tensor
from edgeq.ops import activations as act
from edgeq.ops.add import Add
from edgeq.ops.clamp import Clamp


def _activation(kind: str, numbers: Sequence[float]) -> Op:
    """An activation by name, with its parameters in order.

    Raises:
        EdgeqError: there is none of that name.
    """

    def number(at: int, default: float) -> float:
        return float(numbers[at]) if at < len(numbers) else default

    match kind:
        case "LeakyRelu":
            return act.LeakyRelu(number(0, 0.01))
        case "HardSigmoid":
            return act.HardSigmoid(number(0, 0.2), number(1, 0.5))
        case "Clip":
            return Clamp((number(0, -math.inf), number(1, math.inf)))
    if kind not in elementwise.UNARY:
        raise EdgeqError(f"a fused activation '{printable(kind)}' is not supported", fix="save the model without optimizing it")
    return elementwise.UNARY[kind]


@reads("FusedConv", domain=MICROSOFT)
def fused_conv(call: Call) -> Tensor:
    """Fourth input: what is added before the activation."""
    y = tensor_of(linear.conv(call.with_values([call.value(i) for i in range(3)], "Conv")))
    if call.value(3) is not None:
        y = call.emit(Add(), *call.same_rank(y, call.x(3)), tag="sum")
    kind, numbers = call.text("activation", ""), call.numbers("activation_params")
    return call.emit(_activation(kind, numbers), y, tag="activation") if kind else y


@reads("FusedGemm", domain=MICROSOFT)
def fused_gemm(call: Call) -> Tensor:
    kind = call.text("activation", "")
    numbers = [call.number(f"activation_{n}", 0.0) for n in ("alpha", "beta", "gamma") if call.has(f"activation_{n}")]
    y = tensor_of(linear.gemm(call.with_values(call.values, "Gemm")))
    return call.emit(_activation(kind, numbers), y, tag="activation") if kind else y


@reads("SimplifiedLayerNormalization")
def simplified(call: Call) -> Result:
    return normal.rms_normalization(call.with_values(call.values[:2], "RMSNormalization"))


@reads("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def of_a_sum(call: Call) -> Result:
    """A normalization of two tensors' sum; fourth output: the sum."""
    simple = call.kind == "SkipSimplifiedLayerNormalization"
    total = call.emit(Add(), *call.same_rank(call.x(0), call.x(1)), tag="sum")
    bias = 3 if simple else 4
    if call.value(bias) is not None:
        total = call.emit(Add(), *call.same_rank(total, call.x(bias)), tag="biased")
    parameters = [call.value(2)] if simple else [call.value(2), call.value(3)]
    inner = call.with_values([total, *parameters], "RMSNormalization" if simple else "LayerNormalization")
    y = normal.rms_normalization(inner) if simple else elementwise.layer_normalization(inner)
    return tensor_of(y), None, None, total
