"""Every graph output is computed by a node of its own: an input or a constant that is an output is copied."""

from __future__ import annotations

from dataclasses import replace

from edgeq.ir import Graph, Node, Tensor
from edgeq.ops.reshape import Reshape
from edgeq.passes.rewrite import Names, rename


def own_outputs(graph: Graph) -> Graph:
    """Copy outputs that no node computes. A constant's copy takes its name; an input keeps it, the copy gets ``_out``."""
    produced = graph.producers()
    foreign = [n for n in graph.outputs if n not in produced]
    if not foreign:
        return graph
    names = Names(graph)
    nodes, outputs, states = list(graph.nodes), list(graph.outputs), graph.states
    tensors = dict(graph.tensors)
    for name in foreign:
        tensor = graph.tensors[name]
        source, copy = name, names.fresh(f"{name}_out")
        if tensor.is_constant:
            source, copy = copy, name
            nodes = rename(nodes, {name: source})
            tensors[source] = replace(tensor, name=source)
        tensors[copy] = Tensor(copy, tensor.type)
        nodes.append(Node(copy, Reshape(tensor.type.shape), (source,), (copy,)))
        outputs[outputs.index(name)] = copy
        states = tuple((a, copy if b == name else b) for a, b in states)
    return replace(graph, outputs=tuple(outputs), states=states, tensors=tensors).with_nodes(nodes)
