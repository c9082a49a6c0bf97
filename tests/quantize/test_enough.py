"""Too few samples are told: the layers, and how many would do."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import Floats

from edgeq import api
from edgeq.ir import Graph
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize import Options
from edgeq.quantize.enough import advise

RNG = np.random.default_rng(3)
QUICK = Options(rounding="nearest")


@pytest.fixture(scope="module")
def wide() -> Graph:
    """As an autoencoder begins: 640 inputs, then few."""
    b = Floats()
    h = b.layer(FullyConnected((0.0, np.inf)), b.input(1, 640), RNG.normal(0, 0.04, (16, 640)), name="first")
    return b.graph(b.layer(FullyConnected(), h, RNG.normal(0, 0.3, (4, 16)), name="y"))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "samples are few for" in r.getMessage()]


@pytest.mark.parametrize(("count", "lines"), [(128, 1), (330, 0)])
def test_a_layer_that_sees_too_little_is_named(caplog: pytest.LogCaptureFixture, wide: Graph, count: int, lines: int) -> None:
    api.quantize(wide, {"x": RNG.normal(0, 1, (count, 1, 640)).astype(np.float32)}, options=QUICK)
    found = told(caplog)
    assert len(found) == lines
    assert all("128 samples are few for 'first'" in line and line.endswith("Fix: calibrate with 640 or more") for line in found)


def test_every_position_of_an_image_is_a_row(caplog: pytest.LogCaptureFixture) -> None:
    b = Floats()
    graph = b.graph(b.layer(Conv2d((1, 1), pads=(1, 1, 1, 1)), b.input(1, 8, 8, 32), RNG.normal(0, 0.1, (4, 3, 3, 32)), name="y"))
    advise(graph, 3)
    assert not told(caplog)
    advise(graph, 2)
    assert [line for line in told(caplog) if line.endswith("with 5 or more")]
