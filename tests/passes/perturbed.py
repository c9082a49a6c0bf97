"""Graphs a little beside those that passes look for: one constant, limit, operator, wire, axis or reader is another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node, check
from edgeq.ops.add import Add, Sub
from edgeq.ops.extremum import Maximum
from edgeq.ops.mul import Mul

LIMITS = ((0.0, np.inf), (-0.5, 0.5), (-np.inf, 0.25))
PAIRS = (Add, Sub, Mul, Maximum)
Change = Callable[[Graph, np.random.Generator], "Graph | None"]


def _one(rng: np.random.Generator, found: list[Any]) -> Any:
    return found[rng.integers(len(found))] if found else None


def _with_node(graph: Graph, old: Node, new: Node) -> Graph:
    return graph.with_nodes(new if n is old else n for n in graph.nodes)


def constant(graph: Graph, rng: np.random.Generator) -> Graph | None:
    """One of its values, or all, moved, scaled, negated or zero."""
    names = [n for n, t in graph.tensors.items() if t.data is not None and t.data.dtype == np.float32 and t.data.size]
    if not names:
        return None
    tensor = graph.tensors[_one(rng, names)]
    data = np.array(tensor.data)
    at: Any = tuple(rng.integers(n) for n in data.shape) if rng.random() < 0.5 else ...
    value = data[at]
    data[at] = (value * 1.25 + 0.1, value * 0.5, -value, value * 0, value + 1)[rng.integers(5)]
    return graph.with_nodes(graph.nodes, [replace(tensor, data=data)])


def limit(graph: Graph, rng: np.random.Generator) -> Graph | None:
    node = _one(rng, [n for n in graph.nodes if hasattr(n.op, "clamp")])
    return node and _with_node(graph, node, replace(node, op=replace(node.op, clamp=LIMITS[rng.integers(3)])))


def operator(graph: Graph, rng: np.random.Generator) -> Graph | None:
    """Another of two inputs, or a number of an operator's one more or less, or the other truth value."""
    pair = [n for n in graph.nodes if type(n.op) in PAIRS]
    if pair and rng.random() < 0.4:
        node = _one(rng, pair)
        return _with_node(graph, node, replace(node, op=_one(rng, [kind() for kind in PAIRS if kind is not type(node.op)])))
    node = _one(rng, [n for n in graph.nodes if fields(n.op)])  # type: ignore[arg-type]
    if node is None:
        return None
    name = _one(rng, [f.name for f in fields(node.op) if f.name != "clamp"] or ["clamp"])  # type: ignore[arg-type]
    return _with_node(graph, node, replace(node, op=replace(node.op, **{name: _other(getattr(node.op, name), rng)})))


def _other(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple) and value:
        at = int(rng.integers(len(value)))
        other = int(rng.integers(len(value)))
        moved = list(value)
        moved[at], moved[other] = value[other], value[at]
        return tuple(_other(v, rng) if i == at else v for i, v in enumerate(value)) if rng.random() < 0.5 else tuple(moved)
    if isinstance(value, (int, float)):
        return value + int(rng.choice([-1, 1])) if isinstance(value, int) else value * 1.5 + 0.125
    return value


def wire(graph: Graph, rng: np.random.Generator) -> Graph | None:
    """Two inputs exchanged, or another tensor of the same shape, made before."""
    at = int(rng.integers(len(graph.nodes)))
    node = graph.nodes[at]
    free = [i for i in range(len(node.inputs)) if i not in node.op.parameters]
    inputs = list(node.inputs)
    i = _one(rng, free)
    made = [*graph.inputs, *(o for n in graph.nodes[:at] for o in n.outputs), *(inputs[k] for k in free)]
    inputs[i] = _one(rng, [n for n in made if n != inputs[i] and graph.type(n).shape == graph.type(inputs[i]).shape])
    if inputs[i] is None:
        return None
    if rng.random() < 0.5 and inputs[i] in node.inputs:
        inputs[node.inputs.index(inputs[i])] = node.inputs[i]
    return _with_node(graph, node, replace(node, inputs=tuple(inputs)))


def reader(graph: Graph, rng: np.random.Generator) -> Graph | None:
    """One more output."""
    name = _one(rng, [o for n in graph.nodes for o in n.outputs if o not in graph.outputs])
    return name and replace(graph, outputs=(*graph.outputs, name))


CHANGES: tuple[Change, ...] = (constant, constant, limit, operator, operator, wire, reader)


def perturbed(graph: Graph, rng: np.random.Generator) -> Graph | None:
    """The graph with one change; None where it has no meaning any more, or other shapes than before."""
    try:
        found = CHANGES[rng.integers(len(CHANGES))](graph, rng)
        if found is None:
            return None
        for node in found.nodes:
            types = node.op.infer_all(*(found.type(n) for n in node.inputs))
            if any(t.shape != found.type(n).shape for t, n in zip(types, node.outputs, strict=True)):
                return None
        return check(found, "perturbed")
    except (EdgeqError, ValueError, IndexError, TypeError):
        return None


def random_inputs(graph: Graph, count: int = 4) -> dict[str, Array]:
    """Some vectors of noise, one of them wide, one of zeros and ones."""
    rng = np.random.default_rng(7)
    found = {}
    for name in graph.inputs:
        a = rng.normal(0, 1, (count, *graph.type(name).shape))
        a[1] *= 5
        a[2] = a[2] > 0
        found[name] = a.astype(np.float32)
    return found
