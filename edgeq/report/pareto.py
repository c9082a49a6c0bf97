"""What recipe auto chose from, drawn: flash and instructions over the signal to noise ratio of the outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from edgeq.resources import resource

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 540, 300, 70, 16, 26, 40
TICKS = 6


@dataclass(frozen=True)
class Axis:
    """A linear scale from values to pixels, with round ticks."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 2)

    def ticks(self) -> list[tuple[float, str]]:
        """Pixels and texts."""
        rough = (self.high - self.low) / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        values = [step * k for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [(self(v), f"{v:.10g}") for v in values]


def _axis(values: list[float], start: float, end: float) -> Axis:
    room = 0.06 * (max(values) - min(values)) or 0.06 * abs(values[0]) or 1.0
    return Axis(min(values) - room, max(values) + room, start, end)


def panel(rows: list[Mapping[str, Any]], key: str, unit: float, title: str, left: float, usual: str) -> dict[str, Any]:
    """One drawing: `key` of every row, divided by `unit`, over its SQNR; `usual` is what all nodes are in that a row does not name."""
    x = _axis([r["sqnr_db"] for r in rows], left + LEFT, left + WIDTH - RIGHT)
    y = _axis([r[key] / unit for r in rows], HEIGHT - BOTTOM, TOP)
    points = [
        {
            "x": x(r["sqnr_db"]), "y": y(r[key] / unit), "chosen": r["chosen"],
            "title": f"{r['sqnr_db']:.1f} dB, {r[key] / unit:,.6g}: "
            + (", ".join(f"{n} {s}" for n, s in r["storage"].items()) or f"all {usual}"),
        }
        for r in rows
    ]  # fmt: skip
    return {
        "title": title, "left": left + LEFT, "right": left + WIDTH - RIGHT, "x": x.ticks(), "y": y.ticks(),
        "points": points, "line": " ".join(f"{p['x']},{p['y']}" for p in points),
    }  # fmt: skip


def svg(allocation: Mapping[str, Any]) -> str:
    """A drawing of the ``allocation`` in measurements.json: a file of its own, or part of a page."""
    rows, usual = sorted(allocation["pareto"], key=lambda r: float(r["sqnr_db"])), allocation.get("usual", "float16")
    panels = [
        panel(rows, "flash", 1024, "flash, KiB", 0, usual),
        panel(rows, "instructions", 1000, f"thousand instructions, {allocation['costs']}", WIDTH, usual),
    ]
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates") / "report"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, autoescape=True,
    )  # fmt: skip
    return env.get_template("pareto.svg.j2").render(panels=panels, width=2 * WIDTH, height=HEIGHT, top=TOP, floor=HEIGHT - BOTTOM)
