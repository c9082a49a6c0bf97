"""What the report draws: histograms and curves, as SVG without a style of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from edgeq.ir import Array
from edgeq.report.pareto import Axis

BINS = 64


@dataclass(frozen=True)
class Curve:
    """One line over the steps.

    Attributes:
        values: y of each point; None where there is none.
        style: its class: ``first`` or ``second``.
    """

    name: str
    values: Sequence[float | None]
    style: str


def histogram(values: Array, low: float, high: float, title: str) -> Markup:
    """How often values lie where between two ends, `BINS` bars."""
    counts = np.histogram(np.asarray(values, np.float64).ravel(), BINS, (low, high))[0].tolist()
    return _histogram(f'<path d="{_bars(counts, max(1, *counts))}"/>', low, high, title)


def paired(first: Sequence[int], second: Sequence[int], ends: Sequence[float], title: str) -> Markup:
    """Two histograms over the same bins: bars, and above them an outline. The height is the root of the count, so that rare values show."""
    roots = [[c**0.5 for c in counts] for counts in (first, second)]
    top = max(1.0, *roots[0], *roots[1])
    width = 256 / len(first)
    line = "M0 60" + "".join(f"V{60 - 56 * c / top:.1f}h{width:g}" for c in roots[1]) + "V60"
    return _histogram(f'<path d="{_bars(roots[0], top)}"/><path class="line" d="{line}"/>', ends[0], ends[1], title)


def _bars(heights: Sequence[float], top: float) -> str:
    return "".join(f"M{4 * i} 60V{60 - 56 * c / top:.1f}h3.4V60" for i, c in enumerate(heights) if c)


def _histogram(inner: str, low: float, high: float, title: str) -> Markup:
    return Markup(
        '<svg class="hist" viewBox="0 0 256 76" role="img" aria-label="{0}"><title>{0}</title>{1}<path class="base" d="M0 60.5H256"/>'
        '<text x="0" y="73">{2}</text><text x="256" y="73" text-anchor="end">{3}</text></svg>'
    ).format(title, Markup(inner), f"{low:.4g}", f"{high:.4g}")


def curves(names: Sequence[str], drawn: Sequence[Curve], unit: str, width: int = 1120, height: int = 240) -> Markup:
    """Curves over named steps, with an axis and a line per tick."""
    left, right, top, floor = 58, 12, 12, height - 26
    known = [v for c in drawn for v in c.values if v is not None]
    y = Axis(min(0.0, *known), max(known) * 1.05 + 1e-9, floor, top)
    step = (width - left - right) / max(1, len(names) - 1)
    parts = [
        f'<line class="grid" x1="{left}" x2="{width - right}" y1="{at}" y2="{at}"/><text class="axis" x="{left - 8}" y="{at + 4}" '
        f'text-anchor="end">{text}</text>'
        for at, text in y.ticks()
    ]
    every = max(1, -(-len(names) * 26 // (width - left - right)))
    parts += [
        f'<text class="axis" x="{left + i * step:.1f}" y="{floor + 16}" text-anchor="middle">{i}</text>'
        for i in range(0, len(names), every)
    ]
    for curve in drawn:
        points = [(left + i * step, y(v), v, n) for i, (v, n) in enumerate(zip(curve.values, names, strict=True)) if v is not None]
        parts.append(f'<polyline class="{curve.style}" points="{" ".join(f"{px:.1f},{py}" for px, py, _, _ in points)}"/>')
        parts += [
            f'<circle class="{curve.style}" cx="{px:.1f}" cy="{py}" r="3.5">'
            f"<title>{escape(n)}\n{escape(curve.name)} {v:.1f} {unit}</title></circle>"
            for px, py, v, n in points
        ]
    box = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return Markup(f'<svg class="map curve" {box} role="img">{"".join(parts)}</svg>')  # names in `parts` are escaped
