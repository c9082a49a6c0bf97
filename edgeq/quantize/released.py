"""Cell states are wider than int8, which only recurrent layers and moves read: everything else gets a copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgeq.ir import Graph, Node, Tensor, check
from edgeq.ops.rescale import Rescale
from edgeq.quantize.constraints import demanded, is_recurrent


def released(graph: Graph, law: str, integers: Callable[[Node], bool]) -> tuple[Graph, dict[str, str]]:
    """The graph in which operators that are no part of a recurrent layer read and give copies of cell states in int8.

    Args:
        integers: whether a node is computed in integers: a layer on halves keeps its cell states in halves.

    Returns:
        The graph, and new tensor -> the cell state that it is a copy of; its node is called like it.
    """
    roots = {n.outputs[1] for n in graph.nodes if is_recurrent(n) and len(n.outputs) > 1 and integers(n)}
    tied = demanded(graph, law)
    wide = {name for root in roots for name in tied.group(root)}
    if not wide:
        return graph, {}
    made: dict[str, str] = {}
    nodes: list[Node] = []

    def copy(name: str, tag: str) -> str:
        new = f"{name}.{tag}"
        while new in graph.tensors:
            new += "'"
        made[new] = name
        return new

    out: dict[str, str] = {}
    for node in graph.nodes:
        inside = is_recurrent(node) or (wide.issuperset(node.outputs) and node.inputs[0] in wide)
        if not inside:
            for name in wide.intersection(node.inputs) - set(out):
                out[name] = copy(name, "out")
                nodes.append(Node(out[name], Rescale(), (name,), (out[name],)))
        given = {} if inside else {n: copy(n, "in") for n in node.outputs if n in wide}
        inputs = node.inputs if inside else tuple(out.get(n, n) for n in node.inputs)
        nodes.append(replace(node, inputs=inputs, outputs=tuple(given.get(n, n) for n in node.outputs)))
        nodes += [Node(new, Rescale(), (new,), (n,)) for n, new in given.items()]
    if not made:
        return graph, {}
    tensors = {**graph.tensors, **{new: Tensor(new, graph.type(name)) for new, name in made.items()}}
    return check(replace(graph, tensors=tensors, nodes=()).with_nodes(nodes), "cell states"), made
