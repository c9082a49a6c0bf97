"""The Python API as an engineer with PyTorch and numpy meets it."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeq
from edgeq import api, graphfile
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, Tensor, TensorType
from edgeq.ops.add import Add
from edgeq.ops.fully_connected import FullyConnected

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).standard_normal((24, 6)).astype(np.float32)


def dense() -> Graph:
    rng = np.random.default_rng(1)
    w, b = rng.standard_normal((3, 6)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    f32 = DType.FLOAT32
    tensors = [
        Tensor("x", TensorType((1, 6), f32)), Tensor("w", TensorType((3, 6), f32), w), Tensor("b", TensorType((3,), f32), b),
        Tensor("y", TensorType((1, 3), f32)),
    ]  # fmt: skip
    return Graph("dense", (Node("fc", FullyConnected(), ("x", "w", "b"), ("y",)),), {t.name: t for t in tensors}, ("x",), ("y",))


def total() -> Graph:
    tensors = [Tensor(n, TensorType((1, 6), DType.FLOAT32)) for n in ("a", "b", "y")]
    return Graph("total", (Node("add", Add(), ("a", "b"), ("y",)),), {t.name: t for t in tensors}, ("a", "b"), ("y",))


class Tensorlike:
    """What edgeq needs of a tensor, without PyTorch."""

    def __init__(self, values: Array) -> None:
        self.values, self.shape = values, values.shape

    def detach(self) -> Tensorlike:
        return self

    def cpu(self) -> Array:
        return self.values


def batches(size: int, labels: bool) -> Iterator[Any]:
    for i in range(0, len(X), size):
        yield (X[i : i + size], np.arange(i, min(i + size, len(X))) % 3) if labels else X[i : i + size]


@pytest.mark.parametrize(
    "data",
    [
        lambda: {"x": X}, lambda: X, lambda: X.tolist(), lambda: list(X), lambda: Tensorlike(X), lambda: [Tensorlike(x) for x in X],
        lambda: batches(5, False), lambda: batches(5, True), lambda: batches(1, True),
        lambda: [(x, 1) for x in X], lambda: [{"x": x} for x in X],
        lambda: [{"x": x, "name": "text"} for x in X], lambda: X.reshape(24, 1, 6), lambda: X.astype(np.float64), lambda: (x for x in X),
    ],
)  # fmt: skip
def test_samples_of_every_form_give_the_same(data: Any) -> None:
    want = edgeq.quantize(dense(), {"x": X}).graph
    got = edgeq.quantize(dense(), data()).graph
    assert {n: t.type for n, t in got.tensors.items()} == {n: t.type for n, t in want.tensors.items()}


def test_samples_for_several_inputs() -> None:
    want = edgeq.quantize(total(), {"a": X, "b": 2 * X}).graph
    for data in ([(x, 2 * x) for x in X], [(x, 2 * x, 0) for x in X], [{"a": x, "b": 2 * x} for x in X]):
        got = edgeq.quantize(total(), data).graph
        assert {n: t.type for n, t in got.tensors.items()} == {n: t.type for n, t in want.tensors.items()}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "no samples"), (7, "holds no samples"), ([["a"] * 6], "no numbers"), ([np.zeros(5, np.float32)], "does not fit input 'x'"),
        ([{"z": X[0]}], "no array for input 'x'"), (np.array(["a"]), "no numbers"), ([[1.0], [1.0, 2.0]], "does not fit|no array"),
    ],
)  # fmt: skip
def test_what_is_no_samples_is_refused(data: Any, why: str) -> None:
    with pytest.raises(EdgeqError, match=why):
        edgeq.quantize(dense(), data)


def test_a_limit_ends_an_endless_generator() -> None:
    def endless() -> Iterator[Array]:
        while True:
            yield X[0]

    assert edgeq.quantize(dense(), endless(), calibration_limit=7).record["samples"] == 7


def test_accuracy_from_labelled_batches() -> None:
    y = np.arange(len(X)) % 3
    quantized = edgeq.quantize(dense(), X).graph
    want = edgeq.accuracy(quantized, {"x": X, "y": y})
    assert edgeq.accuracy(quantized, batches(7, True)) == want
    with pytest.raises(EdgeqError, match="label"):
        edgeq.accuracy(quantized, batches(7, False))


def test_predict_is_the_simulator(tmp_path: Path) -> None:
    quantized = edgeq.quantize(dense(), X)
    outcome = edgeq.simulate(quantized.graph, X)
    assert np.array_equal(quantized.predict(X), outcome.outputs(real=True)["y"][:, 0]) and quantized.predict(X).shape == (24, 3)
    assert np.array_equal(quantized.predict(list(X), stored=True), outcome.outputs()["y"][:, 0])
    built = edgeq.build(quantized, output=tmp_path / "out", check=False)
    assert built.measured.quantization["samples"] == 24 and (tmp_path / "out" / "precision.toml").is_file()


@pytest.mark.parametrize(
    "verb", [edgeq.quantize, lambda *a, **k: edgeq.build(*a, output="never", **k), lambda *a, **k: edgeq.accuracy(*a, {}, **k)]
)
def test_unknown_keywords_are_refused_with_the_nearest(verb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=r"unexpected keyword 'recpie'.*did you mean 'recipe'"):
        verb(dense(), recpie="fp16")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["build", "quantize", "run", "compare", "simulate", "tune", "accuracy", "load"])
def test_verbs_show_what_they_take(name: str) -> None:
    verb = getattr(edgeq, name)
    parameters = inspect.signature(verb).parameters
    assert not {"args", "kwargs"} & set(parameters)
    assert "ForwardRef" not in str(inspect.signature(verb))
    if name in ("build", "quantize"):
        assert {"recipe", "pixels", "accumulate"} <= set(parameters)
        assert "recipe" in pydoc.plain(pydoc.render_doc(verb)) and "Args:" in pydoc.plain(pydoc.render_doc(verb))
    assert getattr(api, name).__doc__ in (verb.__doc__ or "")


def test_the_package_is_typed() -> None:
    assert (Path(edgeq.__file__).parent / "py.typed").is_file()


def test_a_live_module(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)

    class SmallNet(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.fc(x))

    module = SmallNet()
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.zeros(len(X), dtype=torch.int64))
    for example in (torch.zeros(1, 6), np.zeros((1, 6), np.float32), (torch.zeros(1, 6),)):
        graph = edgeq.load(module, example)
        assert graph.name == "small_net"
    quantized = edgeq.quantize(graph, torch.utils.data.DataLoader(dataset, batch_size=5))
    real = module(torch.from_numpy(X)).detach().numpy()
    assert np.abs(quantized.predict(torch.from_numpy(X)).reshape(real.shape) - real).max() < 0.05
    assert edgeq.compare(quantized.graph, X, target="host").comparison.bit_exact
    cases = (((module, None), "without example inputs"), ((object(), X), "is no model"), (("m.onnx", X), "example inputs for a file"))
    for wrong, why in cases:
        with pytest.raises(EdgeqError, match=why):
            edgeq.load(*wrong)


def test_arguments_that_would_be_disregarded_are_refused(tmp_path: Path) -> None:
    graphfile.save(dense(), tmp_path / "dense.eqg")
    for name, value in (("shapes", {"x": (1, 6)}), ("const", {"x": 1}), ("states", {}), ("signature", "main")):
        with pytest.raises(EdgeqError, match=f"{name} cannot be given"):
            edgeq.load(tmp_path / "dense.eqg", **{name: value})  # type: ignore[arg-type]
        with pytest.raises(EdgeqError, match=f"{name} cannot be given for a graph"):
            edgeq.accuracy(dense(), {"x": X, "y": np.zeros(24, int)}, **{name: value})


@pytest.mark.parametrize(("wrong", "why"), [("m.onnx", "type str is no graph"), (object(), "type object is no graph")])
def test_what_is_no_graph_is_refused_with_how_to_read_it(wrong: Any, why: str) -> None:
    with pytest.raises(EdgeqError, match=f"{why}. Fix: edgeq.load"):
        edgeq.quantize(wrong, X)


def test_a_quantized_model_is_not_quantized_again() -> None:
    quantized = edgeq.quantize(dense(), X)
    for again in (quantized, quantized.graph):
        with pytest.raises(EdgeqError, match=r"quantized already\. Fix: build it as it is"):
            edgeq.quantize(again, X)
