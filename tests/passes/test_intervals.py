"""The bounds hold for every operator: its own test cases, fed with inputs that are kept within random ranges."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeq.ir import DType, Graph, Node, Tensor, check
from edgeq.numerics import LAWS
from edgeq.ops.clamp import Clamp
from edgeq.passes.intervals import Interval, intervals
from edgeq.simulate import simulate

OPERATORS = Path(__file__).parent.parent / "ops"
sys.path.insert(0, str(OPERATORS))
from harness import Case  # noqa: E402

MODULES = sorted(p.stem for p in OPERATORS.glob("test_*.py"))
EVERYTHING = 255  # width of the bounds of what the analysis does not know


def int8_cases(module: str, law: str) -> Iterator[Case]:
    """The cases of an operator's test file that compute int8 from int8."""
    for case in getattr(importlib.import_module(module), "CASES", ()):
        int8 = all(isinstance(x, Tensor) or x.dtype is DType.INT8 for x in case.inputs) and case.output_type.dtype is DType.INT8
        alone = len(case.op.infer_all(*case.types)) == 1  # no state beside its output
        if int8 and alone and law in case.laws and not all(isinstance(x, Tensor) for x in case.inputs):
            yield case


def narrowed(case: Case, law: str, rng: np.random.Generator) -> tuple[Graph, str]:
    """The operator behind clamps that keep each activation in a random range."""
    nodes, inputs, names = [], [], []
    tensors: dict[str, Tensor] = {}
    for i, x in enumerate(case.inputs):
        name = f"x{i}"
        names.append(name)
        if isinstance(x, Tensor):
            tensors[name] = Tensor(name, x.type, x.data)
            continue
        ends = np.sort(rng.integers(-128, 128, 2)) if rng.random() < 0.8 else np.array([-128, 127])
        low, high = ((ends - x.zero_point) * x.scale).tolist()
        tensors[f"raw{i}"], tensors[name] = Tensor(f"raw{i}", x), Tensor(name, x)
        inputs.append(f"raw{i}")
        nodes.append(Node(f"clamp{i}", Clamp(clamp=(low, high)), (f"raw{i}",), (name,)))
    tensors["y"] = Tensor("y", case.output_type)
    nodes.append(Node("op", case.op, tuple(names), ("y",)))
    return check(Graph("case", tuple(nodes), tensors, tuple(inputs), ("y",), law), "test"), "y"


def widths(bounds: Interval) -> int:
    return int((bounds.high - bounds.low).min())


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("module", MODULES)
def test_bounds_hold(module: str, law: str) -> None:
    rng = np.random.default_rng(len(module))
    tight: dict[str, int] = {}
    for case in int8_cases(module, law):
        kind = case.op.kind()
        for _ in range(3):
            graph, y = narrowed(case, law, rng)
            x = {n: rng.choice([-128, 127, 0, 50], (24, *graph.type(n).shape)).astype(np.int8) for n in graph.inputs}
            for a in x.values():
                a[:8] = rng.integers(-128, 128, a[:8].shape)
                a[8], a[9] = -128, 127
            bounds = intervals(graph)[y]
            values = simulate(graph, x).outputs[y]
            assert (values >= bounds.low).all() and (values <= bounds.high).all(), case.name
            tight[kind] = min(tight.get(kind, EVERYTHING), widths(bounds))
    loose = {kind for kind, width in tight.items() if width == EVERYTHING}
    assert loose <= {"softmax", "mat_mul", "attention", "masked_attention", "layer_norm", "slide"}, f"nothing is known of {loose}"
