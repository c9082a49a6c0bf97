"""Totals, and whether the chip's answers are the simulator's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgeq import board
from edgeq.latency import latency
from edgeq.report.data import Data

TITLE = "Summary"
ORDER = 0


def share(used: int, limit: int | None) -> float | None:
    """Percent of a limit, at most 100; None without one."""
    return None if not limit else min(100.0, 100.0 * used / limit)


def context(data: Data) -> Mapping[str, Any]:
    m, code = data.manifest, data.code_bytes
    runner, run = data.run or ("", None)
    stack = max((r.stack_bytes for r in data.measured.runs.values() if r.stack_bytes is not None), default=None)
    flash = m.weight_bytes + (code or 0)
    ram = m.arena_bytes + m.state_bytes + (stack or 0)
    return {
        "flash": flash, "code": code, "flash_share": share(flash, data.target.flash),
        "ram": ram, "stack": stack, "ram_share": share(ram, data.target.ram),
        "latency": latency(run.cycles, board.load(data.target) if data.target.bsp else None) if run and run.cycles else None,
        "runner": runner, "run": run, "comparisons": list(data.measured.comparisons.items()), "accuracy": accuracy(data),
    }  # fmt: skip


def accuracy(data: Data) -> list[dict[str, Any]]:
    """Scores, best known first: float model, simulator, runners."""
    scores = data.measured.accuracy
    order = sorted(scores, key=lambda n: ({"float": 0, "simulator": 1}.get(n, 2), n))
    names = {"float": "float model"}
    return [{"name": names.get(n, n), "percent": 100.0 * scores[n].right / scores[n].samples, **asdict(scores[n])} for n in order]
