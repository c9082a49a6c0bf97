"""Flash and RAM by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeq.report.data import Data

TITLE = "Flash and RAM by layer"
ORDER = 30


def context(data: Data) -> Mapping[str, Any]:
    rows = [s for s in data.steps if s.index is not None]
    flash = max((s.weight_bytes for s in rows), default=0) or 1
    ram = max((s.live_bytes for s in rows), default=0) or 1
    return {
        "rows": [(s, 100.0 * s.weight_bytes / flash, 100.0 * (s.live_bytes - s.scratch) / ram, 100.0 * s.scratch / ram) for s in rows],
        "weights": sum(s.weight_bytes for s in rows) or 1,
        "peak": ram,
    }
