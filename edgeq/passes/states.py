"""Streaming state: graph outputs that are fed back into graph inputs from one inference to the next."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Graph, Node, Tensor
from edgeq.ops.slice import Slice
from edgeq.passes.rewrite import Names

WORDS = ("state", "hidden", "cell", "cache", "past", "prev", "context")
SHORT = re.compile(r"[hc](_?[0x]|_?in)?")  # names that are nothing but h or c
FOLLOWING = ("N", "_n", "_next", "_out", "_new")  # behind the name of a state: its next value
LEADING = ("new_", "next_", "out_", "updated_")  # before it
INSTEAD = {"in": ("out",), "past": ("present",), "prev": ("next", "new"), "previous": ("next", "new"), "old": ("new",)}  # of a word of it


def declare_states(graph: Graph, states: Mapping[str, str] | None = None) -> Graph:
    """Mark pairs of a graph's inputs and outputs as state, which then belongs to the stream and not to the caller's vectors.

    Args:
        graph: as a frontend returns it, perhaps with states that the file declares.
        states: input name -> the output that is the input's next value. None: the file's own, and pairs whose names differ in
            ``in`` and ``out``, ``past`` and ``present``, ``prev`` and ``next`` alone, or in an ``N``, ``_next`` or ``new_`` of the second,
            and speak of a state or a cache, as ``rnn_state_in`` and ``rnn_state_out``, ``state`` and ``stateN``, ``h0`` and ``hn``.
            Empty: none; the file's own are zero at the beginning of every inference.
            Of an output that is longer than its input along one axis, as where a cache grows, the last part is kept.

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
    if len(set(pairs.values())) != len(pairs):
        raise EdgeqError("two states have one output", where=graph.name)
    windows = [_window(graph, source, target) for source, target in pairs.items()]
    result = graph
    if any(windows):
        own = {n.outputs[0]: t for n, t in filter(None, windows)}
        kept = dict(zip(pairs, (w[0].outputs[0] if w else t for w, t in zip(windows, pairs.values(), strict=True)), strict=True))
        ends = tuple(n for n in graph.outputs if n not in pairs.values() or n in kept.values())
        added = replace(graph, outputs=(*ends, *own), states=())
        result, pairs = added.with_nodes([*graph.nodes, *(w[0] for w in windows if w)], own.values()), kept
    result = replace(result, states=tuple(pairs.items()))
    if pairs and not (result.given and result.results):
        if states is None:
            return graph
        raise EdgeqError("no input or no output is left beside the states", where=graph.name)
    return result


def _window(graph: Graph, source: str, target: str) -> tuple[Node, Tensor] | None:
    """What takes the last part of a state's next value that is longer along one axis; None where it is not.

    Raises:
        EdgeqError: the two differ otherwise.
    """
    a, b = graph.type(source), graph.type(target)
    if (a.shape, a.dtype) == (b.shape, b.dtype):
        return None
    longer = [i for i, (m, n) in enumerate(zip(a.shape, b.shape, strict=False)) if m != n]
    if a.dtype is not b.dtype or len(a.shape) != len(b.shape) or len(longer) != 1 or a.shape[longer[0]] > b.shape[longer[0]]:
        raise EdgeqError(f"state '{source}' is {a}, its next value '{target}' {b}", fix="both must be alike, or the next one longer")
    begin = tuple(n - m for m, n in zip(a.shape, b.shape, strict=True))
    name = Names(graph).fresh(f"{source}.kept")
    op = Slice(begin=begin, size=a.shape, stride=(1,) * len(a.shape))
    return Node(name, op, (target,), (name,)), Tensor(name, replace(b, shape=a.shape))


def _reset(graph: Graph) -> Graph:
    """Every inference begins with zeros instead of what the last one left."""
    zeros = []
    for name, _ in graph.states:
        t = graph.type(name)
        zeros.append(Tensor(name, t, np.full(t.shape, t.zero_point, t.dtype.numpy)))
    bare = replace(graph, inputs=graph.given, outputs=graph.results, states=())
    return bare.with_nodes(bare.nodes, zeros)


def _by_name(graph: Graph) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in graph.inputs:
        if not (any(word in name.lower() for word in WORDS) or SHORT.fullmatch(name.lower())):
            continue
        free = (n for n in _following(name) if n in graph.outputs and n not in found.values() and graph.type(n) == graph.type(name))
        target = next(free, None)
        if target is not None:
            found[name] = target
    return found


def _following(name: str) -> Iterator[str]:
    """What the next value of a state may be called, likeliest first."""
    yield from (name + s for s in FOLLOWING)
    if SHORT.fullmatch(name.lower()):
        yield from (name[0] + s for s in ("n", "_n", "N", "_out"))
    parts = re.split(r"([^A-Za-z0-9]+)", name)
    for i in reversed(range(0, len(parts), 2)):
        word = re.match(r"[A-Za-z]*", parts[i]).group()  # type: ignore[union-attr]
        for other in INSTEAD.get(word.lower(), ()):
            written = other.upper() if word.isupper() else other.title() if word[0].isupper() else other
            yield "".join([*parts[:i], written + parts[i][len(word) :], *parts[i + 1 :]])
    if "past_key_values" in name:
        yield name.replace("past_key_values", "present")
    yield from (s + name for s in LEADING)
