"""Typical networks: the float meaning equals onnxruntime's before and after the passes, and hardly a transpose is left."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import NETWORKS, TRANSPOSES, Net, close, feeds, kinds, load, onnxruntime_outputs, real_outputs

from edgeq.passes import normalise


@pytest.mark.parametrize("name", NETWORKS)
def test_network_equals_onnxruntime(name: str) -> None:
    model = NETWORKS[name]()
    arrays = feeds(model, 2)
    wanted = onnxruntime_outputs(model, arrays)
    graph = load(model)
    close(real_outputs(graph, arrays), wanted)
    result = normalise(graph)
    close(real_outputs(result, arrays), wanted)
    assert (result.inputs, result.outputs) == (graph.inputs, graph.outputs)
    assert [result.type(n) for n in result.inputs] == [graph.type(n) for n in graph.inputs]
    assert kinds(result).count("transpose") == TRANSPOSES[name]
    assert normalise(result).nodes == result.nodes


def test_names_are_the_files() -> None:
    """Nodes bear their ONNX names, tensors theirs; a tensor in the model's own layout and one in NHWC never share a name."""
    b = Net()
    x = b.op("Relu", b.norm(b.conv(b.input(1, 3, 8, 8, name="image"), 3, 4), 4))
    graph = normalise(load(b.model(b.op("MaxPool", x, kernel_shape=[2, 2]))))
    assert [n.name for n in graph.nodes] == ["Conv_0/nhwc", "Conv_0", "MaxPool_3", "MaxPool_3/nchw"]
    assert graph.inputs == ("image",) and graph.outputs == ("maxpool3",)
    assert [n.outputs[0] for n in graph.nodes] == ["image.nhwc", "relu2", "maxpool3.nhwc", "maxpool3"]


def test_batch_normalization_vanishes_before_and_behind_a_layer() -> None:
    b = Net()
    x = b.norm(b.input(1, 3, 8, 8), 3)  # folds forward: no padding behind it
    x = b.op("Relu", b.norm(b.conv(x, 3, 4, pads=[0, 0, 0, 0]), 4))
    x = b.norm(b.op("ConvTranspose", x, b.random(4, 4, 2, 2)), 4)
    x = b.norm(b.conv(x, 4, 4, group=4), 4)
    x = b.norm(b.op("Gemm", b.op("Flatten", x), b.random(4 * 49, 6), b.random(6)), 6)
    model = b.model(x)
    arrays = feeds(model, 2)
    graph = normalise(load(model))
    assert kinds(graph) == ["transpose", "conv2d", "transpose_conv2d", "depthwise_conv2d", "reshape", "fully_connected"]
    close(real_outputs(graph, arrays), onnxruntime_outputs(model, arrays))


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 7), (2, 5, 4, 3)], ids=str)
def test_batch_normalization_that_nothing_takes_is_one_node(shape: tuple[int, ...]) -> None:
    b = Net()
    x = b.norm(b.op("Relu", b.norm(b.op("Tanh", b.input(*shape)), 5)), 5)
    model = b.model(x if len(shape) == 2 else b.op("MaxPool", x, kernel_shape=[2] * (len(shape) - 2)))
    arrays = feeds(model, 3)
    graph = normalise(load(model))
    assert kinds(graph).count("depthwise_conv2d") == 2 and "mul" not in kinds(graph) and "add" not in kinds(graph)
    close(real_outputs(graph, arrays), onnxruntime_outputs(model, arrays))


@pytest.mark.parametrize("rank", [8, 80])
def test_speech_denoiser(data, rank: int) -> None:  # type: ignore[no-untyped-def]
    """A real one-step recurrent network: five inputs, five outputs, weights computed by a chain of constants."""
    import onnx

    model = onnx.load(data / "denoiser" / f"tt_rank_{rank}.onnx")
    arrays = {n: np.abs(a) for n, a in feeds(model, 4).items()}
    graph = normalise(load(model))
    assert list(graph.inputs) == [i.name for i in model.graph.input]
    close(real_outputs(graph, arrays), onnxruntime_outputs(model, arrays))
