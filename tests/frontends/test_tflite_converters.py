"""Habits of converters: dilation by batches, sparse weights, MediaPipe's transposed convolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tflite_cases as tc
from tflite_models import TfliteModel, litert, real

from edgeq.errors import EdgeqError
from edgeq.frontends import load
from edgeq.ir import Array, Graph
from edgeq.passes import normalise
from edgeq.simulate import simulate

Q = (0.05, 9, 0)


def read(model: bytes, folder: Path) -> Graph:
    path = folder / "model.tflite"
    path.write_bytes(model)
    return load(path)


def dilated(size: tuple[int, int], block: tuple[int, int], *, depthwise: bool, line: int | None = None) -> bytes:
    """SPACE_TO_BATCH_ND, a convolution, BATCH_TO_SPACE_ND, as Keras' dilation is converted; a `line` has the axis of length 1 added
    before its axis 1 or 2, between them."""
    rng = np.random.default_rng(0)
    m = TfliteModel()
    kernel = tuple(3 if n > 1 else 1 for n in size)
    pads = [((k - 1) * d // 2, (k - 1) * d // 2) for k, d in zip(kernel, block, strict=True)]
    more = [-(n + sum(p)) % d for n, p, d in zip(size, pads, block, strict=True)]
    pads = [(p[0], p[1] + e) for p, e in zip(pads, more, strict=True)]
    crops = [(0, e) for e in more]
    count = block[0] * block[1]
    spread = [(n + sum(p)) // d for n, p, d in zip(size, pads, block, strict=True)]
    inner = [n - k + 1 for n, k in zip(spread, kernel, strict=True)]
    end = [n * d - sum(c) for n, d, c in zip(inner, block, crops, strict=True)]
    axes = [i for i in (0, 1) if line is None or i != line - 1]

    def shape(batch: int, sides: list[int], channels: int) -> tuple[int, ...]:
        return batch, *(sides[i] for i in axes), channels

    def ints(name: str, values: object) -> int:
        return m.constant(name, np.array(values, np.int32))

    x = m.input("x", shape(1, list(size), 4), "INT8", Q)
    a, y = m.tensor("a", shape(count, spread, 4), "INT8", Q), m.tensor("y", shape(1, end, 4), "INT8", (0.2, 3, 0))
    c = m.tensor("c", shape(count, inner, 4), "INT8", (0.2, 3, 0))
    arguments = ints("block", [block[i] for i in axes]), ints("pads", [pads[i] for i in axes])
    m.operator("SPACE_TO_BATCH_ND", [x, *arguments], [a], ("SpaceToBatchNDOptions", {}))
    w = rng.integers(-127, 128, (1, *kernel, 4) if depthwise else (4, *kernel, 4)).astype(np.int8)
    weights = m.constant("w", w, (np.full(4, 0.01), np.zeros(4, np.int64), 3 if depthwise else 0))
    bias = m.constant("b", rng.integers(-900, 900, 4).astype(np.int32), (np.full(4, 0.0005), np.zeros(4, np.int64), 0))
    kind, options = ("DEPTHWISE_CONV_2D", tc.depthwise(1, 1)) if depthwise else ("CONV_2D", tc.conv(1))
    if line is None:
        m.operator(kind, [a, weights, bias], [c], options)
    else:
        wide, narrow = m.tensor("wide", (count, *spread, 4), "INT8", Q), m.tensor("narrow", (count, *inner, 4), "INT8", (0.2, 3, 0))
        m.operator("EXPAND_DIMS", [a, ints("axis", line)], [wide], ("ExpandDimsOptions", {}))
        m.operator(kind, [wide, weights, bias], [narrow], options)
        m.operator("SQUEEZE", [narrow], [c], ("SqueezeOptions", {"squeezeDims": [line]}))
    m.operator("BATCH_TO_SPACE_ND", [c, arguments[0], ints("crops", [crops[i] for i in axes])], [y], ("BatchToSpaceNDOptions", {}))
    return m.finish(y)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(
    ("size", "block", "line"), [((9, 8), (2, 3), None), ((8, 8), (4, 4), None), ((1, 23), (1, 4), 1), ((17, 1), (8, 1), 2)]
)
def test_batches_around_a_convolution_are_its_dilation(
    tmp_path: Path, size: tuple[int, int], block: tuple[int, int], line: int | None, depthwise: bool
) -> None:
    model = dilated(size, block, depthwise=depthwise, line=line)
    graph = normalise(read(model, tmp_path))
    (layer,) = (n.op for n in graph.nodes if n.op.kind() != "reshape")
    assert layer.dilation == block  # type: ignore[attr-defined]
    x = np.random.default_rng(1).integers(-128, 128, (64, *graph.type("x").shape)).astype(np.int8)
    want = litert(model, [x], reference=True)[0]  # the answers of TensorFlow Lite Micro differ from run to run
    np.testing.assert_array_equal(simulate(graph, {"x": x}).outputs["y"], want)


def test_crops_beyond_the_pads_move_data(tmp_path: Path) -> None:
    """Crops beyond the pads cannot be a dilation: the data is moved."""
    m = TfliteModel()
    x, a, y = m.input("x", (1, 4, 4, 1)), m.tensor("a", (4, 2, 2, 1)), m.tensor("y", (1, 3, 4, 1))
    w, c = m.constant("w", np.full((1, 1, 1, 1), 2, np.float32)), m.tensor("c", (4, 2, 2, 1))
    block = m.constant("block", np.array([2, 2], np.int32))
    pads, crops = (m.constant(n, np.array(v, np.int32)) for n, v in (("pads", [[0, 0], [0, 0]]), ("crops", [[1, 0], [0, 0]])))
    m.operator("SPACE_TO_BATCH_ND", [x, block, pads], [a], ("SpaceToBatchNDOptions", {}))
    m.operator("CONV_2D", [a, w, m.constant("b", np.zeros(1, np.float32))], [c], tc.conv(1))
    m.operator("BATCH_TO_SPACE_ND", [c, block, crops], [y], ("BatchToSpaceNDOptions", {}))
    model = m.finish(y)
    data = np.random.default_rng(0).normal(size=(2, 1, 4, 4, 1)).astype(np.float32)
    graph = normalise(read(model, tmp_path))
    np.testing.assert_allclose(real(graph, {"x": data})[0], 2 * data[:, :, 1:], rtol=1e-6)
    np.testing.assert_array_equal(2 * data[:, :, 1:], litert(model, [data])[0])


def sparse_model(dense: Array, block: tuple[int, int], *, through: bool, wrong: str = "") -> bytes:
    """A fully connected layer whose weights ``[rows, columns]`` are stored in blocks, of which only those that are not zero."""
    m = TfliteModel()
    schema = m.schema
    rows, columns = (n // b for n, b in zip(dense.shape, block, strict=True))
    blocks = dense.reshape(rows, block[0], columns, block[1]).swapaxes(1, 2)
    kept = [[j for j in range(columns) if blocks[i, j].any()] for i in range(rows)]
    values = np.concatenate([blocks[i, j].ravel() for i, row in enumerate(kept) for j in row])
    kind = "FLOAT16" if through else "FLOAT32"
    stored = values.astype(np.float16 if through else np.float32)
    s = m.tensor("sparse", dense.shape, kind, None, stored[: -1 if wrong == "short" else None].tobytes())
    parameters = m.graph.tensors[s].sparsity = schema.SparsityParametersT()
    parameters.traversalOrder, parameters.blockMap, parameters.dimMetadata = [0, 1, 2, 3], [0, 1], []
    segments = np.cumsum([0, *map(len, kept)]) + (1 if wrong == "segments" else 0)
    indices = [j + (columns if wrong == "far" else 0) for row in kept for j in row]
    for level, size in enumerate((2**30 if wrong == "bomb" else rows, 0, *block)):
        d = schema.DimensionMetadataT()
        if level == 1:
            d.format, d.arraySegmentsType, d.arrayIndicesType = 1, 2, 3
            d.arraySegments, d.arrayIndices = schema.Uint16VectorT(), schema.Uint8VectorT()
            d.arraySegments.values, d.arrayIndices.values = list(map(int, segments)), indices
        else:
            d.format, d.denseSize = 0, size
        parameters.dimMetadata.append(d)
    x, y = m.input("x", (1, dense.shape[1])), m.tensor("y", (1, dense.shape[0]))
    w = s
    if through:
        half, w = m.tensor("half", dense.shape, "FLOAT16"), m.tensor("w", dense.shape)
        m.operator("DENSIFY", [s], [half], ("DensifyOptions", {}))
        m.operator("DEQUANTIZE", [half], [w], ("DequantizeOptions", {}))
    m.operator("FULLY_CONNECTED", [x, w, -1], [y], ("FullyConnectedOptions", {}))
    return m.finish(y)


def sparse_weights() -> Array:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(8, 12)) * np.kron(rng.random((4, 3)) < 0.5, np.ones((2, 4)))
    return dense.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("block", [(2, 4), (1, 1), (4, 2)])
def test_sparse_weights(tmp_path: Path, block: tuple[int, int], through: bool) -> None:
    dense = sparse_weights()
    model = sparse_model(dense, block, through=through)
    x = np.random.default_rng(1).normal(size=(3, 1, 12)).astype(np.float32)
    mine = real(normalise(read(model, tmp_path)), {"x": x})[0]
    np.testing.assert_allclose(mine, x @ dense.T, atol=1e-5)


@pytest.mark.parametrize("wrong", ["short", "segments", "far", "bomb"])
def test_damaged_sparse_weights_are_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(EdgeqError, match="truncated or damaged"):
        read(sparse_model(sparse_weights(), (2, 4), through=False, wrong=wrong), tmp_path)


def test_mediapipes_transposed_convolution(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    m = TfliteModel()
    w, bias = rng.normal(size=(3, 2, 2, 5)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    x, y = m.input("x", (1, 4, 6, 5)), m.tensor("y", (1, 8, 12, 3))
    m.operator("CUSTOM", [x, m.constant("w", w), m.constant("b", bias)], [y], custom="Convolution2DTransposeBias")
    m.graph.operators[0].customOptions = np.frombuffer(np.array([1, 2, 2], "<i4").tobytes(), np.uint8)
    model = m.finish(y)
    data = rng.normal(size=(2, 1, 4, 6, 5)).astype(np.float32)
    want = np.einsum("vnijc,oklc->vnikjlo", data, w).reshape(2, 1, 8, 12, 3) + bias
    np.testing.assert_allclose(real(read(model, tmp_path), {"x": data})[0], want, atol=1e-5)


@pytest.mark.parametrize(("kind", "bound"), [("MINIMUM", np.inf), ("MAXIMUM", -np.inf), ("MINIMUM", 0.5), ("MAXIMUM", 0.5)])
def test_minimum_and_maximum_with_one_number(kind: str, bound: float, tmp_path: Path) -> None:
    """ONNX's Clip without a limit arrives as the minimum with infinity."""
    m = TfliteModel()
    x, y, z = m.input("x", (1, 4)), m.tensor("y", (1, 4)), m.tensor("z", (1, 4))
    m.operator(kind, [m.constant("c", np.float32(bound)), x], [y], ("MaximumMinimumOptions", {}))
    m.operator("EXP", [y], [z], ("ExpOptions", {}))
    model = m.finish(z)
    arrays = np.random.default_rng(0).normal(0, 1, (8, 1, 4)).astype(np.float32)
    graph = read(model, tmp_path)
    np.testing.assert_allclose(real(graph, {"x": arrays})[0], litert(model, [arrays])[0].reshape(8, 1, 4), rtol=1e-6)


def test_open_dimensions_are_named_where_a_shape_is_asked_for(tmp_path: Path) -> None:
    m = TfliteModel()
    x, y = m.input("x", (1, 1, 4), signature=(-1, -1, 4)), m.tensor("y", (1, 1, 4))
    m.operator("EXP", [x], [y], ("ExpOptions", {}))
    with pytest.raises(EdgeqError) as caught:
        read(m.finish(y), tmp_path)
    assert str(caught.value).endswith('x: the input\'s shape is dynamic. Fix: give it, as --shape "x=1xN1x4" with sizes for N1')
