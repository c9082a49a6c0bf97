"""Which channels of activations become several before a float graph is quantized: one method, one file, found by scan.

A method is a module with ``shares(weights, more)``. `weights` is float64 ``[R, C]``: all weights that read C channels. It returns, for each
of the ``C + more`` channels after the split, the index of the channel it came from (int64) and its share of that channel's weights
(float64). The graph computes the same function as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node, Tensor
from edgeq.quantize.channels import Group, columns, is_depthwise, output_axis, scalable
from edgeq.quantize.methods import Methods

PART = 0.02  # of a tensor's channels, which are added

Float = NDArray[np.float64]
Shares = tuple[NDArray[np.int64], Float]
SPLITS: Mapping[str, Callable[[Float, int], Shares]] = Methods(__name__, __path__, "shares")


def split(graph: Graph, method: str) -> Graph:
    """The float graph with channels split wherever layers that are neither depthwise nor grouped make and read them.

    Raises:
        EdgeqError: no tensor is made and read so.
    """
    found = graph
    for group in scalable(graph):
        found = _split(found, group, method) or found
    if found is graph:
        why = "between two layers that are neither depthwise nor grouped no tensor is made, read and passed on by channels alone"
        raise EdgeqError("no channels of this network can be split", where=graph.name, why=why, fix="leave --split out")
    return found


def _split(graph: Graph, group: Group, method: str) -> Graph | None:
    """With one group's channels split; None where that cannot be."""
    count = graph.type(group.tensors[0]).shape[-1]
    layers = {n.name: n for n in graph.nodes}
    producers, consumers = ([layers[n.name] for n in nodes] for nodes in (group.producers, group.consumers))
    bound = [n for n in (*producers, *consumers) if is_depthwise(n) or getattr(n.op, "groups", 1) > 1]  # channels of a group stay in it
    if bound or any(_data(graph, n, 1).shape[-1] != count for n in consumers):
        return None
    rows = np.concatenate([columns(n, _data(graph, n, 1), count).reshape(-1, count) for n in consumers])
    source, part = SPLITS[method](rows, math.ceil(PART * count))
    changed = {n.inputs[1]: (_data(graph, n, 1)[..., source] * part).astype(np.float32) for n in consumers}
    for n in producers:
        weights = changed.get(n.inputs[1], _data(graph, n, 1))
        changed |= {n.inputs[1]: np.take(weights, source, output_axis(n)), n.inputs[2]: _data(graph, n, 2)[source]}
    return _inferred(graph, changed)


def _data(graph: Graph, node: Node, at: int) -> Array:
    found = graph.tensors[node.inputs[at]].data
    assert found is not None
    return found


def _inferred(graph: Graph, changed: Mapping[str, Array]) -> Graph | None:
    """With other constants, and the shapes that follow from them; None where an operator does not take these."""
    tensors: dict[str, Tensor] = dict(graph.tensors)
    for name, data in changed.items():
        tensors[name] = replace(tensors[name], type=replace(tensors[name].type, shape=data.shape), data=data)
    try:
        for node in graph.nodes:
            types = node.op.infer_all(*(tensors[n].type for n in node.inputs))
            tensors |= {n: replace(tensors[n], type=t) for n, t in zip(node.outputs, types, strict=True)}
    except EdgeqError:
        return None
    same = all(tensors[n].type.shape == graph.type(n).shape for n in (*graph.inputs, *graph.outputs))
    return replace(graph, tensors=tensors) if same else None
