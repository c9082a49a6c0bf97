"""Scales of activations: which are fixed by an operator, and what the others become."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node
from edgeq.ops.recurrent import UNIT
from edgeq.quantize.calibrate import Ranges
from edgeq.quantize.cells import cell_dtype, cell_scale
from edgeq.quantize.constraints import cells, demanded, groups, natural_scales, roots
from edgeq.quantize.grid import Scale

TINY = 1e-30


def affine(low: float, high: float) -> Scale:
    """int8 scale and zero point for a range; zero is enclosed and exactly representable."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < TINY:
        return 1.0, 0
    scale = float(np.float32((high - low) / 255))
    return scale, int(np.clip(np.rint(-128 - low / scale), -128, 127))


def span(scale: Scale, dtype: DType = DType.INT8) -> tuple[float, float]:
    """The smallest and the largest real value of a tensor."""
    info = np.iinfo(dtype.numpy)
    return (int(info.min) - scale[1]) * scale[0], (int(info.max) - scale[1]) * scale[0]


def assign(graph: Graph, ranges: Ranges, law: str, pinned: Mapping[str, Scale]) -> dict[str, Scale]:
    """Scale and zero point of every activation.

    A group takes the union of the ranges of those members that operators outside the group read, or that some inside average:
    what a clamp or a slice throws away needs no room.

    Args:
        pinned: scales that somebody wrote down; the tensors that must equal them follow.

    Raises:
        EdgeqError: pinned or natural scales contradict each other.
    """
    chosen = dict(pinned)
    if any(n not in pinned for n, t in graph.tensors.items() if not t.is_constant):
        chosen = {**_free(graph, ranges, law), **_follow(graph, law, pinned)}
    for node in graph.nodes:
        a, b = node.inputs[0], node.outputs[0]
        if node.op.traits.keeps_scale(law) and a in chosen and chosen[a] != chosen[b]:
            raise EdgeqError(
                f"tensors '{a}' and '{b}' must have one scale", where=node.name, why=f"{node.op.kind()} moves values",
                fix="give both the same scale and zero_point",
            )  # fmt: skip
    return {n: chosen[n] for n, t in graph.tensors.items() if not t.is_constant}


def _follow(graph: Graph, law: str, pinned: Mapping[str, Scale]) -> dict[str, Scale]:
    """Pinned scales, and those that follow from them by moves."""
    result: dict[str, Scale] = {}
    for members in demanded(graph, law).members():
        found = [pinned[n] for n in members if n in pinned]
        if found:
            result |= {n: pinned.get(n, found[0]) for n in members}
    return result


def _counts(reader: Node, inside: set[str]) -> bool:
    """Whether a group of one scale must have room for what a node reads of it."""
    return reader.outputs[0] not in inside or reader.op.traits.averages


def _free(graph: Graph, ranges: Ranges, law: str) -> dict[str, Scale]:
    fixed, consumers = natural_scales(graph), graph.consumers()
    wide, fed_back = cells(graph, law), {*roots(graph, 0), *roots(graph, 1)}
    chosen: dict[str, Scale] = {}
    for members in groups(graph, ranges, law).members():
        inside = set(members)
        found = {fixed[n] for n in members if n in fixed}
        if len(found) > 1:
            raise EdgeqError("operators with different natural ranges share a scale", where=members[0], why=", ".join(members))
        read = [n for n in members if n in graph.outputs or any(_counts(c, inside) for c in consumers[n])] or members
        low, high = min(ranges.tensors[n].low for n in read), max(ranges.tensors[n].high for n in read)
        if not inside.isdisjoint(fed_back):  # what saturates here is never mended
            low, high = min(ranges.tensors[n].seen[0] for n in members), max(ranges.tensors[n].seen[1] for n in members)
        if not inside.isdisjoint(wide):
            fitted = [ranges.cells[n] for n in members if n in ranges.cells]
            finest = min(fitted, default=0.0)  # of int32, which has room for all, or else the widest
            scale = finest if cell_dtype(finest) is DType.INT32 else max(fitted, default=0.0) or cell_scale(max(-low, high))
            chosen |= dict.fromkeys(members, (scale, 0))
            continue
        q = next(iter(found), None) or _grid(graph, ranges, members, read) or affine(low, high)
        chosen |= dict.fromkeys(members, q)
    return chosen


def symmetric(graph: Graph, ranges: Ranges, law: str) -> dict[str, Scale]:
    """The scale of every activation in int16: what was seen of all that move it, and their ranges, have room.

    States have 2^-15, those of a GRU that begin beyond ±1 a power of two more; others what traits say.
    """
    fixed = {n.inputs[i]: scale for n in graph.nodes for i, scale in n.op.traits.word_scales} | dict.fromkeys(roots(graph, 0), UNIT)
    single = {n.outputs[0] for n in graph.nodes if len(n.op.traits.states) == 1}
    chosen: dict[str, Scale] = {}
    for members in demanded(graph, law).members():
        found = list(map(ranges.tensors.__getitem__, members))
        peak = max(abs(v) for r in found for v in (*r.seen, r.low, r.high))
        scale = next((fixed[n] for n in members if n in fixed), None) or float(np.float32(max(peak, TINY) / 32767))
        if not single.isdisjoint(members):
            scale *= 2.0 ** max(0, math.frexp(max(abs(v) for r in found for v in r.seen) * (1 - 2.0**-15))[1])
        chosen |= dict.fromkeys(members, (scale, 0))
    return chosen


def _grid(graph: Graph, ranges: Ranges, members: list[str], read: list[str]) -> Scale | None:
    """The exact grid of a graph input among the members, if it spans what was seen of those that are read."""
    low, high = min(ranges.tensors[n].seen[0] for n in read), max(ranges.tensors[n].seen[1] for n in read)
    for name in members:
        found = ranges.tensors[name].grid if name in graph.inputs else None
        if found and span(found)[0] <= low + found[0] / 2 and high - found[0] / 2 <= span(found)[1]:
            return found
    return None
