"""Folds per-channel constant factors and terms (batch normalization) into the weights and biases of float layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import Array, DType, Graph, Node, Tensor
from edgeq.ops.linear import NO_CLAMP
from edgeq.passes.rewrite import Names, constant, use_counts
from edgeq.traits import Linear


def fold_affine(graph: Graph) -> Graph:
    """Fold into the layer before, else into the layer behind where padding does not stand in the way."""
    return _Folder(graph).result()


class _Folder:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.names, self.uses = graph, Names(graph), use_counts(graph)
        self.tensors = dict(graph.tensors)
        self.nodes: list[Node] = []
        self.by_output: dict[str, int] = {}

    def result(self) -> Graph:
        for node in self.graph.nodes:
            node = self._behind(node)
            if not self._before(node):
                self.by_output[node.outputs[0]] = len(self.nodes)
                self.nodes.append(node)
        changed = tuple(self.nodes) != self.graph.nodes
        return self.graph.with_nodes(self.nodes, self.tensors.values()) if changed else self.graph

    def _affine(self, node: Node, channels: int) -> tuple[str, Array, Array] | None:
        """The input, factor and term (float64 ``[channels]``) of an elementwise operator with a per-channel constant."""
        rule = node.op.traits.affine
        if rule is None or self.tensors[node.outputs[0]].type.dtype is not DType.FLOAT32:
            return None
        a, b = (self.tensors[n] for n in node.inputs)
        first = a.is_constant
        fixed, x = (a, b) if first else (b, a)
        if fixed.data is None or x.is_constant:
            return None
        if fixed.type.size not in (1, channels) or (fixed.type.size > 1 and fixed.type.shape[-1] != channels):
            return None
        if x.type.shape != self.tensors[node.outputs[0]].type.shape:  # the constant is what is not broadcast
            return None
        with np.errstate(all="ignore"):
            factor, term = rule(np.broadcast_to(fixed.data.astype(np.float64).ravel(), channels), first)
        return (x.name, factor, term) if np.isfinite(factor).all() and np.isfinite(term).all() else None

    def _layer(self, node: Node) -> tuple[Tensor, Tensor] | None:
        """Constant float weights and bias of a layer."""
        if node.op.traits.linear is None:
            return None
        w, b = (self.tensors[n] for n in node.inputs[1:3])
        return (w, b) if w.is_constant and b.is_constant and w.type.dtype is DType.FLOAT32 else None

    def _store(self, old: Tensor, data: Array) -> str | None:
        """A float32 constant that replaces `old` for one node; None where a value would overflow."""
        with np.errstate(all="ignore"):
            data = data.astype(np.float32)
        if not np.isfinite(data).all():
            return None
        name = old.name if self.uses[old.name] == 1 else self.names.fresh(old.name)
        self.uses.setdefault(name, 1)
        self.tensors[name] = constant(name, data)
        return name

    def _with(self, node: Node, w: Tensor, b: Tensor, weights: Array, bias: Array) -> Node | None:
        new = [self._store(w, weights), self._store(b, bias)]
        if new[0] is None or new[1] is None:
            self.tensors[w.name], self.tensors[b.name] = w, b
            return None
        return replace(node, inputs=(node.inputs[0], new[0], new[1]))

    def _before(self, node: Node) -> bool:
        """Fold an elementwise node into the layer that computes its input; True where it is gone."""
        shape = self.tensors[node.outputs[0]].type.shape
        affine = self._affine(node, shape[-1]) if shape else None
        if affine is None or affine[0] not in self.by_output or self.uses[affine[0]] != 1:
            return False
        source, factor, term = affine
        at = self.by_output[source]
        layer = self.nodes[at]
        parts = self._layer(layer)
        if parts is None or layer.op.clamp != NO_CLAMP:  # type: ignore[attr-defined]
            return False
        w, b = parts
        assert w.data is not None and b.data is not None
        across = [1] * w.data.ndim
        across[_linear(layer).axis] = -1
        folded = self._with(layer, w, b, w.data * factor.reshape(across), b.data * factor + term)
        if folded is None:
            return False
        seen = next((self.tensors[n].norm for n in node.inputs if self.tensors[n].norm is not None), None)
        self.tensors[folded.inputs[2]] = replace(self.tensors[folded.inputs[2]], norm=seen)
        op = replace(folded.op, clamp=node.op.clamp)  # type: ignore[attr-defined, call-arg]
        self.nodes[at] = replace(folded, op=op, outputs=node.outputs)
        self.by_output[node.outputs[0]] = at
        return True

    def _behind(self, node: Node) -> Node:
        """Take an elementwise node before a layer into the layer; it is dead afterwards."""
        parts, source = self._layer(node), node.inputs[0]
        if parts is None or not _linear(node).folds_behind or source not in self.by_output or self.uses[source] != 1:
            return node
        before = self.nodes[self.by_output[source]]
        channels = self.tensors[source].type.shape[-1]
        affine = self._affine(before, channels)
        if affine is None or before.op.clamp != NO_CLAMP:  # type: ignore[attr-defined]
            return node
        x, factor, term = affine
        if term.any() and any(getattr(node.op, "pads", ())):
            return node
        w, b = parts
        assert w.data is not None and b.data is not None
        wide = w.data.astype(np.float64)
        scale, offset = (_per_weight(node, v, w.data.shape) for v in (factor, term))
        axes = tuple(i for i in range(wide.ndim) if i != _linear(node).axis)
        folded = self._with(node, w, b, wide * scale, b.data + (wide * offset).sum(axes))
        if folded is None:
            return node
        self.uses[source] = 0
        return replace(folded, inputs=(x, *folded.inputs[1:]))


def _linear(node: Node) -> Linear:
    """The traits of a layer."""
    assert node.op.traits.linear is not None
    return node.op.traits.linear


def _per_weight(node: Node, values: Array, shape: tuple[int, ...]) -> Array:
    """Values per input channel, laid against a layer's weights."""
    if _linear(node).depthwise:
        return np.repeat(values, shape[3] // len(values))
    groups = getattr(node.op, "groups", 1)
    rows = np.repeat(values.reshape(groups, -1), shape[0] // groups, axis=0)
    return rows.reshape(shape[0], *(1 for _ in shape[2:]), shape[-1])
