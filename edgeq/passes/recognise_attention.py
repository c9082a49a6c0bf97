"""Finds attention that an exporter has spelled out: scores by a matrix product, scaled and masked, their softmax, and a second product.

``softmax(factor * (q k^T) + mask) v``. The factor is constant; so is the mask, or it is computed and added, or chooses scores
(`masking`). Either product may be written transposed, heads and batches may lie anywhere, and heads may share keys by repetition or by
broadcasting: `places` follows every element. Numbers that q and k are multiplied by go into the operator's scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph, Node, Op, Tensor, TensorType
from edgeq.ops.add import Add
from edgeq.ops.attention import FAR, MASKED, Attention
from edgeq.ops.masked_attention import MaskedAttention
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.mul import Mul
from edgeq.ops.softmax import Softmax
from edgeq.ops.transpose import Transpose
from edgeq.passes.attention_search import Found, Search
from edgeq.passes.fold_constants import fold_constants
from edgeq.passes.places import Moves, View, constant_operand, moves, views
from edgeq.passes.rewrite import Names, computes, constant, repeated


@repeated
def recognise_attention(graph: Graph) -> Graph | None:
    """Replace every attention that is found; the nodes before it die, which nothing else reads."""
    given = graph
    if any(isinstance(n.op, Softmax) for n in graph.nodes):
        graph = fold_constants(graph)  # masks may be computed from constants
    for node in graph.nodes:
        if not isinstance(node.op, MatMul) or graph.type(node.outputs[0]).dtype is not DType.FLOAT32:
            continue
        for found in Search(graph).of(node):
            changed = _replaced(graph, node, found)
            if changed is not None:
                return changed
    return graph if graph is not given else None


class _Builder:
    """New nodes and tensors beside those of a graph."""

    def __init__(self, graph: Graph, base: str) -> None:
        self.graph, self.base, self.names = graph, base, Names(graph)
        self.nodes: list[Node] = []
        self.tensors: list[Tensor] = []
        self._types = {n: t.type for n, t in graph.tensors.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        return self._types[name].shape

    def add(self, op: Op, *inputs: str, output: str = "") -> str:
        """A node; the name of its result."""
        name = output or self.names.fresh(f"{self.base}_{op.kind()}")
        result = TensorType(op.infer(*(self._types[n] for n in inputs)).shape)
        self._types[name] = result
        self.tensors.append(Tensor(name, result))
        self.nodes.append(Node(name, op, inputs, (name,)))
        return name

    def keep(self, data: Array, tag: str) -> str:
        tensor = constant(self.names.fresh(f"{self.base}_{tag}"), data)
        self.tensors.append(tensor)
        self._types[tensor.name] = tensor.type
        return tensor.name

    def moved(self, name: str, chain: Moves, output: str = "") -> str:
        for i, op in enumerate(chain):
            name = self.add(op, name, output=output if i == len(chain) - 1 else "")
        return name


@dataclass(frozen=True)
class _Operand:
    """A tensor that becomes an operand by some moves, and the number that it was multiplied by."""

    name: str
    chain: Moves
    factor: float = 1.0

    @property
    def copies(self) -> bool:
        return any(isinstance(op, Transpose) for op in self.chain)


def _operand(graph: Graph, found: Iterator[View], order: Callable[[Array], Array]) -> _Operand | None:
    """The farthest view whose places, in an order, are all of a tensor's elements, each once."""
    best: _Operand | None = None
    for view in found:
        chain = moves(order(view.places), graph.type(view.name).shape)
        best = _Operand(view.name, chain, view.factor) if chain is not None else best
    return best


def _share(rows: Array, heads: int) -> int:
    """How many heads in a row have one matrix of ``[N, rows, columns]``."""
    for share in range(heads, 1, -1):
        groups = rows.reshape(-1, share, rows.shape[-2] * rows.shape[-1]) if heads % share == 0 else None
        if groups is not None and (groups == groups[:, :1]).all():
            return share
    return 1


class _Assembly:
    """The operands of an attention in the order ``[B, rows, heads, columns]``."""

    def __init__(self, graph: Graph, found: Found) -> None:
        self.graph, self.found, self.producers = graph, found, graph.producers()
        *self.batch, self.queries, self.keys = found.places.shape
        self.count = math.prod(self.batch)
        self.rows = self._rows()

    def _rows(self) -> tuple[str, str, bool, Array, Array] | None:
        """Names of q and k, whether k comes first, and which rows of each are multiplied: ``[N, T]`` and ``[N, S]``."""
        left, right = self.found.scores.inputs
        *_, rows, columns = self.graph.type(self.found.scores.outputs[0]).shape
        places = self.found.places.reshape(self.count, self.queries, self.keys)
        of_left = places // columns
        of_right = places // (rows * columns) * columns + places % columns
        if (of_left == of_left[:, :, :1]).all() and (of_right == of_right[:, :1]).all():
            return left, right, False, of_left[:, :, 0], of_right[:, 0]
        if (of_right == of_right[:, :, :1]).all() and (of_left == of_left[:, :1]).all():
            return right, left, True, of_right[:, :, 0], of_left[:, 0]
        return None

    def _matrices(self, name: str, transposed: bool) -> Callable[[Array], Array]:
        """Of the places of an operand of the first product its rows ``[batch * rows, columns]``, repeated where it is broadcast."""
        batch = self.graph.type(self.found.scores.outputs[0]).shape[:-2]

        def order(places: Array) -> Array:
            places = places.swapaxes(-1, -2) if transposed else places
            return np.broadcast_to(places, (*batch, *places.shape[-2:])).reshape(-1, places.shape[-1])

        return order

    def _values(self, places: Array) -> Array:
        """Places of the second product's operand as ``[N, S, E]``."""
        places = places.swapaxes(-1, -2) if self.found.values[1] else places
        return np.broadcast_to(places, (*self.batch, *places.shape[-2:])).reshape(self.count, *places.shape[-2:])

    def operands(self, heads: int) -> tuple[_Operand, _Operand, _Operand] | None:
        """q, k and v, their heads beside columns."""
        if self.rows is None:
            return None
        q, k, swapped, of_q, of_k = self.rows
        rows = [self._matrices(q, swapped), self._matrices(k, not swapped)]
        orders = [lambda a: rows[0](a)[of_q], lambda a: rows[1](a)[of_k], self._values]
        names = (q, k, self.found.values[0])
        farthest = [list(views(self.graph, self.producers, n, scaled=i < 2)) for i, n in enumerate(names)]
        share = math.gcd(*(_share(order(found[-1].places), heads) for order, found in zip(orders[1:], farthest[1:], strict=True)))
        made = []
        for order, found, step in zip(orders, farthest, (1, share, share), strict=True):

            def beside(places: Array, order: Callable[[Array], Array] = order, step: int = step) -> Array:
                own = order(places)
                return own.reshape(-1, heads, *own.shape[1:])[:, ::step].swapaxes(1, 2)

            operand = _operand(self.graph, iter(found), beside)
            if operand is None:
                return None
            made.append(operand)
        return made[0], made[1], made[2]

    def given(self, heads: int) -> list[_Operand] | None:
        """The computed masks, ``[B or 1, heads or 1, T or 1, S or 1]``."""
        made = []
        for view in self.found.given:
            own = view.places.reshape(-1, heads, self.queries, self.keys)
            for axis in range(4):
                first = own.take([0], axis)
                own = first if (own == first).all() else own

            def order(places: Array, own: Array = own) -> Array:
                return places.reshape(-1)[own]

            operand = _operand(self.graph, views(self.graph, self.producers, view.name, scaled=False), order)
            if operand is None:
                return None
            made.append(replace(operand, factor=view.factor))
        return made


def _replaced(graph: Graph, node: Node, found: Found) -> Graph | None:
    """The graph with an Attention for `node`, its batches and heads such that least is copied; None where none fits."""
    parts = _Assembly(graph, found)
    best: tuple[int, Graph] | None = None
    splits = [len(parts.batch) - 1, *range(len(parts.batch) - 2, -1, -1)] if parts.batch else [0]
    for split in splits:
        made = _assembled(graph, node, found, parts, math.prod(parts.batch[split:]))
        if made is not None and (best is None or made[0] < best[0]):
            best = made
    return best[1] if best else None


def _assembled(graph: Graph, node: Node, found: Found, parts: _Assembly, heads: int) -> tuple[int, Graph] | None:
    """With so many heads: how many tensors are copied, and the graph."""
    masking = _mask(found.mask, heads)
    operands = parts.operands(heads) if masking is not None else None
    given = parts.given(heads) if operands is not None else None
    if masking is None or operands is None or given is None:
        return None
    causal, mask = masking
    new = _Builder(graph, node.name)
    inputs = [new.moved(o.name, o.chain) for o in operands]
    if given:
        inputs.append(_sum(new, given, (parts.queries, parts.keys)))
    if mask is not None:
        inputs.append(new.keep(mask, "mask"))
    scale = found.scale * operands[0].factor * operands[1].factor
    op = (MaskedAttention if given else Attention)(scale, causal)
    try:
        shape = op.infer(*(TensorType(new.shape(n)) for n in inputs)).shape
    except EdgeqError:
        return None
    result = graph.type(node.outputs[0]).shape
    places = np.arange(math.prod(shape)).reshape(shape).swapaxes(1, 2).reshape(parts.count, shape[1], shape[3])
    places = (places.swapaxes(1, 2) if found.values[1] else places).reshape(result)
    chain = moves(places, shape)
    if chain is None:
        return None
    new.moved(new.add(op, *inputs, output="" if chain else node.outputs[0]), chain, node.outputs[0])
    nodes = [own for n in graph.nodes for own in (new.nodes if n is node else [n])]
    copied = sum(o.copies for o in (*operands, _Operand("", chain)))
    return copied, graph.with_nodes(nodes, new.tensors)


def _softened(new: _Builder, name: str) -> str:
    """A mask that is a product with numbers for minus infinity, with numbers that int8 and half precision can stand."""
    node = new.graph.producers().get(name)
    operand = constant_operand(new.graph, node) if node is not None and computes(node, Mul) else None
    if operand is None or not (operand[1] < 2 * MASKED).all():
        return name
    shape = (1,) * (len(new.shape(name)) - operand[1].ndim) + operand[1].shape
    return new.add(Mul(), operand[0], new.keep(np.full(shape, 2 * MASKED, np.float32), "far"))


def _sum(new: _Builder, given: list[_Operand], rows: tuple[int, int]) -> str:
    """The sum of computed masks, which reaches all keys."""
    total = ""
    for operand in given:
        name = new.moved(_softened(new, operand.name), operand.chain)
        if operand.factor != 1:
            name = new.add(Mul(), name, new.keep(np.full((1, 1, 1, 1), operand.factor, np.float32), "factor"))
        total = new.add(Add(), total, name) if total else name
    if new.shape(total)[3] != rows[1]:
        total = new.add(Add(), total, new.keep(np.zeros((1, 1, 1, rows[1]), np.float32), "keys"))
    return total


def _mask(mask: Array, heads: int) -> tuple[bool, Array | None] | None:
    """Whether a mask is causal and nothing else, or itself as float32 ``[1 or H, T, S]``; None where no operator has it."""
    if not mask.any():
        return False, None
    whole = mask.reshape(-1, heads, *mask.shape[-2:])
    if (whole != whole[:1]).any():
        return None  # it differs between the items of a batch
    own = whole[0] if (whole[0] != whole[0, :1]).any() else whole[0, :1]
    excluded = own < MASKED
    if excluded.all(-1).any():
        return None
    queries, keys = own.shape[1:]
    later = ~np.tri(queries, keys, keys - queries, dtype=bool)
    if keys >= queries and (excluded == later).all() and not own[~excluded].any():
        return True, None
    return False, np.where(excluded, np.float32(FAR), own.astype(np.float32))
