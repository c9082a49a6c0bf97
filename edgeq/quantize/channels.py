"""Channels of activations scaled before quantization: which may be, and the float graph with scaled ones.

A channel divided by a power of two where it is produced and multiplied by it where it is consumed
leaves the network's meaning exactly as it was. Weights have a scale per output channel, so the
producer pays nothing, and a depthwise consumer neither; a dense consumer's weights spread wider.
How the factors are chosen: `prepare`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeq import reals
from edgeq.components import Groups
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node, Tensor
from edgeq.quantize.constraints import activations

Float = NDArray[np.float64]
PER_OCTAVE = 4  # a channel is divided by 2^(e / PER_OCTAVE)
MAX_EXPONENT = 4 * PER_OCTAVE


def powers(exponents: Array) -> Float:
    """The factors that exponents stand for."""
    return reals.quarters(exponents)


@dataclass(frozen=True)
class Group:
    """Tensors whose channels have the same factors, with the layers that produce and consume them."""

    tensors: tuple[str, ...]
    producers: tuple[Node, ...]
    consumers: tuple[Node, ...]


def equalized(node: Node) -> bool:
    """Whether a node is a layer whose channels may be scaled."""
    return node.op.traits.linear is not None and node.op.traits.linear.equalized


def is_depthwise(node: Node) -> bool:
    """Whether a layer reads one input channel per output channel."""
    return node.op.traits.linear is not None and node.op.traits.linear.depthwise


def output_axis(node: Node) -> int:
    """The axis of a layer's weights over its output channels."""
    assert node.op.traits.linear is not None
    return node.op.traits.linear.axis


def _homogeneous(node: Node) -> bool:
    """Whether scaling a channel's input scales its output: no clamp but at zero."""
    low, high = getattr(node.op, "clamp", (-math.inf, math.inf))
    return low in (0.0, -math.inf) and high == math.inf


def _passes(graph: Graph, node: Node) -> bool:
    """Whether the node keeps the channels of the last axis apart and commutes with scaling them."""
    op, out = node.op, graph.type(node.outputs[0]).shape
    if any(graph.tensors[n].is_constant or graph.type(n).shape[-1:] != out[-1:] for n in node.inputs):
        return False
    shapes = [graph.type(n).shape for n in node.inputs]
    tied = op.traits.channels is not None and op.traits.channels(op, shapes, out)
    return op.traits.homogeneous and bool(tied) and _homogeneous(node)


def scalable(graph: Graph) -> list[Group]:
    """Groups of tensors that may be scaled together."""
    tied = Groups(activations(graph))
    for node in graph.nodes:
        if _passes(graph, node):
            for n in node.inputs:
                tied.join(n, node.outputs[0])
    members = tied.members()
    group = {n: i for i, names in enumerate(members) for n in names}
    uses: dict[str, int] = {}
    for node in graph.nodes:
        for n in node.inputs:
            uses[n] = uses.get(n, 0) + 1
    pinned = {group[n] for n in (*graph.inputs, *graph.outputs)}
    producers: dict[int, list[Node]] = {}
    consumers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        if _passes(graph, node):
            continue
        layer = equalized(node) and all(uses[n] == 1 and graph.tensors[n].is_constant for n in node.inputs[1:])
        out = group[node.outputs[0]]
        producers.setdefault(out, []).append(node)
        if not (layer and _homogeneous(node)):
            pinned.add(out)
        for n in node.inputs:
            if n in group:
                consumers.setdefault(group[n], []).append(node)
                if not layer or getattr(node.op, "groups", 1) > 1:
                    pinned.add(group[n])
    return [
        Group(tuple(m), tuple(producers[g]), tuple(consumers[g]))
        for g, m in enumerate(members)
        if g not in pinned and g in producers and g in consumers and len({graph.type(n).shape[-1] for n in m}) == 1
    ]


def columns(node: Node, w: Array, channels: int) -> Float:
    """Weights as ``[O, taps, C]`` over the consumed tensor's channels (depthwise: ``[m, taps, C]``)."""
    if is_depthwise(node):
        return w.reshape(w.shape[1] * w.shape[2], channels, -1).transpose(2, 0, 1).astype(np.float64)
    return w.reshape(w.shape[0], -1, channels).astype(np.float64)


def check(graph: Graph, exponents: Mapping[str, NDArray[np.int64]]) -> None:
    """Refuse exponents that would change the network's meaning.

    Raises:
        EdgeqError: a tensor cannot be scaled, or tensors that must be scaled alike are not.
    """
    free = set(exponents)
    for group in scalable(graph):
        found = {tuple(exponents[n].tolist()) if n in exponents else () for n in group.tensors}
        if len(found) > 1:
            raise EdgeqError("tensors must be equalized alike", where=group.tensors[0], why=", ".join(group.tensors))
        free -= set(group.tensors)
    if free:
        raise EdgeqError("the channels of this tensor cannot be scaled", where=min(free), fix="delete its key equalize")


def outside(graph: Graph, names: Iterable[str], nodes: AbstractSet[str]) -> set[str]:
    """Those of `names` whose channels cannot be scaled by `nodes` alone: another node makes or reads them, or a tensor tied to them."""
    tied = {n: group.tensors for group in scalable(graph) for n in group.tensors}
    met = {n for node in graph.nodes if node.name not in nodes for n in (*node.inputs, *node.outputs)}
    return {n for n in names if met.intersection(tied.get(n, (n,)))}


def _scaled(node: Node, graph: Graph, divide: Array | None, multiply: Array | None) -> list[Tensor]:
    """The node's weights and bias with output channels divided and input channels multiplied by powers of two."""
    w, b = (graph.tensors[n].data for n in node.inputs[1:3])
    assert w is not None and b is not None
    axis = output_axis(node)
    if multiply is not None:
        factors = powers(multiply)
        w = w * (np.repeat(factors, w.shape[3] // len(factors)) if is_depthwise(node) else factors)
    if divide is not None:
        shape = [1] * w.ndim
        shape[axis] = -1
        w, b = w / powers(divide).reshape(shape), b / powers(divide)
    names = node.inputs[1:3]
    return [replace(graph.tensors[n], data=a.astype(np.float32)) for n, a in zip(names, (w, b), strict=True)]


def apply(graph: Graph, factors: Mapping[str, NDArray[np.int64]]) -> Graph:
    """The float graph with scaled channels: the same outputs, bit for bit but for subnormals."""
    changed: list[Tensor] = []
    for node in graph.nodes:
        if equalized(node):
            divide, multiply = factors.get(node.outputs[0]), factors.get(node.inputs[0])
            if divide is not None or multiply is not None:
                changed += _scaled(node, graph, divide, multiply)
    return graph.with_nodes(graph.nodes, changed) if changed else graph
