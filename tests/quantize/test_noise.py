"""Poor outputs are explained: by the tensor that one rounding spoils, or by how many roundings follow each other."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import PLAIN, Floats

from edgeq import api
from edgeq.cli.quantize import unseen as told
from edgeq.ir import Graph
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize.diagnosis import TensorStats, diagnose
from edgeq.quantize.noise import GOOD, reason

RNG = np.random.default_rng(6)


def deep(layers: int) -> Graph:
    """Random rotations, each of which is rounded anew."""
    b, rng = Floats(), np.random.default_rng(1)
    x = b.input(1, 64)
    for i in range(layers):
        x = b.layer(FullyConnected(), x, np.linalg.qr(rng.normal(0, 1, (64, 64)))[0], name=f"h{i}")
    return b.graph(x)


def stats(graph: Graph, x: np.ndarray) -> list[TensorStats]:
    return diagnose(graph, api.quantize(graph, {"x": x}, options=PLAIN).graph, {"x": x})


def test_many_roundings_are_counted() -> None:
    graph, x = deep(36), RNG.normal(0, 1, (64, 1, 64)).astype(np.float32)
    found = stats(graph, x)
    text = reason(found, graph.outputs)
    first = next(i for i, t in enumerate(found) if t.sqnr_db < GOOD)
    own = np.median([t.own_sqnr_db for t in found])
    assert first > 5
    assert text == f"37 roundings of {own:.0f} dB in turn: below 25 dB after {first + 1}, at 'h{first - 1}' (fully_connected)"


def test_good_outputs_need_no_reason() -> None:
    graph, x = deep(3), RNG.normal(0, 1, (64, 1, 64)).astype(np.float32)
    assert reason(stats(graph, x), graph.outputs) == ""
    assert "reason" not in api.quantize(graph, {"x": x}, unseen=True).record


def test_one_bad_rounding_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    graph, x = deep(3), RNG.normal(0, 0.01, (64, 1, 64)).astype(np.float32)
    x[0, 0, 0], x[1, 0, 0] = 9.0, -9.0
    x[2:, 0, :] += RNG.normal(0, 0.02, (62, 64))
    made = api.quantize(graph, {"x": x}, options=PLAIN, unseen=True)
    assert made.record["reason"].startswith("'x' (input) itself keeps ")
    judged = made.record["unseen"]
    assert told(made.record).endswith(f"calibrated with the other 32: {judged['reason']}") and "itself keeps" in judged["reason"]
