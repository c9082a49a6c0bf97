"""What batch norms saw in training, asked of inputs that a network makes itself (Cai et al., ZeroQ, CVPR 2020).

A bias that a batch norm was folded into knows the mean and the deviation that its layer's sums had in training (`Tensor.norm`). Inputs on
which they have them again are as large and as varied as those of training, layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgeq.ir import Array, Graph, Tensor
from edgeq.ops.clamp import Clamp
from edgeq.ops.linear import NO_CLAMP
from edgeq.passes.rewrite import Names

LEAST = 1e-3  # of a layer's largest deviation: a channel with less says nothing


def bared(graph: Graph) -> tuple[Graph, dict[str, Array]]:
    """The float graph with the clamps of layers that know a batch norm as nodes of their own, which computes the same; and what their
    sums had in training: tensor -> mean and deviation, float64 ``[2, C]``."""
    names, tensors, nodes, found = Names(graph), dict(graph.tensors), [], {}
    for node in graph.nodes:
        norm = tensors[node.inputs[2]].norm if node.op.traits.linear is not None and len(node.inputs) > 2 else None
        output = node.outputs[0]
        if norm is None or norm.shape != (2, graph.type(output).shape[-1]):
            nodes.append(node)
            continue
        layer: Any = node.op
        if layer.clamp == NO_CLAMP:
            found[output] = norm.astype(np.float64)
            nodes.append(node)
            continue
        sums = names.fresh(f"{output}.sums")
        found[sums], tensors[sums] = norm.astype(np.float64), Tensor(sums, graph.type(output))
        nodes += [
            replace(node, op=replace(layer, clamp=NO_CLAMP), outputs=(sums,)),
            replace(node, name=f"{node.name}.clamp", op=Clamp(layer.clamp), inputs=(sums,), outputs=(output,)),
        ]
    return replace(graph, nodes=tuple(nodes), tensors=tensors), found


def gradients(values: Mapping[str, Array], norms: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
    """How far sums are from what training saw, and the gradient of that with regard to them, for each sample as for all.

    For each channel the squares of what mean and deviation miss, over the square of the deviation of training; the mean over the channels
    of a layer, and over layers.

    Args:
        values: activations ``[V, *shape]``.
    """
    loss, found = 0.0, {}
    for name, (mean, deviation) in norms.items():
        y = values[name].astype(np.float64)
        rows = y.reshape(-1, y.shape[-1])
        known = deviation > LEAST * max(float(deviation.max()), 1e-30)
        unit = np.where(known, deviation, 1.0)
        middle, spread = rows.mean(0), np.maximum(rows.std(0), 1e-12)
        away, wide = np.where(known, (middle - mean) / unit, 0.0), np.where(known, (spread - deviation) / unit, 0.0)
        part = 1 / (max(1, int(known.sum())) * len(norms))
        loss += part * float((away**2 + wide**2).sum())
        slope = away / unit + wide / unit * (rows - middle) / spread
        found[name] = (2 * part * len(y) / len(rows) * slope).reshape(y.shape)
    return loss, found
