"""Where the noise of poor outputs comes from, in one line: one tensor's own rounding, or many roundings in turn."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from edgeq.quantize.diagnosis import PERFECT, TensorStats
from edgeq.text import percent

GOOD = 25.0  # dB: outputs that keep less are explained


def reason(found: Sequence[TensorStats], outputs: Collection[str]) -> str:
    """Why outputs keep less than `GOOD` dB; empty where they keep more.

    Args:
        found: of all activations, in the order of computation.
        outputs: names of the graph's results.
    """
    noisy = [t for t in found if t.sqnr_db < PERFECT]
    if min((t.sqnr_db for t in noisy if t.name in outputs), default=GOOD) >= GOOD:
        return ""
    roundings = [t for t in noisy if t.sqnr_db < t.own_sqnr_db - 0.01 or t.op == "input"]
    first = next(t for t in noisy if t.sqnr_db < GOOD)
    worst = min(roundings, key=lambda t: t.own_sqnr_db, default=first)
    if worst.own_sqnr_db < GOOD:
        beyond = f", {percent(worst.saturation)} of its values are beyond what calibration saw" if worst.saturation else ""
        return f"'{worst.name}' ({worst.op}) itself keeps {worst.own_sqnr_db:.0f} dB{beyond}"
    typical = float(np.median([t.own_sqnr_db for t in roundings]))
    before = 1 + [t.name for t in roundings].index(first.name) if first in roundings else len(roundings)
    return f"{len(roundings)} roundings of {typical:.0f} dB in turn: below {GOOD:.0f} dB after {before}, at '{first.name}' ({first.op})"
