"""The C for this computer's vectors takes the simulator's place where there is much to compute and it gives the same bytes."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from random_graphs import Builder

from edgeq.api import devices
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.simulate import Run, simulate
from edgeq.target import load


def network() -> Graph:
    b = Builder(7, "tflm")
    return b.graph(b.dense(b.depthwise(b.conv(b.input(1, 9, 9, 3), 13, 3)), 5))


def vectors(graph: Graph, count: int) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {n: rng.integers(-128, 128, (count, *graph.type(n).shape)).astype(np.int8) for n in graph.inputs}


def test_a_target_of_its_own_has_the_kernels() -> None:
    calls = lower(network(), load("native")).calls
    assert {c.kernel.isa for c in calls if c.params.tables.get("weights") is not None} == {"host"}
    assert {c.kernel.isa for c in lower(network(), load("host")).calls} == {"c"}


def test_much_is_computed_by_the_c(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = network()
    inputs, calls = vectors(graph, 40), list[str]()
    expected, plain = simulate(graph, inputs).outputs, devices.evaluate
    monkeypatch.setattr(devices, "evaluate", lambda name, *given: calls.append(name) or plain(name, *given))
    assert np.array_equal(*(o[graph.outputs[0]] for o in (devices.simulated(graph, inputs), expected))) and calls == []
    monkeypatch.setattr(devices, "WORTH", 1)
    assert np.array_equal(*(o[graph.outputs[0]] for o in (devices.simulated(graph, inputs), expected))) and calls == ["cpu"]


def test_c_that_is_wrong_is_told_and_not_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    graph = network()
    inputs = vectors(graph, 20)
    expected = simulate(graph, inputs).outputs
    monkeypatch.setattr(devices, "WORTH", 1)
    monkeypatch.setattr(devices, "evaluate", lambda *given: Run("host", {n: a ^ 1 for n, a in expected.items()}, {}))
    found = devices.simulated(graph, inputs)
    assert all(np.array_equal(found[n], a) for n, a in expected.items())
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
