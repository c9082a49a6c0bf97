"""Totals, and whether the chip's answers are the simulator's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgeq import board
from edgeq.latency import latency
from edgeq.record import larger
from edgeq.report.data import Data

TITLE = "Summary"
ORDER = 0


def share(used: int, limit: int | None) -> float | None:
    """Percent of a limit, at most 100; None without one."""
    return None if not limit else min(100.0, 100.0 * used / limit)


def context(data: Data) -> Mapping[str, Any]:
    m, code = data.manifest, data.code_bytes
    runner, run = data.run or ("", None)
    runs = data.measured.runs.values()
    stack = larger(*(r.stack for r in runs))
    measured = larger(*(r.stack_bytes for r in runs))
    flash = m.weight_bytes + (code or 0)
    ram = m.ram_bytes + (stack or 0)
    return {
        "flash": flash, "code": code, "flash_share": share(flash, data.target.flash),
        "ram": ram, "stack": stack, "measured_stack": measured, "ram_share": share(ram, data.target.ram),
        "latency": latency(run.cycles, board.load(data.target) if data.target.bsp else None) if run and run.cycles else None,
        "runner": runner, "run": run, "comparisons": list(data.measured.comparisons.items()), "accuracy": accuracy(data),
    }  # fmt: skip


def accuracy(data: Data) -> list[dict[str, Any]]:
    """Scores, best known first: float model, simulator, runners."""
    scores = data.measured.accuracy
    order = sorted(scores, key=lambda n: ({"float": 0, "simulator": 1}.get(n, 2), n))
    names = {"float": "float model"}
    return [{"name": names.get(n, n), "percent": 100.0 * scores[n].right / scores[n].samples, **asdict(scores[n])} for n in order]


TEMPLATE = """
<div class="cards">
  <div class="card">
    <h3>Flash</h3><div class="big">{{ flash | size }}</div>
{% if flash_share is not none %}
    <div class="gauge"><i style="width:{{ "%.1f" | format(flash_share) }}%"></i></div>
{% endif %}
    <dl><dt>weights</dt><dd>{{ m.weight_bytes | count }} B</dd><dt>code</dt><dd>{{ code | count }}{% if code is not none %} B{% endif %}</dd>
    {% if d.target.flash %}<dt>of the target's</dt><dd>{{ d.target.flash | size }}</dd>{% endif %}</dl>
  </div>
  <div class="card">
    <h3>RAM</h3><div class="big">{{ ram | size }}</div>
{% if ram_share is not none %}
    <div class="gauge"><i style="width:{{ "%.1f" | format(ram_share) }}%"></i></div>
{% endif %}
    <dl><dt>arena</dt><dd>{{ m.arena_bytes | count }} B</dd>{% if m.state_bytes %}<dt>state</dt><dd>{{ m.state_bytes | count }} B</dd>{% endif %}
    {% if m.weights_in == "ram" %}<dt>weights</dt><dd>{{ m.weight_bytes | count }} B</dd>{% endif %}
    <dt>stack</dt><dd>{{ stack | count }}{% if stack is not none %} B{% endif %}</dd>
{% if measured_stack is not none and measured_stack != stack %}
    <dt>of it seen used</dt><dd>{{ measured_stack | count }} B</dd>
{% endif %}
    {% if d.target.ram %}<dt>of the target's</dt><dd>{{ d.target.ram | size }}</dd>{% endif %}</dl>
  </div>
  <div class="card">
    <h3>Multiply-accumulates</h3><div class="big">{{ m.macs | count }}</div>
    <dl><dt>steps</dt><dd>{{ m.steps | length }}</dd><dt>input, output</dt><dd>{{ m.io_bytes | count }} B</dd></dl>
  </div>
  <div class="card">
    <h3>Instructions per inference</h3><div class="big">{{ (run.instructions if run else none) | count }}</div>
    <dl>{% if run %}<dt>per MAC</dt><dd>{{ ratio(run.instructions, m.macs) }}</dd><dt>measured on</dt><dd>{{ runner }}</dd>
    <dt>input-independent</dt><dd>{{ {true: "yes, over %d inputs" | format(run.vectors), false: "no"}.get(run.constant_time, "–") }}</dd>{% else %}<dt>not measured: <code>edgeq run</code></dt><dd></dd>{% endif %}</dl>
  </div>
{% if latency %}
  <div class="card">
    <h3>Cycles per inference</h3><div class="big">{{ latency.cycles | count }}</div>
    <dl><dt>by a model of the core, within</dt><dd>{{ latency.bar }}</dd>
    {% if latency.ms is not none %}<dt>at {{ "%g" | format(latency.megahertz) }} MHz</dt><dd>{{ "%.3g" | format(latency.ms) }} ms</dd>{% endif %}
    {% if latency.microjoules is not none %}<dt>energy, by the data sheet</dt><dd>{{ "%.3g" | format(latency.microjoules) }} µJ</dd>{% endif %}</dl>
  </div>
{% endif %}
  <div class="card">
    <h3>Accuracy (top-1)</h3>
{% if accuracy %}
    <div class="big">{{ "%.2f" | format((accuracy | selectattr("name", "ne", "float model") | first | default(accuracy[0])).percent) }} %</div>
    <dl>{% for a in accuracy %}<dt>{{ a.name }}</dt><dd>{{ a.right | count }} of {{ a.samples | count }}</dd>{% endfor %}</dl>
{% else %}
    <div class="big">–</div><dl><dt>not measured: <code>edgeq accuracy</code></dt><dd></dd></dl>
{% endif %}
  </div>
</div>
{% if comparisons %}
<div class="panel" style="margin-top:14px"><div class="scroll"><table>
  <thead><tr><th>Compared with the simulator</th><th>target</th><th class="n">vectors</th><th class="n">tensors</th><th class="n">values</th><th>result</th></tr></thead>
  <tbody>
{% for runner, c in comparisons %}
  <tr><td>{{ runner }}</td><td>{{ c.target }}</td><td class="n">{{ c.vectors | count }}</td><td class="n">{{ c.tensors | count }}</td><td class="n">{{ c["values"] | count }}</td>
    <td class="verdict">{% if c.bit_exact %}<span class="ok">✓ every byte equal</span>{% else %}<span class="ko">✗ tensor {{ c.difference.tensor | first_name }}, vector {{ c.difference.vector }}, index {{ c.difference.index }}: expected {{ c.difference.expected | number }}, got {{ c.difference.actual | number }}; {{ c.difference.count | count }} of {{ c.difference.total | count }} values differ</span>{% endif %}</td></tr>
{% endfor %}
  </tbody>
</table></div></div>
{% endif %}
"""
