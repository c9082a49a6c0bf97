"""Cross-layer equalization (Nagel et al., ICCV 2019): weights before and after a channel get one range. It needs no data.

With r1 the largest weight that makes channel c and r2 the largest that reads it, the channel is divided by ``sqrt(r1 / r2)``: both
become ``sqrt(r1 r2)``. Several layers that make or read a channel count by the largest of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeq import reals
from edgeq.ir import Graph, Node
from edgeq.quantize.channels import MAX_EXPONENT, PER_OCTAVE, Float, columns, output_axis
from edgeq.quantize.prepare import Work


def _largest(graph: Graph, nodes: Sequence[Node], channels: int, made: bool) -> Float:
    """Per channel, the largest magnitude of the weights that make it or read it, ``[C]``."""
    found = np.zeros(channels)
    for node in nodes:
        w = graph.tensors[node.inputs[1]].data
        assert w is not None
        rows = np.moveaxis(w, output_axis(node), -1).reshape(-1, channels) if made else columns(node, w, channels).reshape(-1, channels)
        found = np.maximum(found, np.abs(rows).max(axis=0))
    return found


def exponents(work: Work) -> dict[str, NDArray[np.int64]]:
    """See `prepare`. A channel that nothing makes or reads keeps the factor of the largest."""
    result: dict[str, NDArray[np.int64]] = {}
    for group in work.groups:
        channels = work.graph.type(group.tensors[0]).shape[-1]
        before, after = (_largest(work.graph, nodes, channels, made) for nodes, made in ((group.producers, True), (group.consumers, False)))
        alive = (before > 0) & (after > 0)
        if not alive.any():
            continue
        wanted = np.where(alive, PER_OCTAVE / 2 * reals.log2(np.where(alive, before / np.where(alive, after, 1.0), 1.0)), -np.inf)
        chosen = np.rint(np.clip(wanted - wanted.max(), -MAX_EXPONENT, 0)).astype(np.int64) * alive
        if chosen.any():
            result |= dict.fromkeys(group.tensors, chosen)
    return result
