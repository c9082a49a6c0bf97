"""Range, signal-to-quantization-noise ratio and saturation of every activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgeq.ir import TensorType
from edgeq.report.data import Data

TITLE = "Tensors"
ORDER = 50
GOOD_DB, POOR_DB, FULL_DB, EXACT_DB = 25.0, 15.0, 45.0, 150.0
SATURATED = 0.01


@dataclass(frozen=True)
class Row:
    """One activation.

    Attributes:
        low, high: the real values that the stored integers can hold.
        seen: the extremes that real inputs gave, None where unknown.
        left, width: percent, where `seen` lies in [low, high].
        grade: of the SQNR: ``ok``, ``care`` or ``ko``; empty where unknown.
    """

    name: str
    type: str
    scale: float
    zero_point: int
    low: float
    high: float
    seen: tuple[float, float] | None
    left: float
    width: float
    saturated: float | None
    sqnr: float | None
    meter: float
    grade: str
    equalized: bool
    cause: str
    fix: str


def limits(t: TensorType) -> tuple[float, float]:
    """The real values of the smallest and largest stored integers."""
    info = np.iinfo(t.dtype.numpy)
    return (info.min - t.zero_point) * t.scale, (info.max - t.zero_point) * t.scale


def grade(sqnr: float | None) -> str:
    """How good a tensor's SQNR is."""
    return "" if sqnr is None else "ok" if sqnr >= GOOD_DB else "care" if sqnr >= POOR_DB else "ko"


def row(name: str, t: TensorType, seen: Mapping[str, Any], quality: Mapping[str, Any]) -> Row:
    low, high = limits(t)
    found = seen or quality
    span = (float(found["low"]), float(found["high"])) if found.get("low") is not None else None
    a, b = (max(low, min(high, x)) for x in span) if span else (low, low)
    sqnr = quality.get("sqnr_db")
    return Row(
        name, str(t), t.scale, t.zero_point, low, high, span, 100 * (a - low) / (high - low), 100 * (b - a) / (high - low),
        found.get("saturated"), sqnr, 0.0 if sqnr is None else max(0.0, min(100.0, 100 * sqnr / FULL_DB)), grade(sqnr),
        bool(quality.get("equalized")), quality.get("cause") or "", quality.get("fix") or "",
    )  # fmt: skip


def context(data: Data) -> Mapping[str, Any] | None:
    measured = data.measured
    seen = {t.name: asdict(t) for t in measured.activations.tensors} if measured.activations else {}
    quality = {t["name"]: t for t in measured.quantization.get("tensors", ())}
    rows = [
        row(name, tensor.type, seen.get(name, {}), quality.get(name, {}))
        for name, tensor in data.graph.tensors.items()
        if not tensor.is_constant and tensor.type.q is not None
    ]
    if not rows:
        return None
    return {
        "rows": rows,
        "samples": measured.quantization.get("samples"),
        "vectors": measured.activations.vectors if measured.activations else None,
        "has_sqnr": any(r.sqnr is not None for r in rows),
        "has_seen": any(r.seen for r in rows),
        "advice": measured.quantization.get("advice", ""),
        "has_cause": any(r.cause or r.fix for r in rows),
        "limit": SATURATED,
        "exact": EXACT_DB,
    }


TEMPLATE = """
<h2>Tensors</h2>
<p class="lead">Real value = scale · (q − zero point).
{% if vectors %}Ranges and saturation as {{ vectors | count }} inputs of the last comparison gave them.{% elif has_seen %}Ranges and saturation over the calibration samples.{% else %}Compare with real inputs (<code>edgeq compare --input</code>) to see what of its range each tensor uses.{% endif %}
{% if has_sqnr %} SQNR: signal to quantization noise against the float model{% if samples %}, {{ samples | count }} samples{% endif %}.{% endif %}{% if advice %} Other recipes: {{ advice }}.{% endif %}</p>
<div class="panel"><div class="scroll"><table>
  <thead><tr><th>tensor</th><th class="wide">type</th><th class="n">scale</th><th class="n wide">zero point</th><th class="n">can hold</th>
  {% if has_seen %}<th class="wide">seen</th><th class="n"><span class="narrow">seen</span></th><th class="n">saturated</th>{% endif %}{% if has_sqnr %}<th class="n">SQNR</th>{% endif %}{% if has_cause %}<th class="verdict">suspected cause and fix</th>{% endif %}</tr></thead>
  <tbody>
{% for r in rows %}
  <tr><td class="name">{{ r.name | named }}</td><td class="mono shape wide">{{ r.type }}{% if r.equalized %} <span class="faint" title="its channels are stored divided by factors of their own; the figures are of the divided values">equalized</span>{% endif %}</td><td class="n">{{ r.scale | number(5) }}</td><td class="n wide">{{ r.zero_point | number }}</td>
    <td class="n">{{ r.low | number(3) }} … {{ r.high | number(3) }}</td>
  {% if has_seen %}
    <td class="wide"><div class="bar span"><i style="margin-left:{{ "%.1f" | format(r.left) }}%;width:{{ "%.1f" | format(r.width) }}%"></i></div></td>
    <td class="n">{% if r.seen %}{{ r.seen[0] | number(3) }} … {{ r.seen[1] | number(3) }}{% endif %}</td>
    <td class="n{% if r.saturated is not none and r.saturated > limit and r.grade != "ok" %} care{% endif %}">{% if r.saturated is not none %}{{ "%.2f" | format(100 * r.saturated) }} %{% endif %}</td>
  {% endif %}
  {% if has_sqnr %}
    <td class="n">{% if r.sqnr is not none %}<span class="meter"><i class="{{ r.grade }}" style="width:{{ "%.0f" | format(r.meter) }}%"></i></span>{% if r.sqnr >= exact %}exact{% else %}{{ "%.1f" | format(r.sqnr) }} dB{% endif %}{% endif %}</td>
  {% endif %}
  {% if has_cause %}
    <td>{{ r.cause }}{% if r.fix %}{% if r.cause %}<br>{% endif %}<span class="muted">{{ r.fix }}</span>{% endif %}</td>
  {% endif %}
  </tr>
{% endfor %}
  </tbody>
</table></div></div>
"""
