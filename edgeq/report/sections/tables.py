"""Constant tables with their checksums, collapsed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeq.report.data import Data

TITLE = "Tables and checksums"
ORDER = 90


def context(data: Data) -> Mapping[str, Any]:
    m = data.manifest
    owner = {t: s.name for s in reversed(m.steps) for t in s.tables}
    return {
        "rows": [(name, m.table_bytes[name], owner.get(name, ""), crc) for name, crc in m.tables.items()],
        "hashes": [("sources_sha256", m.sources_sha256), ("graph_sha256", m.graph_sha256)],
    }


TEMPLATE = """
<h2>Tables and checksums</h2>
<p class="lead">CRC-32 of every constant table as it lies in flash, little-endian; firmware can check them before it reports anything.</p>
<div class="panel"><details><summary>{{ rows | length }} tables, {{ m.weight_bytes | count }} bytes</summary><div class="scroll"><table>
  <thead><tr><th>table</th><th>first used by</th><th class="n">bytes</th><th>CRC-32</th></tr></thead>
  <tbody>
{% for name, bytes, owner, crc in rows %}
  <tr><td class="mono">{{ name }}</td><td class="name">{{ owner | named }}</td><td class="n">{{ bytes | count }}</td><td class="mono">{{ crc }}</td></tr>
{% endfor %}
  </tbody>
</table></div></details></div>
<div class="panel pad"><dl class="facts">{% for name, value in hashes %}<dt>{{ name }}</dt><dd class="mono">{{ value }}</dd>{% endfor %}</dl></div>
"""
