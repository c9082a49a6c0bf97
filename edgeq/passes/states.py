"""Streaming state: graph outputs that are fed back into graph inputs from one inference to the next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Graph, Tensor

WORDS = ("state", "hidden", "cell")
FOLLOWING = ("N", "_n", "_next", "_out", "_new")  # behind the name of a state: its next value


def declare_states(graph: Graph, states: Mapping[str, str] | None = None) -> Graph:
    """Mark pairs of a graph's inputs and outputs as state, which then belongs to the stream and not to the caller's vectors.

    Args:
        graph: as a frontend returns it, perhaps with states that the file declares.
        states: input name -> the output that is the input's next value. None: the file's own, and pairs whose names differ in
            ``in`` and ``out`` alone, or in an ``N`` or ``_next`` behind the second, and speak of a state, as ``rnn_state_in`` and
            ``rnn_state_out``, or ``state`` and ``stateN``. Empty: none; the file's own
            are zero at the beginning of every inference.

    Raises:
        EdgeqError: a name is unknown, the two ends differ in shape, or nothing is left that the caller gives or gets.
    """
    if states is not None and not states:
        return _reset(graph)
    pairs = {**dict(graph.states), **(_by_name(graph) if states is None else states)}
    for source, target in pairs.items():
        if source not in graph.inputs or target not in graph.outputs:
            known = f"inputs {', '.join(graph.inputs)}; outputs {', '.join(graph.outputs)}"
            raise EdgeqError(f"'{source}={target}' is no input and output of the model", why=known, fix="write --state INPUT=OUTPUT")
        a, b = graph.type(source), graph.type(target)
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise EdgeqError(f"state '{source}' is {a}, its next value '{target}' {b}", fix="both must be alike")
    if len(set(pairs.values())) != len(pairs):
        raise EdgeqError("two states have one output", where=graph.name)
    result = replace(graph, states=tuple(pairs.items()))
    if pairs and not (result.given and result.results):
        if states is None:
            return graph
        raise EdgeqError("no input or no output is left beside the states", where=graph.name)
    return result


def _reset(graph: Graph) -> Graph:
    """Every inference begins with zeros instead of what the last one left."""
    zeros = []
    for name, _ in graph.states:
        t = graph.type(name)
        zeros.append(Tensor(name, t, np.full(t.shape, t.zero_point, t.dtype.numpy)))
    bare = replace(graph, inputs=graph.given, outputs=graph.results, states=())
    return bare.with_nodes(bare.nodes, zeros)


def _by_name(graph: Graph) -> dict[str, str]:
    found = {}
    for name in graph.inputs:
        following = [name + s for s in FOLLOWING if name + s in graph.outputs and graph.type(name + s) == graph.type(name)]
        if following and any(word in name.lower() for word in WORDS):
            found[name] = following[0]
            continue
        parts = re.split(r"([^A-Za-z0-9]+)", name)
        places = [i for i, part in enumerate(parts) if part.lower() == "in"]
        if not places or not any(word in name.lower() for word in WORDS):
            continue
        own = parts[places[-1]]
        parts[places[-1]] = "OUT" if own.isupper() else "Out" if own[0].isupper() else "out"
        target = "".join(parts)
        if target in graph.outputs and graph.type(target) == graph.type(name):
            found[name] = target
    return found
