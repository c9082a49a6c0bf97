"""What calls of kernels are expected to take."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from edgeq.ir import Params
from edgeq.kernels.expressions import evaluate
from edgeq.kernels.kernel import Kernel
from edgeq.resources import resource


@functools.cache
def cost_table() -> Mapping[str, Any]:
    """templates/kernels/costs.json: ``features`` (operator -> expressions on the scalars) and ``cores`` (core -> kernel ->
    instructions per unit of each feature), fitted to measurements by ``python -m benchmarks.costs``."""
    data: Mapping[str, Any] = json.loads((resource("templates") / "kernels" / "costs.json").read_text(encoding="utf-8"))
    return data


def features(op: str, params: Params) -> list[float]:
    """What the cost of a call is a linear function of, for operators that the cost table holds."""
    return [float(str(evaluate(e, params))) for e in cost_table()["features"].get(op, ())]


def expected(kernel: Kernel, params: Params, core: str) -> float | None:
    """Instructions of a call by the cost table; None where it does not know the kernel on this core."""
    weights = cost_table()["cores"].get(core, {}).get(kernel.name)
    return None if weights is None else sum(w * f for w, f in zip(weights, features(kernel.op, params), strict=True))
