"""Gradients of the outputs with regard to weights, for measures that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Node
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.gradients import backward, logits
from edgeq.quantize.sensitivity import Probe

VECTORS = 32  # samples that see it
FIX = "choose another sensitivity, such as trace"


def gradient(probe: Probe, name: str, of: Callable[[Array], Array], node: Node, position: int) -> Array:
    """Of a number with regard to a layer's weights, output channels first, as `Probe.weights` gives them, float64.

    Args:
        name: of the measure.
        of: an output's values ``[V, n]``, before a softmax, to the number's gradient with regard to them; outputs add up.

    Raises:
        EdgeqError: the graph has states, the layer is no plain product, or an operator has no gradient.
    """
    if node.op.traits.linear is None:
        raise EdgeqError(f"sensitivity {name} is not known here", where=node.name, why=f"{node.op.kind()} is no plain product", fix=FIX)
    found = probe.once((name, "gradients"), lambda: _found(probe, name, of))
    data = probe.graph.tensors[node.inputs[position]].data
    assert data is not None
    return np.moveaxis(found.get(node.inputs[position], np.zeros(data.shape)), node.op.traits.linear.axis, 0)


def _found(probe: Probe, name: str, of: Callable[[Array], Array]) -> Mapping[str, Array]:
    """Of all plain products, by constant."""
    graph = probe.graph
    if graph.states:
        raise EdgeqError(f"sensitivity {name} is not known here", where=graph.name, why="the network has states", fix=FIX)
    seen = evaluate_float(graph, {n: a[:VECTORS] for n, a in probe.samples.items()}, steps=True)
    seen = {**{n: a[:VECTORS] for n, a in probe.samples.items()}, **seen}
    layers = {n.name for n in graph.nodes if n.op.traits.linear is not None}
    total: dict[str, Array] = {}
    for output in dict.fromkeys(logits(graph, n) for n in graph.results):
        values = seen[output].astype(np.float64)
        g = of(values.reshape(len(values), -1)).reshape(values.shape)
        try:
            found = backward(graph, seen, output, g, layers)
        except EdgeqError as e:
            raise EdgeqError(e.what, where=e.where, why=e.why, fix=FIX) from e
        for constant, part in found.items():
            total[constant] = total[constant] + part if constant in total else part
    return total
