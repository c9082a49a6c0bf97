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
