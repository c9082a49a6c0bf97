"""The largest eigenvalue of the curvature times the weights' rounding error (Dong et al., HAWQ, ICCV 2019), by power iteration.

The curvature is Gauss and Newton's, of the outputs' squared error about the float outputs, so that no labels are needed: a step of the
iteration moves the weights along a direction and takes the outputs' change back through the gradients of the operators, where these have
some (`gradients`); recurrent layers and attention are refused by name. Outputs of a softmax are judged before it. The rounding of
activations is not in it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node
from edgeq.matrices import matmul
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.gradients import backward, logits
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.storage import Unit

TURNS = 6  # of the iteration
STEP = 2.0**-7  # by which weights move, of their norm
VECTORS = 32  # samples that see it
FIX = "choose another sensitivity, such as trace"


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """Predicted of the weights alone, of all outputs together.

    Raises:
        EdgeqError: the graph has states, the layer is no plain product, or an operator behind it has no gradient.
    """
    total = 0.0
    for node, _, w in probe.weights(unit) if storage in probe.limits else ():
        if node.op.traits.linear is None or probe.graph.states:
            why = "the network has states" if probe.graph.states else f"{node.op.kind()} is no plain product"
            raise EdgeqError("the largest eigenvalue is not known here", where=node.name, why=why, fix=FIX)
        total += probe.once(("eigenvalue", node.name), lambda n=node: _largest(probe, n)) * probe.error(node, w, storage)  # type: ignore[misc]
    return probe.alike(total)


def _largest(probe: Probe, node: Node) -> float:
    """The largest eigenvalue over the outputs' power."""
    graph, name = probe.graph, node.inputs[1]
    samples = {n: a[:VECTORS] for n, a in probe.samples.items()}
    seen = probe.once(("activations", VECTORS), lambda: evaluate_float(graph, samples, steps=True))
    w = np.asarray(graph.tensors[name].data, np.float64)
    length = STEP * max(float(np.sqrt((w**2).sum())), 1e-30)
    way = np.random.default_rng(zlib.crc32(name.encode())).normal(0, 1, w.shape)
    ends = [logits(graph, n) for n in graph.results]
    power = {n: max(float((seen[n].astype(np.float64) ** 2).sum()), 1e-30) for n in ends}
    found = 0.0
    for _ in range(TURNS):
        way /= max(float(np.sqrt((way**2).sum())), 1e-300)
        moved = replace(graph.tensors[name], data=(w + length * way).astype(np.float32))
        outputs = evaluate_float(replace(graph, tensors={**graph.tensors, name: moved}), samples, steps=True)
        change = {n: (outputs[n].astype(np.float64) - seen[n]) / length for n in ends}
        found = sum(float((c**2).sum()) / power[n] for n, c in change.items())
        if found <= 0:
            break
        way = _taken_back(graph, node, seen, {n: c / power[n] for n, c in change.items()})
    return found


def _taken_back(graph: Graph, node: Node, seen: Mapping[str, Array], change: Mapping[str, Array]) -> Array:
    """The gradient with regard to a layer's weights of the outputs' product with their change."""
    y = node.outputs[0]
    at = next(i for i, n in enumerate(graph.nodes) if n.name == node.name)
    rest = replace(graph, nodes=graph.nodes[at + 1 :], inputs=(y,))
    g = np.zeros(seen[y].shape)
    for output, c in change.items():
        try:
            g += c if output == y else backward(rest, seen, output, c)[y]
        except EdgeqError as e:
            raise EdgeqError(e.what, where=e.where, why=e.why, fix=FIX) from e
    low, high = getattr(node.op, "clamp", (-np.inf, np.inf))
    g = np.where((seen[y] > low) & (seen[y] < high), g, 0.0)
    linear, x, w = node.op.traits.linear, seen[node.inputs[0]], np.asarray(graph.tensors[node.inputs[1]].data)
    assert linear is not None
    view = linear.view(node.op, x.shape[1:], w.shape, g.shape[1:])
    groups, outputs, _ = view.matrix(w).shape
    rows = g.reshape(-1, groups, outputs).transpose(1, 2, 0)
    return np.asarray(view.weights(matmul(rows, view.rows(x).astype(np.float64))), np.float64)
