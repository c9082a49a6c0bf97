"""Measures every candidate kernel and tile of every layer on the emulator: cycles or executed instructions, the same each time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeq import graphfile, kernels
from edgeq.chains import chains
from edgeq.compare import compare
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.journal import journal
from edgeq.lower import candidates, folded_additions, lower, request
from edgeq.ops.add import Add
from edgeq.program import Program
from edgeq.simulate import simulate
from edgeq.target import Target
from edgeq.tune.costs import Costs
from edgeq.tune.measure import costs as costs_of
from edgeq.tune.measure import executed


@dataclass(frozen=True)
class Layer:
    """A node with a choice.

    Attributes:
        key: what its cost depends on (`kernels.cost_key`).
        candidates: names of the kernels that apply, preferred first.
    """

    node: str
    key: str
    candidates: tuple[str, ...]


def layers(graph: Graph, target: Target, known: Costs) -> list[Layer]:
    """The nodes that several kernels can compute, less those whose candidates have all been measured.

    An addition that may be folded into a convolution is measured with that.
    """
    found, joined = [], chains(graph)
    inside = {*joined.nodes, *joined.inside, *(n.name for n in folded_additions(graph).values())}
    for node in graph.nodes:
        if node.op.traits.view or node.name in inside:
            continue
        wanted, params = request(graph, node)
        names = tuple(k.name for k in candidates(graph, node, target.isa, target.core))
        key = kernels.cost_key(wanted, params)
        if len(names) > 1 and set(names) - set(known.get(key, ())):
            found.append(Layer(node.name, key, names))
    return found


def measure(
    graph: Graph,
    target: Target,
    inputs: Mapping[str, Array],
    *,
    toolchain: str | None,
    optimize: str,
    known: Costs,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, int]]:
    """Cycles, or instructions where the core has no model, of every candidate of every layer, each checked against the simulator.

    One program per turn: in turn i every layer takes its i-th candidate. Layers of equal constants share their costs; the
    cost of a layer into which an addition may be folded includes the addition. Turns that an earlier run measured before it was
    ended are not measured again (`edgeq.journal`).

    Args:
        inputs: one vector per input, ``[1, *shape]`` in the stored dtype.
        optimize: ``s``, ``2`` or ``3``.
        known: costs that need not be measured again.
        progress: called with (turns done, turns in all).

    Raises:
        EdgeqError: the target's runner counts no instructions, or a kernel does not compute what the simulator says.
    """
    open_layers = layers(graph, target, known)
    by_key = {layer.key: layer.candidates for layer in open_layers}
    turns = max((len(c) for c in by_key.values()), default=0)
    if not turns:
        return {}
    truth = simulate(graph, inputs, steps=True)
    costs: dict[str, dict[str, int]] = {key: {} for key in by_key}
    arrays = [a.tobytes() for _, a in sorted(inputs.items())]
    with journal("tune", [graphfile.dumps(graph), *arrays, repr(target), str(toolchain), optimize]) as kept:
        for turn in range(turns):
            choices = {key: names[turn % len(names)] for key, names in by_key.items()}
            name = json.dumps(choices, sort_keys=True)
            if name not in kept.found:
                program = lower(graph, target, choices)
                ran, _ = executed(program, target, inputs, toolchain, optimize)
                difference = compare(truth, ran).difference
                if difference is not None:
                    raise EdgeqError(f"a kernel does not compute what the simulator says: {difference}", where=f"{target.name}, {choices}")
                kept.note(name, _costs(graph, program, costs_of(ran)[1], open_layers))
            for key, sample in kept.found[name].items():
                if turn < len(by_key[key]):
                    costs[key][choices[key]] = sample
            if progress:
                progress(turn + 1, turns)
    return {key: dict(sorted(found.items(), key=lambda item: item[1])) for key, found in costs.items()}


def _costs(graph: Graph, program: Program, counts: tuple[int, ...], open_layers: list[Layer]) -> dict[str, int]:
    """Key -> mean cost of its layers in one program."""
    steps = {call.node.name: count for call, count in zip(program.calls, counts, strict=True)}
    readers = graph.consumers()
    nodes = {node.name: node for node in graph.nodes}
    sums: dict[str, list[int]] = {}
    for layer in open_layers:
        after = [n.name for n in readers[nodes[layer.node].outputs[0]] if isinstance(n.op, Add) and n.name in steps]
        sums.setdefault(layer.key, []).append(steps[layer.node] + sum(steps[name] for name in after))
    return {key: round(sum(found) / len(found)) for key, found in sums.items()}
