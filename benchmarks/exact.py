"""Are the denoisers the same byte for byte, simulator, host and emulated chips, over consecutive frames with states carried?

    python -m benchmarks.exact                                         everything (a quarter of an hour on two cores)
    python -m benchmarks.exact tt_rank_8 mixed cortex-m4 --frames 20   these networks, recipes and targets

Networks: the example's own, and the tensor-train ones of the data folder. `host` is every compiler at -O2 and -O3. Every step of every
frame is compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.models import DATA, ROOT
from edgeq import api
from edgeq.compare import compare
from edgeq.ir import Array, Graph
from edgeq.run import host, unicorn
from edgeq.simulate import Run, fit_inputs, simulate
from edgeq.target import load

sys.path.insert(0, str(ROOT / "examples" / "denoiser"))

from deploy import Network, read  # type: ignore[import-not-found]
from recordings import calibration_set, test_set  # type: ignore[import-not-found]

MODELS = {"denoiser": ROOT / "examples" / "denoiser" / "denoiser.onnx"} | {
    m: DATA / "denoiser" / f"{m}.onnx" for m in ("tt_rank_8", "tt_rank_80")
}
RECIPES = ("fp16", "mixed", "int8")
TARGETS = ("host", "cortex-m4", "riscv", "riscv-f")
COMPILERS = [(chain, level) for chain in ("gcc", "clang", "zig") for level in ("-O2", "-O3")]
FRAMES, CALIBRATION, SECONDS = 200, 400, 1e6


def runs(folder: Path, target: str, x: dict[str, Array]) -> Iterator[tuple[str, Run]]:
    """Name and outcome of every run on a target."""
    if target != "host":
        yield target, replace(unicorn.run, timeout=SECONDS)(folder, load(target), x, steps=True)
        return
    for chain, level in COMPILERS:
        yield f"host, {chain} {level}", host.run(folder, x, steps=True, chain=chain, optimize=level)


def check(network: Network, graph: Graph, target: str, frames: int, folder: Path) -> Iterator[str]:
    """One line per run; stops at the first difference.

    Raises:
        SystemExit: names the first difference.
    """
    sound = test_set(DATA / "valentini" if DATA.is_dir() else None, 1)[0].noisy
    x = fit_inputs(graph, {n: a[:frames] for n, a in network.samples([sound]).items()})
    count = len(next(iter(x.values())))
    truth = simulate(graph, x, steps=True)
    built = api.build(graph, output=folder / target, target=target, vectors=1, check=False, budget={"flash": 1 << 26, "ram": 1 << 24})
    for name, run in runs(built.folder, target, x):
        result = compare(truth, run)
        if not result.bit_exact:
            sys.exit(f"{name}: {result.difference}")
        yield f"{name}: {count} frames, {result.values:,} values, the simulator's bytes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wanted", nargs="*", choices=[*MODELS, *RECIPES, *TARGETS, []], help="networks, recipes, targets")
    parser.add_argument("--frames", type=int, default=FRAMES)
    arguments = parser.parse_args()
    models, recipes, targets = ([n for n in names if n in arguments.wanted] or list(names) for names in (MODELS, RECIPES, TARGETS))
    for model in models:
        if not MODELS[model].is_file():
            print(f"{model}: no data folder (set EDGEQ_DATA)", file=sys.stderr)
            continue
        network = read(MODELS[model])
        samples = network.samples(calibration_set(DATA / "valentini" if DATA.is_dir() else None, 4))
        for recipe in recipes:
            graph = api.quantize(network.graph, {n: a[:CALIBRATION] for n, a in samples.items()}, recipe=recipe).graph
            for target in targets:
                with tempfile.TemporaryDirectory() as folder:
                    for line in check(network, graph, target, arguments.frames, Path(folder)):
                        print(f"{model}, {recipe}, {line}", flush=True)


if __name__ == "__main__":
    main()
