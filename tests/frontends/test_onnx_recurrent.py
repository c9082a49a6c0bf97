"""LSTM and GRU of ONNX files against onnxruntime; what PyTorch exports; what is refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from onnx_models import Net, close, feeds, kinds, load, onnxruntime_outputs, real_outputs

from edgeq.errors import EdgeqError
from edgeq.passes import normalise

T, IN, H = 5, 6, 4
GATES = {"LSTM": 4, "GRU": 3}


def network(
    kind: str, direction: str = "forward", *, steps: int = T, states: str = "", bias: bool = True, outputs: int = 3, **attributes: Any
) -> ModelProto:
    """`states`: "" for none, "input" or "constant"."""
    b = Net()
    count, gates = 2 if direction == "bidirectional" else 1, GATES[kind]
    w, r = b.random(count, gates * H, IN), b.random(count, gates * H, H)
    inputs = [b.input(steps, 1, IN), w, r, b.random(count, 2 * gates * H) if bias else ""]
    names = ("h", "c")[: 2 if kind == "LSTM" else 1]
    if states:
        inputs += ["", *(b.input(count, 1, H, name=n) if states == "input" else b.random(count, 1, H) for n in names)]
    found = b.op(kind, *inputs, outputs=1 + len(names), direction=direction, hidden_size=H, **attributes)
    return b.model(*found[:outputs])


def check(model: ModelProto, passes: bool = True) -> None:
    graph = load(model)
    arrays = feeds(model, 4)
    wanted = onnxruntime_outputs(model, arrays)
    close(real_outputs(graph, arrays), wanted)
    if passes:
        close(real_outputs(normalise(graph), arrays), wanted)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("states", ["", "input", "constant"])
def test_sequences(kind: str, direction: str, states: str) -> None:
    for more in ({}, {"linear_before_reset": 1}) if kind == "GRU" else ({},):
        check(network(kind, direction, states=states, **more))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_one_step_with_its_states(kind: str) -> None:
    model = network(kind, steps=1, states="input", bias=False)
    check(model)
    assert [k for k in kinds(normalise(load(model))) if k not in ("reshape",)] == [kind.lower()]


def test_batch_first() -> None:
    """onnxruntime has not implemented it: compared with the other layout."""
    model = network("LSTM", "bidirectional", states="constant")
    other = ModelProto()
    other.CopyFrom(model)
    other.graph.node[0].attribute.append(onnx.helper.make_attribute("layout", 1))
    dims = other.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value, dims[1].dim_value = 1, T
    for t in other.graph.initializer:
        if list(t.dims) == [2, 1, H]:
            t.dims[:] = [1, 2, H]
    arrays = feeds(model, 3)
    first = real_outputs(load(model), arrays)
    second = real_outputs(load(other), {"input": arrays["input"].swapaxes(1, 2)})
    for (name, a), b in zip(first.items(), second.values(), strict=True):
        perm = (0, 3, 1, 2, 4) if a.ndim == 5 else (0, 2, 1, 3)
        np.testing.assert_array_equal(a.transpose(perm), b, err_msg=name)


@pytest.mark.parametrize(
    ("kind", "attributes", "message"),
    [
        ("LSTM", {"clip": 1.0}, "clip"), ("LSTM", {"activations": ["Relu", "Tanh", "Tanh"]}, "activations"),
        ("GRU", {"activations": ["HardSigmoid", "Tanh"]}, "activations"), ("LSTM", {"input_forget": 1}, "coupled"),
    ],
)  # fmt: skip
def test_variants_are_refused(kind: str, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(EdgeqError, match=message):
        load(network(kind, **attributes))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_pytorchs_layers(kind: str, bidirectional: bool) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = getattr(torch.nn, kind)(IN, H, num_layers=2, bidirectional=bidirectional, batch_first=True).eval()
    file = io.BytesIO()
    torch.onnx.export(layer, (torch.zeros(1, T, IN),), file, dynamo=False, input_names=["x"])
    model = onnx.load_from_string(file.getvalue())
    graph = normalise(load(model))
    arrays = feeds(model, 3)
    close(real_outputs(graph, arrays), onnxruntime_outputs(model, arrays))
    assert kinds(graph).count(kind.lower()) == (4 if bidirectional else 2) and "transpose" not in kinds(graph)
