"""Measures every benchmarked model on every target's emulator and writes results.json and results.md.

    python -m benchmarks                       everything (some ten minutes)
    python -m benchmarks digits kws            only these models, the other rows stay
    python -m benchmarks --targets riscv-f ... these targets (default: the example on all, the others on riscv and cortex-m4)
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.measure import LARGE_TARGETS, TARGETS, TOOLCHAINS, Row, measure
from benchmarks.tables import markdown

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"


def rows(wanted: list[str], targets: list[str] | None) -> list[Row]:
    """Measure; prints a line per row."""
    found = []
    for name in wanted:
        graph = models.digits() if name == "digits" else models.mlperf(name)
        if graph is None:
            print(f"{name}: no data folder, its committed rows stay (set EDGEQ_DATA)", file=sys.stderr)
            continue
        for target in targets or (TARGETS if name == "digits" else LARGE_TARGETS):
            for toolchain in TOOLCHAINS:
                for optimize in ("3", "s"):
                    row = measure(name, graph, target, toolchain, optimize)
                    print(f"{row.key}: {row.instructions} instructions, code {row.code}", file=sys.stderr)
                    found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("models", nargs="*", default=["digits", *models.MLPERF])
    parser.add_argument("--targets", type=lambda text: text.split(","))
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for row in rows(arguments.models, arguments.targets):
        results[row.key] = row.json()
    results = dict(sorted(results.items()))
    RESULTS.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in results.items()) + "\n}\n")
    (HERE / "results.md").write_text(markdown(results))


if __name__ == "__main__":
    main()
