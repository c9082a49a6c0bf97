"""Removes channels of quantized tensors that nothing needs: those that are provably constant, or that meet zero weights only.

A channel that has one value for every input adds a constant to each accumulator of the layer behind
it, so it moves into that layer's bias and is not computed at all. Only exact cases are taken: at a
padded border the channel must add as much as inside. What survives keeps its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgeq.ir import Array, DType, Graph, Node, Tensor, check
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.transpose_conv2d import TransposeConv2d
from edgeq.passes.channel_ties import channels, narrowed, ties
from edgeq.passes.intervals import Interval, intervals
from edgeq.passes.rewrite import Names, select, use_counts


@dataclass(frozen=True, eq=False)
class Constants:
    """Per channel whether it has one value at every position for every input, and that value."""

    known: Array
    value: Array


def constant_channels(graph: Graph) -> dict[str, Constants]:
    """The provably constant channels of every int8 activation."""
    return {n: _constants(i) for n, i in intervals(graph).items() if not graph.tensors[n].is_constant}


def _constants(x: Interval) -> Constants:
    low, high = (a.reshape(-1, a.shape[-1]) if a.ndim else a.reshape(1, 1) for a in (x.low, x.high))
    return Constants((low == high).all(0) & (low == low[0]).all(0), low[0])


def inside_patterns(op: Conv2d, size: tuple[int, int], kernel: tuple[int, int], out: tuple[int, int]) -> Array:
    """Which taps lie inside the input, for every kind of output position: bool ``[patterns, kernel_h * kernel_w]``."""
    axes = []
    for i in (0, 1):
        at = np.arange(out[i])[:, None] * op.stride[i] - op.pads[i] + np.arange(kernel[i]) * op.dilation[i]
        axes.append(np.unique((at >= 0) & (at < size[i]), axis=0))
    both: Array = axes[0][:, None, :, None] & axes[1][None, :, None, :]
    return both.reshape(-1, kernel[0] * kernel[1])


class _Removal:
    """Which channels of each activation are kept, grown until every operator is content."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = constant_channels(graph)
        self.kept = {n: np.zeros(channels(graph, n), bool) for n, t in graph.tensors.items() if not t.is_constant}
        for name in (*graph.inputs, *graph.outputs):
            self.kept[name][:] = True
        self._changed = True
        while self._changed:
            self._changed = False
            for node in reversed(graph.nodes):
                self._visit(node)
            if not self._changed:
                for name, mask in self.kept.items():
                    if not mask.any():
                        self._keep(name, np.arange(1))

    def _keep(self, name: str, index: Array) -> None:
        mask = self.kept[name]
        if not mask[index].all():
            mask[index] = True
            self._changed = True

    def _visit(self, node: Node) -> None:
        x, y = node.inputs[0], node.outputs[0]
        integers = all(self.graph.type(n).dtype is DType.INT8 for n in (x, y))
        if integers and (isinstance(node.op, FullyConnected) or (isinstance(node.op, Conv2d) and node.op.groups == 1)):
            if x in self.kept:
                self._keep(x, np.nonzero(self.needed(node))[0])
            return
        relation = ties(self.graph, node) if integers or node.op.traits.linear is None else None
        if relation is None:
            if not integers or not (isinstance(node.op, TransposeConv2d) and node.op.groups == 1):
                for name in node.outputs:
                    self._keep(name, np.arange(len(self.kept[name])))
            relation = []
            for name in node.inputs:
                if name in self.kept:
                    self._keep(name, np.arange(len(self.kept[name])))
        for position, source, target in relation:
            name = node.inputs[position]
            self._keep(name, source[self.kept[y][target]])
            self._keep(y, target[self.kept[name][source]])

    def taps(self, node: Node) -> Array:
        """The weights of the kept outputs, less their zero point: int64 ``[O, taps, C]``."""
        tensor = self.graph.tensors[node.inputs[1]]
        w = tensor.data
        assert w is not None
        kept = w[self.kept[node.outputs[0]]].astype(np.int64) - tensor.type.zero_point
        taps: Array = kept.reshape(len(kept), w[0].size // w.shape[-1], w.shape[-1])
        return taps

    def patterns(self, node: Node) -> Array:
        """`inside_patterns` of a convolution; one tap, always inside, for a dense layer."""
        if not isinstance(node.op, Conv2d):
            return np.ones((1, 1), bool)
        x, w, y = (self.graph.type(n).shape for n in (node.inputs[0], node.inputs[1], node.outputs[0]))
        return inside_patterns(node.op, (x[1], x[2]), (w[1], w[2]), (y[1], y[2]))

    def needed(self, node: Node) -> Array:
        """Per input channel of a layer that mixes channels, whether its kept outputs need it."""
        w, x = self.taps(node), node.inputs[0]
        needed: Array = (w != 0).any((0, 1))
        known = self.constants.get(x)
        if known is None:
            return needed
        needed = needed & ~(known.known & (known.value == self.graph.type(x).zero_point))
        doubtful = np.nonzero(needed & known.known)[0]
        sums = np.einsum("pt,otc->poc", self.patterns(node).astype(np.int64), w[:, :, doubtful])
        needed[doubtful] = (sums != sums[0]).any((0, 1))
        return needed

    def moved(self, node: Node) -> Array:
        """What the dropped input channels add to the kept outputs' accumulators: int64 ``[O]``."""
        w, x = self.taps(node), node.inputs[0]
        total: Array = np.zeros(len(w), np.int64)
        if x not in self.constants:
            return total
        dropped = ~self.kept[x] & self.constants[x].known
        inside = self.patterns(node)[0].astype(np.int64)
        offsets = self.constants[x].value[dropped] - self.graph.type(x).zero_point
        total += np.einsum("t,otc,c->o", inside, w[:, :, dropped], offsets)
        return total


def kept_channels(graph: Graph) -> dict[str, Array]:
    """Per activation a bool vector over its last axis: the channels that `remove_channels` leaves.

    The tensor of the same name in its result holds these channels of this graph's tensor, byte for byte.
    """
    return _removed(graph)[1]


def remove_channels(graph: Graph) -> Graph:
    """Drop provably constant and unneeded channels of a quantized graph, their effect moved into biases."""
    if not any(t.type.dtype is DType.INT8 and not t.is_constant for t in graph.tensors.values()):
        return graph
    return _removed(graph)[0]


def _removed(graph: Graph) -> tuple[Graph, dict[str, Array]]:
    """The narrower graph, the same object where nothing falls away, and the channels of every activation that are left."""
    removal = _Removal(graph)
    if all(mask.all() for mask in removal.kept.values()):
        return graph, removal.kept
    result = _Rewriter(graph, removal).result()
    if _same_arithmetic(graph, result, removal):
        return result, removal.kept
    return graph, {n: np.ones(len(mask), bool) for n, mask in removal.kept.items()}


class _Rewriter:
    """Builds the narrower graph."""

    def __init__(self, graph: Graph, removal: _Removal) -> None:
        self.graph, self.removal, self.kept = graph, removal, removal.kept
        self.names, self.uses = Names(graph), use_counts(graph)
        self.tensors: list[Tensor] = []

    def result(self) -> Graph:
        nodes = [self._node(n) for n in self.graph.nodes]
        for name, mask in self.kept.items():
            t = self.graph.type(name)
            if not mask.all():
                self.tensors.append(Tensor(name, replace(t, shape=(*t.shape[:-1], int(mask.sum())))))
        return check(self.graph.with_nodes(nodes, self.tensors), "remove_channels")

    def _constant(self, name: str, mask: Array, axis: int) -> str:
        """A constant with the kept entries along `axis`."""
        if mask.all():
            return name
        new = name if self.uses[name] == 1 else self.names.fresh(name)
        self.tensors.append(select(self.graph.tensors[name], new, np.nonzero(mask)[0], axis))
        return new

    def _node(self, node: Node) -> Node:
        out = self.kept[node.outputs[0]]
        if node.op.traits.linear is not None:
            return self._linear(node)
        inputs = []
        for name in node.inputs:
            tensor = self.graph.tensors[name]
            fitting = tensor.is_constant and tensor.type.shape and tensor.type.shape[-1] == len(out) > 1
            inputs.append(self._constant(name, out, len(tensor.type.shape) - 1) if fitting else name)
        return replace(node, op=node.op if out.all() else narrowed(node.op, int(out.sum())), inputs=tuple(inputs))

    def _linear(self, node: Node) -> Node:
        x, weights, bias = node.inputs
        linear = node.op.traits.linear
        assert linear is not None
        out, graph = self.kept[node.outputs[0]], self.graph
        mixes = not linear.depthwise and x in self.kept and not self.kept[x].all()
        if out.all() and not mixes:
            return node
        w = select(graph.tensors[weights], weights, np.nonzero(out)[0], linear.axis)
        b = select(graph.tensors[bias], bias, np.nonzero(out)[0], 0)
        if mixes:
            w = select(w, weights, np.nonzero(self.kept[x])[0], len(w.type.shape) - 1)
            assert b.data is not None
            b = replace(b, data=(b.data + self.removal.moved(node)).astype(np.int32))
        names = [n if self.uses[n] == 1 else self.names.fresh(n) for n in (weights, bias)]
        self.tensors += [replace(t, name=n) for t, n in zip((w, b), names, strict=True)]
        return replace(node, inputs=(x, *names))


def _same_arithmetic(before: Graph, after: Graph, removal: _Removal) -> bool:
    """Whether every channel that is left is rescaled as it was: a common left shift may be bounded by other channels."""
    for old, new in zip(before.nodes, after.nodes, strict=True):
        if old.op.traits.linear is not None and old is not new:
            a, b = (n.op.bind(g.law, n.name, g.node_inputs(n), g.type(n.outputs[0])) for n, g in ((old, before), (new, after)))
            mask = removal.kept[old.outputs[0]]
            first = np.asarray(a.shift, np.int64)[mask] - a.left if before.law == "single" else np.asarray(a.shift)[mask]
            second = np.asarray(b.shift, np.int64) - b.left if before.law == "single" else np.asarray(b.shift)
            if not np.array_equal(first, second) or not np.array_equal(np.asarray(a.multiplier)[mask], b.multiplier):
                return False
    return True
