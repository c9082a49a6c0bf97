"""Levels of a spectrum: the sums of two squares that a model makes of the parts of a Fourier transform (STFT and DFT of ONNX)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import Array, Graph, Node, Op, Tensor, TensorType
from edgeq.ops.add import Add
from edgeq.ops.clamp import Clamp
from edgeq.ops.fourier import Rfft
from edgeq.ops.gather import Gather
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.reduce_sum import ReduceSum
from edgeq.ops.reshape import Reshape
from edgeq.ops.spectrum import ApplyWindow, BandLevels
from edgeq.ops.transpose import Transpose
from edgeq.passes.recognise_spectrum import places, squared
from edgeq.passes.rewrite import Names, computes, constant, repeated


@repeated
def recognise_levels(graph: Graph) -> Graph | None:
    """Replace every sum of the squares of both parts of bins by levels of bands of one bin each."""
    producers = graph.producers()
    for node in graph.nodes:
        found = _pairs(graph, producers, node)
        placed = found and _placed(graph, node, *found)
        if placed:
            return placed
    return None


def _pairs(graph: Graph, producers: dict[str, Node], node: Node) -> tuple[Node, Array] | None:
    """The transform, and which two of its numbers ``[2, *shape]`` each element of a node's result is the sum of squares of."""
    if type(node.op) not in (Add, ReduceSum) or graph.type(node.outputs[0]).q is not None:
        return None
    parts = [_part(graph, producers, n) for n in node.inputs]
    if any(p is None for p in parts):
        return None
    (source, at), *more = (p for p in parts if p is not None)
    if isinstance(node.op, ReduceSum):
        if len(node.op.axes) != 1 or at.shape[node.op.axes[0]] != 2:
            return None
        pair = np.moveaxis(at, node.op.axes[0], 0)
    elif len(more) == 1 and more[0][0] is source and more[0][1].shape == at.shape:
        pair = np.stack([at, more[0][1]])
    else:
        return None
    return source, pair.reshape(2, *graph.type(node.outputs[0]).shape)


def _part(graph: Graph, producers: dict[str, Node], name: str) -> tuple[Node, Array] | None:
    """The transform of which a tensor's elements are squares, moved before or after, and where each is among its numbers."""
    moves: list[Node] = []
    node, square = producers.get(name), False
    while node is not None and not isinstance(node.op, Rfft):
        x = {n for n in node.inputs if not graph.tensors[n].is_constant}
        if len(x) != 1:
            return None
        if not square and squared(node) is not None:
            square = True
        elif node.op.traits.moves:
            moves.append(node)
        elif not (square and _turns_signs(graph, node, next(iter(x)))):
            return None
        node = producers.get(next(iter(x)))
    at = places(graph, node, moves) if square and node is not None else None
    return None if node is None or at is None else (node, at)


def _turns_signs(graph: Graph, node: Node, x: str) -> bool:
    """Whether a node multiplies by constants of 1 and -1 alone."""
    data = [graph.tensors[n].data for n in node.inputs if n != x]
    plain = computes(node, Mul) and graph.type(x).shape == graph.type(node.outputs[0]).shape
    return plain and len(data) == 1 and data[0] is not None and bool((np.abs(data[0]) == 1).all())


def _placed(graph: Graph, node: Node, source: Node, pair: Array) -> Graph | None:
    """The graph with levels in the place of a sum; None where its elements are no whole rows of the same bins."""
    spectrum = graph.type(source.outputs[0])
    pair = np.sort(pair, 0)
    if (pair[0] % 2).any() or (pair[1] != pair[0] + 1).any() or not pair.size:
        return None
    shape = pair.shape[1:]
    row, at = np.divmod(pair[0] // 2, spectrum.shape[-1] // 2)
    along = [a for a, n in enumerate(shape) if n > 1 and (np.take(at, 0, a) != np.take(at, 1, a)).any()]
    if len(along) != 1:
        return None
    rows, bins = (np.moveaxis(i, along[0], -1).reshape(-1, shape[along[0]]) for i in (row, at))
    if (rows != rows[:, :1]).any() or (bins != bins[:1]).any():
        return None
    return _Writer(graph, node, source).written(rows[:, 0], bins[0], along[0])


class _Writer:
    """Nodes that take the place of a sum."""

    def __init__(self, graph: Graph, node: Node, source: Node) -> None:
        self.graph, self.node, self.source = graph, node, source
        self.names, self.nodes, self.added = Names(graph), list[Node](), list[Tensor]()
        self.types: dict[str, TensorType] = {}

    def emit(self, op: Op, x: str, kind: str, *data: Array) -> str:
        """A node behind x, with constants."""
        name = self.names.fresh(f"{self.node.outputs[0]}/{kind}")
        constants = [constant(self.names.fresh(f"{name}/{i}"), a) for i, a in enumerate(data)]
        self.types[name] = op.infer(self.types.get(x) or self.graph.type(x), *(c.type for c in constants))
        self.nodes.append(Node(name, op, (x, *(c.name for c in constants)), (name,)))
        self.added += [*constants, Tensor(name, self.types[name])]
        return name

    def written(self, rows: Array, bins: Array, axis: int) -> Graph:
        """The graph with levels of these bins in these rows, whose bins become an axis of the result."""
        shape = self.graph.type(self.node.outputs[0]).shape
        ones = np.ones(len(bins), np.int16)
        x = self.emit(BandLevels(power=2), self._spectrum(rows), "energies", bins.astype(np.int16), ones, ones.astype(np.float32))
        x = self.emit(Reshape((*shape[:axis], *shape[axis + 1 :], len(bins))), x, "shaped")
        order = (*range(axis), len(shape) - 1, *range(axis, len(shape) - 1))
        x = self.emit(Transpose(order), x, "placed") if axis != len(shape) - 1 else x
        x = self.emit(Clamp(clamp), x, "limited") if (clamp := getattr(self.node.op, "clamp", NO_CLAMP)) != NO_CLAMP else x
        self.nodes.append(Node(self.node.name, Reshape(shape), (x,), self.node.outputs))
        made = [m for n in self.graph.nodes for m in (self.nodes if n is self.node else (n,))]
        return self.graph.with_nodes(made, self.added)

    def _spectrum(self, rows: Array) -> str:
        """The spectra of these frames; windows lose zeros before their weights: those turn phases, and energies have none."""
        x, op, window = self._window()
        if op.frames and window.any():
            first, last = np.flatnonzero(window)[[0, -1]].tolist()
            op, window = replace(op, start=op.start + first), window[first : last + 1]
        x = self.emit(op, x, "windowed", window)
        count = self.types[x].size // len(window)
        if not np.array_equal(rows, np.arange(count)):
            x = self.emit(Reshape((count, len(window))), x, "frames")
            x = self.emit(Gather(tuple(rows.tolist()), (len(rows),), 0), x, "chosen")
        return self.emit(self.source.op, x, "spectrum")

    def _window(self) -> tuple[str, ApplyWindow, Array]:
        """What a window is applied to before the transform, how, and its weights: ones where a model has none."""
        graph, producers = self.graph, self.graph.producers()
        x = self.source.inputs[0]
        before = producers.get(x)
        if before is not None and isinstance(before.op, Pad) and self._adds_zeros_behind(before.op):
            x = before.inputs[0]
            before = producers.get(x)
        constants = {} if before is None else {n: d for n in before.inputs if (d := graph.tensors[n].data) is not None}
        if before is not None and len(constants) == 1:
            (name, data), shape = next(iter(constants.items())), graph.type(x).shape
            given = next((n for n in before.inputs if n != name), name)
            if isinstance(before.op, ApplyWindow):
                return given, before.op, data
            if computes(before, Mul) and data.size == shape[-1] == data.shape[-1] and graph.type(given).shape == shape:
                return given, ApplyWindow(), data.ravel()
        return x, ApplyWindow(), np.ones(graph.type(x).shape[-1], np.float32)

    @staticmethod
    def _adds_zeros_behind(op: Pad) -> bool:
        """Whether padding does what the transform does by itself."""
        return op.mode == "constant" and not op.value and not any(map(sum, op.pads[:-1])) and op.pads[-1][0] == 0
