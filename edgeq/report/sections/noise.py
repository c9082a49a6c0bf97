"""The signal-to-noise ratio along the network, as a plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeq.report.data import Data
from edgeq.report.drawing import Curve, curves
from edgeq.report.sections.tensors import EXACT_DB, FULL_DB

TITLE = "Noise"
ORDER = 45


def context(data: Data) -> Mapping[str, Any] | None:
    rows = {t["name"]: t for t in data.measured.quantization.get("tensors", ())}
    names = [n for n, t in data.graph.tensors.items() if not t.is_constant and n in rows]
    if len(names) < 2:
        return None
    known = [rows[n][k] for n in names for k in ("sqnr_db", "own_sqnr_db") if rows[n][k] < EXACT_DB]
    top = max([*known, FULL_DB])

    def values(key: str) -> list[float | None]:
        return [min(top, float(rows[n][key])) for n in names]

    drawn = [Curve("own rounding alone", values("own_sqnr_db"), "second"), Curve("against the float model", values("sqnr_db"), "first")]
    return {"plot": curves(names, drawn, "dB"), "samples": data.measured.quantization.get("samples"), "top": top}


TEMPLATE = """
<h2>Noise along the network</h2>
<p class="lead">Signal to quantization noise of every tensor, dB, in the order of the graph, {{ samples }} samples. Filled: against the float model; hollow: by the tensor's own rounding alone. Where the filled line falls and the hollow one does not, the noise comes from earlier tensors. What is exact is drawn at {{ top | number(3) }} dB.</p>
<div class="panel"><div class="scroll pad">{{ plot }}</div></div>
"""
