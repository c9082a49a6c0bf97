"""The arena drawn over the steps: one rectangle per tensor, at its address, for as long as it lives."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeq.record import LinesRecord
from edgeq.report.data import Data

TITLE = "Memory map"
ORDER = 20
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 1120, 380, 74, 14, 34
MIN_STEP = 14.0
LETTER = 6.9  # width of a letter of a label


@dataclass(frozen=True)
class Rectangle:
    """A tensor or a call's scratch in the drawing."""

    x: float
    y: float
    width: float
    height: float
    family: str
    label: str
    detail: str
    title: str


def shorten(name: str, room: int) -> str:
    """A name in `room` letters: of a path the last parts that fit, else its end behind an ellipsis; empty in less than eight."""
    if len(name) <= room:
        return name
    parts = name.split(";")[0].split("/")
    for first in range(len(parts)):
        tail = "/".join(parts[first:])
        if len(tail) <= room:
            return tail
    return "\u2026" + name[len(name) - room + 1 :] if room >= 8 else ""


class Drawing:
    """Geometry of the map of one folder."""

    def __init__(self, data: Data) -> None:
        self.data, self.manifest = data, data.manifest
        self.count = max(1, len(self.manifest.steps))
        self.step = max(MIN_STEP, (WIDTH - LEFT - 10) / self.count)
        self.width = LEFT + self.step * self.count + 10
        self.top: int = max(1, self.manifest.arena_bytes, self.manifest.arena_lower_bound)
        families = {s.index: s.family for s in data.steps}
        self.families = {s.tensor: families[i] for i, s in enumerate(self.manifest.steps)}

    def x(self, step: float) -> float:
        return LEFT + step * self.step

    def y(self, address: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - address / self.top)

    def rectangle(self, name: str, offset: int, size: int, first: float, last: float, kind: str, title: str) -> Rectangle:
        width, height = (last - first) * self.step - 1.5, self.y(0) - self.y(size)
        room = int((width - 10) / LETTER)
        label = shorten(name, room)
        detail = f"{size:,} B".replace(",", "\u202f")
        return Rectangle(
            round(self.x(first) + 0.75, 2), round(self.y(offset + size), 2), round(width, 2), round(max(0.75, height - 0.75), 2), kind,
            label if height >= 15 else "", detail if height >= 30 and len(detail) <= room else "", title,
        )  # fmt: skip

    def tensors(self) -> list[Rectangle]:
        """Tensors in order of birth. In a step that overwrites in place the old one has the left half, the new one the right."""
        lives = self.manifest.lifetimes
        overwritten = {t.overwrites for t in lives}
        found = []
        for t in lives:
            name, first, last = t.tensor, t.first, t.last
            title = f"{name}\n{t.bytes:,} bytes at {t.offset:,}\nsteps {first} to {last}"
            title += f"\noverwrites {t.overwrites} in place" if t.overwrites else ""
            start = first + (0.5 if t.overwrites else 0)
            end = last + (0.5 if name in overwritten else 1)
            kind, lines = self.families.get(name, "input"), self.lines.get(name)
            if lines is None or lines.busy is None:
                found.append(self.rectangle(name, t.offset, t.bytes, start, end, kind, title))
                continue
            title += f"\n{lines.kept:,} bytes outside of steps {lines.busy[0]} to {lines.busy[1]}"
            kept = t.offset + (lines.bytes - lines.kept if lines.behind else 0)
            begin, stop = lines.busy[0], lines.busy[1] + 1
            spans = ((kept, lines.kept, first, begin), (t.offset, t.bytes, begin, stop), (kept, lines.kept, stop, last + 1))
            found += [self.rectangle(name, at, size, a, b, kind, title) for at, size, a, b in spans if size and a < b]
        return found

    @functools.cached_property
    def lines(self) -> dict[str, LinesRecord]:
        """The buffers of rows by tensor."""
        return {x.tensor: x for band in self.manifest.bands for x in band.lines}

    def scratch(self) -> list[Rectangle]:
        """Scratch of single calls."""
        return [
            self.rectangle(
                "scratch", s.scratch_offset or 0, s.scratch, i, i + 1, "scratch",
                f"scratch of step {i}, {s.name}\n{s.scratch:,} bytes at {s.scratch_offset or 0:,}",
            )
            for i, s in enumerate(self.manifest.steps)
            if s.scratch
        ]  # fmt: skip

    def addresses(self) -> list[tuple[float, str]]:
        """Ticks of the address axis: round numbers, four to eight of them."""
        step = next(s for k in range(0, 40) for s in (1 << k, 3 << k >> 1) if s >= 4 and self.top / s <= 8)
        return [(round(self.y(a), 2), f"{a / 1024:g} KiB" if step >= 512 else f"{a} B") for a in range(0, self.top + 1, step)]

    def numbers(self) -> list[tuple[float, str]]:
        """Ticks of the step axis, as many as are legible."""
        every = next(n for n in (1, 2, 5, 10, 20, 50, 100, 10**9) if self.step * n >= 22)
        return [(round(self.x(i + 0.5), 2), str(i)) for i in range(0, self.count, every)]


def context(data: Data) -> Mapping[str, Any] | None:
    drawing, m = Drawing(data), data.manifest
    if not m.lifetimes:
        return None
    live = [data.live(i) for i in range(len(m.steps))]
    peak = max(range(len(live)), key=lambda i: live[i], default=None)
    return {
        "width": round(drawing.width, 1), "height": HEIGHT, "left": LEFT, "tensors": drawing.tensors(), "scratch": drawing.scratch(),
        "addresses": drawing.addresses(), "numbers": drawing.numbers(), "floor": round(drawing.y(0), 2),
        "arena_y": round(drawing.y(m.arena_bytes), 2), "bound_y": round(drawing.y(m.arena_lower_bound), 2),
        "peak": None if peak is None else {"step": peak, "name": m.steps[peak].name, "x": round(drawing.x(peak), 2)},
        "column": round(drawing.step, 2), "top": TOP, "families": sorted({r.family for r in drawing.tensors()}),
    }  # fmt: skip


TEMPLATE = """
<h2>Memory map</h2>
<p class="lead">The arena over the steps: {{ m.arena_bytes | count }} bytes; no plan can need less than {{ m.arena_lower_bound | count }}{% if peak %}, the peak is step {{ peak.step }}, {{ peak.name | first_name }}{% endif %}. Hover over a rectangle for its name, size and address.</p>
<div class="panel">
<div class="scroll pad">
<svg class="map" width="{{ width }}" height="{{ height }}" viewBox="0 0 {{ width }} {{ height }}" role="img" aria-label="Arena addresses over steps">
{% if peak %}
  <rect class="peak" x="{{ peak.x }}" y="{{ top }}" width="{{ column }}" height="{{ floor - top }}"/>
{% endif %}
{% for y, text in addresses %}
  <line class="grid" x1="{{ left }}" x2="{{ width - 8 }}" y1="{{ y }}" y2="{{ y }}"/><text class="axis" x="{{ left - 8 }}" y="{{ y + 4 }}" text-anchor="end">{{ text }}</text>
{% endfor %}
{% for x, text in numbers %}
  <text class="axis" x="{{ x }}" y="{{ floor + 15 }}" text-anchor="middle">{{ text }}</text>
{% endfor %}
  <text class="axis" x="{{ left }}" y="{{ floor + 30 }}">step</text>
  <defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="3" height="6" fill="var(--scratch)"/></pattern></defs>
{% for r in scratch %}
  <rect x="{{ r.x }}" y="{{ r.y }}" width="{{ r.width }}" height="{{ r.height }}" fill="url(#hatch)"><title>{{ r.title }}</title></rect>
{% endfor %}
{% for r in tensors %}
  <rect class="t {{ r.family }}" x="{{ r.x }}" y="{{ r.y }}" width="{{ r.width }}" height="{{ r.height }}" rx="2"><title>{{ r.title }}</title></rect>
{% if r.label %}
  <text class="in" x="{{ r.x + 6 }}" y="{{ r.y + 12 }}">{{ r.label }}</text>{% if r.detail %}<text class="in d" x="{{ r.x + 6 }}" y="{{ r.y + 25 }}">{{ r.detail }}</text>{% endif %}

{% endif %}
{% endfor %}
  <line class="bound" x1="{{ left }}" x2="{{ width - 8 }}" y1="{{ bound_y }}" y2="{{ bound_y }}"><title>lower bound</title></line>
  <line class="limit" x1="{{ left }}" x2="{{ width - 8 }}" y1="{{ arena_y }}" y2="{{ arena_y }}"><title>arena</title></line>
</svg>
</div>
<div class="legend">{% for f in families %}<span><i class="dot {{ f }}"></i>{{ {"conv": "convolution", "depthwise": "depthwise", "dense": "fully connected, matmul", "pool": "pooling, reduction", "sum": "two operands", "unary": "elementwise, softmax", "move": "moves values", "cast": "casts", "recurrent": "LSTM, GRU", "normal": "normalization, softmax", "input": "graph input"}.get(f, f) }}</span>{% endfor %}{% if scratch %}<span><i class="dot scratch"></i>scratch inside a call</span>{% endif %}<span>solid line: arena</span><span>dashed line: lower bound</span></div>
</div>
{% if m.bands %}
<p class="lead">Steps that run in bands of rows, and how much of their results is kept.</p>
<div class="panel"><div class="scroll"><table>
<tr><th class="n">band</th><th class="n">turns</th><th>tensor</th><th class="n">rows at a turn</th><th class="n">rows kept</th><th class="n">bytes</th><th class="n">between its steps</th></tr>
{% for b in m.bands %}{% for rows in b.rows %}{% set s = m.steps[b.first + loop.index0] %}{% set x = (b.lines | selectattr("tensor", "equalto", s.tensor) | list + [none])[0] %}
<tr><td class="n">{{ b.first }}\u2013{{ b.last }}</td><td class="n">{{ b.turns }}</td><td>{{ s.tensor | first_name }}</td><td class="n">{{ rows }}</td><td class="n">{% if not x %}whole{% elif x.rows %}{{ x.rows }} of {{ x.height }}{% else %}in {{ x.beside | first_name }}{% endif %}</td><td class="n">{{ (x.bytes if x else s.bytes) | count }}</td><td class="n">{% if x and x.busy %}{{ x.kept | count }}{% endif %}</td></tr>
{% endfor %}{% endfor %}
</table></div></div>
{% endif %}
"""
