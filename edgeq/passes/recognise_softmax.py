"""Finds a softmax that is spelled out: exponentials over their sum along the last axis, the largest score perhaps taken away before."""

from __future__ import annotations

from edgeq.ir import DType, Graph, Node, Tensor, TensorType
from edgeq.ops.add import Sub
from edgeq.ops.div import Div
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.mathematics import Exp, Reciprocal
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_max import ReduceMax
from edgeq.ops.reduce_sum import ReduceSum
from edgeq.ops.softmax import Softmax
from edgeq.passes.remove_dead import remove_dead
from edgeq.passes.rewrite import Names, computes, repeated


@repeated
def recognise_softmax(graph: Graph) -> Graph | None:
    """Replace every one, also where the sum divides a matrix product of the exponentials; drop maxima that are taken from scores."""
    producers = graph.producers()
    for node in graph.nodes:
        if graph.type(node.outputs[0]).dtype is not DType.FLOAT32:
            continue
        changed = _shifted(graph, producers, node) or _divided(graph, producers, node)
        if changed is not None:
            return remove_dead(changed)  # scores are read once then
    return None


def _reduced(graph: Graph, producers: dict[str, Node], name: str, kind: type) -> str | None:
    """What a tensor is the reduction of, along the last axis, which is kept."""
    node = producers.get(name)
    if node is None or type(node.op) is not kind:
        return None
    shape = graph.type(node.inputs[0]).shape
    kept = graph.type(name).shape == (*shape[:-1], 1)
    return node.inputs[0] if kept and node.op.vector_axes() == (len(shape),) else None  # type: ignore[attr-defined]


def _shifted(graph: Graph, producers: dict[str, Node], node: Node) -> Graph | None:
    """A softmax of scores less their maximum is that of the scores."""
    before = producers.get(node.inputs[0]) if isinstance(node.op, Softmax) else None
    if before is None or not computes(before, Sub):
        return None
    if _reduced(graph, producers, before.inputs[1], ReduceMax) != before.inputs[0]:
        return None
    made = Node(node.name, node.op, (before.inputs[0],), node.outputs)
    return graph.with_nodes([made if n is node else n for n in graph.nodes])


def _exponentials(producers: dict[str, Node], name: str) -> str | None:
    node = producers.get(name)
    return node.inputs[0] if node is not None and type(node.op) is Exp else None


def _divided(graph: Graph, producers: dict[str, Node], node: Node) -> Graph | None:
    """Exponentials, or a matrix product of them, over their sum."""
    if not computes(node, Mul, Div):
        return None
    for x, other in (node.inputs, node.inputs[::-1])[: 1 if type(node.op) is Div else 2]:
        inverse = producers.get(other)
        divisor = other if type(node.op) is Div else inverse.inputs[0] if inverse and type(inverse.op) is Reciprocal else ""
        e = _reduced(graph, producers, divisor, ReduceSum)
        scores = _exponentials(producers, e) if e is not None else None
        if e is None or scores is None:
            continue
        product, new = producers.get(x), list[Tensor]()
        if x == e:
            made = [Node(node.name, Softmax(), (scores,), node.outputs)]
        elif product is not None and isinstance(product.op, MatMul) and product.inputs[0] == e:
            new = [Tensor(Names(graph).fresh(f"{node.name}_weights"), TensorType(graph.type(scores).shape))]
            softmax = Node(new[0].name, Softmax(), (scores,), (new[0].name,))
            made = [softmax, Node(node.name, product.op, (new[0].name, product.inputs[1]), node.outputs)]
        else:
            continue
        return graph.with_nodes([own for n in graph.nodes for own in (made if n is node else [n])], new)
    return None
