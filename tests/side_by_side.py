"""Many models as one, to compile and start once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest import mock

from edgeq.ir import Graph, check
from edgeq.plan import order, place
from edgeq.plan.place import Block, Matrix


def side_by_side(graphs: Mapping[str, Graph]) -> Graph:
    """Graphs that have nothing to do with each other as one, all of one law; ``<key>: `` comes before every name."""
    tensors, nodes, inputs, outputs, states = {}, [], [], [], []
    for key, graph in graphs.items():

        def own(name: str, key: str = key) -> str:
            return f"{key}: {name}"

        tensors |= {own(n): replace(t, name=own(n)) for n, t in graph.tensors.items()}
        nodes += [
            replace(n, name=own(n.name), inputs=tuple(map(own, n.inputs)), outputs=tuple(map(own, n.outputs))) for n in graph.nodes
        ]  # fmt: skip
        inputs += map(own, graph.inputs)
        outputs += map(own, graph.outputs)
        states += [(own(a), own(b)) for a, b in graph.states]
    laws = {graph.law for graph in graphs.values()}
    assert len(laws) == 1
    return check(Graph("m", tuple(nodes), tensors, tuple(inputs), tuple(outputs), laws.pop(), tuple(states)), "test")


def first_come(blocks: Sequence[Block], h: Matrix, bound: int) -> list[int]:
    """In place of `place.greedy`: one order instead of six."""
    return place.first_fit(place.partners(h), sorted(range(len(blocks)), key=lambda i: (blocks[i].first, -blocks[i].largest, i)))


@contextmanager
def no_search() -> Iterator[None]:
    """What lies side by side needs no best order and no best places; to search for them takes longer than to run it."""
    with ExitStack() as stack:
        for module, limit in ((order, "TRIALS"), (place, "SHUFFLES"), (place, "MILP_BLOCKS")):
            stack.enter_context(mock.patch.object(module, limit, 0))
        stack.enter_context(mock.patch.object(place, "greedy", first_come))
        yield
