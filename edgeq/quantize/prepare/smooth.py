"""Smoothing (Xiao et al., SmoothQuant, ICML 2023; the diagonal that AffineQuant, Ma et al., ICLR 2024, can fold): channels of activations
that reach far are made smaller, as far as the weights that read them can take it.

With x the largest magnitude of a channel and w that of the weights that read it, the channel is divided by ``sqrt(x / w)``. A depthwise
layer's weights have a scale for each channel and take anything: they do not count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeq import reals
from edgeq.ir import Graph
from edgeq.quantize.channels import MAX_EXPONENT, PER_OCTAVE, Float, Group, columns, is_depthwise
from edgeq.quantize.prepare import Work

STRENGTH = 0.5  # of the two magnitudes' ratio


def exponents(work: Work) -> dict[str, NDArray[np.int64]]:
    """See `prepare`. A channel that is always 0, or that nothing reads, keeps the factor of the largest."""
    result: dict[str, NDArray[np.int64]] = {}
    for group in work.groups:
        reach = np.max([np.maximum(work.seen[n].high, -work.seen[n].low) for n in group.tensors], axis=0)
        read = _read(work.graph, group, len(reach))
        alive = (reach > 0) & (read > 0)
        if not alive.any():
            continue
        ratio = np.where(alive, reach / np.where(alive, read, 1.0), 1.0)
        wanted = np.where(alive, STRENGTH * PER_OCTAVE * reals.log2(ratio), -np.inf)
        chosen = np.rint(np.clip(wanted - wanted.max(), -MAX_EXPONENT, 0)).astype(np.int64) * alive
        if chosen.any():
            result |= dict.fromkeys(group.tensors, chosen)
    return result


def _read(graph: Graph, group: Group, channels: int) -> Float:
    """Per channel, the largest magnitude of the weights that read it, ``[C]``; 1 where only depthwise layers do."""
    found = np.zeros(channels)
    dense = [n for n in group.consumers if not is_depthwise(n)]
    for node in dense:
        w = graph.tensors[node.inputs[1]].data
        assert w is not None
        found = np.maximum(found, np.abs(columns(node, w, channels)).max(axis=(0, 1)))
    return found if dense else np.ones(channels)
