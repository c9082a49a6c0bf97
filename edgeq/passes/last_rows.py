"""A recurrent layer of which only the last steps are read keeps their rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeq.ir import DType, Graph, Node, Tensor
from edgeq.ops.recurrent import _Recurrent
from edgeq.ops.slice import Slice
from edgeq.passes.rewrite import Names


def last_rows(graph: Graph) -> Graph:
    """Shorten the outputs of LSTM and GRU layers whose readers take rows of the last two steps.

    Once it is stored: before, all rows show what range the state needs. The shorter tensor is called ``<name>/last``.
    """
    consumers = graph.consumers()
    for node in graph.nodes:
        readers = consumers.get(node.outputs[0], ())
        if _only_last(graph, node, readers):
            return last_rows(_shortened(graph, node, readers))
    return graph


def _only_last(graph: Graph, node: Node, readers: Sequence[Node]) -> bool:
    """Whether a layer's first output is read in the last rows alone."""
    y = node.outputs[0]
    if not isinstance(node.op, _Recurrent) or node.op.last or graph.type(y).dtype is DType.FLOAT32:
        return False
    steps = graph.type(node.inputs[0]).shape[0]
    kept = replace(node.op, last=True).kept(steps)
    told = y in graph.outputs or any(y in pair for pair in graph.states)
    return steps > len(kept) and bool(readers) and not told and all(_rows(reader) <= set(kept) for reader in readers)


def _rows(reader: Node) -> set[int]:
    """The rows that a node takes; more than there are of one that is no slice."""
    op = reader.op
    return {op.begin[0] + i * op.stride[0] for i in range(op.size[0])} if isinstance(op, Slice) else {-1}


def _shortened(graph: Graph, node: Node, readers: Sequence[Node]) -> Graph:
    assert isinstance(node.op, _Recurrent)
    y, *others = node.outputs
    op = replace(node.op, last=True)
    types = [graph.type(n) for n in node.inputs]
    short, first = Names(graph).fresh(f"{y}/last"), op.kept(types[0].shape[0]).start
    tensor = Tensor(short, replace(op.infer(*types), q=graph.type(y).q))

    def changed(n: Node) -> Node:
        if n is node:
            return replace(n, op=op, outputs=(short, *others))
        if n in readers:
            assert isinstance(n.op, Slice)
            return replace(n, op=replace(n.op, begin=(n.op.begin[0] - first, *n.op.begin[1:])), inputs=(short,))
        return n

    tensors = {short if name == y else name: tensor if name == y else t for name, t in graph.tensors.items()}
    return replace(graph, tensors=tensors).with_nodes([changed(n) for n in graph.nodes])
