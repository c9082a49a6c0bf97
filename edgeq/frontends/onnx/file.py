"""ONNX bytes -> a model whose every tensor has been checked, and tensors -> arrays. Nothing is executed, and nothing but data
beside the model is opened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, inliner, numpy_helper

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.external import FIX, is_external, take_in
from edgeq.ir import Array

MAX_ELEMENTS = 2**28  # of one tensor
MAX_DENSE = 2**24  # of all that the file stores sparsely
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
FOURS = (TensorProto.INT4, TensorProto.UINT4)
MAX_NODES = 100_000
OLDEST_OPSET = 7
DAMAGED = "the file is damaged"

_BITS: dict[int, int] = {
    TensorProto.FLOAT: 32, TensorProto.DOUBLE: 64, TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16,
    TensorProto.INT8: 8, TensorProto.UINT8: 8, TensorProto.INT16: 16, TensorProto.UINT16: 16, TensorProto.INT32: 32,
    TensorProto.UINT32: 32, TensorProto.INT64: 64, TensorProto.UINT64: 64, TensorProto.BOOL: 8, TensorProto.INT4: 4, TensorProto.UINT4: 4,
}  # fmt: skip
_FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}  # fmt: skip  (all others: int32_data)


def printable(name: str) -> str:
    """A name from a file, fit for a message: one line, at most 80 characters."""
    return "".join(c if c.isprintable() else "?" for c in name[:80])


def read(path: Path) -> ModelProto:
    """Parse an ONNX file.

    Raises:
        EdgeqError: it cannot be read, is no ONNX model, or refers to data outside its own folder.
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise EdgeqError("cannot read the model", where=str(path), why=e.strerror or type(e).__name__) from e
    return parse(data, str(path), path.parent)


def parse(data: bytes, where: str, folder: Path | None = None) -> ModelProto:
    """Parse ONNX bytes; local functions are expanded.

    Args:
        where: the file's name, for errors.
        folder: in which data that the model keeps in other files are looked for; None: they are refused.

    Raises:
        EdgeqError: the bytes are no ONNX model, or one that edgeq cannot read at all.
    """
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError as e:
        raise EdgeqError("not a readable ONNX model", where=where, why="truncated or garbage bytes") from e
    if not model.HasField("graph") or not model.graph.node:
        raise EdgeqError("not a readable ONNX model", where=where, why="it holds no nodes")
    _check_parts(model, where, folder)
    if model.functions:
        model = _inlined(model, where)
    version = opset(model)
    newest = onnx.defs.onnx_opset_version()
    if version is None:
        raise EdgeqError("the model names no version of the ONNX operators", where=where, why=DAMAGED)
    if not OLDEST_OPSET <= version <= newest:
        fix = "export it again with a newer exporter" if version < OLDEST_OPSET else "upgrade the onnx package"
        raise EdgeqError(f"operator set {version} is not supported", where=where, why=f"{OLDEST_OPSET} to {newest} are", fix=fix)
    return model


def opset(model: ModelProto) -> int | None:
    """The version of the default operator set."""
    found = [int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")]
    return found[0] if found else None


def _check_parts(model: ModelProto, where: str, folder: Path | None) -> None:
    """Refuse too many nodes and names that are no text, and take external data in, in the graph, its functions and all subgraphs."""
    if sum(1 for _ in _nodes(model)) > MAX_NODES:
        raise EdgeqError(f"the model has more than {MAX_NODES} nodes", where=where)
    if not all(isinstance(n, str) for n in _names(model)):  # protobuf gives bytes where they are no UTF-8
        raise EdgeqError("a name in the model is not text", where=where, why=DAMAGED)
    outside = [t for t in _tensors(model) if is_external(t)]
    if outside and folder is None:
        raise EdgeqError(f"tensor '{printable(outside[0].name)}' lies in another file", where=where, why="there is no folder", fix=FIX)
    if outside and folder is not None:
        take_in(outside, folder, where, _BITS)
    left = MAX_DENSE
    for graph in graphs(model):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(dense(sparse, where, left))
            left -= math.prod(sparse.dims)
        del graph.sparse_initializer[:]


def dense(sparse: SparseTensorProto, where: str, most: int = MAX_DENSE) -> TensorProto:
    """A sparse initializer, which names its values and where they lie (one number or one per axis each), as a dense one.

    Args:
        most: elements that it may have.

    Raises:
        EdgeqError: the parts do not fit each other, or it is too large.
    """
    shape, name = tuple(sparse.dims), sparse.values.name

    def problem(why: str = DAMAGED) -> EdgeqError:
        return EdgeqError("a sparse initializer cannot be read", where=f"{where}, '{printable(name)}'", why=why)

    if any(d <= 0 for d in shape):
        raise problem()
    if math.prod(shape) > most:
        raise problem(f"all that is stored sparsely has more than {MAX_DENSE} elements")
    values, at = array(sparse.values), array(sparse.indices)
    forms = [(len(values),), (len(values), len(shape))] if values.ndim == 1 else []
    if at.dtype != np.int64 or at.shape not in forms or not (at.ndim == 1 or shape):
        raise problem()
    if ((at < 0) | (at >= (math.prod(shape) if at.ndim == 1 else np.array(shape)))).any():
        raise problem()
    whole = np.zeros(shape, values.dtype)
    whole.reshape(-1)[at if at.ndim == 1 else np.ravel_multi_index(tuple(at.T), shape)] = values
    return numpy_helper.from_array(whole, name)


def graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The model's graph and all graphs in its nodes and functions."""
    pending = [model.graph]
    pending += [g for f in model.functions for n in f.node for g in _subgraphs(n)]
    while pending:
        graph = pending.pop()
        yield graph
        pending += [g for n in graph.node for g in _subgraphs(n)]


def _subgraphs(node: NodeProto) -> list[GraphProto]:
    return [g for a in node.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    for function in model.functions:
        yield from function.node
    for graph in graphs(model):
        yield from graph.node


def _names(model: ModelProto) -> Iterator[str]:
    """Everything in a model that is used as a name."""
    yield from (o.domain for o in model.opset_import)
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output, *function.attribute)
    for graph in graphs(model):
        yield from (i.name for i in (*graph.input, *graph.output, *graph.value_info))
        yield from (d.dim_param for i in (*graph.input, *graph.output) for d in i.type.tensor_type.shape.dim)
    for node in _nodes(model):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (a.name for a in node.attribute)
    for tensor in _tensors(model):
        yield from (tensor.name, *(text for e in tensor.external_data for text in (e.key, e.value)))


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    for graph in graphs(model):
        yield from graph.initializer
        yield from _sparse_parts(graph.sparse_initializer)
    for node in _nodes(model):
        for attribute in node.attribute:
            yield from attribute_tensors(attribute)


def attribute_tensors(attribute: AttributeProto) -> list[TensorProto]:
    sparse = ([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []) + list(attribute.sparse_tensors)
    return ([attribute.t] if attribute.HasField("t") else []) + list(attribute.tensors) + _sparse_parts(sparse)


def _sparse_parts(stored: Iterable[SparseTensorProto]) -> list[TensorProto]:
    return [part for s in stored for part in (s.values, s.indices)]


def _inlined(model: ModelProto, where: str) -> ModelProto:
    """The model with its local functions expanded, after a proof that this ends and stays small."""
    bodies = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], path: tuple[tuple[str, str], ...]) -> int:
        if key in path or len(path) > 50:
            raise EdgeqError(f"function '{printable(key[1])}' calls itself or nests too deeply", where=where, why=DAMAGED)
        if key not in sizes:
            sizes[key] = count(bodies[key].node, (*path, key))
        return sizes[key]

    def count(nodes: Iterable[NodeProto], path: tuple[tuple[str, str], ...]) -> int:
        return sum(size((n.domain, n.op_type), path) if (n.domain, n.op_type) in bodies else 1 for n in nodes)

    total = count(model.graph.node, ())
    if total > MAX_NODES:
        raise EdgeqError(f"the model's functions expand to {total} nodes", where=where, why=f"at most {MAX_NODES} are read")
    try:
        expanded: ModelProto = inliner.inline_local_functions(model)
        return expanded
    except Exception as e:  # the inliner raises what its C++ code happens to raise
        why = " ".join(str(e).split())[:120] or DAMAGED
        raise EdgeqError("the model's functions cannot be expanded", where=where, why=why) from e


def array(tensor: TensorProto) -> Array:
    """A tensor's values in numpy's dtype (bfloat16 as float32, 4-bit integers as int8 and uint8).

    Raises:
        EdgeqError: its sizes contradict its data, or its type is not supported.
    """
    where = printable(tensor.name) or "a constant"
    if tensor.data_type not in _BITS:
        raise EdgeqError(f"tensors of type {type_name(tensor.data_type)} are not supported", where=where)
    if is_external(tensor) or tensor.HasField("segment"):
        raise EdgeqError("data outside the tensor is not read", where=where)
    size = math.prod(tensor.dims)
    if min(tensor.dims, default=0) < 0 or size > MAX_ELEMENTS:
        raise EdgeqError(f"a tensor of shape {list(tensor.dims)[:8]} cannot be read", where=where)
    _check_length(tensor, size, where)
    try:
        values = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OverflowError, AttributeError) as e:
        raise EdgeqError("a tensor cannot be read", where=where, why=f"{DAMAGED}: {e}"[:160]) from e
    if tensor.data_type == TensorProto.BFLOAT16:
        values = values.astype(np.float32)
    if tensor.data_type in FOURS:
        values = values.astype(np.int8 if tensor.data_type == TensorProto.INT4 else np.uint8)
    return values


def _check_length(tensor: TensorProto, size: int, where: str) -> None:
    """A tensor must hold as many values as its shape says, before anything is allocated for it."""
    bits = _BITS[tensor.data_type]
    if tensor.HasField("raw_data"):
        held, wanted, unit = len(tensor.raw_data), (size * bits + 7) // 8, "bytes"
    else:
        field = _FIELDS.get(tensor.data_type, "int32_data")
        held, unit = len(getattr(tensor, field)), "values"
        wanted = (size + 1) // 2 if bits == 4 else size
    if held != wanted:
        raise EdgeqError(f"the tensor holds {held} {unit}, its shape {list(tensor.dims)[:8]} needs {wanted}", where=where, why=DAMAGED)


def type_name(data_type: int) -> str:
    """The name of an ONNX element type."""
    try:
        return str(TensorProto.DataType.Name(data_type)).lower()
    except ValueError:
        return f"number {data_type}"
