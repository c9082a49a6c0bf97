"""What exporters spell a computed mask of attention by: a choice of scores by truth values, and rows without any key set to 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeq.ir import Array, Graph, Node
from edgeq.ops.add import Add, Sub
from edgeq.ops.attention import MASKED
from edgeq.ops.concat import Concat
from edgeq.ops.gather import Gather
from edgeq.ops.logic import IsZero
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_max import ReduceMax
from edgeq.passes.places import constant_operand, is_moving
from edgeq.passes.rewrite import computes

Producers = Mapping[str, Node]
DEEPEST = 12  # nodes between a mask and the flags of its rows
LOWEST = -1e38  # stands for minus infinity


def _complements(graph: Graph, producers: Producers, a: str, b: str) -> bool:
    """Whether one truth value is the other's negation: 1 where that is 0, or 1 less it."""
    for x, y in ((a, b), (b, a)):
        node = producers.get(x)
        if node is None:
            continue
        if isinstance(node.op, IsZero) and node.inputs[0] == y:
            return True
        operand = constant_operand(graph, node) if computes(node, Sub) else None
        if operand is not None and node.inputs[1] == y and (operand[1] == 1).all():
            return True
    return False


def chosen(graph: Graph, producers: Producers, name: str, mask: str, sign: float) -> str | None:
    """s of ``s * kept``, where a computed mask excludes what is not kept: ``(1 - kept)`` times a number far below all scores.

    Args:
        sign: -1 where the mask is subtracted, else 1.
    """
    product, outside = producers.get(name), producers.get(mask)
    if not computes(product, Mul) or outside is None or not computes(outside, Mul):
        return None
    operand = constant_operand(graph, outside)
    if operand is None or not (sign * operand[1] <= MASKED).all():
        return None
    assert product is not None
    for s, kept in (product.inputs, product.inputs[::-1]):
        if graph.type(s).shape == graph.type(name).shape and _complements(graph, producers, kept, operand[0]):
            return s
    return None


def selected(graph: Graph, producers: Producers, node: Node) -> tuple[str, Array] | None:
    """Of a choice by known truth values, as indices into flat scores with constants behind them: the scores, and what is added to them."""
    joined = producers.get(node.inputs[0])
    if not isinstance(node.op, Gather) or joined is None or not isinstance(joined.op, Concat):
        return None
    known = [graph.tensors[n].data for n in joined.inputs[1:]]
    size, shape = graph.type(joined.inputs[0]).size, graph.type(node.outputs[0]).shape
    indices = np.asarray(node.op.indices).reshape(-1)
    computed = not graph.tensors[joined.inputs[0]].is_constant and all(a is not None for a in known)
    if not computed or len(indices) != size or len(graph.type(joined.outputs[0]).shape) != 1:
        return None
    values = np.concatenate([np.zeros(size), *(a.ravel().astype(np.float64) for a in known if a is not None)])[indices]
    fits = (indices == np.arange(size)) | (values < MASKED)
    return (joined.inputs[0], values.reshape(shape)) if fits.all() else None


def hides_rows(graph: Graph, producers: Producers, flag: str, masks: Sequence[str]) -> bool:
    """Whether a factor of rows is 1 where the largest value of a mask counts, and 0 where it excludes."""
    chain: list[Node] = []
    while (node := producers.get(flag)) is not None and len(chain) < DEEPEST:
        if isinstance(node.op, ReduceMax):
            alike = _origin(producers, node.inputs[0]) in {_origin(producers, m) for m in masks}
            return alike and _follow(graph, chain, 0.0) == 1 and _follow(graph, chain, LOWEST) == 0
        computed = [n for n in node.inputs if not graph.tensors[n].is_constant]
        if len(computed) != 1 or not (is_moving(node) or isinstance(node.op, Add | Mul) or node.op.traits.elementwise):
            break
        if any(graph.type(n).size != 1 for n in node.inputs if n not in computed):
            break
        chain.insert(0, node)
        flag = computed[0]
    return False


def _origin(producers: Producers, name: str) -> str:
    """The tensor that a chain of moves begins with."""
    while (node := producers.get(name)) is not None and is_moving(node):
        name = node.inputs[0]
    return name


def _follow(graph: Graph, chain: Sequence[Node], value: float) -> float:
    """What elementwise nodes make of a number."""
    x = np.full((1, 1), value, np.float32)
    for node in chain:
        if not is_moving(node):
            constants = [graph.tensors[n].data for n in node.inputs]
            x = node.op.real(*(x if a is None else a.reshape(1, 1) for a in constants))
    return float(x.item())
