"""What a recipe or a search chose from, drawn: flash and instructions over the quality of the outputs; and RAM over instructions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from edgeq.plan.fit import Way
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


@dataclass(frozen=True)
class Dot:
    """A choice: its quality (or what else it costs), its cost in the unit of the drawing, what it is, whether it stands out, and whether
    the line joins it."""

    quality: float
    cost: float
    name: str
    chosen: bool = False
    joined: bool = True


def panel(dots: Sequence[Dot], unit: str, title: str, left: float) -> dict[str, Any]:
    """One drawing: cost over quality, which is in `unit`."""
    x = _axis([d.quality for d in dots], left + LEFT, left + WIDTH - RIGHT)
    y = _axis([d.cost for d in dots], HEIGHT - BOTTOM, TOP)
    points = [
        {"x": x(d.quality), "y": y(d.cost), "chosen": d.chosen, "title": f"{d.quality:.1f} {unit}, {d.cost:,.6g}: {d.name}"} for d in dots
    ]  # fmt: skip
    joined = sorted((p["x"], p["y"]) for p, d in zip(points, dots, strict=True) if d.joined)
    return {
        "title": title, "left": left + LEFT, "right": left + WIDTH - RIGHT, "x": x.ticks(), "y": y.ticks(),
        "points": points, "line": " ".join(f"{a},{b}" for a, b in joined),
    }  # fmt: skip


def svg(allocation: Mapping[str, Any]) -> str:
    """A drawing of the ``allocation`` in measurements.json: a file of its own, or part of a page."""
    rows, usual = allocation["pareto"], allocation.get("usual", "float16")

    def dots(key: str, scale: float) -> list[Dot]:
        names = [", ".join(f"{n} {s}" for n, s in r["storage"].items()) or f"all {usual}" for r in rows]
        return [Dot(float(r["sqnr_db"]), r[key] / scale, n, r["chosen"]) for r, n in zip(rows, names, strict=True)]

    work = f"thousand instructions, {allocation['costs']}"
    panels = [panel(dots("flash", 1024), "dB", "flash, KiB", 0), panel(dots("instructions", 1000), "dB", work, WIDTH)]
    return _drawn(panels, "SQNR of the outputs, dB")


def trials(record: Mapping[str, Any]) -> str:
    """A drawing of the trials of a search (`edgeq.api.searching.Searched.record`); those that none beats stand out and are joined."""
    names, best = list(record["options"]), record["front"]
    rows = [t for t in record["trials"] if "refused" not in t]

    def dots(key: str, scale: float) -> list[Dot]:
        return [Dot(t["quality"], t[key] / scale, " ".join(t[n] for n in names), t in best, t in best) for t in rows]

    costs = [key for key in best[0] if key not in (*names, "quality")]
    scales = {key: (1024, "flash, KiB") if key == "flash" else (1000, f"thousand {key}") for key in costs}
    panels = [panel(dots(key, s), record["unit"], title, i * WIDTH) for i, (key, (s, title)) in enumerate(scales.items())]
    return _drawn(panels, f"quality, {record['unit']}")


def memory(found: Sequence[Way]) -> str:
    """A drawing of ways to use memory: bytes of the arena over instructions more than whole tensors; the line joins those whose input is
    whole."""
    dots = [Dot(w.more / 1000, w.arena / 1024, w.name, not w.bands, not w.fed) for w in found]
    return _drawn([panel(dots, "thousand more", "arena, KiB", 0)], "instructions more than whole tensors, about, thousand")


def _drawn(panels: Sequence[Mapping[str, Any]], below: str) -> str:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates") / "report"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, autoescape=True,
    )  # fmt: skip
    width = len(panels) * WIDTH
    return env.get_template("pareto.svg.j2").render(panels=panels, width=width, height=HEIGHT, top=TOP, floor=HEIGHT - BOTTOM, below=below)
