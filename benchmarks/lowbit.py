"""What weights in few bits cost and keep, from calibration alone.

    python -m benchmarks.lowbit                    what lowbit.json does not hold yet; writes lowbit.md (needs the data folder and Pillow)
    python -m benchmarks.lowbit kws ad             likewise, of some networks; the page has those that are measured
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.kept import Kept, Record
from benchmarks.measure import measure
from benchmarks.models import DATA
from benchmarks.networks import NETWORKS, Network
from edgeq import api
from edgeq.ir import Graph
from edgeq.quantize import Options

HERE = Path(__file__).parent
TARGETS = ("cortex-m4", "cortex-m55", "riscv", "riscv-v")
USUAL = "int8"
WAYS = {USUAL: Options(), "int4": Options(weights="int4")}
HEAD = """# Weights in few bits

Quantized from calibration samples alone, with the defaults; judged by inputs that calibration has not seen. `right`: right answers in %;
`same class`: classes that are float's, in % (there are no labels); `same order`: pairs of inputs whose reconstruction errors lie in
float's order, in %. Anomaly detection reads noisy speech here, for there are no sounds of machines. Flash of weights, arena and
instructions beside int8's, Zig, -Os; each build computes what the simulator computes, byte for byte.
Regenerate with `python -m benchmarks.lowbit`.

"""


def scored(network: Network, graph: Graph) -> Record:
    """What a quantized graph keeps."""
    real, found = network.real, network.outputs(graph)
    noise = float(((found - real) ** 2).sum())
    db = float(10 * np.log10((real**2).sum() / noise))
    return {"kind": network.score, "score": network.judge(found, real), "float": network.judge(real, real), "db": db}


def keys(name: str) -> list[str]:
    """What is measured of a network."""
    return [f"{name}/{way}{end}" for way in WAYS for end in ("", *(f"/{t}" for t in TARGETS))]


def measured(name: str, kept: Kept) -> None:
    """Measure what is not known of a network."""
    missing = [key for key in keys(name) if key not in kept.records]
    if not missing:
        return
    network, made = NETWORKS[name](), dict[str, Graph]()
    for key in missing:
        _, way, *target = key.split("/")
        if way not in made:
            made[way] = api.quantize(network.graph, {network.graph.given[0]: network.samples}, options=WAYS[way]).graph
        kept.get(key, lambda g=made[way], t=target: _cost(name, g, t[0]) if t else scored(network, g))  # type: ignore[misc]
        print(f"{key}: {kept.records[key]}", flush=True)


def _cost(name: str, graph: Graph, target: str) -> Record:
    row = measure(name, graph, target, "zig", "s")
    return {"instructions": row.instructions, "weights": row.weights, "arena": row.arena}


def line(name: str, way: str, found: dict[str, Record]) -> str:
    """One line of the table."""
    cells = []
    for target in TARGETS:
        usual, own = found[f"{name}/{USUAL}/{target}"], found[f"{name}/{way}/{target}"]
        flash, arena, work = (own[k] / usual[k] for k in ("weights", "arena", "instructions"))
        cells.append("" if way == USUAL else f"{flash:.2f}, {arena:.2f}, {100 * (work - 1):+.1f} %")
    judged = found[f"{name}/{way}"]
    score, real = judged["score"], judged["float"]
    start = f"| {name} | {judged['kind']} | `{way}` | {real:.2f} | {score:.2f} | {score - real:+.2f} | {judged['db']:.1f} |"
    return f"{start} {' | '.join(cells)} |"


def main() -> None:
    if not DATA.is_dir():
        sys.exit("no data folder (set EDGEQ_DATA)")
    wanted = sys.argv[1:] or list(NETWORKS)
    if unknown := [w for w in wanted if w not in NETWORKS]:
        sys.exit(f"no network {unknown[0]}: choose of {', '.join(NETWORKS)}")
    kept = Kept(HERE / "lowbit.json")
    for name in wanted:
        measured(name, kept)
    known = [n for n in NETWORKS if all(key in kept.records for key in keys(n))]
    costs = [f"{t}: flash, arena, instructions" for t in TARGETS]
    titles = ["network", "judged by", "weights", "float", "stored", "gained", "dB", *costs]
    head = f"| {' | '.join(titles)} |\n|---|---|---|--:|--:|--:|--:|{'---|' * len(TARGETS)}\n"
    lines = [line(name, way, kept.records) for name in known for way in WAYS]
    missing = [n for n in NETWORKS if n not in known]
    more = f"\nNot measured yet: {', '.join(missing)}.\n" if missing else ""
    (HERE / "lowbit.md").write_text(HEAD + head + "\n".join(lines) + "\n" + more)


if __name__ == "__main__":
    main()
