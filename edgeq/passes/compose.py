"""Activations that a model spells out in elementary operators become the one operator that they compute.

What a group of operators computes is not read off its spelling but measured: a function of one variable that agrees
with a known one on a dense grid and far beyond it is that function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from edgeq.ir import Array, DType, Graph, Node, Op
from edgeq.ops import activations as act
from edgeq.ops import mathematics as maths
from edgeq.ops.clamp import Clamp
from edgeq.ops.fake_quantize import FakeQuantize
from edgeq.ops.logic import IsZero, Step
from edgeq.passes.rewrite import computed_inputs, is_pointwise

LARGEST = 14  # operators in a group
TOLERANCE = 1e-5  # absolute and relative

JUMPS = (Step, IsZero)  # measured on both sides of where they jump, which must be known

_far = np.geomspace(12, 1e4, 40)
GRID: Array = np.concatenate([np.linspace(-12, 12, 1201), _far, -_far]).astype(np.float32)

FIXED: tuple[Op, ...] = (
    act.Silu(), act.Gelu(), act.Gelu(True), act.HardSwish(), act.Sigmoid(), act.Tanh(), act.Softplus(), act.Mish(), act.Softsign(),
    maths.Abs(), maths.Square(),
)  # fmt: skip


def compose(graph: Graph) -> Graph:
    """Replace groups of float operators that compute a known function of one tensor; what they leave unread is dead."""
    producers = {o: n for n in graph.nodes if _floats(graph, n) for o in n.outputs}
    places = {n.outputs[0]: i for i, n in enumerate(graph.nodes)}
    nodes = [_composed(graph, producers, places, n) if n.outputs[0] in producers else n for n in graph.nodes]
    return graph if tuple(nodes) == graph.nodes else graph.with_nodes(nodes)


def _floats(graph: Graph, node: Node) -> bool:
    """Whether it may be part of a group; a scale that somebody gave a tensor may not, for its steps may be those of the grid."""
    return graph.type(node.outputs[0]).dtype is DType.FLOAT32 and is_pointwise(graph, node) and not isinstance(node.op, FakeQuantize)


def _composed(graph: Graph, producers: dict[str, Node], places: dict[str, int], node: Node) -> Node:
    best = node
    for group, source in _groups(graph, producers, places, node):
        grid = _grid(graph, group, source)
        op = None if grid is None else _known(grid, _measure(graph, group, source, grid)[group[-1].outputs[0]])
        if op is not None:
            best = replace(node, op=op, inputs=(source,))
    return best


def _groups(graph: Graph, producers: dict[str, Node], places: dict[str, int], last: Node) -> Iterator[tuple[list[Node], str]]:
    """Groups of at least two nodes that end in `last` and read one tensor, in order of growth."""
    group, border = [last], computed_inputs(graph, last)
    while len(group) < LARGEST:
        latest = max(border, key=lambda n: places.get(n, -1))
        if latest not in producers:
            return
        group.append(producers[latest])
        border = (border - {latest}) | computed_inputs(graph, producers[latest])
        if len(border) == 1:
            yield sorted(group, key=lambda n: places[n.outputs[0]]), next(iter(border))


def _grid(graph: Graph, group: list[Node], source: str) -> Array | None:
    """Where a group is measured: `GRID`, and around every jump of its operators; None if a jump may be anywhere."""
    jumps = [n for n in group if isinstance(n.op, JUMPS)]
    if not jumps:
        return GRID
    values = _measure(graph, group, source, GRID)
    truths, more = {n.outputs[0] for n in jumps}, []
    for node in jumps:
        if node.inputs[0] not in truths:
            y = values[node.inputs[0]]
            slope, term = (_at(y, 1.0) - _at(y, -1.0)) / 2, _at(y, 0.0)
            if not slope or not np.allclose(y, slope * GRID + term, 1e-6, 1e-6 * abs(term)):
                return None
            at = np.float32(-term / slope)
            more += [at, *(np.nextafter(at, np.float32(end)) for end in (-np.inf, np.inf)), at - np.float32(1e-3), at + np.float32(1e-3)]
    return np.concatenate([GRID, np.array(more, np.float32)])


def _measure(graph: Graph, group: list[Node], source: str, grid: Array) -> dict[str, Array]:
    """All results of a group over a grid, float64."""
    rank = len(graph.type(source).shape)
    values: dict[str, Array] = {source: grid.reshape(-1, *(1,) * rank)}
    for node in group:
        for tensor in graph.node_inputs(node):
            if tensor.data is not None:
                values[tensor.name] = tensor.data.reshape((1,) * rank)
    with np.errstate(all="ignore"):
        for node in group:
            values[node.outputs[0]] = node.op.real(*(values[n] for n in node.inputs))
    return {n: v.ravel().astype(np.float64) for n, v in values.items()}


def _known(grid: Array, y: Array) -> Op | None:
    """The operator that computes these values on a grid that begins with `GRID`."""
    if not np.isfinite(y[np.abs(grid) <= 12]).all():
        return None
    return next((op for op in (*_fitted(y), *FIXED) if _agrees(op, grid, y)), None)


def _over(op: Op, grid: Array) -> Array:
    with np.errstate(all="ignore"):
        return op.real(grid.reshape(-1, 1)).ravel().astype(np.float64)


@lru_cache(256)
def _over_grid(op: Op) -> Array:
    return _over(op, GRID)


def _agrees(op: Op, grid: Array, y: Array) -> bool:
    """Whether an operator gives these values, without error where it is 0 at 0 or constant far out.

    A small term such as the one in ``log(x * x + 1e-6)`` counts there, for a logarithm or a division may follow.
    """
    wanted = _over_grid(op) if grid is GRID else _over(op, grid)
    error, finite = np.abs(wanted - y), np.isfinite(y)
    exact = (grid == 0) & (wanted == 0)
    for end in (grid >= 100, grid <= -100):
        exact |= end & (wanted == wanted[end][-1])
    return bool((error <= np.where(exact, 0, TOLERANCE * (1 + np.abs(wanted))))[finite].all())


def _at(y: Array, x: float) -> float:
    return float(y[int(np.argmin(np.abs(GRID - x)))])


def _fitted(y: Array) -> Iterator[Op]:
    """The functions with parameters whose parameters these values give."""
    low, high = _at(y, -1e4), _at(y, 1e4)
    if math.isfinite(low) and math.isfinite(high):
        if low <= high:
            yield Clamp((low if low > -9e3 else -math.inf, high if high < 9e3 else math.inf))
        slope, middle = (_at(y, 0.02) - _at(y, -0.02)) / 0.04, _at(y, 0.0)
        if 0 < slope < 1e3 and (low, high) == (0, 1) and 0 < middle < 1:
            yield act.HardSigmoid(_tidy(slope), _tidy(middle))
        if low and abs(low) < 9e3:
            yield act.Elu(_tidy(-low))
    alpha = -_at(y, -1.0)
    if alpha and abs(alpha) < 1e3:
        yield act.LeakyRelu(_tidy(alpha))


def _tidy(value: float) -> float:
    """A parameter as it was probably meant: the shortest decimal fraction within the tolerance, or a sixth."""
    for candidate in (*(round(value, digits) for digits in range(1, 7)), round(value * 6) / 6):
        if candidate and abs(candidate - value) <= TOLERANCE / 4 * abs(value):
            return float(candidate)
    return value
