"""Models as scikit-learn's exporter writes them (ai.onnx.ml), against onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from tflite_models import real

from edgeq.errors import EdgeqError
from edgeq.frontends import load
from edgeq.ir import Array

RNG = np.random.default_rng(0)
W1, B1, W2, B2 = (RNG.normal(size=s).astype(np.float32) for s in ((4, 8), 8, (8, 3), 3))
X = RNG.normal(size=(5, 1, 4)).astype(np.float32)


def ml(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs, outputs, domain="ai.onnx.ml", **attributes)


def save(folder: Path, nodes: list[NodeProto], outputs: dict[str, Any], **constants: Array) -> Path:
    given = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 4])]
    values = [helper.make_tensor_value_info(n, t, None) if isinstance(t, int) else helper.make_value_info(n, t) for n, t in outputs.items()]
    tensors = [numpy_helper.from_array(a, n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "g", given, values, tensors)
    versions = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


def same(path: Path, order: Sequence[int] = ()) -> None:
    """Every output as onnxruntime has it; maps as their values, the keys in `order`."""
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    want = [session.run(None, {"X": x}) for x in X]
    for i, mine in enumerate(real(load(path), {"X": X})):
        theirs = [[w[i][0][k] for k in order] if isinstance(w[i], list) else w[i] for w in want]
        np.testing.assert_allclose(mine.reshape(len(X), -1), np.reshape(theirs, (len(X), -1)), rtol=1e-5, atol=1e-6)


def network(labels: list[int]) -> tuple[list[NodeProto], dict[str, Array]]:
    """A classifier of two layers, its label the class of the largest probability."""
    node = helper.make_node
    nodes = [
        node("Cast", ["X"], ["c"], to=TensorProto.FLOAT), node("MatMul", ["c", "w1"], ["m1"]), node("Add", ["m1", "b1"], ["a1"]),
        node("Relu", ["a1"], ["r"]), node("MatMul", ["r", "w2"], ["m2"]), node("Add", ["m2", "b2"], ["a2"]),
        node("Softmax", ["a2"], ["probabilities"], axis=1), node("ArgMax", ["probabilities"], ["place"], axis=1),
        ml("ArrayFeatureExtractor", ["classes", "place"], ["class"]), node("Cast", ["class"], ["small"], to=TensorProto.INT32),
        node("Reshape", ["small", "shape"], ["flat"]), node("Cast", ["flat"], ["label"], to=TensorProto.INT64),
    ]  # fmt: skip
    return nodes, {"w1": W1, "b1": B1, "w2": W2, "b2": B2, "classes": np.array(labels, np.int64), "shape": np.array([-1], np.int64)}


@pytest.mark.parametrize("labels", [[0, 1, 2], [7, 3, 20]])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_network_with_labels(tmp_path: Path, labels: list[int], zipped: bool) -> None:
    nodes, constants = network(labels)
    ends: dict[str, Any] = {"label": TensorProto.INT64, "probabilities": TensorProto.FLOAT}
    if zipped:
        nodes.append(ml("ZipMap", ["probabilities"], ["map"], classlabels_int64s=labels))
        float_map = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
        ends = {"label": TensorProto.INT64, "map": helper.make_sequence_type_proto(float_map)}
    same(save(tmp_path, nodes, ends, **constants), labels)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("labels", [[0, 1, 2], [5, 2, 9]])
def test_linear_models(tmp_path: Path, transform: str, labels: list[int]) -> None:
    weights = {"coefficients": W1[:, :3].T.ravel().tolist(), "intercepts": [0.1, -0.2, 0.3], "post_transform": transform}
    nodes = [
        ml("Scaler", ["X"], ["s"], offset=[1.0, 2.0, -3.0, 0.5], scale=[0.5, 0.25, 2.0, 1.0]),
        ml("LinearClassifier", ["s"], ["label", "scores"], classlabels_ints=labels, multi_class=1, **weights),
        ml("LinearRegressor", ["s"], ["y"], targets=3, **{**weights, "post_transform": "NONE"}),
    ]
    same(save(tmp_path, nodes, {"label": TensorProto.INT64, "scores": TensorProto.FLOAT, "y": TensorProto.FLOAT}))


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizer_and_columns(tmp_path: Path, norm: str) -> None:
    nodes = [ml("Normalizer", ["X"], ["n"], norm=norm), ml("ArrayFeatureExtractor", ["n", "columns"], ["y"])]
    same(save(tmp_path, nodes, {"n": TensorProto.FLOAT, "y": TensorProto.FLOAT}, columns=np.array([2, 0], np.int64)))


def test_thresholds_and_missing_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nodes = [
        ml("Imputer", ["X"], ["i"], imputed_value_floats=[1.0, 2.0, 3.0, 4.0], replaced_value_float=float("nan")),
        ml("Binarizer", ["i"], ["y"], threshold=0.25),
    ]
    same(save(tmp_path, nodes, {"i": TensorProto.FLOAT, "y": TensorProto.FLOAT}))
    assert "replace them before it" in caplog.text
    nodes[0] = ml("Imputer", ["X"], ["i"], imputed_value_floats=[1.0], replaced_value_float=-1.0)
    with pytest.raises(EdgeqError, match="Imputer of a number"):
        load(save(tmp_path, nodes, {"y": TensorProto.FLOAT}))


def test_what_stands_behind_an_unknown_operator_is_not_blamed(tmp_path: Path) -> None:
    nodes = [ml("TreeEnsembleRegressor", ["X"], ["t"], n_targets=1), helper.make_node("Gather", ["t", "columns"], ["y"], axis=1)]
    with pytest.raises(EdgeqError, match=r"a node cannot be read .*TreeEnsembleRegressor") as e:
        load(save(tmp_path, nodes, {"y": TensorProto.FLOAT}, columns=np.array([0], np.int64)))
    assert "Gather" not in str(e.value)


def test_what_is_not_a_network_is_refused(tmp_path: Path) -> None:
    one = ml("LinearClassifier", ["X"], ["label", "p"], coefficients=[1.0] * 4, intercepts=[0.5], classlabels_ints=[0, 1])
    with pytest.raises(EdgeqError, match="a row for each class"):
        load(save(tmp_path, [one], {"label": TensorProto.INT64, "p": TensorProto.FLOAT}))
    tree = ml("TreeEnsembleRegressor", ["X"], ["y"], n_targets=1)
    with pytest.raises(EdgeqError, match="TreeEnsembleRegressor is not supported"):
        load(save(tmp_path, [tree], {"y": TensorProto.FLOAT}))
