"""Follows the scores of an attention from their softmax to the product that gives them, through scales, masks and moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from edgeq.ir import Array, Graph, Node
from edgeq.ops.add import Add, Sub
from edgeq.ops.attention import MASKED
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.mul import Mul
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.passes.masking import chosen, hides_rows, selected
from edgeq.passes.places import View, constant_operand, is_moving, moved
from edgeq.passes.rewrite import use_counts

LARGEST = 1 << 24  # scores of a product that is followed


@dataclass(frozen=True)
class Walk:
    """From a softmax back to the product that gives its scores.

    Attributes:
        name: what is read here.
        factor: float64, broadcast to the softmax: what was multiplied by behind here.
        mask: float64, likewise: what was added.
        given: masks that are computed: their names, what of them lies where in the softmax, and a factor.
        later: the moves behind here, the last one first.
    """

    name: str
    factor: Array
    mask: Array = field(default_factory=lambda: np.zeros(()))
    given: tuple[View, ...] = ()
    later: tuple[Node, ...] = ()

    def at_softmax(self, data: Array, shape: tuple[int, ...]) -> Array:
        """Data that is broadcast to the shape of what is read here, in the order of the softmax."""
        if self.later:
            data = np.broadcast_to(data, shape)
        for node in reversed(self.later):
            data = moved(node, data)
        return data


@dataclass(frozen=True)
class Found:
    """Attention as it is spelled out, in its own order: batches and heads N, queries T, keys S.

    Attributes:
        scores: the product q ``[..., D]`` with the transposed k.
        places: which element of its result, flat, lies where ``[*batch, T, S]``.
        scale: of its results.
        mask: float64 ``[*batch, T, S]``.
        given: computed masks, their places of the same shape.
        values: the operand of the second product that holds v, and whether that is its left one, transposed.
    """

    scores: Node
    places: Array
    scale: float
    mask: Array
    given: tuple[View, ...]
    values: tuple[str, bool]


class Search:
    """What lies before a second product."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.producers, self.counts = graph, graph.producers(), use_counts(graph)

    def of(self, node: Node) -> Iterator[Found]:
        """Attention that a matrix product may be the end of."""
        for i in (0, 1):
            softmax, places, flags = self._weights(node.inputs[i])
            if softmax is None:
                continue
            places = places if i == 0 else places.swapaxes(-1, -2)
            walk = self._scores(Walk(softmax.inputs[0], np.array(float(softmax.op.beta))))  # type: ignore[attr-defined]
            if walk is None or any(not hides_rows(self.graph, self.producers, f, [v.name for v in walk.given]) for f in flags):
                continue
            found = self._canonical(walk, self.graph.type(softmax.outputs[0]).shape, places)
            if found is not None:
                yield replace(found, values=(node.inputs[1 - i], i == 1))

    def _weights(self, name: str) -> tuple[Node | None, Array, list[str]]:
        """The softmax that a product reads through moves, what lies where, and by what rows are multiplied on the way."""
        chain, flags = list[Node](), list[str]()
        while (node := self._before(name)) is not None and not isinstance(node.op, Softmax):
            if is_moving(node):
                chain.append(node)
                name = node.inputs[0]
                continue
            x, flag = node.inputs if isinstance(node.op, Mul) else ("", "")
            x, flag = (flag, x) if x and self.graph.type(x).shape[-1:] == (1,) else (x, flag)
            if not x or chain or self.graph.type(flag).shape[-1] != 1 or self.graph.tensors[flag].is_constant:
                return None, np.zeros(0), []
            flags.append(flag)
            name = x
        if node is None or node.op.beta <= 0 or self.graph.type(name).size > LARGEST:  # type: ignore[attr-defined]
            return None, np.zeros(0), []
        places = np.arange(self.graph.type(name).size).reshape(self.graph.type(name).shape)
        for move in reversed(chain):
            places = moved(move, places)
        return node, places, flags

    def _before(self, name: str) -> Node | None:
        """The node that computes `name`, which nothing else reads and which limits nothing but excluded keys."""
        node = self.producers.get(name)
        low, high = getattr(node.op, "clamp", NO_CLAMP) if node is not None else NO_CLAMP
        return node if self.counts[name] == 1 and low < MASKED and high == NO_CLAMP[1] else None

    def _scores(self, walk: Walk) -> Walk | None:
        """Back to the product; `name` is its result then."""
        while (node := self._before(walk.name)) is not None:
            shape = self.graph.type(node.outputs[0]).shape
            if isinstance(node.op, MatMul):
                return walk
            operand, choice = constant_operand(self.graph, node), selected(self.graph, self.producers, node)
            if choice is not None and self.counts[node.inputs[0]] == 1:
                view = Node(node.name, Reshape(shape), (choice[0],), node.outputs)
                mask = walk.mask + walk.factor * walk.at_softmax(choice[1], shape)
                walk = replace(walk, name=choice[0], mask=mask, later=(*walk.later, view))
            elif is_moving(node):
                walk = replace(walk, name=node.inputs[0], later=(*walk.later, node))
            elif operand is None or self.graph.type(operand[0]).shape != shape:
                return self._given(walk, node)
            else:
                name, data = operand[0], walk.at_softmax(operand[1], shape)
                if isinstance(node.op, Mul):
                    walk = replace(walk, name=name, factor=walk.factor * data)
                elif type(node.op) is Add:
                    walk = replace(walk, name=name, mask=walk.mask + walk.factor * data)
                elif isinstance(node.op, Sub) and node.inputs[0] == name:
                    walk = replace(walk, name=name, mask=walk.mask - walk.factor * data)
                else:
                    return None
        return None

    def _given(self, walk: Walk, node: Node) -> Walk | None:
        """Past a sum of scores and a computed mask, whichever of the two is the mask."""
        if type(node.op) not in (Add, Sub) or walk.factor.size != 1:
            return None
        shape, sign = self.graph.type(node.outputs[0]).shape, -1.0 if isinstance(node.op, Sub) else 1.0
        for x, mask in (node.inputs, node.inputs[::-1]):
            if isinstance(node.op, Sub) and mask == node.inputs[0]:
                return None
            if self.graph.type(mask).size > self.graph.type(x).size or self.graph.tensors[mask].is_constant:
                continue
            x = chosen(self.graph, self.producers, x, mask, sign) or x
            if self.graph.type(x).shape != shape:
                continue
            places = np.arange(self.graph.type(mask).size).reshape(self.graph.type(mask).shape)
            view = View(mask, walk.at_softmax(places, shape), walk.factor.item() * sign)
            found = self._scores(replace(walk, name=x, given=(*walk.given, view)))
            if found is not None:
                return found
        return None

    def _canonical(self, walk: Walk, shape: tuple[int, ...], order: Array) -> Found | None:
        """In the order ``[*batch, T, S]`` of the second product; only for keys that are excluded the factor is not one number."""

        def ordered(data: Array) -> Array:
            data = np.broadcast_to(data, shape)
            return data if plain else data.reshape(-1)[order]

        plain = order.shape == shape and bool((order.ravel() == np.arange(order.size)).all())
        factor, mask = ordered(walk.factor), ordered(walk.mask)
        counted = factor[mask >= MASKED]
        if not counted.size or counted.min() != counted.max() or counted[0] <= 0:
            return None
        of_scores = self.graph.type(walk.name)
        places = ordered(walk.at_softmax(np.arange(of_scores.size).reshape(of_scores.shape), of_scores.shape))
        given = tuple(replace(v, places=ordered(v.places)) for v in walk.given)
        return Found(self.producers[walk.name], places, float(counted[0]), mask, given, ("", False))
