"""How the model came to be: rounding, quantization, compiler, memory plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeq.report.data import Data

TITLE = "Options"
ORDER = 80
LAWS = {
    "single": "one rounding, to nearest, ties toward +\u221e",
    "tflm": "TensorFlow Lite Micro's double rounding: equal to it byte for byte",
}


def context(data: Data) -> Mapping[str, Any]:
    q, built = data.measured.quantization, data.measured.build
    rows = [
        ("rounding of requantization", f"{data.manifest.law}: {LAWS.get(data.manifest.law, '')}"),
        ("quantized by", "edgeq" if q.get("options") else "the model file itself: its own scales"),
        *((k.replace("_", " "), str(v)) for k, v in q.get("options", {}).items() if k != "law"),
        ("calibration samples", str(q.get("samples", "")) if q else ""),
        ("noise of the outputs", str(q.get("reason", ""))),
        ("outputs on samples not seen", unseen(q.get("unseen"))),
        ("target", f"{data.target.name}: {data.target.description}"),
        ("kernels for", ", ".join("portable C" if isa == "c" else isa for isa in data.target.isa)),
        ("compiled by", f"{built.toolchain} at -O{built.optimize}" if built else ""),
        ("memory plan", data.manifest.arena_method),
    ]
    return {"rows": [(name, value) for name, value in rows if value]}


def unseen(judged: Mapping[str, Any] | None) -> str:
    """What half of the samples keep where the others calibrate."""
    if not judged:
        return ""
    why = f": {judged['reason']}" if judged.get("reason") else ""
    return f"{judged['sqnr_db']:.1f} dB on {judged['judged']}, calibrated with the other {judged['calibrated']}{why}"


TEMPLATE = """
<h2>Options</h2>
<div class="panel pad" style="margin-top:8px"><dl class="facts">
{% for name, value in rows %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl></div>
"""
