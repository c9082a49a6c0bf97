"""Finds a layer normalization that an exporter has spelled out: difference to the mean, over the root of its mean square.

``d = x - mean(x)``, ``d / sqrt(mean(d d) + epsilon)``, perhaps times one constant and plus another, along the last axis. Without the
difference it is a root mean square normalization: half of the layer normalization of ``[x, -x]``, whose mean is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array, Graph, Node, Op, Tensor, TensorType
from edgeq.ops.add import Add, Sub
from edgeq.ops.concat import Concat
from edgeq.ops.layer_norm import LayerNorm
from edgeq.ops.mathematics import Neg, Reciprocal, Rsqrt, Sqrt, Square
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.slice import Slice
from edgeq.passes.rewrite import Names, computes, constant, repeated

Operands = Callable[..., tuple[str, ...] | None]


@repeated
def recognise_layer_norm(graph: Graph) -> Graph | None:
    """Replace every normalization that is found by a LayerNorm; the nodes before it die if nothing else reads them."""
    producers = graph.producers()

    def operands(name: str, *kinds: type[Op]) -> tuple[str, ...] | None:
        """The inputs of the node of some class that computes `name`; None where another does."""
        node = producers.get(name)
        return node.inputs if node is not None and computes(node, *kinds) else None

    for node in graph.nodes:
        core = _core(graph, producers, operands, node)
        if core is not None:
            return _replaced(graph, node, *core)
    return None


def _core(graph: Graph, producers: dict[str, Node], operands: Operands, node: Node) -> tuple[str, float, bool] | None:
    """The tensor that a node's result is the normalization of, epsilon, and whether the mean is taken away; None where it is none."""
    factors = operands(node.outputs[0], Mul)
    if factors is None or graph.type(node.outputs[0]).q is not None:
        return None
    for d, other in (factors, factors[::-1]):
        inverse = operands(other, Reciprocal)
        root = operands(other, Rsqrt) or (operands(inverse[0], Sqrt) if inverse else None)
        terms, parts = (operands(root[0], Add) if root else None), operands(d, Sub)
        if not terms:
            continue
        centred = parts is not None and _is_mean(graph, producers, parts[1], parts[0])
        epsilon = next((a for n in terms if (a := graph.tensors[n].data) is not None and a.size == 1), None)
        square = next((producers[n].inputs[0] for n in terms if n in producers and _is_mean(graph, producers, n)), None)
        squared = square and (operands(square, Square, Mul))
        if epsilon is not None and float(epsilon.item()) > 0 and squared and set(squared) == {d}:
            return parts[0] if parts is not None and centred else d, float(epsilon.item()), centred
    return None


def _is_mean(graph: Graph, producers: dict[str, Node], name: str, of: str | None = None) -> bool:
    """Whether a tensor is a mean along the last axis, which is kept, of one in particular or of any."""
    node = producers.get(name)
    if node is None or not isinstance(node.op, Mean) or (of is not None and node.inputs[0] != of):
        return False
    shape = graph.type(node.inputs[0]).shape
    return graph.type(name).shape == (*shape[:-1], 1) and node.op.vector_axes() == (len(shape),)


def _row(graph: Graph, node: Node, kind: type[Op], name: str) -> Array | None:
    """What a node of some class does to the last axis of `name`, alike for all rows: its other operand ``[C]``; None otherwise."""
    t = graph.type(name)
    if not computes(node, kind) or graph.type(node.outputs[0]).shape != t.shape:
        return None
    data = next((graph.tensors[n].data for n in node.inputs if n != name), None)
    if data is None or data.size not in (1, t.shape[-1]) or data.size != data.shape[-1]:
        return None
    return np.broadcast_to(data.reshape(-1), t.shape[-1:]).astype(np.float32)


def _replaced(graph: Graph, node: Node, x: str, epsilon: float, centred: bool) -> Graph:
    """The graph with a LayerNorm for `node`, and for what multiplies and shifts its result by constants."""
    depth, last, readers = graph.type(x).shape[-1], node, graph.consumers()
    values: dict[type[Op], Array] = {Mul: np.ones(depth, np.float32), Add: np.zeros(depth, np.float32)}
    for kind in values:
        name = last.outputs[0]
        row = _row(graph, readers[name][0], kind, name) if len(readers[name]) == 1 and name not in graph.outputs else None
        if row is not None:
            values[kind], last = row, readers[name][0]
    names = Names(graph)
    rows = [v if centred else np.tile(v, 2) for v in values.values()]
    added = [constant(names.fresh(f"{last.outputs[0]}/{n}"), v) for n, v in zip(("scale", "bias"), rows, strict=True)]
    parameters = tuple(c.name for c in added)
    if centred:
        made = [Node(last.name, LayerNorm(epsilon), (x, *parameters), last.outputs)]
    else:
        shape = graph.type(x).shape
        negative, both, normal = (names.fresh(f"{last.outputs[0]}/{n}") for n in ("negative", "mirrored", "normal"))
        added += [Tensor(n, TensorType((*shape[:-1], k * depth))) for n, k in ((negative, 1), (both, 2), (normal, 2))]
        half = Slice((0,) * len(shape), shape, (1,) * len(shape))
        made = [
            Node(negative, Neg(), (x,), (negative,)), Node(both, Concat(len(shape) - 1), (x, negative), (both,)),
            Node(normal, LayerNorm(epsilon), (both, *parameters), (normal,)), Node(last.name, half, (normal,), last.outputs),
        ]  # fmt: skip
    return graph.with_nodes([m for n in graph.nodes for m in (made if n is last else [n])], added)
