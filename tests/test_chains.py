"""Chains of int8 operators that read one tensor: one call, and the bytes of the operators one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_graphs import Builder
from test_fuzz_graphs import prove, vectors

from edgeq import target
from edgeq.chains import Composite, chains
from edgeq.emit import emit
from edgeq.ir import Graph, QParams
from edgeq.lower import lower
from edgeq.ops.activations import LeakyRelu, Silu
from edgeq.ops.add import Add, Sub
from edgeq.ops.clamp import Clamp
from edgeq.ops.extremum import Maximum, Minimum
from edgeq.ops.logic import IsZero, Step
from edgeq.ops.mathematics import Abs
from edgeq.ops.mul import Mul
from edgeq.plan import plan

UNARY = (LeakyRelu(0.2), Silu(), Abs(), Step(), IsZero(), Clamp((-1.0, 2.0)))
BINARY = (Add(), Sub(), Mul(), Add((0.0, 3.0)))


def number(b: Builder, value: int) -> str:
    return b.constant(f"c{len(b.tensors)}", np.array([[[[value]]]], np.int8), b.q())


def random_chain(b: Builder, x: str, length: int) -> str:
    """Operators on x and on what they give, with numbers on either side; all but the last are read by a later one."""
    made = [x]
    for _ in range(length):
        a, rng = made[-1], b.rng
        if rng.random() < 0.5:
            made.append(b.node(UNARY[rng.integers(len(UNARY))], a, q=b.q()))
            continue
        other = number(b, int(rng.integers(-128, 128))) if rng.random() < 0.6 else made[rng.integers(len(made))]
        pair = (a, other) if rng.random() < 0.5 else (other, a)
        made.append(b.node(BINARY[rng.integers(len(BINARY))], *pair, q=b.q()))
    return made[-1]


@pytest.mark.parametrize("law", ["single", "tflm"])
def test_bytes(law: str, tmp_path: Path) -> None:
    """Six chains side by side, behind and before what is no part of one."""
    b = Builder(5, law)
    x = b.input(1, 3, 4, 2)
    ends = [random_chain(b, x, 2 + k % 4) for k in range(5)]
    inner = b.node(Mul(), ends[0], ends[1], q=b.q())  # reads two
    graph = b.graph(*ends[2:], random_chain(b, inner, 4))
    program = lower(graph, target.load("host"))
    assert sum(isinstance(c.node.op, Composite) for c in program.calls) >= 4 and len(program.calls) < len(graph.nodes) / 2
    prove(graph, vectors(graph, 1), tmp_path / "out")


def shrunk(b: Builder, x: str) -> tuple[str, str]:
    """A soft shrink as exporters spell it, and its condition."""
    beyond = b.node(Step(), b.node(Sub(), b.node(Abs(), x, q=b.q()), number(b, 40), q=b.q()), q=QParams((1.0,)))
    return b.node(Mul(), b.node(Mul(), beyond, x, q=b.q()), number(b, 90), q=b.q()), beyond


def test_what_is_read_elsewhere_is_computed() -> None:
    for shared in (False, True):
        b = Builder(2, "single")
        x = b.input(1, 2, 2, 3)
        y, beyond = shrunk(b, x)
        graph = b.graph(y, beyond) if shared else b.graph(y)
        calls = lower(graph, target.load("host")).calls
        assert len(calls) == (3 if shared else 1) and y in {c.output for c in calls} and (beyond in {c.output for c in calls}) == shared
        assert {n for c in calls for n in (c.node.name, *c.folded)} == {n.name for n in graph.nodes}


def kept(b: Builder, *outputs: str) -> bool:
    return not chains(b.graph(*outputs)).nodes


def test_what_is_no_chain() -> None:
    """Two tensors, a constant per channel, one table alone."""
    b = Builder(3, "single")
    assert kept(b, b.node(Maximum(), b.input(1, 2, 2, 3), b.input(1, 2, 2, 3)))
    b = Builder(3, "single")
    per_channel = b.constant("c", np.arange(3, dtype=np.int8).reshape(1, 1, 1, 3), b.q())
    assert kept(b, b.node(Minimum(), b.input(1, 2, 2, 3), per_channel))
    b = Builder(3, "single")
    assert kept(b, b.node(Silu(), b.input(1, 2, 2, 3), q=b.q()))


def test_folded_nodes_have_names_in_the_manifest() -> None:
    b = Builder(2, "single")
    graph: Graph = b.graph(shrunk(b, b.input(1, 2, 2, 3))[0])
    program = lower(graph, target.load("host"))
    (step,) = emit(program, plan(program), "shrink").manifest.steps
    assert [*step.epilogue, step.name] == [n.name for n in graph.nodes]
