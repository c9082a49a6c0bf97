"""What other recipes make of a network that one keeps badly: measured on the same samples, so that the diagnosis names what helps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgeq import reals
from edgeq.errors import EdgeqError
from edgeq.formats import PLAIN
from edgeq.ir import Array, Graph
from edgeq.quantize.allocate import NOTHING
from edgeq.quantize.diagnosis import PERFECT
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.noise import GOOD
from edgeq.quantize.plan import Options
from edgeq.quantize.rounding import NEAREST
from edgeq.recipes._recipe import Job, Made, Recipe
from edgeq.simulate import real_array, simulate

SAMPLES = 64  # that recipes are fitted to and judged by
GAIN = 6.0  # dB that another recipe must keep more to be named


@dataclass(frozen=True)
class Other:
    """What a recipe keeps, and bytes of its constants."""

    recipe: str
    sqnr_db: float
    weights: int

    def record(self) -> dict[str, str | float]:
        """As JSON."""
        return {"recipe": self.recipe, "sqnr_db": round(self.sqnr_db, 2), "weights": self.weights}


def others(name: str, job: Job, made: Made, known: Mapping[str, type[Recipe]]) -> list[Other]:
    """The recipe's own figures, and those of others in the order in which they are asked, up to the first that keeps `GOOD` dB.

    Empty where the recipe itself keeps that. Weights are rounded to nearest, which takes seconds where the recipe took minutes.

    Args:
        name: of the recipe that made it.
        known: recipe by name.
    """
    samples = _some(job.graph, job.given)
    outputs = evaluate_float(made.real, {n: samples[n] for n in made.real.given})
    real = {n: outputs[n] for n in made.real.results}
    label = f"{name} with weights in {job.options.weights}" if _few(job) and job.options else name
    found = [Other(label, kept(made.graph, samples, real), size(made.graph))]
    if found[0].sqnr_db >= GOOD:
        return []
    for other in _asked(name, job, known):
        options = Options(rounding=NEAREST) if known[other].calibrated else None
        try:
            graph = known[other]().quantize(Job(job.graph, samples, options)).graph
        except EdgeqError:  # it has no such meaning
            continue
        found.append(Other(other, kept(graph, samples, real), size(graph)))
        if found[-1].sqnr_db >= GOOD:
            break
    return found


def _asked(name: str, job: Job, known: Mapping[str, type[Recipe]]) -> list[str]:
    """Recipes that may do better, each once: one that comes to the same as a later one is left out."""
    rank = 0 if _few(job) else known[name].instead
    able = sorted((n for n, r in known.items() if r.instead > rank), key=lambda n: known[n].instead)
    bases = {n: known[n]().base(job.graph) for n in able}
    return [n for i, n in enumerate(able) if all(bases[n] != bases[m] for m in able[i + 1 :])]


def _few(job: Job) -> bool:
    """Whether weights were asked for in fewer bits than usual."""
    return job.options is not None and job.options.weights != Options().weights


def _some(graph: Graph, samples: Mapping[str, Array]) -> dict[str, Array]:
    count = len(next(iter(samples.values())))
    step = 1 if graph.states else max(1, count // SAMPLES)
    return {n: a[::step][:SAMPLES] for n, a in samples.items()}


def kept(graph: Graph, samples: Mapping[str, Array], real: Mapping[str, Array]) -> float:
    """Signal over noise of a quantized graph's outputs, the least of them; `NOTHING` where one is infinite or no number.

    Args:
        real: the float graph's outputs.
    """
    outputs, least = simulate(graph, {n: samples[n] for n in graph.given}).outputs, PERFECT
    for name, wanted in real.items():
        error = float(((real_array(outputs[name], graph.type(name)) - wanted.astype("f8")) ** 2).sum())
        signal = float((wanted.astype("f8") ** 2).sum())
        if not math.isfinite(error):
            return NOTHING
        if error > 0:
            least = min(least, 10 * float(reals.log10(signal / error)) if signal > 0 else 0.0)
    return least


def size(graph: Graph) -> int:
    """Bytes of constants as their formats store them."""
    found = 0
    for t in graph.tensors.values():
        if t.data is not None:
            found += t.data.nbytes if t.format == PLAIN else -(-t.format.stored_bits(1, t.data.size) // 8)
    return found


def advice(found: list[Other]) -> str:
    """What is said of `others`: the one that helps, or that none does; nothing where none was asked."""
    if not found:
        return ""
    own, rest = found[0], found[1:]
    best = max(rest, key=lambda o: o.sqnr_db, default=own)
    if best.sqnr_db < own.sqnr_db + GAIN:
        tried = f": {', '.join(f'{o.recipe} {o.sqnr_db:.1f} dB' for o in rest)}" if rest else ""
        return f"no other recipe keeps much more than {own.recipe}'s {own.sqnr_db:.1f} dB{tried}"
    more = f"in {best.weights / max(1, own.weights):.2g} times the flash of weights"
    return f"{own.recipe} keeps {own.sqnr_db:.1f} dB, {best.recipe} {best.sqnr_db:.1f} dB {more}: --recipe {best.recipe}"
