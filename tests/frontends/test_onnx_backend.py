"""The ONNX standard's own node tests: every one that is read gives the standard's results, every other one is refused."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx_models import real_outputs

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import from_model, parse
from edgeq.ir import DType
from edgeq.passes import normalise

AT_LEAST = 1050  # tests that pass; 1071 with onnx 1.23
# Operators of which every floating-point input is an activation; of others the first alone is, the rest are parameters.
MANY = {"Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "Concat", "MatMul", "Gemm"}


def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        return [c for c in load_model_tests(kind="node") if c.model is not None and c.model.graph.node and c.data_sets]


def prepared(case: Any) -> tuple[onnx.ModelProto, dict[str, np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]] | None:
    """The model with its parameters as initializers, its inputs and results; None where they are no float tensors."""
    inputs, outputs = case.data_sets[0]
    if not all(isinstance(a, np.ndarray | np.generic) for a in (*inputs, *outputs)):
        return None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    many = model.graph.node[0].op_type in MANY
    feeds: dict[str, np.ndarray[Any, Any]] = {}
    for info, array in zip(list(model.graph.input), inputs, strict=False):
        if array.dtype.kind == "f" and (many or not feeds):
            feeds[info.name] = array
        else:
            model.graph.initializer.append(numpy_helper.from_array(array, info.name))
            model.graph.input.remove(info)
    return (model, feeds, list(outputs)) if feeds and all(a.dtype.kind == "f" for a in outputs) else None


def test_node_tests() -> None:
    counts: Counter[str] = Counter()
    for case in cases():
        ready = prepared(case)
        if ready is None:
            counts["no float tensors"] += 1
            continue
        model, feeds, wanted = ready
        try:
            graph = from_model(parse(model.SerializeToString(), case.name), "node", shapes={n: a.shape for n, a in feeds.items()})
        except EdgeqError as e:
            assert "\n" not in str(e) and str(e), case.name
            counts["refused"] += 1
            continue
        if any(t.type.dtype is not DType.FLOAT32 for t in graph.tensors.values()):
            counts["quantized"] += 1
            continue
        arrays = {n: a[None].astype(np.float32) for n, a in feeds.items()}
        for form in (graph, normalise(graph)):
            for got, want in zip(real_outputs(form, arrays).values(), wanted, strict=True):
                assert got.shape[1:] == want.shape, case.name
                np.testing.assert_allclose(got[0], want, rtol=1e-3, atol=1e-4, err_msg=case.name)
        counts["passed"] += 1
    print(dict(counts))
    assert counts["passed"] >= AT_LEAST, counts


def test_newest_operator_set_is_read() -> None:
    newest = onnx.defs.onnx_opset_version()
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]), opset_imports=[onnx.helper.make_opsetid("", newest)])
    assert from_model(parse(model.SerializeToString(), "new"), "new").outputs == ("y",)


def test_the_table_in_the_docs_has_no_wrong_and_no_crashed() -> None:
    """It is written by ``python -m benchmarks.onnx_nodes --write``."""
    from benchmarks.onnx_nodes import DOCUMENT

    rows = [line.split("|") for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    numbers = {cells[1].strip(): [int(c) for c in cells[2:7]] for cells in rows if cells[2].strip().isdigit()}
    assert numbers["all"][1] >= 1200 and numbers["one standard operator on float32 and integers"][1] >= 700
    assert numbers["one standard operator, float32 in and out"][1] >= 470
    assert all(n[3] == n[4] == 0 for n in numbers.values())
