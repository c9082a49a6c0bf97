"""LSTMs whose matrices are factors: kept or multiplied out by every recipe, in which storages, and the same bytes everywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "frontends")]
from installed import need_emulator
from onnx_models import Net, kinds, load

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph
from edgeq.lower import lower
from edgeq.passes import declare_states, normalise
from edgeq.quantize import Options, evaluate_float
from edgeq.target import load as load_target

IN, UNITS, FRAMES = 10, 16, 160


def factored(rank: int = 3) -> onnx.ModelProto:
    """A dense layer, an LSTM with R of a rank and W of that rank, and a dense layer; states carried along."""
    b = Net(seed=rank)
    x, h, c = b.input(1, IN, name="frame"), b.input(1, UNITS, name="h_state_in"), b.input(1, UNITS, name="c_state_in")
    x = b.op("Relu", b.op("Gemm", x, b.random(IN, UNITS), b.random(UNITS)))
    terms = [b.op("MatMul", b.op("MatMul", t, b.random(UNITS, rank)), b.random(rank, 4 * UNITS)) for t in (x, h)]
    i, f, g, o = b.op("Split", b.op("Add", b.op("Add", terms[0], b.random(4 * UNITS)), terms[1]), outputs=4, axis=1)
    c = b.op("Add", b.op("Mul", b.op("Sigmoid", f), c), b.op("Mul", b.op("Sigmoid", i), b.op("Tanh", g)))
    h = b.op("Mul", b.op("Sigmoid", o), b.op("Tanh", c))
    y = b.op("Sigmoid", b.op("Gemm", h, b.random(UNITS, 5), b.random(5)))
    named = [b.op("Identity", n) for n in (y, h, c)]
    model = b.model(*named)
    for node in model.graph.node:
        node.output[:] = [dict(zip(named, ("mask", "h_state_out", "c_state_out"), strict=True)).get(n, n) for n in node.output]
    for value, name in zip(model.graph.output, ("mask", "h_state_out", "c_state_out"), strict=True):
        value.name = name
    return model


@pytest.fixture(scope="module")
def real() -> Graph:
    return normalise(declare_states(load(factored())))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    return {"frame": np.random.default_rng(1).normal(0, 1, (FRAMES, 1, IN)).astype(np.float32)}


@pytest.fixture(scope="module")
def mixed(real: Graph, data: dict[str, np.ndarray]) -> api.Quantized:
    return api.quantize(real, data, recipe="mixed")


def sqnr(real: Graph, made: api.Quantized, data: dict[str, np.ndarray]) -> float:
    want, got = evaluate_float(real, data)["mask"], made.predict(data)
    return float(10 * np.log10((want**2).sum() / ((got.reshape(want.shape) - want) ** 2).sum()))


def test_mixed_keeps_factors_in_int16(real: Graph, mixed: api.Quantized, data: dict[str, np.ndarray]) -> None:
    (node,) = (n for n in mixed.graph.nodes if n.op.kind() == "lstm_cell")
    types = [mixed.graph.type(n) for n in (node.inputs[0], *node.inputs[2:])]
    assert [t.dtype for t in types] == [DType.INT16, DType.INT16, DType.INT32] and types[0].scale == types[1].scale == 2.0**-12
    factors = [n for n in mixed.graph.nodes if n.op.kind() == "fully_connected" and mixed.graph.type(n.inputs[0]).dtype is DType.INT16]
    assert len(factors) == 4 and all(mixed.graph.type(n.inputs[1]).dtype is DType.INT8 for n in factors)
    assert sqnr(real, mixed, data) > 40
    assert "# lstm_cell: x s16, h s16, c s32, gates s16" in mixed.files["precision.toml"].decode()


@pytest.mark.parametrize(("recipe", "wanted"), [("fp16", 60), ("w8a16", 40), ("int8", 12)])
def test_what_recipes_make_of_factors(real: Graph, data: dict[str, np.ndarray], recipe: str, wanted: float) -> None:
    made = api.quantize(real, None if recipe == "fp16" else data, recipe=recipe)
    assert ("lstm_cell" in kinds(made.graph)) == (recipe != "int8"), "int8 everywhere has gates in its own layer alone"
    assert sqnr(real, made, data) > wanted


def test_factors_by_hand(real: Graph, data: dict[str, np.ndarray]) -> None:
    assert "lstm" in kinds(api.quantize(real, None, recipe="fp16", factors="multiply").graph)
    with pytest.raises(EdgeqError, match="choose one of keep, multiply"):
        api.quantize(real, None, recipe="fp16", factors="fold")
    with pytest.raises(EdgeqError, match="recipe int8 has no option 'factors'"):
        api.quantize(real, data, recipe="int8", factors="keep")


def test_a_search_tries_what_recipes_make_of_factors(
    real: Graph, data: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path))
    found = api.search(real, vary={"recipe": ["int8"], "rounding": ["nearest"]}, calibration=data)
    made = api.quantize(real, {n: a[: FRAMES // 2] for n, a in data.items()}, options=Options(rounding="nearest")).graph
    assert found.trials[0].costs["flash"] == sum(t.nbytes for c in lower(made, load_target("host")).calls for t in c.stored.values())


def test_a_precision_file_says_which_form_it_is_of(real: Graph, mixed: api.Quantized, data: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "precision.toml"
    path.write_bytes(mixed.files["precision.toml"])
    again = api.quantize(real, data, precision=str(path))  # of recipe int8, which would multiply out
    assert again.graph.nodes == mixed.graph.nodes
    dense = api.quantize(real, data, recipe="mixed", factors="multiply")
    path.write_bytes(dense.files["precision.toml"])
    assert api.quantize(real, data, recipe="mixed", precision=str(path)).graph.nodes == dense.graph.nodes
    path.write_text('format = 1\n[nodes]\n"nobody" = "float16"\n')
    with pytest.raises(EdgeqError, match="nobody"):
        api.quantize(real, data, recipe="mixed", precision=str(path))


def test_auto_weighs_factors(data: dict[str, np.ndarray]) -> None:
    """Of rank 12 they are fewer than weights and no fewer products than those: flash keeps them, and nothing else."""
    graph = normalise(declare_states(load(factored(12))))  # type: ignore[arg-type]
    assert "lstm_cell" in kinds(graph)
    few = {"frame": data["frame"][:80]}
    assert "lstm_cell" in kinds(api.quantize(graph, few, recipe="auto", budget={"drop": 20.0}).graph)


def test_the_same_bytes_on_a_chip(real: Graph, data: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Every step of consecutive frames, by `api.build`; the kernels are those of the DSP extension."""
    need_emulator("cortex-m4")
    built = api.build(real, output=tmp_path / "m", target="cortex-m4", calibration=data, recipe="mixed", vectors=6)
    assert {s.kernel for s in built.manifest.steps} >= {"fully_connected_s16_armv7em", "lstm_cell_s16"}
