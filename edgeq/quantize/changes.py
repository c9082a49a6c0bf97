"""What a precision file asked for and what became of it, where the two differ."""

from __future__ import annotations

from edgeq.ir import DType
from edgeq.quantize.decide import Decision
from edgeq.quantize.plan import Precision, TensorPrecision
from edgeq.quantize.storage import HALF


def changes(given: Precision, decision: Decision) -> list[str]:
    """Lines ``- as it was written`` and ``+ as it is``, one pair for each tensor, layer, input and output that the file names and
    that differs; nothing for a file that is followed to the letter.
    """
    graph, made = decision.graph, decision.precision
    stored, origins = ({}, {}) if decision.borders is None else (decision.borders.stored, decision.borders.origins)
    found: list[str] = []
    ends = {origins.get(n, n): "input" if n in graph.inputs else "output" for n in (*graph.inputs, *graph.results) if stored.get(n) == HALF}
    named = {origins.get(t, t) for n in graph.nodes if n.name in given.nodes for t in (*n.inputs, *n.outputs)}
    new = [n for n in ends if n in given.tensors and n not in named]
    for name in new:
        found += [f"- {ends[name]} '{name}' {given.tensors[name].dtype.numpy}", f"+ {ends[name]} '{name}' float16"]
    for name, t in given.tensors.items():
        names = [n for n in made.tensors if origins.get(n, n) == name and stored.get(n) != HALF]
        if not names and name in new:
            continue
        before, after = _text(t), _text(made.tensors[names[0]]) if names else "float16"
        if before != after and t.scale is not None and not (names and _same(t, made.tensors[names[0]])):
            found += [f"- tensors.{name}: {before}", f"+ tensors.{name}: {after}"]
    for name, layer in given.layers.items():
        if name not in made.layers:
            found += [f"- layers.{name}: {layer.weights}", f"+ layers.{name}: float16"]
    return found


def halved(given: Precision) -> list[str]:
    """As `changes`, where everything became float16."""
    tensors = [n for n, t in given.tensors.items() if t.dtype is not DType.FLOAT16]
    named = [f"tensors.{n}: {given.tensors[n].dtype.numpy}" for n in tensors]
    named += [f"layers.{n}: {p.weights}" for n, p in given.layers.items()]
    return [line for text in named for line in (f"- {text}", f"+ {text.rpartition(':')[0]}: float16")]


def _same(a: TensorPrecision, b: TensorPrecision) -> bool:
    return a.scale == b.scale and a.exponents == b.exponents


def _text(t: TensorPrecision) -> str:
    scale = "scale to be found" if t.scale is None else f"scale {t.scale[0]:.6g}, zero point {t.scale[1]}"
    return scale + (", equalized" if t.exponents else "")
