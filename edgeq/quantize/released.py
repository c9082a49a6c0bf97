"""Cell states are wider than int8, which only recurrent layers and moves read: everything else gets a copy, and gives one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgeq.ir import Graph, Node, Tensor, check
from edgeq.ops.rescale import Rescale
from edgeq.passes.rewrite import Names
from edgeq.quantize.constraints import demanded, is_recurrent


def released(graph: Graph, law: str, integers: Callable[[Node], bool]) -> tuple[Graph, dict[str, str]]:
    """The graph in which operators that are no part of a recurrent layer read and give copies of cell states in int8.

    Args:
        integers: whether a node is computed in integers: a layer on halves keeps its cell states in halves.

    Returns:
        The graph, and new tensor -> the cell state that it is a copy of; its node is called like it.
    """
    layers = [n for n in graph.nodes if is_recurrent(n) and len(n.outputs) > 1 and integers(n)]
    if not layers:
        return graph, {}
    graph, made = _parted(graph, law, layers)
    parted = set(made)
    tied = demanded(graph, law)
    wide = {name for n in layers for name in tied.group(n.outputs[1])}
    nodes: list[Node] = []

    def copy(name: str, tag: str) -> str:
        new = f"{name}.{tag}"
        while new in graph.tensors:
            new += "'"
        made[new] = name
        return new

    out: dict[str, str] = {}
    for node in graph.nodes:
        inside = is_recurrent(node) or node.name in parted or (wide.issuperset(node.outputs) and node.inputs[0] in wide)
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
    tensors = {**graph.tensors, **{new: Tensor(new, graph.type(made.get(name, name))) for new, name in made.items()}}
    return check(replace(graph, tensors=tensors, nodes=()).with_nodes(nodes), "cell states"), made


def _parted(graph: Graph, law: str, layers: list[Node]) -> tuple[Graph, dict[str, str]]:
    """The graph in which a cell state that is a part of one tensor with h, in int8 like it, is copied before its layer."""
    tied, names = demanded(graph, law), Names(graph)
    narrow, made = {tied.find(n.outputs[0]) for n in layers}, dict[str, str]()
    nodes: list[Node] = []
    for node in graph.nodes:
        (at,) = [before for before, after in node.op.traits.states if after == 1] if node in layers else [0]
        name = node.inputs[at]
        if at and not graph.tensors[name].is_constant and tied.find(name) in narrow:
            new = names.fresh(f"{name}.cell")
            made[new] = name
            nodes.append(Node(new, Rescale(), (name,), (new,)))
            node = replace(node, inputs=(*node.inputs[:at], new, *node.inputs[at + 1 :]))
        nodes.append(node)
    return graph.with_nodes(nodes, [Tensor(new, graph.type(name)) for new, name in made.items()]) if made else graph, made
