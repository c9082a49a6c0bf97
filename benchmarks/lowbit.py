"""What weights in few bits cost and keep, from calibration alone.

    python -m benchmarks.lowbit                    what lowbit.json does not hold yet; writes lowbit.md (needs the data folder and Pillow)
    python -m benchmarks.lowbit kws ad             likewise, of some networks
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
    return {"score": network.judge(found, real), "float": network.judge(real, real), "db": float(10 * np.log10((real**2).sum() / noise))}


def rows(name: str, kept: Kept) -> list[str]:
    """One line of the table per way to store the weights."""
    made: dict[str, Graph] = {}
    networks: list[Network] = []

    def network() -> Network:
        networks[:] = networks or [NETWORKS[name]()]
        return networks[0]

    def graph(way: str) -> Graph:
        if way not in made:
            made[way] = api.quantize(network().graph, {network().graph.inputs[0]: network().samples}, options=WAYS[way]).graph
        return made[way]

    def cost(way: str, target: str) -> Record:
        row = measure(name, graph(way), target, "zig", "s")
        return {"instructions": row.instructions, "weights": row.weights, "arena": row.arena}

    lines = []
    for way in WAYS:
        judged = kept.get(f"{name}/{way}", lambda way=way: {"kind": network().score, **scored(network(), graph(way))})  # type: ignore[misc]
        cells = []
        for target in TARGETS:
            usual, own = (kept.get(f"{name}/{w}/{target}", lambda w=w, t=target: cost(w, t)) for w in (USUAL, way))  # type: ignore[misc]
            flash, arena, work = (own[k] / usual[k] for k in ("weights", "arena", "instructions"))
            cells.append("" if way == USUAL else f"{flash:.2f}, {arena:.2f}, {100 * (work - 1):+.1f} %")
        score, real = judged["score"], judged["float"]
        lines.append(f"| {name} | {judged['kind']} | `{way}` | {real:.2f} | {score:.2f} | {score - real:+.2f} | {judged['db']:.1f} | "
                     f"{' | '.join(cells)} |")  # fmt: skip
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    if not DATA.is_dir():
        sys.exit("no data folder (set EDGEQ_DATA)")
    wanted = sys.argv[1:] or list(NETWORKS)
    if unknown := [w for w in wanted if w not in NETWORKS]:
        sys.exit(f"no network {unknown[0]}: choose of {', '.join(NETWORKS)}")
    kept = Kept(HERE / "lowbit.json")
    found = [line for name in wanted for line in rows(name, kept)]
    if wanted == list(NETWORKS):
        costs = [f"{t}: flash, arena, instructions" for t in TARGETS]
        titles = ["network", "judged by", "weights", "float", "stored", "gained", "dB", *costs]
        head = f"| {' | '.join(titles)} |\n|---|---|---|--:|--:|--:|--:|{'---|' * len(TARGETS)}\n"
        (HERE / "lowbit.md").write_text(HEAD + head + "\n".join(found) + "\n")


if __name__ == "__main__":
    main()
