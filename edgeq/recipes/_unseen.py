"""What outputs keep on samples that calibration has not seen: some calibrate, others judge. Ranges, weights and biases are all fitted to
samples; on those they keep more than on others, 10 to 20 dB more where samples are few."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.quantize.diagnosis import diagnose
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.noise import GOOD, reason
from edgeq.recipes._others import kept
from edgeq.recipes._recipe import Job, Recipe

MOST = 512  # samples: more of them show what others hold, and are not asked
LOG = logging.getLogger("edgeq")


def unseen(job: Job, recipe: Recipe) -> dict[str, Any]:
    """The least SQNR of an output in dB on half of the samples, where the other half has calibrated, and the reason if it is poor; empty of
    one sample, of many, and where half of them does not do.

    Every other sample calibrates, of a stream the first half. All else is as it was: another rounding could keep more of others.
    """
    count = len(next(iter(job.given.values())))
    if not 2 <= count <= MOST:
        return {}
    fitted, judged = _halves(job.graph, job.given)
    try:
        with _silence():
            made = recipe.quantize(Job(job.graph, fitted, job.options, job.written))
    except EdgeqError:  # a method that needs more samples, say: all of them have done
        return {}
    outputs = evaluate_float(made.real, {n: judged[n] for n in made.real.given})
    found = kept(made.graph, judged, {n: outputs[n] for n in made.real.results})
    record = {"calibrated": count - count // 2, "judged": count // 2, "sqnr_db": round(found, 2)}
    why = reason(diagnose(made.real, made.graph, judged, None, made.exponents), made.graph.results) if found < GOOD else ""
    return {**record, "reason": why} if why else record


def _halves(graph: Graph, samples: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    middle = -(-len(next(iter(samples.values()))) // 2)
    first, second = (slice(middle), slice(middle, None)) if graph.states else (slice(0, None, 2), slice(1, None, 2))
    return {n: a[first] for n, a in samples.items()}, {n: a[second] for n, a in samples.items()}


@contextmanager
def _silence() -> Iterator[None]:
    """Without what was said of all samples already."""
    level = LOG.level
    LOG.setLevel(logging.ERROR)
    try:
        yield
    finally:
        LOG.setLevel(level)
