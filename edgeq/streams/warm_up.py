"""How many steps of a stream it takes until results no longer depend on what its states begin with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeq.ir import Array, Graph, Node
from edgeq.ops.slice import Slice
from edgeq.ops.slide import Slide


@dataclass(frozen=True, eq=False)
class Ages:
    """On how many earlier steps each row of a tensor along an axis may depend, float64 ``[rows]``; one figure for all rows of most tensors."""

    axis: int
    rows: Array

    @property
    def most(self) -> float:
        return float(self.rows.max())


def warm_up(graph: Graph) -> int | None:
    """The first inference after a reset, counted from 1, whose results are those of any earlier frames; None where what states begin with
    may matter for ever, as in a recurrent layer.

    Each tensor depends on so many earlier steps; the rows of a window on as many more as they have lain in it.
    """
    consumers = graph.consumers()
    windows = {a: b for a, b in graph.states}
    sliding = {n.outputs[0]: n for n in graph.nodes if isinstance(n.op, Slide) and windows.get(n.inputs[1]) == n.outputs[0]}
    kept = {a for a, b in graph.states if b in sliding and [n.name for n in consumers[a]] == [sliding[b].name]}
    none, ever = Ages(0, np.zeros(1)), Ages(0, np.full(1, math.inf))
    ages = {n: none for n, t in graph.tensors.items() if t.is_constant or n in graph.given}
    ages |= {a: none if a in kept else ever for a in windows}
    for node in graph.nodes:
        found = _of(graph, node, ages)
        ages |= {n: found for n in node.outputs}
    most = max((ages[n].most for n in graph.results), default=0.0)
    return None if most == math.inf else int(most) + 1


def _of(graph: Graph, node: Node, ages: Mapping[str, Ages]) -> Ages:
    op, most = node.op, max((ages[n].most for n in node.inputs), default=0.0)
    if isinstance(op, Slide) and most < math.inf:
        new, rows = (graph.type(n).shape[op.axis] for n in (node.inputs[0], node.outputs[0]))
        return Ages(op.axis, ages[node.inputs[0]].most + np.arange(rows)[::-1] // new)
    if isinstance(op, Slice) and len(rows := ages[node.inputs[0]].rows) > 1:
        axis = ages[node.inputs[0]].axis
        return Ages(axis, rows[op.begin[axis] + op.stride[axis] * np.arange(op.size[axis])])
    return Ages(0, np.full(1, most))
