"""An LSTM's cell state: int16 where that is fine enough, else int32."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgeq import matrices, reals
from edgeq.ir import Array, DType, Graph, Node
from edgeq.ops.lstm import Lstm
from edgeq.ops.recurrent import WIDE

STEPS = 512  # of time that a scale is tried on
KEPT = 50.0  # dB: what h must keep for int16
LIMIT = 32767.0


def cell_scale(peak: float) -> float:
    """The power of two that covers a cell state in int16: 2^-15 to 1."""
    return 2.0 ** -min(15, max(0, math.frexp(LIMIT / max(peak, 2.0**-1))[1] - 1))


def cell_dtype(scale: float) -> DType:
    """int32 for a scale of 2^-16, int16 for coarser ones."""
    return DType.INT32 if scale == 2.0**-WIDE else DType.INT16


def inputs(graph: Graph) -> set[str]:
    """The activations that `fitted` wants to see."""
    names = {n for node in graph.nodes if isinstance(node.op, Lstm) for n in (node.inputs[0], *node.inputs[4:])}
    return {n for n in names if not graph.tensors[n].is_constant}


def fitted(graph: Graph, seen: Mapping[str, Array], peaks: Mapping[str, float]) -> dict[str, float]:
    """Cell state -> its scale: of int16 where that loses next to nothing, else of int32.

    Twice what was seen has room. A cell that adds up to hundreds leaves int16 with steps so coarse that it stands still
    where it should fall.

    Args:
        seen: values of `inputs`, ``[V, ...]``; of a graph with states those of consecutive inferences.
        peaks: largest magnitude per cell state.
    """
    scales = {}
    for node in graph.nodes:
        if isinstance(node.op, Lstm):
            c = node.outputs[1]
            narrow = cell_scale(2 * peaks[c])
            scales[c] = narrow if _fits(node, graph, seen, narrow) else 2.0**-WIDE
    return scales


def _fits(node: Node, graph: Graph, seen: Mapping[str, Array], scale: float) -> bool:
    """Whether h, carried along in float but for c in int16, stays within `KEPT` of what it is."""
    constants = {n: graph.tensors[n].data for n in node.inputs}
    x, h, c = (seen[n] if (d := constants[n]) is None else d[None] for n in (node.inputs[0], *node.inputs[4:]))
    w, r, b = (np.asarray(constants[n]) for n in node.inputs[1:4])
    if node.inputs[4] in dict(graph.states):  # one long sequence
        x, h, c = x[:STEPS].reshape(1, -1, x.shape[-1]), h[:1], c[:1]
    else:
        x = x[: max(1, STEPS // x.shape[1])]
    assert isinstance(node.op, Lstm)
    order = range(x.shape[1])[:: -1 if node.op.reverse else 1]
    sums, own = matrices.times(x, matrices.kept(w)) + b, matrices.kept(r)
    start = tuple(np.broadcast_to(a.reshape(len(a), -1), (len(x), r.shape[1])) for a in (h, c))

    def run(stored: bool) -> Array:
        state, cell = start
        rows = []
        for t in order:
            both = (sums[:, t] + matrices.times(state, own)).astype(np.float32)
            i, f, _, o = np.split(reals.sigmoid(both), 4, axis=-1)
            cell = f * cell + i * reals.tanh(np.split(both, 4, axis=-1)[2])
            if stored:
                cell = np.clip(np.rint(cell / scale), -LIMIT - 1, LIMIT) * scale
            state = o * reals.tanh(cell)
            rows.append(state)
        return np.stack(rows)

    real = run(False)
    return float(((run(True) - real) ** 2).sum()) <= 10 ** (-KEPT / 10) * float((real**2).sum())
