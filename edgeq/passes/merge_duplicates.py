"""Merges equal constants and nodes that compute the same from the same."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from edgeq.ir import Graph, Node, Op, TensorType
from edgeq.ops.reshape import Reshape
from edgeq.passes.rewrite import rename


def merge_duplicates(graph: Graph) -> Graph:
    """Keep the first of several equal constants or nodes; a second graph output becomes a copy of the first."""
    merged: dict[str, str] = {}
    constants: dict[Hashable, str] = {}
    for name, tensor in graph.tensors.items():
        if tensor.data is not None:
            first = constants.setdefault((tensor.type, tensor.format, tensor.data.tobytes()), name)
            if first != name:
                merged[name] = first
    known: dict[tuple[Op, tuple[str, ...], TensorType], str] = {}
    nodes: list[Node] = []
    for original in graph.nodes:
        (node,) = rename([original], merged)
        if len(node.outputs) > 1:
            nodes.append(node)
            continue
        output = node.outputs[0]
        first = known.setdefault((node.op, node.inputs, graph.type(output)), output)
        if first == output:
            nodes.append(node)
        elif output not in graph.outputs:
            merged[output] = first
        elif isinstance(node.op, Reshape):
            nodes.append(node)
        elif first in graph.outputs:
            nodes.append(replace(node, op=Reshape(graph.type(output).shape), inputs=(first,)))
        else:  # the graph output keeps its name and moves to the first place
            nodes = [replace(n, outputs=(output,)) if n.outputs == (first,) else n for n in rename(nodes, {first: output})]
            known = {k: output if v == first else v for k, v in known.items()}
            merged[first] = output
    return graph if tuple(nodes) == graph.nodes else graph.with_nodes(nodes)
