"""What the quantizer made is normalised again: fewer steps and channels, the same bytes, in every recipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[1] / "frontends")]
from onnx_models import feeds, load
from test_onnx_networks import NETWORKS

from edgeq import api
from edgeq.api import quantizing
from edgeq.ir import Array, Graph, Node, Tensor, TensorType
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.mean import Mean
from edgeq.simulate import simulate

RECIPES = ("int8", "fp16", "mixed", "robust")


def plain(graph: Graph, samples: Mapping[str, Array], recipe: str, monkeypatch: pytest.MonkeyPatch) -> Graph:
    """The quantized graph as the quantizer made it."""
    with monkeypatch.context() as patch:
        patch.setattr(quantizing, "normalise", lambda g: g)
        return api.quantize(graph, samples, recipe=recipe, **({"code": "7+once"} if recipe == "robust" else {})).graph  # type: ignore[arg-type]


def same(a: Graph, b: Graph, samples: Mapping[str, Array]) -> None:
    first, second = (simulate(g, samples).outputs for g in (a, b))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["resnet", "unet", "shufflenet", "decoder", "mlp", "attention"])
def test_the_same_bytes(name: str, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = NETWORKS[name]()
    graph, samples = load(model), feeds(model, 8)  # as the file has it: there is more to do than after `api.load`
    before = plain(graph, samples, recipe, monkeypatch)
    same(before, quantizing.normalise(before), samples)


def dead(seed: int = 0) -> Graph:
    """Two convolutions; half of the first one's channels never leave zero."""
    rng = np.random.default_rng(seed)
    w, b = rng.normal(0, 0.3, (8, 3, 3, 2)).astype(np.float32), rng.uniform(0.1, 0.3, 8).astype(np.float32)
    w[::2] *= 1e-6
    b[::2] = -1.0
    data = {"w": w, "b": b, "v": rng.normal(0, 0.3, (4, 3, 3, 8)).astype(np.float32), "c": rng.normal(0, 0.3, 4).astype(np.float32)}
    tensors = {n: Tensor(n, TensorType(a.shape), a) for n, a in data.items()} | {"x": Tensor("x", TensorType((1, 6, 6, 2)))}
    nodes = []
    for op, inputs, output in (
        (Conv2d(pads=(1, 1, 1, 1), clamp=(0.0, np.inf)), ("x", "w", "b"), "h"),
        (Conv2d(pads=(1, 1, 1, 1)), ("h", "v", "c"), "m"),
        (Mean((1, 2)), ("m",), "y"),
    ):
        tensors[output] = Tensor(output, op.infer(*(tensors[n].type for n in inputs)))  # type: ignore[attr-defined]
        nodes.append(Node(output, op, inputs, (output,)))  # type: ignore[arg-type]
    return Graph("g", (), tensors, ("x",), ("y",)).with_nodes(nodes)


@pytest.mark.parametrize("recipe", ["int8", "robust"])
def test_dead_channels_go(recipe: str) -> None:
    samples = {"x": np.random.default_rng(1).normal(0, 1, (32, 1, 6, 6, 2)).astype(np.float32)}
    graph = api.quantize(dead(), samples, recipe=recipe).graph
    assert graph.type("h").shape == (1, 6, 6, 4) and graph.type("w").shape == (4, 3, 3, 2)
