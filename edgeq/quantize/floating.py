"""The float meaning of a graph, in bounded chunks; and a quantized graph seen as a float one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.evaluate import chunk_size, evaluate, follow_states
from edgeq.ir import Array, DType, Graph, Node, Tensor, TensorType
from edgeq.ops.reshape import Reshape
from edgeq.simulate import dequantize_array, fit_inputs

Progress = Callable[[int, int], None]


def require_float(graph: Graph, fix: str) -> None:
    """Refuse a graph that carries scales; integers that an operator reads as constants, such as the first bins of bands, are its own.

    Raises:
        EdgeqError: some tensor is stored in integers.
    """
    for name, tensor in graph.tensors.items():
        table = tensor.data is not None and tensor.type.q is None and tensor.type.dtype in (DType.INT16, DType.INT32)
        if tensor.type.dtype is not DType.FLOAT32 and not table:
            raise EdgeqError(f"tensor '{name}' is {tensor.type}, the float meaning was asked for", where=graph.name, fix=fix)


def real_step(node: Node, x: list[Array]) -> tuple[Array, ...]:
    """A node's float meaning, float32, with the node's name in front of what goes wrong."""
    try:
        results = node.op.real_all(*x)
    except EdgeqError as e:
        raise EdgeqError(e.what, where=node.name, why=e.why, fix=e.fix) from e
    return tuple(np.asarray(y, np.float32) for y in results)


def stream(
    graph: Graph, inputs: Mapping[str, Array], visit: Callable[[str, Array], None], progress: Progress | None = None
) -> dict[str, Array]:
    """Evaluate a float graph chunk by chunk and show every activation to `visit` once per chunk.

    Args:
        inputs: fitted, ``[V, *shape]`` float32.
        visit: called with a tensor's name and its ``[chunk, *shape]`` values.
        progress: called with (vectors done, vectors in all).

    Returns:
        The graph's outputs.
    """

    def step(node: Node, x: list[Array]) -> tuple[Array, ...]:
        results = real_step(node, x)
        for name, y in zip(node.outputs, results, strict=True):
            visit(name, y)
        return results

    total = len(next(iter(inputs.values())))
    size = chunk_size(graph, total)
    parts: dict[str, list[Array]] = {n: [] for n in graph.outputs}
    for start in range(0, total, size):
        chunk = {n: a[start : start + size] for n, a in inputs.items()}
        for name, a in chunk.items():
            visit(name, a)
        values = evaluate(graph, chunk, step, False)
        for name, part in parts.items():
            part.append(values[name])
        if progress:
            progress(min(start + size, total), total)
    return {n: np.concatenate(p) for n, p in parts.items()}


def evaluate_float(graph: Graph, arrays: Mapping[str, Array], steps: bool = False, progress: Progress | None = None) -> dict[str, Array]:
    """Run the float meaning of a graph over a batch of vectors; those of a graph with states follow each other.

    Args:
        graph: float (a quantized one: give ``dequantized(graph)``).
        arrays: per input ``[V, ...]``, first axis = vectors.
        steps: return every activation, not the outputs alone.
        progress: called with (vectors done, vectors in all).

    Returns:
        Per tensor name ``[V, *shape]`` float32.

    Raises:
        EdgeqError: the graph is quantized, or an array does not fit.
    """
    require_float(graph, "evaluate dequantized(graph)")
    kept: dict[str, list[Array]] = {}

    def keep(name: str, a: Array) -> None:
        if steps:
            kept.setdefault(name, []).append(a)

    outputs = stream(graph, follow_states(graph, fit_inputs(graph, arrays), real_step), keep, progress)
    return {**{n: np.concatenate(p) for n, p in kept.items()}, **outputs}


def real_values(tensor: Tensor) -> Array:
    """A constant's real values, float32, per-channel scales along the type's axis.

    Raises:
        EdgeqError: an integer constant without a scale.
    """
    assert tensor.data is not None
    if tensor.data.dtype.kind == "f":
        return tensor.data.astype(np.float32)
    q = tensor.type.q
    if q is None:
        raise EdgeqError("integer constant without a scale", where=tensor.name)
    if q.axis is None or len(q.scale) == 1:
        return dequantize_array(tensor.data, q.scale[0], q.zero_point)
    shape = [1] * tensor.data.ndim
    shape[q.axis] = -1
    scales = np.asarray(q.scale, np.float32).astype(np.float64).reshape(shape)
    return ((tensor.data.astype(np.float64) - q.zero_point) * scales).astype(np.float32)


def bias_values(graph: Graph, node: Node, position: int) -> Array:
    """A bias as real values: the scale of an int32 one is that of the input times that of the weights."""
    product = node.op.traits.product_of(position)
    assert product is not None
    x, w = (graph.type(node.inputs[i]) for i in (product.of, product.weights))
    bias = graph.tensors[node.inputs[position]]
    assert bias.data is not None
    if bias.type.dtype is DType.FLOAT32:
        return bias.data
    assert w.q is not None
    scales = np.float64(np.float32(x.scale)) * np.asarray(w.q.scale, np.float32).astype(np.float64)
    return (bias.data.astype(np.float64) * scales).astype(np.float32)


def dequantized(graph: Graph) -> Graph:
    """A quantized graph as a float graph with the same names: what its weights mean, without rounding of activations.

    Constants become their real values; quantize, dequantize and requantize become identities.

    Raises:
        EdgeqError: an integer constant without a scale.
    """
    tensors: dict[str, Tensor] = {}
    for node in graph.nodes:
        for position, name in enumerate(node.inputs):
            constant = graph.tensors[name]
            if constant.data is None or constant.data.dtype == np.float32:
                continue
            bias = position in node.op.traits.biases and constant.type.dtype is DType.INT32
            data = bias_values(graph, node, position) if bias else real_values(constant)
            if name in tensors and not np.array_equal(data, tensors[name].data):  # type: ignore[arg-type]
                raise EdgeqError("a constant has two meanings", where=name, why="nodes share a bias but not the scales")
            tensors[name] = Tensor(name, TensorType(data.shape), data)
    for name, tensor in graph.tensors.items():
        tensors.setdefault(name, replace(tensor, type=TensorType(tensor.type.shape)))
    nodes = [replace(n, op=Reshape(graph.type(n.outputs[0]).shape)) if n.op.traits.casts else n for n in graph.nodes]
    return replace(graph, tensors=tensors, nodes=()).with_nodes(nodes)
