"""Range, signal-to-quantization-noise ratio and saturation of every activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgeq.ir import TensorType
from edgeq.report.data import Data

TITLE = "Tensors"
ORDER = 50
GOOD_DB, POOR_DB, FULL_DB, EXACT_DB = 25.0, 15.0, 45.0, 150.0
SATURATED = 0.01


@dataclass(frozen=True)
class Row:
    """One activation.

    Attributes:
        low, high: the real values that the stored integers can hold.
        seen: the extremes that real inputs gave, None where unknown.
        left, width: percent, where `seen` lies in [low, high].
        grade: of the SQNR: ``ok``, ``care`` or ``ko``; empty where unknown.
    """

    name: str
    type: str
    scale: float
    zero_point: int
    low: float
    high: float
    seen: tuple[float, float] | None
    left: float
    width: float
    saturated: float | None
    sqnr: float | None
    meter: float
    grade: str
    equalized: bool
    cause: str
    fix: str


def limits(t: TensorType) -> tuple[float, float]:
    """The real values of the smallest and largest stored integers."""
    info = np.iinfo(t.dtype.numpy)
    return (info.min - t.zero_point) * t.scale, (info.max - t.zero_point) * t.scale


def grade(sqnr: float | None) -> str:
    """How good a tensor's SQNR is."""
    return "" if sqnr is None else "ok" if sqnr >= GOOD_DB else "care" if sqnr >= POOR_DB else "ko"


def row(name: str, t: TensorType, seen: Mapping[str, Any], quality: Mapping[str, Any]) -> Row:
    low, high = limits(t)
    found = seen or quality
    span = (float(found["low"]), float(found["high"])) if found.get("low") is not None else None
    a, b = (max(low, min(high, x)) for x in span) if span else (low, low)
    sqnr = quality.get("sqnr_db")
    return Row(
        name, str(t), t.scale, t.zero_point, low, high, span, 100 * (a - low) / (high - low), 100 * (b - a) / (high - low),
        found.get("saturated"), sqnr, 0.0 if sqnr is None else max(0.0, min(100.0, 100 * sqnr / FULL_DB)), grade(sqnr),
        bool(quality.get("equalized")), quality.get("cause") or "", quality.get("fix") or "",
    )  # fmt: skip


def context(data: Data) -> Mapping[str, Any] | None:
    measured = data.measured
    seen = {t.name: asdict(t) for t in measured.activations.tensors} if measured.activations else {}
    quality = {t["name"]: t for t in measured.quantization.get("tensors", ())}
    rows = [
        row(name, tensor.type, seen.get(name, {}), quality.get(name, {}))
        for name, tensor in data.graph.tensors.items()
        if not tensor.is_constant and tensor.type.q is not None
    ]
    if not rows:
        return None
    return {
        "rows": rows,
        "samples": measured.quantization.get("samples"),
        "vectors": measured.activations.vectors if measured.activations else None,
        "has_sqnr": any(r.sqnr is not None for r in rows),
        "has_seen": any(r.seen for r in rows),
        "has_cause": any(r.cause or r.fix for r in rows),
        "limit": SATURATED,
        "exact": EXACT_DB,
    }
