"""Blocks of layers that depend on each other, by the entropy of their outputs, share what a bit costs (Q-VLM, Wang et al., NeurIPS 2024).

An error that a layer makes is passed on where its outputs are spread widely: Q-VLM takes their entropy for that, and searches for the
bits of layers together whose entropies are large. Here such a block is a run of units, in the graph's order, none of whose entropies
lies below the mean of all. Each of its units is ranked by the mean entropy of the block, times what rounding changes of its weights.
"""

from __future__ import annotations

import itertools

import numpy as np

from edgeq import reals
from edgeq.ir import Array
from edgeq.quantize.floating import stream
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.storage import Unit, units
from edgeq.simulate import fit_inputs

RANKS = True
BINS = 64
VECTORS = 64  # samples that are looked at


def entropy(values: Array) -> float:
    """Of values as a histogram between their extremes, in bits."""
    counts = np.histogram(values, BINS)[0]
    parts = counts[counts > 0] / counts.sum()
    return float(-(parts * reals.log2(parts)).sum())


def blocks(entropies: list[float]) -> list[float]:
    """Of each unit in order, the mean entropy of its block; its own where it is in none."""
    mean, found = sum(entropies) / max(1, len(entropies)), list[float]()
    for high, run in itertools.groupby(entropies, lambda e: e >= mean):
        own = list(run)
        found += [sum(own) / len(own)] * len(own) if high else own
    return found


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """The block's entropy times the square error of rounding, over the square of the weights: a rank, not a noise."""
    of = probe.once("entropy blocks", lambda: _of_units(probe))
    rounded = sum(probe.error(node, w, storage) for node, _, w in probe.weights(unit)) if storage in probe.limits else 0.0
    power = sum(float((w**2).sum()) for _, _, w in probe.weights(unit))
    return probe.alike(of.get(unit.name, 0.0) * rounded / max(power, 1e-30))


def _of_units(probe: Probe) -> dict[str, float]:
    """The block's entropy of every unit with weights."""
    samples = {n: a[:VECTORS] for n, a in probe.samples.items()}
    last = {u.computing[-1].outputs[0]: u.name for u in units(probe.graph) if any(True for _ in probe.weights(u))}
    seen: dict[str, list[Array]] = {n: [] for n in last}
    if set(samples) != set(probe.graph.inputs):
        samples = fit_inputs(probe.graph, samples)

    def visit(name: str, a: Array) -> None:
        if name in seen:
            seen[name].append(a.ravel())

    stream(probe.graph, samples, visit)
    found = blocks([entropy(np.concatenate(parts)) for parts in seen.values()])
    return dict(zip(last.values(), found, strict=True))
