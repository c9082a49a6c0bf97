"""Transposes and reshapes collapsed, sunk and cancelled; what remains of the permutations goes into constants.

Chains of data movement become one move. Groups of operators that do not mind the order of axes take
the layout that costs the fewest transposed bytes; reductions step in front of the moves they follow;
fully connected layers absorb permutations into their weights; a move that keeps the elements' order is a reshape.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.ir import Graph, Node
from edgeq.ops.fully_connected import FullyConnected
from edgeq.passes.moves import Move, label, view
from edgeq.passes.origins import Origins
from edgeq.passes.rebuild import moving_inputs, rebuild
from edgeq.passes.relabel import Bijection, Layout, is_pointwise, is_transparent, output_order, relabel

SWEEPS = 64
CANDIDATES = 12


@dataclass(frozen=True, eq=False)
class Group:
    """Connected operators that may take any of several layouts together.

    Attributes:
        inputs: non-constant tensors that enter it.
        inner: tensors that its nodes compute.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    inner: frozenset[str]


def groups(origins: Origins, wide: bool) -> list[Group]:
    """Transparent nodes, joined where one reads another's output as it is; `wide`: also where two read the same moved tensor."""
    graph = origins.graph
    parent: dict[str, str] = {}
    members = {n.outputs[0]: n for n in origins.real if is_transparent(n.op)}

    def find(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for name, node in members.items():
        find(name)
        for source in moving_inputs(node):
            if source in members:
                parent[find(source)] = find(name)
    if wide:
        for tensor, readers in origins.readers.items():
            outputs = [n.outputs[0] for n in readers if n.outputs[0] in members and tensor in moving_inputs(n)]
            if not origins.origin(tensor)[1].is_identity:
                for other in outputs[1:]:
                    parent[find(other)] = find(outputs[0])
    sets: dict[str, list[Node]] = {}
    for name, node in members.items():
        sets.setdefault(find(name), []).append(node)
    result = []
    for nodes in sets.values():
        inner = frozenset(n.outputs[0] for n in nodes)
        read = dict.fromkeys(i for n in nodes for i in moving_inputs(n))
        inputs = tuple(i for i in read if i not in inner and not graph.tensors[i].is_constant)
        result.append(Group(tuple(nodes), inputs, inner))
    return result


Cost = tuple[int, int, int]  # transposed bytes, moves, preference for moves that come late


class _Price:
    """Adds up the moves at a group's border."""

    def __init__(self, origins: Origins) -> None:
        self.origins = origins
        self.moves: dict[tuple[str, Move], int] = {}
        self.late = 0

    def add(self, root: str, move: Move, late: int, free: bool) -> None:
        """Count a move once; one that an operator takes upon itself remains as a view."""
        if not move.is_identity:
            self.moves[root, move] = 0 if free or move.is_view else self.origins.graph.type(root).bytes
            self.late += late

    def total(self) -> Cost:
        return sum(self.moves.values()), len(self.moves), self.late


def _into(origins: Origins, name: str, layout: Layout | None) -> Move | None:
    """The move from a tensor's old layout to the new one; None where it has none."""
    shape = origins.shape(name)
    return layout.move(shape) if layout else view(shape, shape)


def price(origins: Origins, group: Group, layout: Layout | None) -> Cost | None:
    """What the group's border costs in a layout (None: as it is); None where the layout is impossible."""
    if layout and not all(_fits(origins, node, layout) for node in group.nodes):
        return None
    result = _Price(origins)
    return result.total() if _enter(origins, group, layout, result) and _leave(origins, group, layout, result) else None


def _fits(origins: Origins, node: Node, layout: Layout) -> bool:
    shapes = [origins.shape(n) for n in moving_inputs(node)]
    return relabel(node.op, shapes, origins.shape(node.outputs[0]), layout) is not None


def _enter(origins: Origins, group: Group, layout: Layout | None, result: _Price) -> bool:
    """Add the moves at the group's inputs; False where one cannot be expressed."""
    graph = origins.graph
    for name in group.inputs:
        root, move = origins.origin(name)
        changed = _into(origins, root, layout).inverse().then(move) if root in group.inner else move  # type: ignore[union-attr]
        own = _into(origins, name, layout)
        whole = changed.then(own) if changed and own else None
        if whole is None or changed is None:
            return False
        result.add(root, whole, 0 if root in graph.inputs else 2, _given_in_order(origins, group, name, whole))
        if name in graph.outputs or any(n.outputs[0] not in group.inner for n in origins.readers[name]):
            result.add(root, changed, 0, origins.is_free(name, changed, group.inner))
    return True


def _leave(origins: Origins, group: Group, layout: Layout | None, result: _Price) -> bool:
    """Add the moves from the group to its readers; False where one cannot be expressed."""
    graph = origins.graph
    for root in sorted(group.inner):
        for name in origins.leaves.get(root, ()):
            outside = name in graph.outputs or any(n.outputs[0] not in group.inner for n in origins.readers[name])
            if name in group.inputs or not outside:
                continue
            whole = _into(origins, root, layout).inverse().then(origins.origin(name)[1])  # type: ignore[union-attr]
            if whole is None:
                return False
            result.add(root, whole, 0 if name in graph.outputs else 1, origins.is_free(name, whole, group.inner))
    return True


def _given_in_order(origins: Origins, group: Group, name: str, move: Move) -> bool:
    """Whether a fully connected layer computes the input for this group alone, and can give it in the order wanted."""
    root, _ = origins.origin(name)
    producer = origins.producers.get(root)
    if producer is None or not isinstance(producer.op, FullyConnected) or origins.leaves[root] != [name] or name in origins.graph.outputs:
        return False
    return all(n.outputs[0] in group.inner for n in origins.readers[name]) and output_order(move) is not None


def candidates(origins: Origins, group: Group) -> list[Layout]:
    """The layouts that the moves around a group suggest."""
    found: dict[Layout, None] = {}
    border = [(n, origins.origin(n)[1].inverse()) for n in group.inputs]
    border += [(root, origins.origin(n)[1]) for root in group.inner for n in origins.leaves.get(root, ())]
    pointwise = all(is_pointwise(n.op) for n in group.nodes)
    for _, move in sorted(border, key=lambda b: -b[1].size):
        if move.is_identity or len(found) >= CANDIDATES:
            continue
        order = label(move)
        if order:
            found[order] = None
        if pointwise:
            found[Bijection(move)] = None
    return list(found)


def choose(origins: Origins, wide: bool = False) -> dict[str, Layout]:
    """Per node (by output) the layout that its group should take, where that is better than the present one.

    Groups that touch each other do not change in the same sweep.
    """
    chosen: dict[str, Layout] = {}
    busy: set[str] = set()
    for group in groups(origins, wide):
        touched = {*group.inner, *(origins.origin(n)[0] for n in group.inputs)}
        if busy & touched:
            continue
        best, layout = price(origins, group, None), None
        assert best is not None
        for candidate in candidates(origins, group):
            cost = price(origins, group, candidate)
            if cost is not None and cost < best:
                best, layout = cost, candidate
        if layout:
            chosen |= dict.fromkeys(group.inner, layout)
            busy |= touched
    return chosen


def layout(graph: Graph) -> Graph:
    """Remove transposes and reshapes as far as the operators allow; the graph's own inputs and outputs keep their layout."""
    for _ in range(SWEEPS):
        origins = Origins(graph)
        changed = rebuild(origins, choose(origins) or choose(origins, wide=True))
        if changed is graph:
            break
        graph = changed
    return graph
