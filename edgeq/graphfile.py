"""A graph in one file: deterministic bytes, safe to read.

Layout: the line ``edgeq-graph 1``, a line with the header's length, the header (JSON: law, nodes with
their operators' attributes, tensors with their types), then the constants' bytes one after the
other, little-endian, in the header's order. Nothing in it is executed; every size is checked against
the file before it is used, every attribute against the operator's own field types.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from pathlib import Path
from typing import Any

import numpy as np

from edgeq import formats, numerics, ops
from edgeq.errors import EdgeqError
from edgeq.files import read_bytes, reason, write_bytes
from edgeq.formats.code import Code
from edgeq.formats.votes import Votes
from edgeq.ir import DType, Graph, Node, Op, QParams, Tensor, TensorType, check
from edgeq.ops.weights import with_formats

MAGIC = b"edgeq-graph 1\n"
SUFFIX = ".eqg"
NAME = "graph.eqg"
MAX_BYTES = 2**30
MAX_ELEMENTS = 2**31
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, AssertionError)
FIX = "write it again with `edgeq quantize` or `edgeq build`"


def _attribute(value: Any) -> Any:
    """An operator's attribute as JSON: tuples become lists, infinities a tagged word."""
    if isinstance(value, tuple):
        return [_attribute(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"attribute of type {type(value).__name__}")


def _value(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_value(v) for v in data)
    if isinstance(data, dict):
        if data.get("float") not in ("inf", "-inf"):
            raise ValueError(f"value {str(data)[:60]}")
        return float(data["float"])
    return data


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has the type that a dataclass field declares."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, a) for a in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_fits(v, arguments[0]) for v in value)
        return len(value) == len(arguments) and all(_fits(v, a) for v, a in zip(value, arguments, strict=True))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return value is None if hint in (None, type(None)) else isinstance(value, hint)


@functools.cache
def _operators() -> dict[str, type[Op]]:
    return ops.registry()


def _operator(kind: str, attributes: dict[str, Any]) -> Op:
    cls = _operators().get(kind)
    if cls is None:
        raise ValueError(f"unknown operator '{str(kind)[:40]}'")
    hints = typing.get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls) if f.init}
    if not set(attributes) <= names:
        raise ValueError(f"operator '{kind}' has no attribute {sorted(set(attributes) - names)[:3]}")
    values = {n: _value(v) for n, v in attributes.items()}
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"attribute '{name}' of operator '{kind}'")
    return cls(**values)


def dumps(graph: Graph) -> bytes:
    """The file's bytes. The same graph gives the same bytes."""
    tensors, blobs = [], []
    for tensor in graph.tensors.values():
        record: dict[str, Any] = {"name": tensor.name, "shape": list(tensor.type.shape), "dtype": tensor.type.dtype.value}
        if tensor.type.q is not None:
            q = tensor.type.q
            record["q"] = {"scale": [float(s) for s in q.scale], "zero_point": int(q.zero_point), "axis": q.axis}
        if tensor.format != formats.PLAIN:
            record["format"] = str(tensor.format)
        record["constant"] = tensor.data is not None
        tensors.append(record)
        if tensor.data is not None:
            data = np.ascontiguousarray(tensor.data)
            blobs.append(data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes())
    nodes = [
        {
            "name": n.name, "op": n.op.kind(), "inputs": list(n.inputs), "outputs": list(n.outputs),
            "attributes": {f.name: _attribute(getattr(n.op, f.name)) for f in dataclasses.fields(n.op) if f.init},
        }
        for n in graph.nodes
    ]  # fmt: skip
    header = {
        "name": graph.name, "law": graph.law, "inputs": list(graph.inputs), "outputs": list(graph.outputs),
        "nodes": nodes, "tensors": tensors, **({"states": [list(pair) for pair in graph.states]} if graph.states else {}),
    }  # fmt: skip
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    return b"".join([MAGIC, f"{len(text)}\n".encode(), text, *blobs])


def _type(record: dict[str, Any]) -> TensorType:
    shape = tuple(record["shape"])
    if len(shape) > 32 or not all(isinstance(d, int) and 0 < d < MAX_ELEMENTS for d in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"shape {str(list(shape))[:60]}")
    q, dtype = record.get("q"), DType(record["dtype"])
    if q is None:
        return TensorType(shape, dtype)
    axis, zero_point = q["axis"], q["zero_point"]
    if not (axis is None or (isinstance(axis, int) and 0 <= axis < len(shape))) or not isinstance(zero_point, int):
        raise ValueError("axis or zero point")
    scale = tuple(float(s) for s in q["scale"])
    if len(scale) not in (1, *([] if axis is None else [shape[axis]])) or not -(2**15) <= zero_point < 2**15:
        raise ValueError(f"{len(scale)} scales, zero point {zero_point}")
    return TensorType(shape, dtype, QParams(scale, zero_point, axis))


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError("a list of names")
    return tuple(value)


def _code(fields: dict[str, Any]) -> Code:
    """How an older file stores all weights; `Code` itself refuses impossible numbers."""
    hints = {f.name: typing.get_type_hints(Code)[f.name] for f in dataclasses.fields(Code)}
    if not set(fields) <= set(hints) or not all(_fits(value, hints[name]) for name, value in fields.items()):
        raise ValueError("code")
    return Code(**fields)


def _parse(content: bytes) -> Graph:
    digits, newline, _ = content[len(MAGIC) : len(MAGIC) + 16].partition(b"\n")
    if not newline or not digits.isdigit():
        raise ValueError("header length")
    start = len(MAGIC) + len(digits) + 1
    at = start + int(digits)
    if at > len(content):
        raise ValueError("file ends within its header")
    header = json.loads(content[start:at])
    tensors: dict[str, Tensor] = {}
    for record in header["tensors"]:
        name, kind, data = record["name"], _type(record), None
        if not isinstance(name, str) or name in tensors:
            raise ValueError("tensor names")
        if record["constant"]:
            if at + kind.bytes > len(content):
                raise ValueError("file ends within its constants")
            data = np.frombuffer(content, kind.dtype.numpy.newbyteorder("<"), kind.size, at).reshape(kind.shape).astype(kind.dtype.numpy)
            at += kind.bytes
        tensors[name] = Tensor(name, kind, data, formats.parse(record["format"]) if "format" in record else formats.PLAIN)
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes too many")
    nodes = tuple(
        Node(str(n["name"]), _operator(n["op"], n["attributes"]), _strings(n["inputs"]), _strings(n["outputs"])) for n in header["nodes"]
    )
    inputs, outputs, law = _strings(header["inputs"]), _strings(header["outputs"]), header["law"]
    states = tuple((a, b) for a, b in (_strings(pair) for pair in header.get("states", ())))
    unknown = {*inputs, *outputs, *(x for n in nodes for x in (*n.inputs, *n.outputs))} - set(tensors)
    if unknown or law not in numerics.LAWS or not inputs or not outputs or not all(n.outputs for n in nodes):
        raise ValueError(f"undefined tensors {sorted(unknown)[:3]}" if unknown else "inputs, outputs or law")
    graph = check(Graph(str(header["name"]), nodes, tensors, inputs, outputs, law, states), "load")
    if "code" not in header:
        return graph
    code = _code(header["code"])
    return with_formats(graph, code, Votes() if code.votes else formats.PLAIN)


def loads(content: bytes, where: str = "") -> Graph:
    """The graph that `dumps` wrote.

    Raises:
        EdgeqError: the bytes are damaged, truncated or of another format.
    """
    if not content.startswith(MAGIC):
        raise EdgeqError("not an edgeq graph file", where=where, fix=FIX)
    try:
        return _parse(content)
    except DAMAGE as e:
        raise EdgeqError("damaged graph file", where=where, why=reason(e)[:200], fix=FIX) from e
    except EdgeqError as e:
        raise EdgeqError("damaged graph file", where=where, why=str(e)[:300], fix=FIX) from e


def save(graph: Graph, path: str | Path) -> None:
    """Write a graph to a file, whole or not at all.

    Raises:
        EdgeqError: the place cannot be written.
    """
    write_bytes(Path(path), dumps(graph))


def is_graph(path: Path) -> bool:
    """Whether a file starts as a graph file does."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def load(path: str | Path) -> Graph:
    """Read a graph file, or the one in an emitted folder.

    Raises:
        EdgeqError: it is missing, damaged or of another format.
    """
    path = Path(path)
    if path.is_dir() and not (path / NAME).exists():
        fix = "give a model file (.tflite, .onnx, .pt2), or a folder that `edgeq quantize` or `edgeq build` wrote"
        raise EdgeqError("this folder holds no model", where=str(path), why=f"there is no {NAME} in it", fix=fix)
    path = path / NAME if path.is_dir() else path
    try:
        content = read_bytes(path, MAX_BYTES)
    except OSError as e:
        raise EdgeqError("cannot read the graph", where=str(path), why=reason(e), fix=FIX) from e
    return loads(content, str(path))
