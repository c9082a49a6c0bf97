"""Channels split before quantization: the same network, smaller outliers, and what cannot be split."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from float_graphs import Floats

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import Graph, check
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize import Options, evaluate_float
from edgeq.quantize.split import split
from edgeq.quantize.split.ocs import shares

RELU = (0.0, math.inf)
X = np.random.default_rng(1).normal(size=(64, 1, 6, 6, 3)).astype(np.float32)


def network(outlier: float = 30.0) -> Graph:
    """Two convolutions and a pooling between them; the second reads channel 5 by one large weight per row."""
    rng, f = np.random.default_rng(0), Floats()
    hidden = f.layer(Conv2d(clamp=RELU), f.input(1, 6, 6, 3), rng.normal(size=(20, 3, 3, 3)), rng.normal(size=20))
    pooled = f.op(AveragePool2d((2, 2), (2, 2)), hidden)
    w = rng.normal(size=(4, 1, 1, 20))
    w[..., 5] = outlier
    return f.graph(f.layer(Conv2d(), pooled, w))


def test_the_largest_weights_are_halved_again_and_again() -> None:
    w = np.array([[1.0, -9.0, 3.0], [2.0, 0.5, -4.0]])
    source, part = shares(w, 3)
    assert np.allclose([part[source == c].sum() for c in range(3)], 1) and len(source) == 6
    assert np.abs(w[:, source] * part).max() == 4 and sorted(source.tolist()) == [0, 1, 1, 1, 1, 2]


def test_the_network_computes_what_it_did() -> None:
    graph = network()
    found = check(split(graph, "ocs"), "split")
    (before,), (after,) = (evaluate_float(g, {"x": X}).values() for g in (graph, found))
    assert np.abs(after - before).max() < 1e-4 * np.abs(before).max()
    assert found.type(found.nodes[1].outputs[0]).shape == (1, 2, 2, 21) and found.inputs == graph.inputs
    w = found.tensors[found.nodes[-1].inputs[1]].data
    assert w is not None and np.abs(w).max() == 15 and w.shape == (4, 1, 1, 21)


def test_few_bits_keep_more_where_weights_are_outliers() -> None:
    noise = []
    for how in ("none", "ocs"):
        options = Options(weights="int4", weight_scale="max", rounding="nearest", split=how, equalize=False)
        found = api.quantize(network(), X, options=options)
        real = evaluate_float(network(), {"x": X})
        error = found.predict(X).reshape(-1) - next(iter(real.values())).reshape(-1)
        noise.append(float((error**2).sum()))
        assert found.record["options"].get("split", "none") == how
    assert noise[1] < 0.75 * noise[0]


def test_a_precision_file_says_how_channels_are_split(tmp_path: Path) -> None:
    options = Options(weights="int4", split="ocs")
    first = api.quantize(network(), X, options=options)
    path = tmp_path / "precision.toml"
    path.write_bytes(first.files["precision.toml"])
    again = api.quantize(network(), X, precision=path)
    assert b'split = "ocs"' in path.read_bytes() and again.files == first.files
    assert np.array_equal(again.predict(X), first.predict(X)) and again.record["options"]["split"] == "ocs"
    for wrong in ("'csp'", "['ocs']"):
        path.write_text(first.files["precision.toml"].decode().replace('"ocs"', wrong))
        with pytest.raises(EdgeqError, match=f"split is {re.escape(wrong)}"):
            api.quantize(network(), X, precision=path)


def test_what_cannot_be_split_is_refused() -> None:
    rng, f = np.random.default_rng(0), Floats()
    hidden = f.layer(Conv2d(clamp=RELU), f.input(1, 6, 6, 3), rng.normal(size=(4, 1, 1, 3)))
    deep = f.layer(DepthwiseConv2d(clamp=RELU), hidden, rng.normal(size=(1, 3, 3, 4)), axis=3)
    graph = f.graph(f.layer(Conv2d(), deep, rng.normal(size=(2, 1, 1, 4))))
    with pytest.raises(EdgeqError, match="no channels of this network can be split"):
        api.quantize(graph, X, options=Options(split="ocs"))
    f = Floats()
    with pytest.raises(EdgeqError, match="no channels"):
        split(f.graph(f.layer(FullyConnected(), f.input(1, 4), rng.normal(size=(3, 4)))), "ocs")
    with pytest.raises(EdgeqError, match="unknown splitting 'csp'"):
        Options(split="csp")


def test_channels_of_a_grouped_convolution_stay() -> None:
    rng, f = np.random.default_rng(0), Floats()
    grouped = f.layer(Conv2d(groups=2), f.input(1, 6, 6, 4), rng.normal(size=(100, 1, 1, 2)))  # 102: 51 each
    with pytest.raises(EdgeqError, match="no channels of this network can be split"):
        split(f.graph(f.layer(Conv2d(), grouped, rng.normal(size=(3, 1, 1, 100)))), "ocs")
