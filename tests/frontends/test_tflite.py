"""The TFLite frontend: every operator against LiteRT (float) and TensorFlow Lite Micro (int8), and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_tflite_signal
import tflite_cases as tc
from tflite_cases import CASES, CONVOLUTIONS, PRODUCTS, Case
from tflite_models import dequantized, litert, real, tflm

from edgeq.frontends import load
from edgeq.frontends.tflite.attributes import TRANSLATORS
from edgeq.frontends.tflite.choosing import COMPARISONS
from edgeq.ir import DType, Graph
from edgeq.simulate import simulate

FLOAT_ONLY = ("POW", "ADD_N")
CASES_BY_NAME = {c.name: c for c in CASES}
by_name = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def read(model: bytes, folder: Path, **options: object) -> Graph:
    path = folder / "model.tflite"
    path.write_bytes(model)
    return load(path, **options)  # type: ignore[arg-type]


def assert_float(case: Case, model: bytes, folder: Path, tolerance: float) -> None:
    graph, vectors = read(model, folder), case.vectors(1)
    assert graph.law == "single" and all(t.type.q is None for t in graph.tensors.values())
    got = real(graph, dict(zip(graph.inputs, vectors, strict=True)))
    for mine, theirs in zip(got, litert(model, vectors), strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


@by_name
def test_float_equals_litert(case: Case, tmp_path: Path) -> None:
    assert_float(case, tc.float_model(case), tmp_path, case.tolerance)


@pytest.mark.parametrize("case", [c for c in CASES if c.micro], ids=lambda c: c.name)
def test_int8_equals_tflite_micro(case: Case, tmp_path: Path) -> None:
    model = tc.int8_model(case)
    graph = read(model, tmp_path)
    assert graph.law == "tflm"
    acts = [x for x in case.inputs if isinstance(x, tc.Act)]
    amplitude = np.linspace(0.1, 1.3, tc.VECTORS)
    vectors = [tc.quantize(v * amplitude.reshape(-1, *[1] * len(a.shape)), a.q) for v, a in zip(case.vectors(2), acts, strict=True)]
    mine = simulate(graph, dict(zip(graph.inputs, vectors, strict=True))).outputs
    for name, theirs in zip(graph.outputs, tflm(model, vectors, outputs=len(case.outputs)), strict=True):
        differs = mine[name] != theirs.reshape(mine[name].shape)
        steps = np.abs(mine[name].astype(int) - theirs.reshape(mine[name].shape)).max()
        assert not differs.any(), f"{differs.sum()} of {differs.size} bytes differ, by up to {steps}"
        assert len(np.unique(theirs)) > 3


@pytest.mark.parametrize("case", [c for c in CASES if not c.micro and c.kind not in FLOAT_ONLY], ids=lambda c: c.name)
def test_int8_without_a_micro_kernel_is_near_the_float_model(case: Case, tmp_path: Path) -> None:
    graph = read(tc.int8_model(case), tmp_path)
    acts = [x for x in case.inputs if isinstance(x, tc.Act)]
    vectors = [tc.quantize(v, a.q) for v, a in zip(case.vectors(2), acts, strict=True)]
    reals = [((v.astype(np.float32) - a.q[1]) * np.float32(a.q[0])) for v, a in zip(vectors, acts, strict=True)]
    mine = simulate(graph, dict(zip(graph.inputs, vectors, strict=True))).outputs
    for name, want in zip(graph.outputs, litert(tc.float_model(case), reals), strict=True):
        type = graph.type(name)
        stored = np.clip(want / np.float32(type.scale) + type.zero_point, -128, 127)
        assert np.abs(mine[name] - stored).max() <= 1.01


WEIGHTED = [c for c in (*CONVOLUTIONS, *PRODUCTS) if any(isinstance(x, tc.Weights) for x in c.inputs)]


@pytest.mark.parametrize("case", WEIGHTED, ids=lambda c: c.name)
@pytest.mark.parametrize("hybrid", ["float16", "int8"])
def test_small_weights_beside_float_activations(case: Case, hybrid: str, tmp_path: Path) -> None:
    model = tc.float_model(case, hybrid=hybrid)
    graph, vectors = read(model, tmp_path), case.vectors(1)
    assert all(t.type.dtype is DType.FLOAT32 for t in graph.tensors.values())
    mine, theirs = real(graph, dict(zip(graph.inputs, vectors, strict=True)))[0], litert(dequantized(model), vectors)[0]
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())
    assert (theirs != litert(tc.float_model(case), vectors)[0]).any()


def test_every_translator_has_a_case() -> None:
    elsewhere = {
        "QUANTIZE", "DEQUANTIZE", "CAST", "UNIDIRECTIONAL_SEQUENCE_LSTM", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE",
        "CUSTOM Convolution2DTransposeBias", "SVDF", "RFFT2D", "COMPLEX_ABS", "REAL", "IMAG", *COMPARISONS, "LOGICAL_AND", "LOGICAL_OR",
        "LOGICAL_NOT", "ARG_MAX", "ARG_MIN", "CUMSUM", "GATHER_ND", "SELECT", "SELECT_V2",
    }  # fmt: skip
    signal = {k for k in TRANSLATORS if k.startswith("CUSTOM Signal")}
    assert signal == {f"CUSTOM {c.kind}" for c in test_tflite_signal.CASES.values()} | {"CUSTOM SignalFilterBankSquareRoot"}
    assert set(TRANSLATORS) - elsewhere - signal == {c.kind for c in CASES}


def test_the_table_of_operators_is_up_to_date() -> None:
    """Write it anew by ``python tests/frontends/tflite_table.py``."""
    import tflite_table

    assert tflite_table.PAGE.read_text(encoding="utf-8") == tflite_table.page()


def test_relu6_between_scales_is_rescaled_as_in_litert(tmp_path: Path) -> None:
    """TensorFlow Lite Micro clamps the bytes and forgets to rescale them; edgeq does not follow it there."""
    case = replace(CASES_BY_NAME["relu6"], scale=(6 / 255, -128, 0))
    model = tc.int8_model(case)
    x = np.arange(-128, 128).astype(np.int8).repeat(9)[: 32 * 72].reshape(32, *case.outputs[0])
    graph = read(model, tmp_path)
    mine = simulate(graph, {graph.inputs[0]: x}).outputs[graph.outputs[0]]
    assert (mine == litert(model, [x])[0]).all()
    assert (mine != tflm(model, [x])[0]).any()
