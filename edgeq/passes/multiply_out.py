"""Factors of an LSTM's matrices become the matrices, where that saves work: not a pass of `normalise`, for it may cost flash."""

from __future__ import annotations

from edgeq.ir import Graph, Node
from edgeq.ops.lstm_cell import LstmCell
from edgeq.passes import normalise
from edgeq.passes.affine_region import MAX_ELEMENTS, Region, work
from edgeq.passes.lstm_writer import GATES, Writer


def multiply_out(graph: Graph, always: bool = False) -> Graph:
    """The graph whose LSTMs are made of dense matrices where their factors would take more work, or always.

    Args:
        graph: float, normalised.
    """
    changed = graph
    for node in graph.nodes:
        if isinstance(node.op, LstmCell):
            changed = _multiplied(changed, node, always)
    return graph if changed is graph else normalise(changed)


def _multiplied(graph: Graph, node: Node, always: bool) -> Graph:
    """The graph with one cell and its factors as an Lstm, if that is wanted and possible."""
    own, bias, fed_back, c = node.inputs
    region, units = Region(graph, (own, fed_back)), graph.type(c).size
    leaves = [region.reached(n) for n in (own, fed_back)]
    if any(len(n) != 1 for n in leaves) or leaves[0] == leaves[1]:
        return graph
    (x,), (h,) = leaves
    x, state = region.narrowest(x), region.of_size(h, units)
    if state is None or GATES * units * max(graph.type(x).size, units) > MAX_ELEMENTS:
        return graph
    before = [*region.upto(x), *region.upto(state)]
    dense = GATES * units * (graph.type(x).size + units) + work(graph, before)
    if not always and work(graph, region.nodes) <= dense:
        return graph
    (w, r), b = region.solve([x, state])
    rows, term = GATES * units, graph.tensors[bias].data
    assert term is not None
    return Writer(graph, node, node).layer(x, state, c, w[:rows], r[rows:], b[:rows] + b[rows:] + term)
