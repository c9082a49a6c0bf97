"""Walks a graph over vectors, with any meaning of its nodes; those of a graph with states follow each other.

States make cycles through time. The strongly connected parts of a graph are walked one after the other: what lies on no cycle over
many vectors at once, what does vector by vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter

import numpy as np

from edgeq.components import strong
from edgeq.ir import Array, Graph, Node, ancestors

CHUNK_BYTES = 64 * 2**20
Step = Callable[[Node, list[Array]], tuple[Array, ...]]


def chunk_size(graph: Graph, vectors: int, room: int | None = None) -> int:
    """Vectors that are evaluated at once, so that a step's working set stays near `room` bytes, or `CHUNK_BYTES`."""
    largest = max(t.type.size for t in graph.tensors.values() if not t.is_constant)
    return max(1, min(vectors, (room or CHUNK_BYTES) // (64 * largest)))


def evaluate(graph: Graph, inputs: Mapping[str, Array], step: Step, keep: bool) -> dict[str, Array]:
    """Walk the graph once; `step` computes a node's outputs from its inputs. Values are freed after their last use unless `keep`.

    What overflows becomes infinite without a warning: callers that may not have that look at the values.
    """
    with np.errstate(all="ignore"):
        return _evaluate(graph, inputs, step, keep)


def _evaluate(graph: Graph, inputs: Mapping[str, Array], step: Step, keep: bool) -> dict[str, Array]:
    values: dict[str, Array] = {n: t.data for n, t in graph.tensors.items() if t.data is not None}
    values.update(inputs)
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    vectors = len(next(iter(inputs.values())))
    for i, node in enumerate(graph.nodes):
        x = [values[n] for n in node.inputs]
        if all(graph.tensors[n].is_constant for n in node.inputs):  # a constant output: alike for all vectors
            results = step(node, [a if i in node.op.parameters else a[None] for i, a in enumerate(x)])
            values |= {n: np.repeat(y, vectors, axis=0) for n, y in zip(node.outputs, results, strict=True)}
            continue
        values |= zip(node.outputs, step(node, x), strict=True)
        if not keep:
            for name in set(node.inputs):
                if last[name] == i and name not in graph.outputs and not graph.tensors[name].is_constant:
                    del values[name]
    return values


def follow(
    graph: Graph, inputs: Mapping[str, Array], step: Step, keep: bool = False, room: int | None = None
) -> Iterator[dict[str, Array]]:
    """Evaluate chunk by chunk (see `chunk_size`) over consecutive inferences ``[V, *shape]``; states are zero before the first.

    Yields:
        Per chunk ``[v, *shape]`` of the graph's inputs, states and outputs; with `keep` of every activation.
    """
    parts = _parts(graph, keep)
    carried = {a: np.full((1, *(t := graph.type(a)).shape), t.zero_point, t.dtype.numpy) for a, _ in graph.states}
    total = len(next(iter(inputs.values())))
    size = chunk_size(graph, total, room)
    fixed = {n: data for n in graph.outputs if (data := graph.tensors[n].data) is not None}
    for start in range(0, total, size):
        values = {n: a[start : start + size] for n, a in inputs.items()}
        values |= {n: np.repeat(data[None], min(size, total - start), axis=0) for n, data in fixed.items()}
        for part in parts:
            values |= part.walk(values, carried, step, keep)
        yield values


def follow_states(graph: Graph, inputs: Mapping[str, Array], step: Step) -> dict[str, Array]:
    """Inputs ``[V, *shape]`` of consecutive inferences, and the states that each of them finds: zero before the first."""
    if not graph.states:
        return dict(inputs)
    targets = tuple(b for _, b in graph.states)
    needed = ancestors(graph, targets)
    moving = replace(graph, nodes=tuple(n for n in graph.nodes if not needed.isdisjoint(n.outputs)), outputs=targets)
    found: dict[str, list[Array]] = {a: [] for a, _ in graph.states}
    for values in follow(moving, inputs, step):
        for a, rows in found.items():
            rows.append(values[a])
    return dict(inputs) | {a: np.concatenate(rows) for a, rows in found.items()}


@dataclass(frozen=True, eq=False)
class _Part:
    """Nodes that are walked together.

    Attributes:
        graph: of these nodes; its outputs are what others want.
        states: pairs on the part's cycle; without a cycle at most one, and no nodes then: the state is the other tensor, late.
        cyclic: whether there is a cycle.
    """

    graph: Graph
    states: tuple[tuple[str, str], ...]
    cyclic: bool

    def walk(self, values: Mapping[str, Array], carried: dict[str, Array], step: Step, keep: bool) -> dict[str, Array]:
        """What the part computes over a chunk; `carried` are the states before it, and then after it."""
        if self.cyclic:
            return self._follow(values, carried, step, keep)
        if self.states:
            ((a, b),) = self.states
            rows = np.concatenate([carried[a], values[b]])
            carried[a] = rows[-1:]
            return {a: rows[:-1]}
        found = evaluate(self.graph, values, step, keep)
        return {n: found[n] for n in self.graph.outputs}

    def _follow(self, values: Mapping[str, Array], carried: dict[str, Array], step: Step, keep: bool) -> dict[str, Array]:
        given = {n for node in self.graph.nodes for n in node.inputs} & set(values)
        rows: dict[str, list[Array]] = {n: [] for n in (*(a for a, _ in self.states), *self.graph.outputs)}
        for v in range(len(next(iter(values.values())))):
            before = {a: carried[a] for a, _ in self.states}
            now = evaluate(self.graph, {n: values[n][v : v + 1] for n in given} | before, step, keep)
            carried |= {a: now[b] for a, b in self.states}
            for name, row in rows.items():
                row.append(before[name] if name in before else now[name])
        return {n: np.concatenate(row) for n, row in rows.items()}


def _parts(graph: Graph, keep: bool) -> list[_Part]:
    """The strongly connected parts of a graph in an order of time, where neighbours without a cycle are one."""
    if not graph.states:
        return [_part(graph, graph.nodes, (), False, keep)]
    edges = [(n.inputs, n.outputs) for n in graph.nodes] + [((b,), (a,)) for a, b in graph.states]
    maker = {t: i for i, (_, made) in enumerate(edges) for t in made}
    arcs = [(maker[t], i) for i, (read, _) in enumerate(edges) for t in read if t in maker]
    labels = strong(len(edges), arcs)
    before: dict[int, set[int]] = {k: set() for k in labels}
    for i, j in arcs:
        before[labels[j]] |= {labels[i]} - {labels[j]}
    groups: list[tuple[list[int], bool]] = []
    for label in TopologicalSorter(before).static_order():
        group = [i for i, own in enumerate(labels) if own == label]
        cyclic = len(group) > 1 or (group[0], group[0]) in arcs
        if groups and not (cyclic or groups[-1][1]) and max(*group, *groups[-1][0]) < len(graph.nodes):
            groups[-1][0].extend(group)
        else:
            groups.append((group, cyclic))
    count = len(graph.nodes)
    return [
        _part(graph, [graph.nodes[i] for i in sorted(g) if i < count], [graph.states[i - count] for i in sorted(g) if i >= count], c, keep)
        for g, c in groups
    ]


def _part(graph: Graph, nodes: Sequence[Node], states: Sequence[tuple[str, str]], cyclic: bool, keep: bool) -> _Part:
    inside = {id(n) for n in nodes}
    made = [t for n in nodes for t in n.outputs]
    read = {t for n in graph.nodes if id(n) not in inside for t in n.inputs} | set(graph.outputs) | {b for _, b in graph.states}
    touched = dict.fromkeys([*(t for n in nodes for t in (*n.inputs, *n.outputs))])
    tensors, outputs = {n: graph.tensors[n] for n in touched}, tuple(t for t in made if keep or t in read)
    return _Part(replace(graph, nodes=tuple(nodes), tensors=tensors, outputs=outputs), tuple(states), cyclic)
