"""Two builds beside each other: what each step costs in one and in the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq.report import data as report_data
from edgeq.report.data import Data


@dataclass(frozen=True)
class Pair:
    """A figure of both builds; None where one has none."""

    a: float | None
    b: float | None

    @property
    def change(self) -> float | None:
        """Percent from a to b."""
        return None if self.a is None or self.b is None or not self.a else 100 * (self.b - self.a) / self.a


def _step(data: Data) -> dict[str, dict[str, Any]]:
    quality = {t["name"]: t["sqnr_db"] for t in data.measured.quantization.get("tensors", ())}
    return {
        s.name: {
            "op": s.op, "family": s.family, "kernel": s.kernel, "instructions": s.instructions, "weights": s.weight_bytes or None,
            "ram": s.live_bytes or None, "sqnr": quality.get(s.tensor),
        }
        for s in data.steps
        if s.index is not None
    }  # fmt: skip


def totals(a: Data, b: Data) -> list[tuple[str, Pair, str]]:
    """Name, figures and unit of what the builds cost as a whole."""

    def both(of: Callable[[Data], float | None]) -> Pair:
        return Pair(of(a), of(b))

    def right(d: Data) -> float | None:
        score = next((s for n, s in d.measured.accuracy.items() if n != "float"), None)
        return None if score is None else 100 * score.right / score.samples

    def noise(d: Data) -> float | None:
        found = {t["name"]: float(t["sqnr_db"]) for t in d.measured.quantization.get("tensors", ())}
        return min((found[n] for n in d.graph.results if n in found), default=None)

    return [
        ("instructions", both(lambda d: d.run[1].instructions if d.run else None), ""),
        ("weights", both(lambda d: d.manifest.weight_bytes), "B"), ("code", both(lambda d: d.code_bytes), "B"),
        ("arena", both(lambda d: d.manifest.arena_bytes), "B"), ("MACs", both(lambda d: d.manifest.macs), ""),
        ("output SQNR", both(noise), "dB"), ("accuracy", both(right), "%"),
    ]  # fmt: skip


def render(first: Path, second: Path) -> str:
    """A page about two emitted folders, without references to anything outside it. Steps are matched by their names.

    Raises:
        EdgeqError: a folder is none of edgeq's, or damaged.
    """
    from edgeq import __version__
    from edgeq.report.page import environment

    a, b = report_data.collect(first), report_data.collect(second)
    one, two = _step(a), _step(b)
    rows = []
    for name in dict.fromkeys([*one, *two]):
        x, y = one.get(name, {}), two.get(name, {})
        pairs = [(Pair(x.get(k), y.get(k)), k == "sqnr") for k in ("instructions", "weights", "ram", "sqnr")]
        kernels = list(dict.fromkeys(k for k in (x.get("kernel"), y.get("kernel")) if k))
        rows.append((name, (x or y)["op"], (x or y)["family"], kernels, pairs))
    env = environment()
    return env.from_string(TEMPLATE).render(
        a=a, b=b, rows=rows, totals=[t for t in totals(a, b) if t[1].a is not None or t[1].b is not None], version=__version__
    )


TEMPLATE = """
{% macro change(p) %}{% if p.change is not none %}{% if p.change == 0 %}={% else %}{{ "%+.1f" | format(p.change) }} %{% endif %}{% endif %}{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ a.graph.name }}: {{ a.folder.name }} and {{ b.folder.name }} – edgeq report</title>
<style>
{% include "style.css" %}
</style>
</head>
<body>
<main>
<header><div><div class="eyebrow">edgeq report of two builds</div><h1>{{ a.graph.name }}</h1><div class="chips">
{% for letter, d in (("A", a), ("B", b)) %}
<span class="chip">{{ letter }} <b>{{ d.folder }}</b>: {{ d.graph.name }} for {{ d.manifest.target }}{% if d.measured.build %}, {{ d.measured.build.toolchain }} -O{{ d.measured.build.optimize }}{% endif %}</span>
{% endfor %}
</div></div></header>
<section>
<h2>As a whole</h2>
<div class="panel"><div class="scroll"><table class="totals">
<thead><tr><th></th><th class="n">A</th><th class="n">B</th><th class="n">change</th></tr></thead>
<tbody>
{% for name, p, unit in totals %}
<tr><td>{{ name }}</td>{% for v in (p.a, p.b) %}<td class="n">{% if unit in ("dB", "%") %}{{ v | number(4) }}{% else %}{{ v | count }}{% endif %}{% if v is not none %} {{ unit }}{% endif %}</td>{% endfor %}<td class="n">{% if unit not in ("dB", "%") %}{{ change(p) }}{% elif p.a is not none and p.b is not none %}{{ "%+.2f" | format(p.b - p.a) }} {{ unit }}{% endif %}</td></tr>
{% endfor %}
</tbody></table></div></div>
</section>
<section>
<h2>Step by step</h2>
<p class="lead">Steps are matched by name. Click a heading to sort.</p>
<div class="panel"><div class="scroll"><table class="sortable">
<thead><tr><th>name</th><th>operator</th>{% for what in ("instructions", "flash, B", "RAM in use, B", "SQNR, dB") %}<th class="n">{{ what }}<br>A</th><th class="n">B</th>{% if not loop.last %}<th class="n">change</th>{% endif %}{% endfor %}</tr></thead>
<tbody>
{% for name, op, family, kernels, pairs in rows %}
<tr><td class="name">{{ name | named }}</td><td class="nowrap" title="{{ kernels | join(" → ") }}"><i class="dot {{ family }}"></i>{{ op }}</td>
{% for p, real in pairs %}{% for v in (p.a, p.b) %}<td class="n" data-v="{{ v if v is not none else "" }}">{% if v is none %}{% elif real %}{{ "exact" if v >= 150 else "%.1f" | format(v) }}{% else %}{{ v | count }}{% endif %}</td>{% endfor %}{% if not real %}<td class="n muted" data-v="{{ p.change if p.change is not none else "" }}">{{ change(p) }}</td>{% endif %}{% endfor %}</tr>
{% endfor %}
</tbody></table></div></div>
</section>
<footer>Made by edgeq {{ version }}.</footer>
</main>
<script>
{% include "report.js" %}
</script>
</body>
</html>
"""
