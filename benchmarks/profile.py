"""Where the instructions of one inference go: a benchmarked model on one target, step by step.

    python -m benchmarks.profile kws cortex-m4 gcc --optimize 3
    python -m benchmarks.profile tt_rank_8-mixed riscv-f         a denoiser by a recipe
"""

from __future__ import annotations

import argparse
import sys

from benchmarks import models, precision
from benchmarks.measure import measure
from edgeq.ir import Graph
from edgeq.numerics import LAWS

DENOISERS = {f"{model}-{recipe}": (model, recipe) for model in precision.MODELS for recipe in precision.RECIPES}


def graphs(name: str) -> list[Graph]:
    """As `models.graphs`, of the denoisers too."""
    if name not in DENOISERS:
        return models.graphs(name)
    graph = precision.quantized(*DENOISERS[name])
    return [graph] if graph else []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("model", choices=[*models.SHIPPED, *models.CELLS, *models.MLPERF, *DENOISERS])
    parser.add_argument("target")
    parser.add_argument("toolchain", nargs="?", default="zig")
    parser.add_argument("--optimize", default="3")
    parser.add_argument("--law", choices=LAWS, help="of a reference model: tflm as it comes, single as edgeq quantizes the float one")
    arguments = parser.parse_args()
    graph = next((g for g in graphs(arguments.model) if arguments.law in (None, g.law)), None)
    if graph is None:
        sys.exit("no such model here (set EDGEQ_DATA to the data folder)")
    row = measure(arguments.model, graph, arguments.target, arguments.toolchain, arguments.optimize)
    print(f"{row.key}: {row.instructions:,} instructions ({row.instructions / row.macs:.2f} per MAC), code {row.code:,}, "
          f"weights {row.weights:,}, arena {row.arena:,}, stack {row.stack:,}, constant time {row.constant_time}")  # fmt: skip
    for name, (count, macs) in row.steps.items():
        print(f"  {count:>12,} {100 * count / row.instructions:5.1f} %  {f'{count / macs:6.2f} per MAC' if macs else '':16}  {name}")


if __name__ == "__main__":
    main()
