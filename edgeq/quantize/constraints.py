"""What must be alike: which activations share a scale, and which nodes take one storage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeq.components import Groups
from edgeq.ir import Graph, Node, Op
from edgeq.quantize.calibrate import Ranges
from edgeq.quantize.grid import Scale

WORTH_SHARING = 0.8  # an input that others read too shares if its range is at least this part of the output's


def activations(graph: Graph) -> Iterator[str]:
    """The tensors that are no constants."""
    return (n for n, t in graph.tensors.items() if not t.is_constant)


def is_recurrent(node: Node) -> bool:
    """Whether a node keeps a state along time."""
    return bool(node.op.traits.states)


def states(node: Node) -> tuple[tuple[str, str], ...]:
    """Pairs (before, after) of a recurrent layer: h, and c of an LSTM. Both ends have one type."""
    return tuple((node.inputs[before], node.outputs[after]) for before, after in node.op.traits.states)


def ties(graph: Graph) -> Iterator[tuple[str, str]]:
    """Pairs of activations that must have one type: states between inferences and within layers."""
    yield from graph.states
    for node in graph.nodes:
        for pair in states(node) if is_recurrent(node) else ():
            if not any(graph.tensors[n].is_constant for n in pair):
                yield pair


def roots(graph: Graph, position: int) -> list[str]:
    """What recurrent layers compute: the outputs at a position, 0 for h and 1 for c."""
    return [n.outputs[position] for n in graph.nodes if is_recurrent(n) and len(n.outputs) > position]


def natural(op: Op) -> Scale | None:
    """The one scale and zero point that the results of an operator have, whatever the samples show."""
    found = op.traits.natural
    if found is None or found.when == "unknown":
        return None
    own: Any = op if found.when == "given" else found
    return own.scale, own.zero_point


def bears_scale(op: Op) -> bool:
    """Whether an operator stands for a scale that the model's file gives."""
    return op.traits.natural is not None and op.traits.natural.when == "given"


def given_scales(graph: Graph) -> bool:
    """Whether a float graph has scales for some of its tensors."""
    return any(bears_scale(n.op) for n in graph.nodes)


def natural_scales(graph: Graph) -> dict[str, Scale]:
    """Of the results that have one."""
    return {n.outputs[0]: scale for n in graph.nodes if (scale := natural(n.op)) is not None}


def demanded(graph: Graph, law: str, saturating: bool = False) -> Groups:
    """Activations that must have one type because operators move them, or recurrent layers keep them; cell states that are joined, too.

    `saturating`: those that an operator cuts off, too.
    """
    result = Groups(activations(graph))
    for node in graph.nodes:
        traits = node.op.traits
        if traits.keeps_scale(law) and node.inputs[0] in result:
            result.join(node.inputs[0], node.outputs[0])
        for i in traits.alike:
            if node.inputs[i] in result:
                result.join(node.inputs[i], node.outputs[0])
    for before, after in ties(graph):
        result.join(before, after)
    kept = roots(graph, 1)
    for node in graph.nodes if kept else ():
        if node.op.traits.merges and all(n in result and result.find(n) in map(result.find, kept) for n in node.inputs):
            for name in node.inputs:
                result.join(name, node.outputs[0])
    if saturating:
        _join_saturating(graph, result)
    return result


def _join_saturating(graph: Graph, result: Groups) -> None:
    """Join what operators cut off with what they leave, unless two natural scales would meet."""
    fixed = natural_scales(graph)
    for node in graph.nodes:
        source, target = node.inputs[0], node.outputs[0]
        if node.op.traits.saturates and source in result:
            met = {fixed[n] for n in result.group(source) | result.group(target) if n in fixed} if fixed else set()
            if len(met) < 2 or result.find(source) == result.find(target):
                result.join(source, target)


def indices(graph: Graph, law: str) -> frozenset[str]:
    """The activations that hold whole numbers, stored in int32: what operators read or give as such, and what only moves it."""
    read = {node.inputs[i] for node in graph.nodes for i in node.op.traits.indices if not graph.tensors[node.inputs[i]].is_constant}
    read |= {n for node in graph.nodes if node.op.traits.counts_whole for n in node.outputs}
    return frozenset(n for names in demanded(graph, law).members() if not read.isdisjoint(names) for n in names) if read else frozenset()


def cells(graph: Graph, law: str) -> frozenset[str]:
    """The activations that are stored in int16 or int32: cell states, and what is only a moved form of one."""
    tied = demanded(graph, law)
    return frozenset(n for root in roots(graph, 1) for n in tied.group(root))


def _merge(graph: Graph, ranges: Ranges, result: Groups, node: Node) -> None:
    """Join inputs of a concatenation, minimum or maximum with its output where that costs little.

    Not joined: a graph input, a natural range, and a tensor that is also read elsewhere and much narrower than the output.
    """
    fixed, consumers = natural_scales(graph), graph.consumers()

    def width(name: str) -> float:
        r = ranges.tensors[name]
        return max(r.high, 0.0) - min(r.low, 0.0)

    for name in dict.fromkeys(node.inputs):
        if name not in result:
            continue
        group = result.group(name)
        bound = any(n in fixed or n in graph.inputs for n in group)
        alone = not any(n in graph.outputs or any(c is not node and c.outputs[0] not in group for c in consumers[n]) for n in group)
        if not bound and (alone or width(name) >= WORTH_SHARING * width(node.outputs[0])):
            result.join(name, node.outputs[0])


def groups(graph: Graph, ranges: Ranges, law: str) -> Groups:
    """What operators demand, and what saturating and merging operators gain from."""
    result = demanded(graph, law, saturating=True)
    for node in graph.nodes:
        if node.op.traits.merges:
            _merge(graph, ranges, result, node)
    return result
