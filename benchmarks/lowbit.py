"""What weights in few bits cost and keep, from calibration alone.

python -m benchmarks.lowbit                    what lowbit.json does not hold yet; writes lowbit.md (needs the data folder and Pillow)
python -m benchmarks.lowbit kws ad             likewise, of some networks; the page has the rows that are measured
python -m benchmarks.lowbit kws/few-bits       likewise, of some rows
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np

from benchmarks.kept import Kept, Record
from benchmarks.measure import measure
from benchmarks.models import DATA
from benchmarks.networks import NETWORKS, Network
from edgeq import api
from edgeq.ir import Graph
from edgeq.lower import lower
from edgeq.quantize import Options
from edgeq.target import load

HERE = Path(__file__).parent
TARGETS = ("cortex-m4", "cortex-m55", "riscv", "riscv-v")
WHOLE = "cortex-m4"  # whose code is counted, too
USUAL = "int8"
MIXED, PART = "few-bits", 3 / 8  # bits by layer, in so much of int8's flash of weights: three bits of each on average
WAYS = (USUAL, "int4", "codebook", MIXED)
HEAD = """# Weights in few bits

Quantized from calibration samples alone, with the defaults; judged by inputs that calibration has not seen. `right`: right answers in %;
`same class`: classes that are float's, in % (there are no labels); `same order`: pairs of inputs whose reconstruction errors lie in
float's order, in %. Anomaly detection reads noisy speech here, for there are no sounds of machines. `weights`: bytes of weights alone
beside int8's; `program`: everything in flash on Cortex-M4, code too. By target, tables (weights, biases, multipliers, shifts, functions),
arena and instructions beside int8's, Zig, -Os; each build computes what the simulator computes, byte for byte. `codebook`: sixteen
integers of each layer's own, which no kernel multiplies as they are stored; `few-bits`: 8 to 2 bits by layer with the least noise, three on
average.
Regenerate with `python -m benchmarks.lowbit`.

"""


def scored(network: Network, graph: Graph) -> Record:
    """What a quantized graph keeps."""
    real, found = network.real, network.outputs(graph)
    noise = float(((found - real) ** 2).sum())
    db = float(10 * np.log10((real**2).sum() / noise))
    alone = sum(size for name, size in tables(graph) if "weights" in name)
    return {"kind": network.score, "score": network.judge(found, real), "float": network.judge(real, real), "db": db, "alone": alone}


def tables(graph: Graph) -> list[tuple[str, int]]:
    """The constants of all layers as the host stores them: name and bytes."""
    return [(name, table.nbytes) for c in lower(graph, load("host")).calls for name, table in c.stored.items()]


def keys(name: str, way: str) -> list[str]:
    """What is measured of a network in a way."""
    return [f"{name}/{way}{end}" for end in ("", *(f"/{t}" for t in TARGETS))]


def quantized(network: Network, way: str) -> Graph:
    samples = {network.graph.given[0]: network.samples}
    if way != MIXED:
        return api.quantize(network.graph, samples, options=Options(weights=way)).graph
    usual = api.quantize(network.graph, samples, options=Options(rounding="nearest")).graph
    flash = int(sum(PART * size if "weights" in name else size for name, size in tables(usual)))
    return api.quantize(network.graph, samples, recipe=MIXED, aim="noise", budget={"flash": flash}).graph


def measured(name: str, ways: Collection[str], kept: Kept) -> None:
    """Measure what is not known of a network."""
    missing = [key for way in ways for key in keys(name, way) if key not in kept.records]
    if not missing:
        return
    network, made = NETWORKS[name](), dict[str, Graph]()
    for key in missing:
        _, way, *target = key.split("/")
        if way not in made:
            made[way] = quantized(network, way)
        kept.get(key, lambda g=made[way], t=target: _cost(name, g, t[0]) if t else scored(network, g))  # type: ignore[misc]
        print(f"{key}: {kept.records[key]}", flush=True)


def _cost(name: str, graph: Graph, target: str) -> Record:
    row = measure(name, graph, target, "zig", "s")
    return {"instructions": row.instructions, "weights": row.weights, "arena": row.arena, "code": row.code}


def line(name: str, way: str, found: dict[str, Record]) -> str:
    """One line of the table."""
    cells = []
    for target in TARGETS:
        usual, own = found[f"{name}/{USUAL}/{target}"], found[f"{name}/{way}/{target}"]
        flash, arena, work = (own[k] / usual[k] for k in ("weights", "arena", "instructions"))
        cells.append("" if way == USUAL else f"{flash:.2f}, {arena:.2f}, {100 * (work - 1):+.1f} %")
    judged, whole = found[f"{name}/{way}"], [_program(found[f"{name}/{w}/{WHOLE}"]) for w in (USUAL, way)]
    parts = [] if way == USUAL else [judged["alone"] / found[f"{name}/{USUAL}"]["alone"], whole[1] / whole[0]]
    score, real = judged["score"], judged["float"]
    start = f"| {name} | {judged['kind']} | `{way}` | {real:.2f} | {score:.2f} | {score - real:+.2f} | {judged['db']:.1f} |"
    return f"{start} {' | '.join([f'{p:.2f}' for p in parts] or ['', ''])} | {' | '.join(cells)} |"


def _program(cost: Record) -> int:
    return int(cost["weights"] + cost["code"])


def main() -> None:
    if not DATA.is_dir():
        sys.exit("no data folder (set EDGEQ_DATA)")
    rows = {f"{name}/{way}" for name in NETWORKS for way in WAYS}
    wanted = sys.argv[1:] or list(NETWORKS)
    if unknown := [w for w in wanted if w not in NETWORKS and w not in rows]:
        sys.exit(f"no network {unknown[0]}: choose of {', '.join(NETWORKS)}, or a row such as kws/{MIXED}")
    kept = Kept(HERE / "lowbit.json")
    for one in wanted:
        name, _, way = one.partition("/")
        measured(name, [way] if way else WAYS, kept)
    known = [(n, way) for n in NETWORKS for way in WAYS if all(key in kept.records for w in (USUAL, way) for key in keys(n, w))]
    costs = [f"{t}: tables, arena, instructions" for t in TARGETS]
    titles = ["network", "judged by", "stored as", "float", "stored", "gained", "dB", "weights", "program", *costs]
    head = f"| {' | '.join(titles)} |\n|---|---|---|{'--:|' * 6}{'---|' * len(TARGETS)}\n"
    lines = [line(name, way, kept.records) for name, way in known]
    missing = [f"{n}/{way}" for n in NETWORKS for way in WAYS if (n, way) not in known]
    more = f"\nNot measured yet: {', '.join(missing)}.\n" if missing else ""
    (HERE / "lowbit.md").write_text(HEAD + head + "\n".join(lines) + "\n" + more)


if __name__ == "__main__":
    main()
