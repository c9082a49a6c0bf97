"""Damaged TFLite files: nothing but EdgeqError may escape, in bounded time and memory."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
import tflite
from tflite_models import TfliteModel

from edgeq.errors import EdgeqError
from edgeq.frontends import load
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.simulate import simulate
from edgeq.target import load as load_target

SECONDS = 5.0
BYTES = 200 * 2**20
EXTREMES = (0, 1, 4, 2**31 - 1, 2**31, 2**32 - 1, 0x7F800000, 0x7FC00000, 0xFF7FFFFF)


def small_model(quantized: bool) -> bytes:
    """A few operators of every sort: weights, shape arithmetic, options, optional inputs, several outputs."""
    m = TfliteModel()
    kind, act = ("INT8", (0.05, -3, 0)) if quantized else ("FLOAT32", None)
    rng = np.random.default_rng(0)

    def t(name: str, *shape: int, q: tuple[float, int, int] | None = act) -> int:
        return m.tensor(name, shape, kind, q if quantized else None)

    def weights(name: str, *shape: int) -> int:
        if not quantized:
            return m.constant(name, rng.normal(size=shape).astype(np.float32))
        return m.constant(name, rng.integers(-127, 128, shape).astype(np.int8), (np.full(shape[0], 0.01), np.zeros(shape[0], np.int64), 0))

    def bias(name: str, n: int) -> int:
        return m.constant(name, np.zeros(n, np.int32 if quantized else np.float32))

    x = m.input("image", (1, 6, 5, 2), kind, act, signature=(-1, 6, 5, 2))
    a, b, c, d = t("conv", 1, 3, 3, 4), t("sum", 1, 3, 3, 4), t("pool", 1, 1, 1, 4), t("flat", 1, 4)
    options = {"padding": 0, "strideH": 2, "strideW": 2, "dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": 1}
    m.operator("CONV_2D", [x, weights("w", 4, 3, 3, 2), bias("b", 4)], [a], ("Conv2DOptions", options))
    m.operator("ADD", [a, a], [b], ("AddOptions", {}))
    options = {"padding": 1, "filterHeight": 3, "filterWidth": 3, "strideH": 1, "strideW": 1}
    m.operator("AVERAGE_POOL_2D", [b], [c], ("Pool2DOptions", options))
    shape, first, size = m.tensor("shape", (4,), "INT32"), m.tensor("first", (), "INT32"), m.tensor("size", (2,), "INT32")
    m.operator("SHAPE", [c], [shape], ("ShapeOptions", {"outType": 2}))
    ends = [m.constant(f"end{i}", np.array([v], np.int32)) for i, v in enumerate((0, 1, 1))]
    m.operator("STRIDED_SLICE", [shape, *ends], [first], ("StridedSliceOptions", {"shrinkAxisMask": 1}))
    m.operator("PACK", [first, m.constant("four", np.array(4, np.int32))], [size], ("PackOptions", {"axis": 0, "valuesCount": 2}))
    m.operator("RESHAPE", [c, size], [d], ("ReshapeOptions", {}))
    e, f = t("logits", 1, 3), t("probabilities", 1, 3, q=(1 / 256, -128, 0))
    m.operator("FULLY_CONNECTED", [d, weights("v", 3, 4), -1], [e], ("FullyConnectedOptions", {}))
    m.operator("SOFTMAX", [e], [f], ("SoftmaxOptions", {"beta": 1.0}))
    return m.finish(f, b)


def survives(content: bytes, folder: Path) -> str:
    """Load damaged bytes and, where they still are a model, run them; returns the error, empty where there is none."""
    path = folder / "damaged.tflite"
    path.write_bytes(content)
    start = time.process_time()
    try:
        graph = load(path)
        if sum(t.type.size for t in graph.tensors.values()) < 10**5 and graph.macs() < 10**6 and graph.law == "tflm":
            program = lower(normalise(graph), load_target("host"))
            simulate(program.graph, {n: np.zeros((1, *graph.type(n).shape), np.int8) for n in graph.inputs})
    except EdgeqError as e:
        assert "\n" not in str(e) and len(str(e)) < 5000
        return str(e)
    finally:
        assert time.process_time() - start < SECONDS
    return ""


@pytest.fixture(scope="module", params=["int8", "float"])
def model(request: pytest.FixtureRequest) -> bytes:
    return small_model(request.param == "int8")


def test_the_seed_is_sound(model: bytes, tmp_path: Path) -> None:
    assert survives(model, tmp_path) == ""


def test_truncated_anywhere(model: bytes, tmp_path: Path) -> None:
    for length in range(0, len(model), 7):
        error = survives(model[:length], tmp_path)
        assert error or length > len(model) - 16, length


def test_words_set_to_extremes(model: bytes, tmp_path: Path) -> None:
    words = len(model) // 4
    for i, value in itertools.product(range(2, words), EXTREMES):
        if (i * 31 + value) % 12:  # one in twelve of all pairs, the same at every run
            continue
        survives(model[: 4 * i] + value.to_bytes(4, "little") + model[4 * i + 4 :], tmp_path)


def test_random_bytes_changed(model: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(500):
        content = np.frombuffer(model, np.uint8).copy()
        places = rng.integers(8, len(content), rng.integers(1, 8))
        content[places] = rng.integers(0, 256, len(places)) if rng.random() < 0.7 else content[places] ^ (1 << rng.integers(0, 8))
        refused += bool(survives(content.tobytes(), tmp_path))
    assert refused > 100


def test_parts_moved(model: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        a, b = np.sort(rng.integers(8, len(model), 2))
        to = int(rng.integers(8, len(model)))
        survives(model[:to] + model[a:b] + model[to + int(rng.integers(0, 2)) * (b - a) :], tmp_path)


GARBAGE = (b"", b"TFL3", b"\0" * 8, b"\x1c\0\0\0TFL3", b"\xff" * 4 + b"TFL3" + b"\xff" * 4096, b"\0\0\0\0TFL3" * 999)


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage(content: bytes, tmp_path: Path) -> None:
    assert survives(content, tmp_path)


def test_random_garbage_with_the_right_identifier(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for i in range(300):
        noise = rng.integers(0, 256 if i % 2 else 24, rng.integers(8, 600)).astype(np.uint8).tobytes()
        assert survives(noise[:4] + b"TFL3" + noise[8:], tmp_path)


def test_a_real_model_damaged(data: Path, tmp_path: Path) -> None:
    model = (data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes()
    rng = np.random.default_rng(4)
    for i in range(120):
        content = np.frombuffer(model, np.uint8).copy()
        low = 8 if i % 2 else 3 * len(content) // 4  # half of them in the part that holds tensors and operators
        places = rng.integers(low, len(content), rng.integers(1, 12))
        content[places] = rng.integers(0, 256, len(places))
        survives(content.tobytes()[: len(content) if i % 5 else int(rng.integers(8, len(content)))], tmp_path)


def test_memory_stays_bounded(model: bytes, tmp_path: Path) -> None:
    words = len(model) // 4
    tracemalloc.start()
    try:
        for i in range(2, words, 6):
            survives(model[: 4 * i] + (0x0FFFFFFF).to_bytes(4, "little") + model[4 * i + 4 :], tmp_path)
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()


def test_many_tensors_that_share_one_long_name(tmp_path: Path) -> None:
    b = flatbuffers.Builder(2**16)
    name = b.CreateString("n" * 50_000)
    tensors = []
    for _ in range(2000):
        tflite.TensorStart(b)
        tflite.TensorAddName(b, name)
        tensors.append(tflite.TensorEnd(b))
    tflite.SubGraphStartTensorsVector(b, len(tensors))
    for tensor in tensors:
        b.PrependUOffsetTRelative(tensor)
    vector = b.EndVector()
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, vector)
    graph = tflite.SubGraphEnd(b)
    tflite.ModelStartSubgraphsVector(b, 1)
    b.PrependUOffsetTRelative(graph)
    graphs = b.EndVector()
    tflite.BufferStart(b)
    buffer = tflite.BufferEnd(b)
    tflite.ModelStartBuffersVector(b, 1)
    b.PrependUOffsetTRelative(buffer)
    buffers = b.EndVector()
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddSubgraphs(b, graphs)
    tflite.ModelAddBuffers(b, buffers)
    b.Finish(tflite.ModelEnd(b), file_identifier=b"TFL3")
    assert len(b.Output()) < 10**5
    assert "strings reach over" in survives(bytes(b.Output()), tmp_path)
