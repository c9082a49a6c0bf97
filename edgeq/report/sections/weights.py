"""Histograms of the weights of every layer, as stored, and how many lie at the ends of their range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from edgeq.ir import Array, TensorType
from edgeq.report.data import Data
from edgeq.report.drawing import histogram

TITLE = "Weights"
ORDER = 60


@dataclass(frozen=True)
class Weights:
    """The drawing of one table of weights, and a line about it."""

    name: str
    drawing: Markup
    text: str
    clipped: float


def drawn(name: str, t: TensorType, data: Array) -> Weights:
    """A histogram of weights in their stored values."""
    integers = data.dtype.kind == "i"
    limit = float(np.abs(data.astype(np.float64)).max()) if data.size else 0.0
    ends = int(limit) if integers else 0
    clipped = float((np.abs(data.astype(np.int64)) >= ends).mean()) if integers and ends and data.size else 0.0
    text = f"{data.size:,} weights as {t.dtype.value}".replace(",", "\u202f")
    text += f", {100 * float((data == 0).mean()):.1f} % zero" + (f", {100 * clipped:.2f} % at \u00b1{ends}" if ends else "")
    return Weights(name, histogram(data, -limit or -1.0, limit or 1.0, f"weights of {name}"), text, clipped)


def of_step(data: Data, name: str) -> list[Weights]:
    """The tables of weights of a node."""
    node = next(n for n in data.graph.nodes if n.name == name)
    found = []
    for at in node.op.traits.weights:
        tensor = data.graph.tensors[node.inputs[at]] if at < len(node.inputs) else None
        if tensor is not None and tensor.data is not None:
            found.append(drawn(tensor.name, tensor.type, tensor.data))
    return found


def context(data: Data) -> Mapping[str, Any] | None:
    rows = [(n.name, w) for n in data.graph.nodes for w in of_step(data, n.name)]
    return {"rows": rows} if rows else None


TEMPLATE = """
<h2>Weights</h2>
<p class="lead">How often each stored value occurs. Each channel has a scale of its own; a tall bar at an end means that outliers were cut.</p>
<div class="panel pad figures">
{% for name, w in rows %}
  <figure>{{ w.drawing }}<figcaption><b>{{ name | named }}</b><br>{{ w.text }}</figcaption></figure>
{% endfor %}
</div>
"""
