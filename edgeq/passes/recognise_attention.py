"""Finds attention that an exporter has spelled out: scores by a matrix product, scaled and masked, their softmax, and a second product.

``softmax(factor * (q k^T) + mask) v``, factor and mask constant; a key that the mask excludes may have a factor of 0. Numbers that q
and k are multiplied by go into the operator's scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph, Node, Tensor, TensorType
from edgeq.ops.add import Add, Sub
from edgeq.ops.attention import MASKED, Attention
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.mul import Mul
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.transpose import Transpose
from edgeq.passes.rewrite import Names, constant, use_counts

HEADS_LAST, KEYS_FIRST = (0, 2, 1, 3), (0, 3, 1, 2)  # [B, H, T, D] -> [B, T, H, D], [B, H, D, S] -> [B, S, H, D]


@dataclass(frozen=True)
class Found:
    """Attention as it is spelled out.

    Attributes:
        scores: the node that multiplies q ``[..., T, D]`` with the transposed k ``[..., D, S]``.
        scale: of its results.
        mask: float64, of their shape.
    """

    scores: Node
    scale: float
    mask: Array


def recognise_attention(graph: Graph) -> Graph:
    """Replace every attention that is found; the nodes before it die, which nothing else reads."""
    for node in graph.nodes:
        found = _found(graph, node)
        changed = _replaced(graph, node, found) if found else None
        if changed is not None:
            return recognise_attention(changed)
    return graph


def _found(graph: Graph, node: Node) -> Found | None:
    """What a matrix product is the end of; None where it is no attention in floats."""
    if not isinstance(node.op, MatMul) or graph.type(node.outputs[0]).dtype is not DType.FLOAT32:
        return None
    producers, counts = graph.producers(), use_counts(graph)
    found = _before(graph, producers, counts, node.inputs[0])
    if found is None or not isinstance(found.op, Softmax) or found.op.beta <= 0:
        return None
    factor: Array = np.array(float(found.op.beta))
    mask, name = np.zeros(()), found.inputs[0]
    while (step := _before(graph, producers, counts, name)) is not None:
        if isinstance(step.op, MatMul):
            return _scores(graph, step, factor, mask)
        operand = _constant_operand(graph, step)
        if operand is None or graph.type(operand[0]).shape != graph.type(step.outputs[0]).shape:
            return None
        name, data = operand
        if isinstance(step.op, Mul):
            factor = factor * data
        elif type(step.op) is Add:
            mask = mask + factor * data
        elif isinstance(step.op, Sub) and step.inputs[0] == name:
            mask = mask - factor * data
        else:
            return None
    return None


def _scores(graph: Graph, node: Node, factor: Array, mask: Array) -> Found | None:
    """Of products that are multiplied and added to: where the factor is 0 a key must be excluded, elsewhere it is one number."""
    shape = graph.type(node.outputs[0]).shape
    factor, mask = (np.broadcast_to(a, shape) for a in (factor, mask))
    counted = factor[mask >= MASKED]
    if not counted.size or counted.min() != counted.max() or counted[0] <= 0:
        return None
    return Found(node, float(counted[0]), mask)


def _before(graph: Graph, producers: dict[str, Node], counts: dict[str, int], name: str) -> Node | None:
    """The node that computes `name`, which nothing else reads and which limits nothing but excluded keys."""
    node = producers.get(name)
    low, high = getattr(node.op, "clamp", NO_CLAMP) if node is not None else NO_CLAMP
    return node if counts[name] == 1 and low < MASKED and high == NO_CLAMP[1] else None


def _constant_operand(graph: Graph, node: Node) -> tuple[str, Array] | None:
    """The operand of a node that is not constant and, as float64, the one that is."""
    known = [n for n in node.inputs if graph.tensors[n].is_constant]
    if len(node.inputs) != 2 or len(known) != 1:
        return None
    data = graph.tensors[known[0]].data
    assert data is not None
    return next(n for n in node.inputs if n != known[0]), data.astype(np.float64)


def _without_factor(graph: Graph, name: str) -> tuple[list[Node], str, float]:
    """The moves that lead to `name`, first to last, from a tensor before a multiplication by a number, and that number (else 1)."""
    producers, moves, at = graph.producers(), list[Node](), name
    while (node := producers.get(at)) is not None:
        if isinstance(node.op, Reshape | Transpose):
            moves.insert(0, node)
            at = node.inputs[0]
            continue
        operand = _constant_operand(graph, node) if isinstance(node.op, Mul) and node.op.clamp == NO_CLAMP else None
        if operand is not None and operand[1].size == 1 and operand[1].item() > 0 and graph.type(operand[0]).shape == graph.type(at).shape:
            return moves, operand[0], operand[1].item()
        break
    return [], name, 1.0


class _Builder:
    """New nodes and tensors beside those of a graph."""

    def __init__(self, graph: Graph, base: str) -> None:
        self.graph, self.base, self.names = graph, base, Names(graph)
        self.nodes: list[Node] = []
        self.tensors: list[Tensor] = []
        self._types = {n: t.type for n, t in graph.tensors.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        return self._types[name].shape

    def add(self, op: Reshape | Transpose | Attention, *inputs: str, output: str = "") -> str:
        """A node; the name of its result."""
        name = output or self.names.fresh(f"{self.base}_{op.kind()}")
        result = TensorType(op.infer(*(self._types[n] for n in inputs)).shape)
        self._types[name] = result
        self.tensors.append(Tensor(name, result))
        self.nodes.append(Node(name, op, inputs, (name,)))
        return name

    def keep(self, tensor: Tensor) -> str:
        self.tensors.append(tensor)
        self._types[tensor.name] = tensor.type
        return tensor.name

    def unscaled(self, name: str) -> tuple[str, float]:
        """A tensor without a factor that it was multiplied by, and that factor."""
        moves, at, factor = _without_factor(self.graph, name)
        for move in moves:
            assert isinstance(move.op, Reshape | Transpose)
            at = self.add(move.op, at)
        return at, factor

    def heads(self, name: str, order: tuple[int, ...]) -> str:
        """``[..., rows, columns]`` as ``[B, heads, rows, columns]``, with the axes in another order."""
        shape = self.shape(name)
        four = (int(np.prod(shape[:-3], dtype=np.int64)), *((1,) * (3 - len(shape[-3:]))), *shape[-3:])
        return self.add(Transpose(order), name if four == shape else self.add(Reshape(four), name))


def _replaced(graph: Graph, node: Node, found: Found) -> Graph | None:
    """The graph with an Attention for `node`; None where its operands or its mask do not fit one."""
    shape, result = graph.type(found.scores.outputs[0]).shape, graph.type(node.outputs[0]).shape
    q, k, v = *found.scores.inputs, node.inputs[1]
    if any(graph.type(n).shape[:-2] != shape[:-2] for n in (q, k, v)):
        return None
    masking = _mask(found.mask, shape)
    if masking is None:
        return None
    causal, mask = masking
    new = _Builder(graph, node.name)
    (q, of_q), (k, of_k) = new.unscaled(q), new.unscaled(k)
    operands = [new.heads(q, HEADS_LAST), new.heads(k, KEYS_FIRST), new.heads(v, HEADS_LAST)]
    if mask is not None:
        operands.append(new.keep(constant(new.names.fresh(f"{node.name}_mask"), mask)))
    try:
        y = new.add(Attention(found.scale * of_q * of_k, causal), *operands)
    except EdgeqError:
        return None
    y = new.add(Transpose(HEADS_LAST), y)
    new.add(Reshape(result), y, output=node.outputs[0])
    nodes = [own for n in graph.nodes for own in (new.nodes if n is node else [n])]
    return graph.with_nodes(nodes, new.tensors)


def _mask(mask: Array, shape: tuple[int, ...]) -> tuple[bool, Array | None] | None:
    """Whether a mask is causal and nothing else, or itself as float32 ``[1 or H, T, S]``; None where no operator has it."""
    whole = np.broadcast_to(mask, shape).reshape(-1, *((1,) * (3 - len(shape[-3:]))), *shape[-3:])
    if (whole != whole[:1]).any():
        return None  # it differs between the items of a batch
    own = whole[0] if (whole[0] != whole[0, :1]).any() else whole[0, :1]
    excluded = own < MASKED
    if excluded.all(-1).any():
        return None
    if not own.any():
        return False, None
    queries, keys = own.shape[1:]
    later = ~np.tri(queries, keys, keys - queries, dtype=bool)
    if keys >= queries and (excluded == later).all() and not own[~excluded].any():
        return True, None
    return False, np.where(excluded, np.float32(-1e4), own.astype(np.float32))
