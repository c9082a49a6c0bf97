"""Every step with all that it costs, in one table that can be sorted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeq.report.data import Data
from edgeq.report.sections.tensors import EXACT_DB, grade

TITLE = "Layers"
ORDER = 15


def context(data: Data) -> Mapping[str, Any]:
    quality = {t["name"]: t["sqnr_db"] for t in data.measured.quantization.get("tensors", ())}
    cycles = (data.run[1].cycles.steps if data.run and data.run[1].cycles else None) or ()
    rows = []
    for number, s in enumerate(data.steps, len(data.graph.inputs)):
        noise = quality.get(s.tensor)
        rows.append(
            {
                "s": s, "number": number, "sqnr": noise, "grade": grade(noise), "exact": noise is not None and noise >= EXACT_DB,
                "cycles": cycles[s.index] if s.index is not None and s.index < len(cycles) else None,
            }
        )  # fmt: skip
    steps = [s for s in data.steps if s.index is not None]
    return {
        "rows": rows, "weights": sum(s.weight_bytes for s in steps), "largest": max((s.instructions or 0 for s in steps), default=0) or 1,
        "peak": max((s.live_bytes for s in steps), default=0) or 1, "heaviest": max((s.weight_bytes for s in steps), default=0) or 1,
        "run": data.run[1] if data.run else None, "runner": data.run[0] if data.run else "", "has_sqnr": bool(quality),
        "has_cycles": bool(cycles), "counted": any(s.instructions is not None for s in steps),
    }  # fmt: skip


TEMPLATE = """
<h2>Layers</h2>
<p class="lead">Click a heading to sort, a row for its details. A view costs nothing: it only renames bytes.{% if run and run.instructions is not none %} Instructions executed per inference on {{ runner }} for {{ run.target }} at -O{{ run.optimize }}.{% endif %}</p>
<div class="panel"><div class="scroll"><table class="sortable">
  <thead><tr><th class="n">step</th><th>name</th><th>operator</th><th class="wide">kernel</th><th class="wide">output</th><th class="n">MACs</th><th class="n">bits</th><th class="n">flash, B</th><th class="n">RAM in use, B</th>
  {% if counted %}<th class="n">instructions</th><th class="n">per MAC</th>{% endif %}{% if has_cycles %}<th class="n">cycles</th>{% endif %}{% if has_sqnr %}<th class="n">SQNR, dB</th>{% endif %}</tr></thead>
  <tbody>
{% for r in rows %}
{% set s = r.s %}
  <tr class="{{ s.family }}{% if s.index is none %} folded{% endif %}" data-show="step-{{ r.number }}"><td class="n">{{ s.index if s.index is not none else "" }}</td><td class="name">{{ s.name | named }}</td>
    <td class="nowrap"><i class="dot {{ s.family }}"></i>{{ s.op }}</td><td class="mono kernel wide">{{ s.kernel }}</td><td class="mono shape wide">{{ s.output }}</td>
    <td class="n" data-v="{{ s.macs }}">{{ s.macs | count if s.macs else "" }}</td>
    <td class="n" data-v="{{ s.bits or 0 }}">{{ "%g" | format(s.bits) if s.bits is not none else "" }}</td>
    <td class="n" data-v="{{ s.weight_bytes }}">{{ s.weight_bytes | count if s.weight_bytes else "" }}<i class="under" style="width:{{ "%.1f" | format(100 * s.weight_bytes / heaviest) }}%"></i></td>
    <td class="n" data-v="{{ s.live_bytes }}">{{ s.live_bytes | count if s.live_bytes else "" }}<i class="under" style="width:{{ "%.1f" | format(100 * s.live_bytes / peak) }}%"></i></td>
  {% if counted %}
    <td class="n" data-v="{{ s.instructions or 0 }}">{{ s.instructions | count if s.instructions is not none else "" }}<i class="under" style="width:{{ "%.1f" | format(100 * (s.instructions or 0) / largest) }}%"></i></td><td class="n">{{ ratio(s.instructions, s.macs) if s.macs and s.instructions else "" }}</td>
  {% endif %}
  {% if has_cycles %}
    <td class="n" data-v="{{ r.cycles or 0 }}">{{ r.cycles | count if r.cycles is not none else "" }}</td>
  {% endif %}
  {% if has_sqnr %}
    <td class="n {{ r.grade }}" data-v="{{ r.sqnr if r.sqnr is not none else "" }}">{% if r.sqnr is not none %}{% if r.exact %}exact{% else %}{{ "%.1f" | format(r.sqnr) }}{% endif %}{% endif %}</td>
  {% endif %}
  </tr>
{% endfor %}
  </tbody>
  <tfoot><tr><td></td><td colspan="2">total</td><td class="wide" colspan="2"></td><td class="n">{{ m.macs | count }}</td><td></td><td class="n">{{ weights | count }}</td><td></td>
  {% if counted %}<td class="n">{{ run.instructions | count }}</td><td class="n">{{ ratio(run.instructions, m.macs) }}</td>{% endif %}{% if has_cycles %}<td class="n">{{ run.cycles.total | count }}</td>{% endif %}{% if has_sqnr %}<td></td>{% endif %}</tr></tfoot>
</table></div></div>
"""
