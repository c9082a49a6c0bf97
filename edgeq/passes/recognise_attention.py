"""Finds attention that an exporter has spelled out: scores by a matrix product, scaled and masked, their softmax, and a second product.

``softmax(factor * (q k^T) + mask) v``. The factor is constant; so is the mask, or it is computed and added, or chooses scores
(`masking`). Either product may be written transposed, heads and batches may lie anywhere, and heads may share keys by repetition or by
broadcasting: `places` follows every element. Numbers that q and k are multiplied by go into the operator's scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph, Node, Op, Tensor, TensorType
from edgeq.ops.add import Add, Sub
from edgeq.ops.attention import FAR, MASKED, Attention
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.masked_attention import MaskedAttention
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.mul import Mul
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.transpose import Transpose
from edgeq.passes.fold_constants import fold_constants
from edgeq.passes.masking import chosen, hides_rows, selected
from edgeq.passes.places import Moves, View, constant_operand, is_moving, moved, moves, views
from edgeq.passes.rewrite import Names, constant, repeated, use_counts

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


@repeated
def recognise_attention(graph: Graph) -> Graph | None:
    """Replace every attention that is found; the nodes before it die, which nothing else reads."""
    given = graph
    if any(isinstance(n.op, Softmax) for n in graph.nodes):
        graph = fold_constants(graph)  # masks may be computed from constants
    for node in graph.nodes:
        if not isinstance(node.op, MatMul) or graph.type(node.outputs[0]).dtype is not DType.FLOAT32:
            continue
        for found in _Search(graph).of(node):
            changed = _replaced(graph, node, found)
            if changed is not None:
                return changed
    return graph if graph is not given else None


class _Search:
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
        shape = self.graph.type(node.outputs[0]).shape
        for x, mask in (node.inputs, node.inputs[::-1]):
            if isinstance(node.op, Sub) and mask == node.inputs[0]:
                return None
            if self.graph.type(mask).size > self.graph.type(x).size or self.graph.tensors[mask].is_constant:
                continue
            x = chosen(self.graph, self.producers, x, mask) or x
            if self.graph.type(x).shape != shape:
                continue
            factor = walk.factor.item() * (-1.0 if isinstance(node.op, Sub) else 1.0)
            places = np.arange(self.graph.type(mask).size).reshape(self.graph.type(mask).shape)
            view = View(mask, walk.at_softmax(places, shape), factor)
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
    operand = constant_operand(new.graph, node) if node is not None and isinstance(node.op, Mul) else None
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
