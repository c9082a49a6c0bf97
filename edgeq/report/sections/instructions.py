"""Executed instructions by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeq.report.data import Data

TITLE = "Instructions by layer"
ORDER = 40


def context(data: Data) -> Mapping[str, Any] | None:
    rows = [s for s in data.steps if s.instructions is not None]
    if not rows or data.run is None:
        return None
    counts = [s.instructions or 0 for s in rows]
    runner, run = data.run
    cycles = run.cycles.steps if run.cycles and run.cycles.steps and len(run.cycles.steps) == len(rows) else None
    largest, total = max(counts) or 1, sum(counts) or 1
    return {
        "rows": [(s, 100.0 * n / largest, 100.0 * n / total) for s, n in zip(rows, counts, strict=True)], "cycles": cycles,
        "runner": runner, "run": run, "total": total, "between": (run.instructions or 0) - sum(counts),
    }  # fmt: skip
