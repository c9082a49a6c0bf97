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
