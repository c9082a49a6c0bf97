"""Every method of quantization on trained networks: what it keeps, what it takes to compute, and what the chip pays.

    python -m benchmarks.methods                   what methods.json does not hold yet; writes methods.md (needs the data folder and Pillow)
    python -m benchmarks.methods kws denoiser      likewise, of some networks; the page has all that is measured
    python -m benchmarks.methods --page            writes the page alone

Methods are those of the registries: a new file enters the table by itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import attention_methods
from benchmarks.kept import Kept, Record
from benchmarks.lowbit import scored
from benchmarks.measure import measure
from benchmarks.models import DATA
from benchmarks.networks import NETWORKS, ORDER, RIGHT, SAME, SIGNAL
from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.formats import PLAIN
from edgeq.ir import Graph
from edgeq.lower import lower
from edgeq.quantize import Options, Ranges, calibrate, decide, quantize, quantize_decided
from edgeq.quantize.allocate import ALLOCATORS
from edgeq.quantize.plan import with_weights
from edgeq.quantize.prepare import PREPARATIONS
from edgeq.quantize.ranges import METHODS
from edgeq.quantize.refine import REFINEMENTS
from edgeq.quantize.rounding import ROUNDINGS
from edgeq.quantize.sensitivity import MEASURES
from edgeq.quantize.split import SPLITS, split
from edgeq.quantize.weight_scales import SCALES
from edgeq.target import load

HERE = Path(__file__).parent
TARGETS = ("cortex-m4", "riscv")
LIMITS = {  # samples of calibration, and inputs that judge
    "kws": (24, 200), "resnet8": (16, 100), "vww": (16, 60), "robust_vision": (24, 100), "ad": (256, 200), "denoiser": (120, 200),
    "transformer": (24, 100),
}  # fmt: skip
MIXED = "mixed"  # bits by layer
MEANINGS = {RIGHT: "right answers", SAME: "classes that are float's", ORDER: "pairs of inputs that have float's order"}
LEAST = 0.2  # dB by which a method must differ from another one to count
ONLY_ON_A_GRID = "stored"  # the scale rule for weights that somebody quantized before: elsewhere it is mse
Choice = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """Methods that stand for each other.

    Attributes:
        choices: method -> what is given for it; the first one is what the others are compared with.
        bits: of weights that they are tried with.
    """

    name: str
    choices: Mapping[str, Choice]
    bits: tuple[str, ...]


def _chosen(key: str, registry: Mapping[str, Any], first: str) -> dict[str, Choice]:
    """Every method of a registry, `first` before the others."""
    return {name: {key: name} for name in sorted(registry, key=lambda n: (n != first, n)) if name != ONLY_ON_A_GRID}


FAMILIES = (
    Family("ranges", _chosen("method", METHODS, "minmax"), ("int8",)),
    Family("prepare", {"none": {"equalize": False}, **_chosen("equalization", PREPARATIONS, "")}, ("int8", "int4")),
    Family("weight scales", _chosen("weight_scale", SCALES, "max"), ("int4",)),
    Family("split", {"none": {"split": "none"}, **_chosen("split", SPLITS, "")}, ("int4",)),
    Family("rounding", _chosen("rounding", ROUNDINGS, "nearest"), ("int4", "int2")),
    Family("refine", {"none": {"refine": "none"}, **_chosen("refine", REFINEMENTS, "")}, ("int4", "int2")),
    Family("sensitivity", _chosen("sensitivity", MEASURES, "layer-error"), (MIXED,)),
    Family("allocate", _chosen("allocate", ALLOCATORS, "equal-loss"), (MIXED,)),
)
USUAL = {
    "method": Options().method, "equalize": True, "equalization": Options().equalization, "weight_scale": Options().weight_scale,
    "rounding": Options().rounding, "refine": Options().refine, "split": Options().split, "sensitivity": "output-noise",
    "allocate": "integer-program",
}  # fmt: skip


def key(name: str, bits: str, choice: Choice) -> str:
    """What a measurement is filed under; the defaults are not in it, so that families share it."""
    return " ".join([f"{name}/{bits}", *(f"{k}={v}" for k, v in choice.items() if USUAL[k] != v)])


def trials() -> Iterator[tuple[str, Choice]]:
    """Bits and choices, each once."""
    seen = set()
    for family in FAMILIES:
        for bits in family.bits:
            for choice in family.choices.values():
                if key("", bits, choice) not in seen:
                    seen.add(key("", bits, choice))
                    yield bits, choice


class Bench:
    """A network and its calibrations, which methods share."""

    def __init__(self, name: str) -> None:
        self.name, self.network = name, NETWORKS[name]().limited(*LIMITS[name])
        self.samples = {self.network.graph.given[0]: self.network.samples}
        self._ranges: dict[tuple[str, str], tuple[Graph, Ranges]] = {}

    def quantized(self, bits: str, choice: Choice) -> tuple[Graph, float]:
        """A graph, and the seconds of processor time that its method took; calibration is not counted."""
        if bits == MIXED:
            budget = {"flash": (self.flash("int2") + self.flash("int4")) // 2}
            start = time.process_time()
            made = api.quantize(self.network.graph, self.samples, recipe="few-bits", budget=budget, **choice).graph  # diagnosis included
            return made, time.process_time() - start
        options = replace(Options(weights=bits, keep_small=False), **choice)  # every layer in the format
        own = (options.method, options.split)
        if own not in self._ranges:
            graph = self.network.graph if options.split == Options().split else split(self.network.graph, options.split)
            self._ranges[own] = graph, calibrate(graph, self.samples, options.method)
        start = time.process_time()
        made = quantize(*self._ranges[own], options)
        return made, time.process_time() - start

    def coarse(self, bits: str, layers: Mapping[str, str] | None = None) -> Graph:
        """A graph that costs what others of as many bits do, made at once; `layers` have bits of their own."""
        few = {n: a[:8] for n, a in self.samples.items()}
        decision = decide(self.network.graph, few, Options(weights=bits, rounding="nearest", equalize=False, keep_small=False))
        return quantize_decided(replace(decision, precision=with_weights(decision.precision, layers or {})))

    def flash(self, bits: str) -> int:
        """Bytes of all tables on the host."""
        return sum(t.nbytes for c in lower(self.coarse(bits), load("host")).calls for t in c.stored.values())

    def record(self, bits: str, choice: Choice) -> Record:
        """What a method keeps, or why it is refused."""
        try:
            graph, seconds = self.quantized(bits, choice)
        except EdgeqError as e:
            return {"refused": f"{e.what} ({e.why})" if e.why else e.what}
        found = {**scored(self.network, graph), "seconds": round(seconds, 2)}
        return {**found, "layers": chosen_bits(graph)} if bits == MIXED else found


def chosen_bits(graph: Graph) -> dict[str, str]:
    """Layer -> the format of its weights, where that is another than int8."""
    weights = {n.name: graph.tensors[n.inputs[p]].format for n in graph.nodes for p in n.op.traits.weights}
    return {name: str(f) for name, f in weights.items() if f != PLAIN}


def scores(name: str, kept: Kept, mixed: bool) -> None:
    """Measure what methods keep of a network, as far as it is not known: those that choose bits by layer, or the others."""
    missing = [(b, c) for b, c in trials() if (b == MIXED) == mixed and key(name, b, c) not in kept.records]
    bench = Bench(name) if missing else None
    for bits, choice in missing:
        assert bench is not None
        own = key(name, bits, choice)
        print(f"{own}: {kept.get(own, lambda b=bits, c=choice: bench.record(b, c))}", flush=True)  # type: ignore[misc]


def prices(name: str, kept: Kept, known: Mapping[str, Record]) -> None:
    """Measure what the chip pays, as far as it is not known."""
    mixed = [k for k in kept.records if k.startswith(f"{name}/{MIXED}") and "layers" in kept.records[k]]
    keys = [f"{way}@{t}" for way in (*(f"{name}/{b}" for b in ("int8", "int4", "int2")), *mixed) for t in TARGETS]
    missing = [k for k in keys if k not in kept.records and k not in known]
    bench = Bench(name) if missing else None
    for own in missing:
        assert bench is not None
        way, target = own.split("@")
        layers = kept.records[way].get("layers") if way in mixed else None
        graph = bench.coarse("int8" if way in mixed else way.split("/")[1], layers)
        kept.get(own, lambda g=graph, t=target: cost(name, g, t))  # type: ignore[misc]
        print(f"{own}: {kept.records[own]}", flush=True)


def of_bits() -> dict[str, Record]:
    """What the table of bits knows of what the chip pays."""
    found = {}
    for k, record in Kept(HERE / "lowbit.json").records.items():
        way, _, target = k.rpartition("/")
        if target in TARGETS:
            found[f"{way}@{target}"] = record
    return found


def cost(name: str, graph: Graph, target: str) -> Record:
    """Bytes of weights and of arena, and instructions of an inference."""
    row = measure(name, graph, target, "zig", "s")
    return {"instructions": row.instructions, "weights": row.weights, "arena": row.arena}


def cell(record: Record | None, kind: str) -> str:
    """What a method keeps and takes."""
    if record is None or "refused" in record:
        return "" if record is None else "refused"
    score = "" if kind == SIGNAL else f"{record['score']:.1f}, "
    return f"{score}{record['db']:.1f} dB, {record['seconds']:.1f} s"


def verdict(family: Family, method: str, bits: str, names: list[str], records: Mapping[str, Record]) -> str:
    """A method beside the first of its family, over networks that both were measured on."""
    first = next(iter(family.choices))
    if method == first:
        return "what the others are compared with"
    pairs = [[records.get(key(n, bits, family.choices[m]), {}).get("db") for m in (method, first)] for n in names]
    gains = np.array([a - b for a, b in pairs if a is not None and b is not None])
    if not len(gains):
        return ""
    better, worse = int((gains > LEAST).sum()), int((gains < -LEAST).sum())
    if not better:
        return f"**does not pay**: {gains.mean():+.1f} dB, better on none of {len(gains)}"
    return f"{gains.mean():+.1f} dB, better on {better} of {len(gains)}, worse on {worse}"


HEAD = """# Methods of quantization

Every method of the registries on trained networks, the other choices as they are by default. A cell holds what is kept on inputs that
calibration has not seen, in %%, signal over noise of the output, and seconds of processor time without calibration. `mixed`: weights in
8 to 2 bits by layer (`--recipe few-bits`), in as much flash as 3 bits throughout would take. The last column has the mean gain in
signal over noise beside the first method of the family; less than %.1f dB either way does not count. A method that is refused on a
network says so on the command line, with the reason. Calibration and judges are few (`LIMITS` of the script), so that a point of right
answers says little: signal over noise is steadier. Regenerate with `python -m benchmarks.methods`, which goes on where it was interrupted.

Percentages: %s.

"""


def table(family: Family, names: list[str], records: Mapping[str, Record]) -> Iterator[str]:
    """The lines of a family."""
    yield f"## {family.name.capitalize()}\n"
    if not any(key(n, b, c) in records for n in names for b in family.bits for c in family.choices.values()):
        yield "Not measured yet.\n"
        return
    yield f"| method | weights | {' | '.join(names)} | beside `{next(iter(family.choices))}` |"
    yield f"|---|---|{'--:|' * len(names)}---|"
    for bits in family.bits:
        for method, choice in family.choices.items():
            found = [records.get(key(n, bits, choice)) for n in names]
            cells = [cell(r, records[f"{n}/int8"]["kind"]) for n, r in zip(names, found, strict=True)]
            yield f"| `{method}` | {bits} | {' | '.join(cells)} | {verdict(family, method, bits, names, records)} |"
    yield ""


def costs(names: list[str], records: Mapping[str, Record]) -> Iterator[str]:
    """The lines of what the chip pays: weights of one kind cost the same whatever the method, bits by layer depend on it."""
    yield "## What the chip pays\n"
    yield "Bytes of weights and tables, of the arena, instructions of an inference. Methods with as many bits cost the same.\n"
    yield f"| network | weights | {' | '.join(TARGETS)} |"
    yield f"|---|---|{'---|' * len(TARGETS)}"
    mixed = {key("", MIXED, c)[1:]: c for f in FAMILIES if MIXED in f.bits for c in f.choices.values()}
    for name in names:
        for bits in ("int8", "int4", "int2", *mixed):
            found = [records.get(f"{name}/{bits}@{t}") for t in TARGETS]
            if all(found):
                cells = [f"{f['weights']:,}, {f['arena']:,}, {f['instructions']:,}" for f in found if f]
                yield f"| {name} | {bits} | {' | '.join(cells)} |"
    yield ""


def page(records: Mapping[str, Record]) -> str:
    """The whole page."""
    names = [n for n in NETWORKS if f"{n}/int8" in records]
    kinds = "; ".join(f"{MEANINGS[records[f'{n}/int8']['kind']]} ({n})" for n in names if records[f"{n}/int8"]["kind"] != SIGNAL)
    lines = [line for family in FAMILIES for line in table(family, names, records)] + attention_methods.known()
    lines += costs(names, records)
    asked = [n for n in NETWORKS if any(key(n, b, c) not in records for b, c in trials())]
    more = f"\nNot measured, or not wholly: {', '.join(asked)}.\n" if asked else ""
    return HEAD % (LEAST, kinds) + "\n".join(lines) + more


def main() -> None:
    wanted = [a for a in sys.argv[1:] if a != "--page"] or list(NETWORKS)
    if unknown := [w for w in wanted if w not in NETWORKS]:
        sys.exit(f"no network {unknown[0]}: choose of {', '.join(NETWORKS)}")
    kept = Kept(HERE / "methods.json")
    if "--page" not in sys.argv:
        if not DATA.is_dir():
            sys.exit("no data folder (set EDGEQ_DATA)")
        for mixed in (False, True):
            for name in wanted:
                scores(name, kept, mixed)
        for name in wanted:
            prices(name, kept, of_bits())
    (HERE / "methods.md").write_text(page({**of_bits(), **kept.records}))


if __name__ == "__main__":
    main()
