"""Fits the kernels' cost table, templates/kernels/costs.json, to what the tuner measures on the benchmarked models.

    python -m benchmarks.costs cortex-m0 cortex-m3      these cores; the others stay

A kernel's cost is a sum of non-negative weights times the features that the table names. The kernels of an operator enter the table
of a core where choosing by it saves instructions over the kernels' priorities, on all measured layers together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks import models
from edgeq import kernels
from edgeq.api import random_inputs
from edgeq.ir import Graph, Params
from edgeq.lower import request
from edgeq.target import Target, load
from edgeq.tune.kernels import measure

TABLE = models.ROOT / "templates" / "kernels" / "costs.json"
MODELS = ("digits", "kws", "resnet8", "vww", "wake_word", "ad")
Layers = list[tuple[kernels.Signature, Params, Mapping[str, int]]]  # what, constants, kernel -> instructions


def measured(graph: Graph, target: Target) -> Layers:
    """Every kind of layer of a model that has a choice."""
    known = measure(graph, target, random_inputs(graph, 1), toolchain="zig", optimize="s", known={})
    layers = {kernels.cost_key(*r): (*r, known[kernels.cost_key(*r)]) for r in (request(graph, n) for n in graph.nodes)
              if kernels.cost_key(*r) in known}  # fmt: skip
    return list(layers.values())


def fitted(core: str, layers: Layers) -> dict[str, list[float]]:
    """Weights of every kernel that was measured at least three times, by relative least squares."""
    samples: dict[str, list[tuple[list[float], int]]] = {}
    for wanted, params, costs in layers:
        for name, count in costs.items():
            samples.setdefault(name, []).append((kernels.features(wanted.op, params), count))
    found = {}
    for name, rows in sorted(samples.items()):
        if len(rows) >= 3 and rows[0][0]:
            a, b = np.array([f for f, _ in rows]), np.array([n for _, n in rows], float)
            found[name] = [float(f"{w:.4g}") for w in nnls(a / b[:, None], np.ones(len(b)))[0]]
    return found


def total(layers: Layers, target: Target, core: str) -> int:
    """Instructions of all layers with the kernels that come first."""
    return sum(costs[kernels.candidates(wanted, params, target.isa, core)[0].name] for wanted, params, costs in layers)


def main() -> None:
    data: dict[str, Any] = json.loads(TABLE.read_text())
    for name in sys.argv[1:]:
        target = load(name)
        layers = [layer for m in MODELS for g in models.graphs(m)[:1] for layer in measured(g, target)]
        weights = fitted(target.core, layers)
        kept: dict[str, list[float]] = {}
        for op in data["features"]:
            own = [layer for layer in layers if layer[0].op == op]
            used = {k: w for k, w in weights.items() if any(k in costs for _, _, costs in own)}
            data["cores"][target.core] = used
            TABLE.write_text(json.dumps(data, indent=1) + "\n")
            kernels.cost_table.cache_clear()
            before, after = total(own, target, ""), total(own, target, target.core)
            best = sum(min(costs.values()) for _, _, costs in own)
            print(f"{name} {op}: {len(own)} layers, by priority {before:,}, by the table {after:,}, the best {best:,}")
            kept |= used if after < before else {}
        data["cores"][target.core] = kept
        data["cores"] = {k: v for k, v in sorted(data["cores"].items()) if v}
        TABLE.write_text(json.dumps(data, indent=1) + "\n")
        kernels.cost_table.cache_clear()


if __name__ == "__main__":
    main()
