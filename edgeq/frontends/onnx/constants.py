"""Constants of a quantized graph: the file's own integers where it has them, else quantized from floats."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.file import printable
from edgeq.frontends.onnx.values import Stored
from edgeq.ir import Array, DType, Graph, Node, QParams, Tensor, TensorType

CLOSE = 1e-5  # relative difference of two scales that are one
INT32_MAX = 2**31 - 1
ASYMMETRIC = ("conv2d", "depthwise_conv2d", "fully_connected")  # their kernels take a zero point of weights
LOG = logging.getLogger("edgeq")


class Constants:
    """Adds integer constants to `tensors`; equal ones once.

    Attributes:
        stored: float constant -> the integers that it was dequantized from.
    """

    def __init__(self, graph: Graph, stored: Mapping[str, Stored], tensors: dict[str, Tensor]) -> None:
        self.graph, self.stored, self.tensors = graph, stored, tensors

    def _keep(self, name: str, data: Array, dtype: DType, q: QParams | None) -> str:
        type = TensorType(data.shape, dtype, q)
        while name in self.tensors:
            present = self.tensors[name]
            if present.data is not None and present.type == type and np.array_equal(present.data, data):
                return name
            name += ".s8"
        self.tensors[name] = Tensor(name, type, np.ascontiguousarray(data, dtype.numpy))
        return name

    def _floats(self, name: str, node: Node) -> Array:
        data = self.graph.tensors[name].data
        if data is None:
            raise EdgeqError(f"weights '{printable(name)}' are computed", where=printable(node.name), fix="make them constant")
        return data

    def weights(self, node: Node, weights: str, bias: str, x: TensorType) -> tuple[str, str]:
        """int8 weights with symmetric scales, and the int32 bias in the scales of the accumulators."""
        assert node.op.traits.linear is not None
        axis = node.op.traits.linear.axis
        floats, held = self._floats(weights, node), self.stored.get(weights)
        if held and held.data.dtype == np.int8 and (kept := self._checked(node, weights, held, axis)):
            q, data = kept, held.data
        else:
            q, data = per_channel(floats, axis)
        scale = np.float64(np.float32(x.scale)) * np.asarray(q.scale, np.float32).astype(np.float64)
        name = self._keep(weights, data, DType.INT8, q)
        return name, self._keep(bias, self._bias(node, bias, scale), DType.INT32, None)

    def _checked(self, node: Node, name: str, held: Stored, axis: int) -> QParams | None:
        """Scales and zero point of the file's integers; None, with a warning, where no kernel reads them as they are."""
        if len(held.scale) > 1 and held.axis != axis:
            why, where = f"'{printable(name)}' has {len(held.scale)}", printable(node.name)
            raise EdgeqError("weights with scales along another axis than output channels are not supported", where=where, why=why)
        if held.zero_point == 0 or (held.zero_point is not None and node.op.kind() in ASYMMETRIC):
            return held.qparams
        what = "zero points that differ by channel" if held.zero_point is None else f"zero point {held.zero_point}"
        LOG.warning("weights '%s' of '%s' have %s: they are rounded again, to symmetric int8", printable(name), printable(node.name), what)
        return None

    def _bias(self, node: Node, name: str, scale: Array) -> Array:
        """int32 ``[channels]``: the file's where its scale is the product of the others, else rounded to it."""
        floats, held = self._floats(name, node), self.stored.get(name)
        if held and held.data.dtype == np.int32 and np.allclose(held.scale, scale, rtol=CLOSE, atol=0):
            return held.data
        steps = np.rint(floats.astype(np.float64) / scale)
        if np.abs(steps).max() > INT32_MAX:
            why = f"'{printable(name)}' reaches {np.abs(floats).max():.4g}, a step is {scale.min():.4g}"
            raise EdgeqError("a bias does not fit 32 bits in the scale of its layer", where=printable(node.name), why=why)
        return steps.astype(np.int32)

    def floats(self, node: Node, name: str) -> str:
        """What an operator on integers keeps in float32, such as the scale and the bias of a layer normalization."""
        return self._keep(name, self._floats(name, node), DType.FLOAT32, None)

    def slope(self, node: Node, name: str) -> str:
        """The slopes of a parametric ReLU: the file's integers, else floats, from which the operator makes its own."""
        floats, held = self._floats(name, node), self.stored.get(name)
        if held and held.data.dtype == np.int8 and len(held.scale) == 1:
            return self._keep(name, held.data, DType.INT8, held.qparams)
        return self._keep(name, floats, DType.FLOAT32, None)

    def operand(self, name: str) -> str:
        """A constant operand of an elementwise operator or a concatenation, one scale for all."""
        held, floats = self.stored.get(name), self.graph.tensors[name].data
        assert floats is not None
        if held and held.data.dtype == np.int8 and len(held.scale) == 1:
            return self._keep(name, held.data, DType.INT8, held.qparams)
        data, q = per_tensor(floats)
        return self._keep(name, data, DType.INT8, q)


def per_channel(floats: Array, axis: int) -> tuple[QParams, Array]:
    """Symmetric int8 with one scale per slice along `axis`."""
    others = tuple(a for a in range(floats.ndim) if a != axis)
    largest = np.abs(floats).max(others).astype(np.float64)
    scale = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
    shape = [-1 if a == axis else 1 for a in range(floats.ndim)]
    data = np.clip(np.rint(floats / scale.reshape(shape)), -127, 127).astype(np.int8)
    return QParams(tuple(float(s) for s in scale), 0, axis if len(scale) > 1 else None), data


def per_tensor(floats: Array) -> tuple[Array, QParams]:
    """Affine int8 over the values' range and zero; a single value is exact."""
    low, high = min(float(floats.min()), 0.0), max(float(floats.max()), 0.0)
    if floats.size == 1 or low == high:
        value = abs(float(floats.ravel()[0]))
        scale = np.float32(value / 127 or 1.0)
        return np.rint(floats / scale).astype(np.int8), QParams((float(scale),))
    scale = np.float32((high - low) / 255)
    zero = int(np.clip(np.rint(-128 - low / scale), -128, 127))
    return np.clip(np.rint(floats / scale) + zero, -128, 127).astype(np.int8), QParams((float(scale),), zero)
