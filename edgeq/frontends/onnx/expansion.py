"""Operators that the ONNX standard defines by others: their bodies, for the shapes and attributes at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, NodeProto, TypeProto, helper

from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.definitions import VERSION, definition
from edgeq.frontends.onnx.registry import MICROSOFT
from edgeq.frontends.onnx.values import Constant, Value, Whole

MAX_NODES = 2000  # of one body


def body_of(call: Call, domain: str) -> tuple[FunctionProto, int] | None:
    """The body of an operator of the standard or of onnxruntime, its attributes filled in, and the operator set that it is written in.

    Returns:
        None where the operator is not defined by others.

    Raises:
        EdgeqError: it is, but not in this form.
    """
    if domain == MICROSOFT:
        own = definition(call)
        return None if own is None else (own, VERSION)
    return _of_standard(call.node, call.version, call.values) if domain == "" else None


def _of_standard(node: NodeProto, version: int, values: Sequence[Value | None]) -> tuple[FunctionProto, int] | None:
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, version, "")  # its type annotations lag behind
    except onnx.defs.SchemaError:
        return None
    plain, made = ([v for v in versions if v <= max(version, schema.since_version)] for versions in (
        schema.function_opset_versions, schema.context_dependent_function_opset_versions))  # fmt: skip
    bare = NodeProto()
    bare.CopyFrom(node)
    bare.domain = ""
    try:
        if schema.has_context_dependent_function and made:
            chosen = max(made)
            types = [_type(v).SerializeToString() for v in values]
            data = schema.get_context_dependent_function_with_opset_version(chosen, bare.SerializeToString(), types)
        elif schema.has_function and plain:
            chosen = max(plain)
            data = schema.get_function_with_opset_version(chosen)
        else:
            return None
    except (RuntimeError, TypeError, ValueError, onnx.defs.SchemaError):
        return None
    body = FunctionProto.FromString(data)
    if not body.node or len(body.node) > MAX_NODES:
        return None
    given = {a.name: a for a in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in given and attribute.default_value.name:
            given[name] = attribute.default_value
    for name, value in ((a.name, a) for a in body.attribute_proto):
        given.setdefault(name, value)
    for inner in body.node:
        _fill(inner, given)
    versions = [int(o.version) for o in body.opset_import if o.domain in ("", "ai.onnx")]
    return body, versions[0] if versions else chosen


def _fill(node: NodeProto, given: dict[str, AttributeProto]) -> None:
    """References to attributes of the operator become their values, or go where it has none."""
    kept = []
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            source = given.get(attribute.ref_attr_name)
            if source is not None:
                value = AttributeProto()
                value.CopyFrom(source)
                value.name = attribute.name
                kept.append(value)
            continue
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            for inner in graph.node:
                _fill(inner, given)
        kept.append(attribute)
    copies = [AttributeProto.FromString(a.SerializeToString()) for a in kept]
    del node.attribute[:]
    node.attribute.extend(copies)


def _type(value: Value | None) -> TypeProto:
    """The ONNX type of a value; an empty one for an input that is left out."""
    if value is None:
        return TypeProto()
    if isinstance(value, Constant):
        return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.array.dtype), value.array.shape)
    code = np.dtype((np.bool_ if value.logical else np.int64) if isinstance(value, Whole) else np.float32)
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(code), value.type.shape)
