"""Measures every benchmarked model on every target's emulator and writes results.json, results.md and layers.svg.

    python -m benchmarks                       everything (an hour; rows are kept as they come)
    python -m benchmarks digits kws            only these models, the other rows stay
    python -m benchmarks --targets riscv-f ... these targets (default: the shipped models on all, the others on the fastest of each kind)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.measure import LARGE_TARGETS, TARGETS, TOOLCHAINS, Row, measure
from benchmarks.plot import plot
from benchmarks.tables import markdown

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"


def rows(wanted: list[str], targets: list[str] | None) -> Iterator[Row]:
    """Measure; prints a line per row."""
    for name in wanted:
        graphs = models.graphs(name)
        if not graphs:
            print(f"{name}: no data folder, its committed rows stay (set EDGEQ_DATA)", file=sys.stderr)
        for graph in graphs:
            for target in targets or (TARGETS if name in models.SHIPPED else LARGE_TARGETS):
                for toolchain in TOOLCHAINS:
                    for optimize in ("3", "s"):
                        row = measure(name, graph, target, toolchain, optimize)
                        print(f"{row.key}: {row.instructions} instructions, code {row.code}", file=sys.stderr)
                        yield row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("models", nargs="*", default=[*models.SHIPPED, *models.MLPERF])
    parser.add_argument("--targets", type=lambda text: text.split(","))
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for row in rows(arguments.models, arguments.targets):
        results = dict(sorted({**results, row.key: row.json()}.items()))
        RESULTS.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in results.items()) + "\n}\n")
    (HERE / "results.md").write_text(markdown(results))
    (HERE / "layers.svg").write_bytes(plot(results))


if __name__ == "__main__":
    main()
