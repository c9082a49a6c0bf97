"""Chains of moves as arrays of places: which element of an earlier tensor lies where, and the fewest moves that bring them there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgeq.ir import Array, Graph, Node
from edgeq.ops.concat import Concat
from edgeq.ops.mul import Mul
from edgeq.ops.reshape import Reshape
from edgeq.ops.transpose import Transpose
from edgeq.passes.rewrite import computes

Moves = tuple[Reshape | Transpose, ...]


@dataclass(frozen=True)
class View:
    """Elements of a tensor in another order, times a number.

    Attributes:
        name: of the tensor.
        places: int64, of the shape in which they are seen: which element of the tensor, flat, lies there.
        factor: above 0.
    """

    name: str
    places: Array
    factor: float = 1.0


def moved(node: Node, data: Array) -> Array:
    """What a move makes of an array of its input's shape."""
    if isinstance(node.op, Concat):
        return np.concatenate([data] * len(node.inputs), node.op.axis)
    return np.asarray(node.op.real(data[None])[0])


def is_moving(node: Node) -> bool:
    """Whether every element of its result is one of its only input's; copies of one tensor in a row are as well."""
    if isinstance(node.op, Concat):
        return len(set(node.inputs)) == 1
    return node.op.traits.moves and len(node.inputs) == 1 and len(node.outputs) == 1


def constant_operand(graph: Graph, node: Node) -> tuple[str, Array] | None:
    """The operand of a node that is not constant and, as float64, the one that is."""
    known = [n for n in node.inputs if graph.tensors[n].is_constant]
    if len(node.inputs) != 2 or len(known) != 1:
        return None
    data = graph.tensors[known[0]].data
    assert data is not None
    return next(n for n in node.inputs if n != known[0]), data.astype(np.float64)


def _factor(graph: Graph, node: Node) -> tuple[str, float] | None:
    """What a node multiplies by a number above 0, and that number."""
    operand = constant_operand(graph, node) if computes(node, Mul) else None
    if operand is None or operand[1].size != 1 or not operand[1].item() > 0:
        return None
    return (operand[0], operand[1].item()) if graph.type(operand[0]).shape == graph.type(node.outputs[0]).shape else None


def views(graph: Graph, producers: Mapping[str, Node], name: str, scaled: bool = True) -> Iterator[View]:
    """A tensor as itself, then as those that it was made of, farther and farther back: by moves and, where `scaled`, by factors."""
    shape, factor, chain = graph.type(name).shape, 1.0, list[Node]()
    yield View(name, np.arange(graph.type(name).size).reshape(shape))
    while (node := producers.get(name)) is not None:
        if is_moving(node):
            chain.append(node)
            name = node.inputs[0]
        elif scaled and (found := _factor(graph, node)) is not None:
            name, factor = found[0], factor * found[1]
        else:
            return
        places = np.arange(graph.type(name).size).reshape(graph.type(name).shape)
        for move in reversed(chain):
            places = moved(move, places)
        yield View(name, places, factor)


def _digits(line: Array) -> list[tuple[int, int]] | None:
    """Places along an axis, the first one 0, as a number in a mixed base: (length, step) of its digits, the most significant first."""
    digits: list[tuple[int, int]] = []
    while len(line) > 1:
        step, n = int(line[1]), len(line)
        odd = np.nonzero(line != np.arange(n) * step)[0]
        count = int(odd[0]) if odd.size else n
        if n % count:
            return None
        digits.insert(0, (count, step))
        line = line[::count]
    return digits


def moves(places: Array, shape: tuple[int, ...]) -> Moves | None:
    """How a tensor of a shape is reshaped, transposed and reshaped so that its elements lie at `places`; None where that cannot be.

    What needs no copy has no transposition.
    """
    if places.size != int(np.prod(shape, dtype=np.int64)):
        return None
    if (places.ravel() == np.arange(places.size)).all():
        return (Reshape(places.shape),) if places.shape != shape else ()
    found: list[tuple[int, int]] = []
    for axis in range(places.ndim):
        line = places[tuple(slice(None) if a == axis else 0 for a in range(places.ndim))]
        digits = _digits(line - line[0])
        if digits is None:
            return None
        found += digits
    order = sorted(range(len(found)), key=lambda i: -found[i][1])
    source = tuple(found[i][0] for i in order)
    perm = tuple(order.index(i) for i in range(len(found)))
    result = np.arange(places.size).reshape(source).transpose(perm) if np.prod(source, dtype=np.int64) == places.size else None
    if result is None or not np.array_equal(result.reshape(places.shape), places):
        return None
    before: Moves = (Reshape(source),) if source != shape else ()
    behind: Moves = (Reshape(places.shape),) if result.shape != places.shape else ()
    return (*before, Transpose(perm), *behind)
