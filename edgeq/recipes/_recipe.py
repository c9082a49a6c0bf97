"""What a recipe is given, what it makes, and what recipes share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph
from edgeq.passes.multiply_out import multiply_out
from edgeq.quantize import enough, storage
from edgeq.quantize.allocate import Goal
from edgeq.quantize.calibrate import Ranges
from edgeq.quantize.changes import changes, halved
from edgeq.quantize.decide import Decision, decide, describe
from edgeq.quantize.halving import check_peak, check_range, describe_half, to_half
from edgeq.quantize.plan import Options, Precision, with_weights
from edgeq.quantize.refine import NONE
from edgeq.quantize.split import split
from edgeq.quantize.storage import HALF, Storage
from edgeq.quantize.walk import quantize_decided

Progress = Callable[[str, int, int], None]  # stage, done, total
SUMS = ("f32", "f16")
KEEP, MULTIPLY = FACTORS = ("keep", "multiply")
FACTORED = (
    "Factors of the matrices of recurrent layers (tensor trains, low ranks): keep, or multiply them out. "
    "Default: what takes fewer multiplications; recipe auto considers flash, too."
)


def option(*flags: str, help: str, metavar: str = "", rate: bool = False) -> Any:
    """A field of a recipe that is an option, None where nobody gives it.

    Args:
        flags: of the command line; the field's name where there are none.
        rate: it is a probability, written as 0.5% or 0.005.
    """
    return field(default=None, metadata={"flags": flags, "help": help, "metavar": metavar, "rate": rate})


@dataclass(frozen=True, eq=False)
class Job:
    """A float graph to be quantized.

    Attributes:
        samples: ``[V, *shape]`` by input; None where there are none.
        options: of quantization, None where nobody gave any.
        written: what somebody wrote down about precision.
        goal: a budget.
        labels: the classes of so many samples, int64 ``[V]``; raises where there are none.
        progress: called with (stage, done, total).
    """

    graph: Graph
    samples: Mapping[str, Array] | None
    options: Options | None = None
    written: Precision | None = None
    goal: Goal | None = None
    labels: Callable[[int], Array] | None = None
    progress: Progress | None = None

    def stage(self, name: str) -> Callable[[int, int], None] | None:
        """The progress of one stage."""
        return None if self.progress is None else functools.partial(self.progress, name)

    @property
    def has_nodes(self) -> bool:
        """Whether it is written down what nodes are computed in."""
        return self.written is not None and bool(self.written.nodes)

    @property
    def given(self) -> Mapping[str, Array]:
        """The samples, which were asked for."""
        assert self.samples is not None
        return self.samples


@dataclass(frozen=True, eq=False)
class Made:
    """What a recipe made.

    Attributes:
        graph: quantized.
        real: its float meaning, with the same names.
        precision: the text of precision.toml.
        options: for the record.
        exponents: of equalized tensors.
        more: further sections of the record.
    """

    graph: Graph
    real: Graph
    precision: str
    options: Mapping[str, str]
    exponents: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A way to quantize a float model; fields are options."""

    summary: ClassVar[str]  # what it makes, for the help
    calibrated: ClassVar[bool] = True  # samples decide what it makes
    budgeted: ClassVar[bool] = False  # it chooses within a budget
    instead: ClassVar[int] = 0  # its place among recipes that are asked where another keeps too little; 0: it is not asked

    def form(self, graph: Graph) -> Graph:
        """The float graph that is quantized: factors of recurrent layers are multiplied out, which int8 everywhere cannot keep."""
        return multiply_out(graph, always=True)

    def needs_samples(self, job: Job) -> bool:
        """Whether it cannot do without calibration samples."""
        return True

    def base(self, graph: Graph) -> Storage:
        """What nodes are computed in where a precision file with [nodes] does not say it."""
        return storage.uniform(graph, storage.INT8)

    def quantize(self, job: Job) -> Made:
        """Quantize.

        Raises:
            EdgeqError: the graph, the samples or what is written down do not allow it.
        """
        raise NotImplementedError


def formed(graph: Graph, factors: str | None) -> Graph:
    """The graph with factors of recurrent layers kept, or multiplied out; None: multiplied out where that saves work.

    Raises:
        EdgeqError: there is no such choice.
    """
    if factors not in (None, *FACTORS):
        raise EdgeqError(f"unknown choice '{factors}' for factors", fix=f"choose one of {', '.join(FACTORS)}")
    return graph if factors == KEEP else multiply_out(graph, always=factors == MULTIPLY)


def divided(form: Graph, options: Options | None) -> Graph:
    """A recipe's form of a float graph, its channels split where the options say it.

    Raises:
        EdgeqError: no channels can be split.
    """
    return form if options is None or options.split == NONE else split(form, options.split)


def check_sums(sums: str | None, job: Job) -> None:
    """Refuse what is no choice of sums.

    Raises:
        EdgeqError: likewise.
    """
    if sums is not None and sums not in SUMS:
        raise EdgeqError(f"unknown accumulation '{sums}'", fix=f"choose one of {', '.join(SUMS)}")
    if sums is not None and job.has_nodes:
        fix = f"leave --accumulate out; [nodes] of a precision file may say {storage.SUMS}"
        raise EdgeqError("in what layers sum up is written in the precision file", where=job.graph.name, fix=fix)


def without_weights(name: str, job: Job) -> Options:
    """The job's options, which leave it to the recipe how weights are stored.

    Raises:
        EdgeqError: they do not.
    """
    options = job.options or Options()
    if options.weights != "int8":
        fix = f"leave --weights out, or add --recipe int8 for {options.weights} in every layer"
        raise EdgeqError(f"recipe {name} chooses the format of weights", where=job.graph.name, fix=fix)
    return options


def decided(
    job: Job, name: str, *, graph: Graph | None = None, data: Ranges | None = None, options: Options | None = None,
    nodes: Storage | None = None, extra: Mapping[str, str] | None = None, weights: Mapping[str, str] | None = None,
) -> Made:  # fmt: skip
    """Quantize by a decision.

    Args:
        name: of the recipe, noted where there is more than int8.
        graph: other than the job's.
        data: the samples' calibration, where it is known.
        options: other than the job's.
        nodes: what nodes are computed in.
        extra: for the record.
        weights: layer -> the format of its weights, other than the options'.
    """
    real = graph or job.graph
    enough.advise(real, len(next(iter(job.given.values()))))
    decision = decide(real, data or job.given, options or job.options, job.written, job.stage("calibrate"), nodes)
    if weights:
        decision = replace(decision, precision=with_weights(decision.precision, weights))
    halves = [n for n, t in decision.precision.tensors.items() if t.dtype is DType.FLOAT16]
    for tensor, seen in ((n, decision.ranges.observers[n]) for n in halves if n in decision.ranges.observers):
        check_peak(real, tensor, max(-seen.low, seen.high))
    result = quantize_decided(decision, job.stage("quantize"))
    record = {"law": decision.precision.law, "method": decision.precision.method, **layer_options(decision)}
    if decision.precision.nodes or weights:
        record = {"recipe": name, **(extra or {}), **record}
    exponents = {n: t.exponents for n, t in decision.precision.tensors.items() if t.exponents}
    changed = [] if job.written is None else changes(job.written, decision)
    return Made(result, real, describe(decision), record, exponents, {"changed": changed} if changed else {})


def half_made(job: Job, sums: str | None = None) -> Made:
    """A float graph in half precision; samples, where there are any, are looked through for values that overflow.

    Raises:
        EdgeqError: an operator has no half meaning, a value overflows, or options are given that half precision does not have.
    """
    if job.options is not None:
        given = ", ".join(job.options.flags) or "options of quantization"
        raise EdgeqError("half precision has no scales to choose", where=job.graph.name, fix=f"leave {given} out")
    graph = storage.with_sums(job.graph, {n.name: HALF for n in job.graph.nodes}, sums)[0]
    result = to_half(graph)
    if job.samples is not None:
        check_range(graph, job.samples, job.stage("range"))
    changed = [] if job.written is None else halved(job.written)
    record = {"recipe": "fp16", **({"accumulate": sums} if sums else {})}
    return Made(result, graph, describe_half(result), record, more={"changed": changed} if changed else {})


def layer_options(decision: Decision) -> dict[str, str]:
    """How weights were stored, as far as all layers agree."""
    layers = decision.precision.layers.values()
    found = {key: {str(getattr(layer, key)).lower() for layer in layers} for key in ("weight_scale", "rounding", "bias_correction")}
    if decision.options.per_tensor:
        found["per_tensor"] = {"true"}
    if decision.options.refine != NONE:
        found["refine"] = {decision.options.refine}
    if decision.precision.split != NONE:
        found["split"] = {decision.precision.split}
    if decision.options.clamp:
        found["clamp"] = {"true"}
    found["equalized_tensors"] = {str(sum(bool(t.exponents) for t in decision.precision.tensors.values()))}
    return {key: next(iter(values)) if len(values) == 1 else "differs by layer" for key, values in found.items() if values}
