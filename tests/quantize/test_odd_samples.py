"""Samples that leave calibration little to go by are met by min/max and nearest rounding, and by one line that names the tensor."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from edgeq.ir import Array, Graph, Node, Tensor, TensorType
from edgeq.matrices import inverse_root
from edgeq.ops.clamp import Clamp
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize import Options, calibrate, quantize
from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.ranges import METHODS
from edgeq.quantize.rounding import Rounded, second_order
from edgeq.simulate import simulate

WIDTH = 6
RNG = np.random.default_rng(2)
PRESSURE = 101325.0  # in pascal: float32 has steps of 2^-7 there


def graph() -> Graph:
    """x -> clamp -> dense -> dense."""
    data = {
        "w": RNG.normal(0, 0.3, (WIDTH, WIDTH)), "b": RNG.normal(0, 0.3, WIDTH),
        "v": RNG.normal(0, 0.3, (WIDTH, WIDTH)), "c": RNG.normal(0, 0.3, WIDTH),
    }  # fmt: skip
    tensors = {n: Tensor(n, TensorType(a.shape), a.astype(np.float32)) for n, a in data.items()}
    tensors |= {n: Tensor(n, TensorType((1, WIDTH))) for n in ("x", "h", "r", "y")}
    nodes = [
        Node("clamp", Clamp((-np.inf, 1e31)), ("x",), ("r",)), Node("first", FullyConnected(), ("r", "w", "b"), ("h",)),
        Node("second", FullyConnected(), ("h", "v", "c"), ("y",)),
    ]  # fmt: skip
    return Graph("g", (), tensors, ("x",), ("y",)).with_nodes(nodes)


def nearly(center: float, spread: float, count: int = 32) -> dict[str, Array]:
    x = center + spread * RNG.uniform(-1, 1, (count, 1, WIDTH))
    return {"x": x.astype(np.float32)}


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "edgeq"]


SAMPLES = {
    "constant": nearly(0.5, 0), "zero": nearly(0, 0), "a few steps": nearly(0.5, 1e-6), "pressure": nearly(PRESSURE, 0.1),
    "subnormal": nearly(0, 1e-41), "tiny": nearly(0, 1e-37), "huge": nearly(0, 1e30), "one sample": nearly(1, 1, 1),
    "two values": {"x": RNG.choice([0.5, 0.5000001], (32, 1, WIDTH)).astype(np.float32)},
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SAMPLES)
def test_no_samples_end_in_an_exception_of_numpy(name: str, method: str) -> None:
    g = quantize(graph(), SAMPLES[name], Options(method=method))
    assert simulate(g, SAMPLES[name]).outputs["y"].dtype == np.int8


def test_the_line_names_the_tensor(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "edgeq"):
        ranges = calibrate(graph(), nearly(PRESSURE, 0.1), "mse")
    flat = [n for n, r in ranges.tensors.items() if r.method == "minmax"]
    assert "r" in flat and sum("'r' hardly varies" in line for line in lines(caplog)) == 1


def test_values_far_from_zero_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "edgeq"):
        calibrate(graph(), nearly(PRESSURE, 200))
    told = [line for line in lines(caplog) if "subtract its mean" in line]
    assert len(told) >= 2 and told[0].startswith("'x' lies between") and "steps of 398" in told[0] and told[1].startswith("'r'")


def test_what_never_varies_is_named_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    g = graph()
    weights = np.zeros((WIDTH, WIDTH), np.float32)
    dead = Graph("g", g.nodes, {**g.tensors, "w": Tensor("w", TensorType(weights.shape), weights)}, g.inputs, g.outputs)
    bias = Tensor("b", TensorType((WIDTH,)), np.full(WIDTH, 0.5, np.float32))
    dead = Graph("g", dead.nodes, {**dead.tensors, "b": bias}, g.inputs, g.outputs)
    with caplog.at_level(logging.WARNING, "edgeq"):
        calibrate(dead, nearly(0, 1))
    assert [line for line in lines(caplog) if line.startswith("the same value in every sample: 'h'")]


def test_a_spread_tensor_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "edgeq"):
        quantize(graph(), nearly(0, 1))
    assert not lines(caplog)


@pytest.mark.parametrize("kind", ["singular", "not finite"])
def test_singular_moments(kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(problem: LayerProblem) -> Rounded:
        if kind == "singular":
            inverse_root(-np.eye(2)[None])
        return np.full_like(problem.matrix, np.nan), problem.scales

    g, data = graph(), nearly(0, 1)
    nearest = quantize(g, data, Options(rounding="nearest"))
    monkeypatch.setattr(second_order, "rounded", broken)
    with caplog.at_level(logging.WARNING, "edgeq"):
        found = quantize(g, data)
    assert [line for line in lines(caplog) if kind in line and "'w'" in line]
    assert np.array_equal(found.tensors["w"].data, nearest.tensors["w"].data)  # type: ignore[arg-type]
