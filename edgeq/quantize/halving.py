"""Float graph -> the same graph in half precision: no calibration, no scales; weights stored as halves, biases as float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph, Node, Op, QParams, Tensor, TensorType, check
from edgeq.quantize.calibrate import check_samples
from edgeq.quantize.constraints import indices
from edgeq.quantize.floating import Progress, require_float, stream
from edgeq.quantize.plan import Precision
from edgeq.quantize.precision_toml import format_precision
from edgeq.quantize.storage import HALF, roles, written


def to_half(graph: Graph) -> Graph:
    """A float graph in half precision. Tensors and nodes keep their names; inputs and outputs become halves, too, but indices int32.

    Raises:
        EdgeqError: the graph is not float, an operator has no half meaning, or a constant overflows.
    """
    require_float(graph, "recipe fp16 wants a float model")
    missing = sorted({n.op.kind() for n in graph.nodes if type(n.op).bind_half is Op.bind_half})
    if missing:
        raise EdgeqError(f"not computed in half precision: {', '.join(missing)}", where=graph.name, fix="quantize with --recipe int8")
    numbers = indices(graph, "single")
    kept = {n: TensorType(t.type.shape, DType.FLOAT16) for n, t in graph.tensors.items() if not t.is_constant}
    kept |= {n: TensorType(t.shape, DType.INT32, QParams((1.0,))) for n, t in kept.items() if n in numbers}
    tensors = {n: Tensor(n, t) for n, t in kept.items()}
    nodes = []
    for node in graph.nodes:
        names = list(node.inputs)
        for position, name in enumerate(node.inputs):
            if graph.tensors[name].is_constant:
                constant = half_constant(node, position, graph.tensors[name])
                other = tensors.setdefault(name, constant)
                if other.type != constant.type:  # one constant, a weight here and a bias there
                    constant = replace(constant, name=f"{name}.{constant.type.dtype.value}")
                    tensors[constant.name] = constant
                names[position] = constant.name
        nodes.append(replace(node, inputs=tuple(names)))
    return check(replace(graph, tensors=tensors, nodes=()).with_nodes(nodes), "quantize")


def half_constant(node: Node, position: int, tensor: Tensor) -> Tensor:
    """A constant operand: float32 where it is a bias, else half."""
    assert tensor.data is not None
    if position in node.op.traits.biases:
        return tensor
    data = half.from_float(tensor.data)
    if not np.isfinite(data).all():
        worst = float(np.abs(tensor.data).max())
        raise EdgeqError(
            f"constant '{tensor.name}' reaches {worst:g}, half precision ends at {half.LARGEST:g}", where=node.name,
            fix="quantize with --recipe int8, or scale this layer's weights",
        )  # fmt: skip
    return Tensor(tensor.name, TensorType(tensor.type.shape, DType.FLOAT16), data)


def check_range(graph: Graph, samples: Mapping[str, Array], progress: Progress | None = None) -> None:
    """Look for activations of a float graph that half precision cannot hold.

    Args:
        samples: by input name ``[V, ...]``.

    Raises:
        EdgeqError: one overflows; the first in the graph's order is named.
    """

    numbers = indices(graph, "single")

    def visit(name: str, values: Array) -> None:
        if name not in numbers:
            check_peak(graph, name, float(np.abs(values).max()))

    stream(graph, check_samples(graph, samples), visit, progress)


def check_peak(graph: Graph, name: str, peak: float) -> None:
    """Refuse a largest magnitude of an activation that half precision cannot hold.

    Raises:
        EdgeqError: it overflows.
    """
    if not peak <= half.LARGEST:
        raise EdgeqError(
            f"tensor '{name}' reaches {peak:g} on the samples, half precision ends at {half.LARGEST:g}", where=graph.name,
            fix="quantize with --recipe int8, or scale the model's inputs",
        )  # fmt: skip


def describe_half(graph: Graph) -> str:
    """The text of precision.toml of a graph in half precision."""
    nodes = {n.name: written(n, HALF) for n in graph.nodes if not n.op.traits.keeps_scale("single")}
    notes = {n.name: f"{n.op.kind()}: {roles(n, HALF)}" for n in graph.nodes}
    return format_precision(Precision(graph.name, nodes=nodes), shapes=notes)
