"""What outputs keep on samples that calibration has not seen: some calibrate, others judge. Ranges, weights and biases are all fitted to
samples; on those they keep more than on others, 10 to 20 dB more where samples are few."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.quantize.floating import evaluate_float
from edgeq.recipes._others import kept
from edgeq.recipes._recipe import Job, Recipe

MOST = 512  # samples: more of them show what others hold, and are not asked
LOG = logging.getLogger("edgeq")


def unseen(job: Job, recipe: Recipe) -> dict[str, float]:
    """The least SQNR of an output in dB on half of the samples, where the other half has calibrated; empty of one sample, of many, and
    where half of them does not do.

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
    return {"calibrated": count - count // 2, "judged": count // 2, "sqnr_db": round(found, 2)}


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
