"""The graph as a picture: drag to move, turn the wheel to zoom, click a step for all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from edgeq.report import source
from edgeq.report.data import Data, Step
from edgeq.report.drawing import paired
from edgeq.report.sections.memory import shorten
from edgeq.report.sections.weights import of_step

TITLE = "Graph"
ORDER = 10
WIDTH, HEIGHT, GAP_X, GAP_Y, ROOM = 214, 44, 26, 30, 28
SWEEPS = 4


@dataclass
class Box:
    """A step, or an input, in the picture."""

    key: str
    name: str
    op: str
    family: str
    detail: str
    step: Step | None
    before: tuple[str, ...] = ()
    layer: int = 0
    x: float = 0.0

    @property
    def y(self) -> float:
        return 12 + self.layer * (HEIGHT + GAP_Y)


def boxes(data: Data) -> list[Box]:
    """Inputs and nodes, placed: each below what it reads, those of a layer in the order of what they read."""
    graph = data.graph
    maker = {n: f"in:{n}" for n in graph.inputs}
    found = [Box(f"in:{n}", n, "input", "input", str(graph.type(n)), None) for n in graph.inputs]
    for node, step in zip(graph.nodes, data.steps, strict=True):
        before = tuple(dict.fromkeys(maker[n] for n in node.inputs if n in maker))
        found.append(Box(node.name, node.name, step.op, step.family, step.output, step, before))
        maker |= dict.fromkeys(node.outputs, node.name)
    by = {b.key: b for b in found}
    for b in found:
        b.layer = max((by[k].layer + 1 for k in b.before), default=0)
    layers: dict[int, list[Box]] = {}
    for b in found:
        layers.setdefault(b.layer, []).append(b)
    for row in layers.values():
        for i, b in enumerate(row):
            b.x = i * (WIDTH + GAP_X)
    for _ in range(SWEEPS):
        for row in layers.values():
            row.sort(key=lambda b: sum(by[k].x for k in b.before) / len(b.before) if b.before else b.x)
            middle = sum(by[k].x for b in row for k in b.before) / max(1, sum(len(b.before) for b in row))
            for i, b in enumerate(row):
                b.x = max(0.0, middle - (len(row) - 1) * (WIDTH + GAP_X) / 2) + i * (WIDTH + GAP_X)
    left = min(b.x for b in found)
    for b in found:
        b.x += 12 - left
    return found


def edges(found: list[Box]) -> list[str]:
    """The paths from what is read to what reads it."""
    by = {b.key: b for b in found}
    paths = []
    for b in found:
        for k in b.before:
            x0, y0, x1, y1 = by[k].x + WIDTH / 2, by[k].y + HEIGHT, b.x + WIDTH / 2, b.y
            middle = (y1 - y0) / 2
            paths.append(f"M{x0:.1f} {y0:.1f}C{x0:.1f} {y0 + middle:.1f} {x1:.1f} {y1 - middle:.1f} {x1:.1f} {y1:.1f}")
    return paths


def values(quality: Mapping[str, Any]) -> Markup | None:
    """The histogram of a tensor as floats and as stored; None where there is no record of it."""
    found = quality.get("histogram")
    return found and paired(found["real"], found["stored"], found["ends"], f"values of {quality['name']}")


def context(data: Data) -> Mapping[str, Any]:
    found, c = boxes(data), source.read(data.folder, data.manifest.model)
    quality = {t["name"]: t for t in data.measured.quantization.get("tensors", ())}
    details = []
    for b in found:
        if b.step is not None:
            index = b.step.index
            details.append(
                {
                    "s": b.step, "q": quality.get(b.step.tensor, {}), "c": "" if index is None else c.steps.get(index, ""),
                    "kernel": "" if index is None else c.used.get(index, ""), "weights": of_step(data, b.name),
                    "histogram": values(quality.get(b.step.tensor, {})),
                    "share": 100 * (b.step.instructions or 0) / (data.run[1].instructions or 1) if data.run else 0.0,
                }
            )  # fmt: skip
    return {
        "boxes": [(b, shorten(b.name, ROOM), shorten(b.detail, ROOM)) for b in found],
        "edges": edges(found), "width": max(b.x for b in found) + WIDTH + 12, "height": max(b.y for b in found) + HEIGHT + 12,
        "w": WIDTH, "h": HEIGHT, "details": details, "number": {b.name: i for i, b in enumerate(found)},
        "kernels": {n: text for n, text in c.kernels.items() if n in c.used.values()},
    }  # fmt: skip


TEMPLATE = """
<h2>Graph</h2>
<p class="lead">Names are those of the model file. Drag to move, turn the wheel to zoom, click a step for its kernel, C, weights and costs.</p>
<div class="panel graph">
<div class="view" data-pan><svg class="map net" viewBox="0 0 {{ width }} {{ height }}" width="{{ width }}" height="{{ height }}" role="img" aria-label="The graph">
{% for path in edges %}
  <path class="edge" d="{{ path }}"/>
{% endfor %}
{% for b, name, detail in boxes %}
  <g class="node {{ b.family }}"{% if b.step %} data-show="step-{{ number[b.name] }}" tabindex="0" role="button"{% endif %}><title>{{ b.name }}</title>
    <rect x="{{ b.x }}" y="{{ b.y }}" width="{{ w }}" height="{{ h }}" rx="7"/><text class="in" x="{{ b.x + 10 }}" y="{{ b.y + 18 }}">{{ name }}</text><text class="in d" x="{{ b.x + 10 }}" y="{{ b.y + 34 }}">{{ b.op }}  {{ detail }}</text></g>
{% endfor %}
</svg></div>
<div class="tools"><button data-zoom="1.25">+</button><button data-zoom="0.8">−</button><button data-zoom="0">fit</button></div>
</div>
{% for e in details %}
{% set s = e.s %}
<article class="panel pad detail" id="step-{{ number[s.name] }}" hidden>
  <h3><i class="dot {{ s.family }}"></i>{{ s.name }}</h3>
  <dl class="facts">
    <dt>operator</dt><dd>{{ s.op }}{% if s.index is not none %}, step {{ s.index }}{% endif %}</dd>
    <dt>kernel</dt><dd class="mono">{{ s.kernel }}</dd>
    <dt>input, output</dt><dd class="mono">{{ s.inputs | join(", ") }} → {{ s.output }}</dd>
{% if s.index is not none %}
    <dt>work</dt><dd>{{ s.macs | count }} multiply-accumulates{% if s.instructions is not none %}, {{ s.instructions | count }} instructions, {{ "%.1f" | format(e.share) }} % of the inference{% endif %}</dd>
    <dt>bytes</dt><dd>{{ s.weight_bytes | count }} of constants, {{ s.output_bytes | count }} of output, {{ s.scratch | count }} of scratch; {{ s.live_bytes | count }} in use while it runs</dd>
{% endif %}
{% if e.q %}
    <dt>SQNR</dt><dd>{{ e.q.sqnr_db | number(3) }} dB against the float model, {{ e.q.own_sqnr_db | number(3) }} dB by its own rounding; {{ "%.2f" | format(100 * (e.q.saturated or 0)) }} % saturated{% if e.q.cause %}. {{ e.q.cause }}{% endif %}{% if e.q.fix %}. {{ e.q.fix }}{% endif %}</dd>
{% endif %}
  </dl>
{% if e.histogram %}
  <figure>{{ e.histogram }}<figcaption>{{ e.q.name | named }}: float values as bars, stored ones as a line; the height is the root of the count</figcaption></figure>
{% endif %}
{% for w in e.weights %}
  <figure>{{ w.drawing }}<figcaption>{{ w.text }}</figcaption></figure>
{% endfor %}
{% if e.c %}
  <details><summary>C of this step</summary><pre><code>{{ e.c }}</code></pre></details>
{% endif %}
{% if e.kernel %}
  <details><summary>Kernel <code>{{ e.kernel }}</code></summary><pre><code>{{ kernels[e.kernel] }}</code></pre></details>
{% endif %}
</article>
{% endfor %}
"""
