"""The scale of an LSTM's cell state in int16: what saturates is weighed against what rounding loses."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy import special

from edgeq.ir import Array, Graph, Node
from edgeq.ops.lstm import Lstm

STEPS = 512  # of time that a scale is tried on
FINER = 6  # how many powers of two finer than what covers everything seen
LIMIT = 32767.0


def cell_scale(peak: float) -> float:
    """The power of two that covers a cell state in int16: 2^-15 to 1."""
    return 2.0 ** -min(15, max(0, math.floor(math.log2(LIMIT / max(peak, 2.0**-1)))))


def inputs(graph: Graph) -> set[str]:
    """The activations that `fitted` wants to see."""
    names = {n for node in graph.nodes if isinstance(node.op, Lstm) for n in (node.inputs[0], *node.inputs[4:])}
    return {n for n in names if not graph.tensors[n].is_constant}


def fitted(graph: Graph, seen: Mapping[str, Array], peaks: Mapping[str, float]) -> dict[str, float]:
    """Cell state -> the scale with which its layer's h, carried along in float but for c, stays closest to what it is.

    A cell that adds up without end may reach hundreds, where tanh has long been 1, while others live below 1.

    Args:
        seen: values of `inputs`, ``[V, ...]``; of a graph with states those of consecutive inferences.
        peaks: largest magnitude per cell state.
    """
    return {n.outputs[1]: _best(n, graph, seen, peaks[n.outputs[1]]) for n in graph.nodes if isinstance(n.op, Lstm)}


def _best(node: Node, graph: Graph, seen: Mapping[str, Array], peak: float) -> float:
    constants = {n: graph.tensors[n].data for n in node.inputs}
    x, h, c = (seen[n] if (d := constants[n]) is None else d[None] for n in (node.inputs[0], *node.inputs[4:]))
    w, r, b = (np.asarray(constants[n]) for n in node.inputs[1:4])
    if node.inputs[4] in dict(graph.states):  # one long sequence
        x, h, c = x[:STEPS].reshape(1, -1, x.shape[-1]), h[:1], c[:1]
    else:
        x = x[: max(1, STEPS // x.shape[1])]
    assert isinstance(node.op, Lstm)
    order = range(x.shape[1])[:: -1 if node.op.reverse else 1]
    sums = x @ w.T + b
    start = tuple(np.broadcast_to(a.reshape(len(a), -1), (len(x), r.shape[1])) for a in (h, c))

    def run(scale: float | None) -> Array:
        state, cell = start
        rows = []
        for t in order:
            i, f, g, o = np.split(sums[:, t] + state @ r.T, 4, axis=-1)
            cell = special.expit(f) * cell + special.expit(i) * np.tanh(g)
            if scale is not None:
                cell = np.clip(np.rint(cell / scale), -LIMIT - 1, LIMIT) * scale
            state = special.expit(o) * np.tanh(cell)
            rows.append(state)
        return np.stack(rows)

    real, widest = run(None), cell_scale(peak)
    scales = [s for k in range(FINER + 1) if (s := widest * 2.0**-k) >= 2.0**-15]
    errors = [float(((run(s) - real) ** 2).sum()) for s in scales]
    return scales[errors.index(min(errors))]
