"""Which classes are taken for which, and how many of each are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeq.report.data import Data

TITLE = "Classes"
ORDER = 65


def context(data: Data) -> Mapping[str, Any] | None:
    scores = {n: s for n, s in data.measured.accuracy.items() if s.confusion}
    if not scores:
        return None
    name = next((n for n in scores if n not in ("float", "simulator")), "simulator" if "simulator" in scores else "float")
    table = scores[name].confusion
    rows = []
    for i, row in enumerate(table):
        total = sum(row)
        said = sum(other[i] for other in table)
        cells = [(n, 100 * n / total if total else 0.0, i == j) for j, n in enumerate(row)]
        rows.append((i, cells, 100 * row[i] / total if total else None, 100 * row[i] / said if said else None, total))
    return {"rows": rows, "name": "the float model" if name == "float" else f"the {name}" if name == "simulator" else name}


TEMPLATE = """
<h2>Classes</h2>
<p class="lead">Answers of {{ name }}: a row per true class, a column per answer. Recall: how many of a class were found; precision: how many of its answers were right.</p>
<div class="panel"><div class="scroll"><table class="confusion">
<thead><tr><th class="n">class</th>{% for r in rows %}<th class="n">{{ r[0] }}</th>{% endfor %}<th class="n">samples</th><th class="n">recall</th><th class="n">precision</th></tr></thead>
<tbody>
{% for i, cells, recall, precision, total in rows %}
<tr><td class="n muted">{{ i }}</td>{% for n, share, diagonal in cells %}<td class="n" style="background: color-mix(in srgb, {{ "var(--good)" if diagonal else "var(--bad)" }} {{ "%.0f" | format(share * 0.4 if diagonal else [share * 2, 60] | min) }}%, transparent)">{{ n if n else "" }}</td>{% endfor %}<td class="n">{{ total }}</td><td class="n">{% if recall is not none %}{{ "%.1f" | format(recall) }} %{% endif %}</td><td class="n">{% if precision is not none %}{{ "%.1f" | format(precision) }} %{% endif %}</td></tr>
{% endfor %}
</tbody></table></div></div>
"""
