"""Types that onnx infers, for what stands behind a node that is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
from onnx import ModelProto

from edgeq.frontends.onnx.file import FLOATS, MAX_ELEMENTS
from edgeq.ir import TensorType


def inferred_types(model: ModelProto, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, TensorType]:
    """Static float types of a model's tensors as far as onnx can infer them."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for info in copy.graph.input:
        if info.name in inputs:
            del info.type.tensor_type.shape.dim[:]
            for n in inputs[info.name]:
                info.type.tensor_type.shape.dim.add().dim_value = n
    try:
        copy = onnx.shape_inference.infer_shapes(copy)  # it must not compute data: that takes as long as a file wants
    except Exception:  # whatever its C++ code raises; the shapes stay unknown
        return {}
    found = {}
    for info in (*copy.graph.value_info, *copy.graph.output):
        if not info.type.tensor_type.HasField("shape"):  # of what stands behind an operator that onnx does not know
            continue
        dims = [int(d.dim_value) for d in info.type.tensor_type.shape.dim]
        if info.type.tensor_type.elem_type in FLOATS and all(n > 0 for n in dims) and math.prod(dims) <= MAX_ELEMENTS:
            found[info.name] = TensorType(tuple(dims))
    return found
