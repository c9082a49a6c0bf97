"""What recipe auto chose, and from what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from edgeq.report import pareto
from edgeq.report.data import Data

TITLE = "Precision"
ORDER = 55


def context(data: Data) -> Mapping[str, Any] | None:
    found = data.measured.quantization.get("allocation")
    return None if found is None else {"a": found, "drawing": Markup(pareto.svg(found))}


TEMPLATE = """
<h2>Precision</h2>
<p class="lead">What every node is computed in, chosen within the budget: {{ a.sqnr_db }} dB measured{% if a.loss is defined %}, {{ a.loss }} % of the right answers lost{% endif %}. The drawing shows the allocations on the Pareto front of cost and predicted noise, the chosen one in red; hover over a point for details.</p>
<div class="panel">
<div class="scroll pad">
{{ drawing }}
</div>
<div class="scroll"><table>
  <thead><tr><th>node</th><th>computed in</th><th>roles</th><th class="n">SQNR, this node alone</th><th class="n">flash</th><th class="n">instructions</th></tr></thead>
  <tbody>
{% for n in a.nodes %}
  <tr><td class="name">{{ n.name | named }}</td><td>{{ n.storage }}</td><td class="mono">{{ n.roles }}</td><td class="n">{{ n.sqnr_db[n.storage] | number }}</td><td class="n">{{ n.flash[n.storage] | count }}</td><td class="n">{{ n.instructions[n.storage] | count }}</td></tr>
{% endfor %}
  </tbody>
</table></div>
</div>
"""
