"""The graph as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeq.report.data import Data

TITLE = "Graph"
ORDER = 10


def context(data: Data) -> Mapping[str, Any]:
    return {
        "steps": data.steps,
        "weights": sum(s.weight_bytes for s in data.steps),
        "instructions": data.run[1].instructions if data.run else None,
        "measured": any(s.instructions is not None for s in data.steps),
    }
