"""How many steps of a stream it takes until results no longer depend on what its states begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeq.ir import Array, Graph, Node
from edgeq.ops.concat import Concat
from edgeq.ops.slide import Slide
from edgeq.ops.traits import sliding


@dataclass(frozen=True, eq=False)
class Ages:
    """On how many earlier steps each row of a tensor along an axis may depend, int64 ``[rows]``; of most tensors one figure for all."""

    axis: int
    rows: Array

    @property
    def most(self) -> int:
        return int(self.rows.max())

    def along(self, axis: int, rows: int) -> Array:
        """Of each row along an axis that has so many."""
        return self.rows if (self.axis, len(self.rows)) == (axis, rows) else np.full(rows, self.most)


def warm_up(graph: Graph) -> int | None:
    """The first inference after a reset, counted from 1, whose results are those of any earlier frames; None where what states begin with
    may matter for ever, as in a recurrent layer.

    A state is one step older than what was stored in it. That is followed through the graph until nothing changes; where rows only
    pass through windows, they have all left them after as many rounds as there are rows.
    """
    states = {a: Ages(0, np.zeros(1, np.int64)) for a, _ in graph.states}
    rounds = 0
    while rounds <= 2 * (1 + sum(len(ages.rows) for ages in states.values())):  # rows are found in some, and leave in as many as there are
        rounds += 1
        ages = {n: Ages(0, np.zeros(1, np.int64)) for n, t in graph.tensors.items() if t.is_constant or n in graph.given} | states
        for node in graph.nodes:
            ages |= dict.fromkeys(node.outputs, _of(graph, node, ages))
        found = {a: Ages(ages[b].axis, ages[b].rows + 1) for a, b in graph.states}
        if all(np.array_equal(found[a].rows, states[a].rows) for a in states):
            return max((ages[n].most for n in graph.results), default=0) + 1
        states = found
    return None


def _of(graph: Graph, node: Node, ages: Mapping[str, Ages]) -> Ages:
    op, own = node.op, [ages[n] for n in node.inputs]
    shapes = [graph.type(n).shape for n in node.inputs]
    if isinstance(op, Slide):
        new, before = (a.along(op.axis, s[op.axis]) for a, s in zip(own, shapes, strict=True))
        return Ages(op.axis, np.concatenate([before[len(new) :], new]))
    if isinstance(op, Concat):
        return Ages(op.axis, np.concatenate([a.along(op.axis, s[op.axis]) for a, s in zip(own, shapes, strict=True)]))
    axis = next((a.axis for a in own if len(a.rows) > 1), 0)
    found = sliding(op, shapes, axis) if any(len(a.rows) > 1 for a in own) else None
    moving = [(a, s) for n, a, s in zip(node.inputs, own, shapes, strict=True) if not graph.tensors[n].is_constant]
    rows = {s[axis] if axis < len(s) else 0 for _, s in moving}
    if found is None or len(node.outputs) > 1 or len(rows) != 1:
        return Ages(0, np.full(1, max((a.most for a in own), default=0)))
    (count,) = rows
    read = np.maximum.reduce([a.along(axis, count) for a, _ in moving])
    first = np.arange(graph.type(node.outputs[0]).shape[found.axis]) * found.step - found.before
    taps = [read[np.clip(first + k, 0, count - 1)] for k in range(found.extent)]
    return Ages(found.axis, np.maximum.reduce(taps))
