"""Gains and biases tuned through the whole graph without gradients, the simulator as the judge (after QZO, Feng et al., 2025).

Layer after layer all channels move at once, up or down by chance; a move that brings the outputs nearer to the float graph's is kept, its
opposite is tried where it does not. What holds is decided by samples that took no part.
"""

from __future__ import annotations

import zlib

import numpy as np

from edgeq.ir import Graph
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.refine import Work, changed

ROUNDS = 3
STEPS = (0.04, 0.02, 0.01)  # of gains, per round; of biases the same part of an output's step of 1/16 of its range
VECTORS = 64  # samples that judge each move; as many decide at the end


def refined(work: Work) -> Graph:
    """The graph after `ROUNDS` over all layers, or as it was where the samples that took no part do not come nearer."""
    count = len(next(iter(work.samples.values())))
    if count < 2:
        return work.graph
    half = min(VECTORS, count // 2)
    parts = (np.arange(half), np.arange(half) + half) if work.graph.states else (np.arange(half) * 2, np.arange(half) * 2 + 1)
    tuned, judged = (Work(work.real, work.graph, {n: a[at] for n, a in work.samples.items()}) for at in parts)
    wanted, others = (evaluate_float(w.real, {n: w.samples[n] for n in w.real.given}) for w in (tuned, judged))
    wanted, others = ({n: found[n] for n in work.graph.results} for found in (wanted, others))
    best, graph = tuned.loss(work.graph, wanted), work.graph
    for step in STEPS[:ROUNDS]:
        for node in work.tunable():
            rng = np.random.default_rng(zlib.crc32(f"{node.name} {step}".encode()))
            t, channels = graph.type(node.outputs[0]), graph.type(node.inputs[2]).size
            gains, shifts = rng.choice([-1.0, 1.0], (2, channels))
            for sign in (1.0, -1.0):
                tried = changed(graph, node, 1 + sign * step * gains, sign * step * 16 * t.scale * shifts)
                loss = tuned.loss(tried, wanted)
                if loss < best:
                    best, graph = loss, tried
                    break
    return graph if judged.loss(graph, others) < judged.loss(work.graph, others) else work.graph
