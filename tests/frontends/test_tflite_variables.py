"""Resource variables become states, byte for byte as TensorFlow Lite Micro keeps them; signatures choose a subgraph."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_cases as tc
from installed import uncounted
from tflite_models import TfliteModel, real, tflm

from edgeq import api
from edgeq.cli.main import app
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.frontends.tflite import load
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.passes import declare_states, normalise
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import simulate

Q = (0.05, 9, 0)
RAMP = 1000  # a variable that begins with 0, 1, 2, ...
INT8 = ("INT8", Q)


def streaming(*, start: int = 9, twice: bool = False, quantized: bool = True, kept: int = 2) -> bytes:
    """A convolution over the last frames, as streaming layers write it: read, join with the new frame, keep the end of that, compute.

    Args:
        start: what every byte of the variable begins with; zero is 9.
        twice: the variable is also read after it was set.
        kept: frames that it holds.
    """
    rng = np.random.default_rng(0)
    m, kind = TfliteModel(), INT8 if quantized else ("FLOAT32", None)
    x, shape, whole = m.input("x", (1, 1, 1, 6), *kind), (1, kept, 1, 6), (1, kept + 1, 1, 6)
    handle, before, joined = m.tensor("handle", (), "RESOURCE"), m.tensor("before", shape, *kind), m.tensor("joined", whole, *kind)
    after, end = m.tensor("after", shape, *kind), ("INT8", (0.1, -3, 0)) if quantized else ("FLOAT32", None)
    y = m.tensor("y", (1, 1, 1, 4), *end)
    m.operator("CALL_ONCE", [], [], ("CallOnceOptions", {"initSubgraphIndex": 1}))
    m.operator("VAR_HANDLE", [], [handle], ("VarHandleOptions", {"container": "", "sharedName": "stream/states"}))
    m.operator("READ_VARIABLE", [handle], [before], ("ReadVariableOptions", {}))
    m.operator("CONCATENATION", [before, x], [joined], ("ConcatenationOptions", {"axis": 1}))
    bounds = [m.constant(f"i{i}", np.array(v, np.int32)) for i, v in enumerate(([0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]))]
    m.operator("STRIDED_SLICE", [joined, *bounds], [after], ("StridedSliceOptions", {"beginMask": 13, "endMask": 15}))
    m.operator("ASSIGN_VARIABLE", [handle, after], [], ("AssignVariableOptions", {}))
    w = rng.integers(-127, 128, (4, kept + 1, 1, 6))
    if quantized:
        weights = m.constant("w", w.astype(np.int8), (np.full(4, 0.01), np.zeros(4, np.int64), 0))
        bias = m.constant("b", np.zeros(4, np.int32), (np.full(4, 0.0005), np.zeros(4, np.int64), 0))
    else:
        weights, bias = m.constant("w", (w * 0.01).astype(np.float32)), m.constant("b", np.zeros(4, np.float32))
    m.operator("CONV_2D", [joined, weights, bias], [y], tc.conv(1))
    outputs = [y]
    if twice:
        again, z = m.tensor("again", shape, *kind), m.tensor("z", shape, *kind)
        m.operator("READ_VARIABLE", [handle], [again], ("ReadVariableOptions", {}))
        m.operator("MAXIMUM", [again, before], [z], ("MaximumMinimumOptions", {}))
        outputs.append(z)
    m.subgraph()
    other = m.tensor("handle", (), "RESOURCE")
    first = np.full(shape, start, np.int8) if start != RAMP else np.arange(np.prod(shape)).reshape(shape).astype(np.int8)
    zeros = m.constant("zeros", first if quantized else (first - np.float32(9)) / 4, Q if quantized else None)
    m.operator("VAR_HANDLE", [], [other], ("VarHandleOptions", {"container": "", "sharedName": "stream/states"}))
    m.operator("ASSIGN_VARIABLE", [other, zeros], [], ("AssignVariableOptions", {}))
    return m.finish(*outputs)


def read(model: bytes, folder: Path, **options: str) -> Graph:
    path = folder / "m.tflite"
    path.write_bytes(model)
    return load(path, **options)  # type: ignore[arg-type]


def frames(count: int) -> Array:
    return np.random.default_rng(1).integers(-128, 128, (count, 1, 1, 1, 6)).astype(np.int8)


@pytest.mark.parametrize(
    ("twice", "kept", "start"), [(False, 2, 9), (True, 2, 9), (False, 1, 9), (True, 5, 9), (True, 2, 8), (False, 5, RAMP)]
)
def test_a_stream_is_tflms(tmp_path: Path, twice: bool, kept: int, start: int) -> None:
    model = streaming(twice=twice, kept=kept, start=start)
    x = frames(100)
    want = tflm(model, [x], outputs=1 + twice)
    graph = read(model, tmp_path)
    assert len(graph.states) == (1 if start == 9 else 2) and graph.given == ("x",)
    for stage in (graph, normalise(graph)):
        got = simulate(stage, {"x": x}).outputs
        for name, values in zip(stage.results, want, strict=True):
            np.testing.assert_array_equal(got[name], values)
    fresh = simulate(normalise(declare_states(graph, {})), {"x": x}).outputs["y"]
    assert (fresh[0] == want[0][0]).all() and (fresh != want[0]).any()


@pytest.mark.parametrize(("name", "start"), [("host", 9), ("cortex-m4", 9), ("cortex-m4", RAMP)])
def test_c_keeps_the_stream(tmp_path: Path, name: str, start: int) -> None:
    graph, x = normalise(read(streaming(twice=True, start=start), tmp_path)), {"x": frames(24)}
    chip = uncounted(name)
    program = lower(graph, chip)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    got, want = run(tmp_path / "m", chip, x, chain="gcc" if name == "host" else None), simulate(graph, x)
    for output, values in want.outputs.items():
        np.testing.assert_array_equal(got.outputs[output], values)


@pytest.mark.parametrize("start", [9, RAMP])
def test_a_float_stream(tmp_path: Path, start: int) -> None:
    graph = normalise(read(streaming(quantized=False, start=start), tmp_path))
    x = np.random.default_rng(1).normal(0, 1, (9, 1, 1, 1, 6)).astype(np.float32)
    w = (np.random.default_rng(0).integers(-127, 128, (4, 3, 1, 6)) * 0.01).astype(np.float32)
    first = np.zeros((2, 6), np.float32) if start == 9 else (np.arange(12).reshape(2, 6) - np.float32(9)) / 4
    lines = np.concatenate([first, x[:, 0, 0, 0]])
    want = [np.einsum("okc,kc->o", w[:, :, 0], lines[i : i + 3]) for i in range(9)]
    np.testing.assert_allclose(real(graph, {"x": x})[0][:, 0, 0, 0], want, atol=1e-5)


def test_a_variable_without_a_handle_is_refused(tmp_path: Path) -> None:
    m = TfliteModel()
    x, handle, y = m.input("x", (1, 4), *INT8), m.tensor("handle", (), "RESOURCE"), m.tensor("y", (1, 4), *INT8)
    m.operator("READ_VARIABLE", [handle], [y], ("ReadVariableOptions", {}))
    m.operator("ASSIGN_VARIABLE", [handle, x], [], ("AssignVariableOptions", {}))
    with pytest.raises(EdgeqError, match="without VAR_HANDLE"):
        read(m.finish(y), tmp_path)


def two_signatures(*kind: Any) -> bytes:
    m = TfliteModel()
    x, y = m.input("x", (1, 3), *kind), m.tensor("y", (1, 3), *kind)
    m.operator("RELU", [x], [y])
    m.graph.outputs = [y]
    m.subgraph()
    a, b = m.input("a", (1, 5), *kind), m.tensor("b", (1, 5), *kind)
    m.operator("RELU", [a], [b])
    m.graph.outputs = [b]
    m.signature("encode", 0)
    m.signature("decode", 1)
    return m.finish()


def test_signatures(tmp_path: Path) -> None:
    model = two_signatures()
    assert read(model, tmp_path, signature="encode").outputs == ("y",)
    assert read(model, tmp_path, signature="decode").outputs == ("b",)
    with pytest.raises(EdgeqError, match=r"2 signatures \(encode, decode\). Fix: choose one by --signature"):
        read(model, tmp_path)
    with pytest.raises(EdgeqError, match=r"no signature 'x'. Fix: choose one of encode, decode"):
        read(model, tmp_path, signature="x")


def test_every_verb_that_takes_a_model_chooses_a_signature(tmp_path: Path) -> None:
    verbs = [c.callback for c in app.registered_commands if c.callback is not None]
    taking = {v.__name__: inspect.signature(v).parameters for v in verbs if "const" in inspect.signature(v).parameters}
    assert len(taking) > 6 and all("signature" in p for p in taking.values())
    path = tmp_path / "m.tflite"
    path.write_bytes(two_signatures(*INT8))
    assert set(api.simulate(path, signature="decode", vectors=2).run.outputs) == {"b"}
    assert api.run(path, signature="encode", vectors=2, toolchain="gcc").comparison.bit_exact  # type: ignore[union-attr]
