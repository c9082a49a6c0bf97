"""uint8 models are read as int8, 128 below: LiteRT's reference kernels byte for byte; uint8 at the ends of an int8 model as TFLM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tflite_cases as tc
from installed import uncounted
from side_by_side import no_search, side_by_side
from tflite_models import TfliteModel, litert, tflm, unsigned, words

from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.frontends import load
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import simulate

KINDS = {
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D", "MAX_POOL_2D", "ADD", "SUB", "MUL", "CONCATENATION", "SPLIT",
    "RESHAPE", "PAD", "SLICE", "STRIDED_SLICE", "RELU", "RELU6", "SOFTMAX", "LOGISTIC", "TANH", "MAXIMUM", "MINIMUM", "TRANSPOSE",
    "RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "PRELU", "PACK", "UNPACK", "SQUEEZE", "EXPAND_DIMS", "GATHER", "REDUCE_MAX", "MEAN", "SUM",
}  # fmt: skip
CASES = [c for c in tc.CASES if c.kind in KINDS]
WORDS = {
    "FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM", "RELU", "LEAKY_RELU",
    "LOGISTIC", "TANH", "SOFTMAX", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SUM", "CONCATENATION", "RESHAPE", "SLICE", "STRIDED_SLICE",
    "SPLIT", "SPLIT_V", "TRANSPOSE", "PACK", "UNPACK", "SQUEEZE", "EXPAND_DIMS", "PAD", "PADV2", "BROADCAST_TO", "BATCH_MATMUL",
    "SQUARED_DIFFERENCE", "ABS", "RESIZE_NEAREST_NEIGHBOR",
}  # fmt: skip
ONLY_BYTES = ("minimum_constant", "maximum_constant")  # with another scale than the other operand's, which int16 never has


def read(model: bytes, folder: Path) -> Graph:
    path = folder / "model.tflite"
    path.write_bytes(model)
    return load(path)


def signed(x: Array) -> Array:
    return (x.astype(np.int16) - 128).astype(np.int8)


def case_vectors(case: tc.Case) -> list[Array]:
    acts = [x for x in case.inputs if isinstance(x, tc.Act)]
    return [tc.quantize(v, a.q) for v, a in zip(case.vectors(2), acts, strict=True)]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_uint8_equals_litert(case: tc.Case, tmp_path: Path) -> None:
    model = unsigned(tc.int8_model(case))
    vectors = case_vectors(case)
    graph = normalise(read(model, tmp_path))
    mine = simulate(graph, dict(zip(graph.inputs, vectors, strict=True))).outputs
    theirs = litert(model, [(v.astype(np.int16) + 128).astype(np.uint8) for v in vectors], reference=True)
    for name, want in zip(graph.outputs, theirs, strict=True):
        differs = np.abs(mine[name].astype(int) - signed(want).reshape(mine[name].shape))
        if case.kind == "FULLY_CONNECTED":  # LiteRT rounds these once, everything else twice, as TensorFlow Lite Micro did
            assert differs.max() <= 1 and differs.mean() < 0.02
        else:
            assert not differs.any(), f"{np.count_nonzero(differs)} of {differs.size} bytes differ"
        assert len(np.unique(want)) > 3


def wide(case: tc.Case) -> bool:
    return case.kind in WORDS and case.micro and case.name not in ONLY_BYTES


@pytest.mark.parametrize("case", [c for c in tc.CASES if wide(c)], ids=lambda c: c.name)
def test_int16_equals_tflite_micro(case: tc.Case, tmp_path: Path) -> None:
    model = words(tc.int8_model(case))
    graph = normalise(read(model, tmp_path))
    rng = np.random.default_rng(3)
    vectors = [rng.integers(-32768, 32768, (16, *graph.type(n).shape)).astype(np.int16) for n in graph.inputs]
    mine = simulate(graph, dict(zip(graph.inputs, vectors, strict=True))).outputs
    for name, theirs in zip(graph.outputs, tflm(model, vectors, outputs=len(case.outputs)), strict=True):
        np.testing.assert_array_equal(mine[name], theirs.reshape(mine[name].shape))


WEIGHTED = [c for c in CASES if c.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D")]


@pytest.mark.parametrize("name", ["host", "cortex-m4", "cortex-m55", "riscv"])
def test_c_equals_the_simulator(name: str, tmp_path: Path) -> None:
    """Every layer with a zero point of weights, and pools that round halves up; host by GCC, chips by an emulator."""
    graphs = {case.name: normalise(read(unsigned(tc.int8_model(case)), tmp_path)) for case in WEIGHTED}
    graph, chip = side_by_side(graphs), uncounted(name)
    x = {f"{case.name}: {n}": v[:4] for case in WEIGHTED for n, v in zip(graphs[case.name].inputs, case_vectors(case), strict=True)}
    with no_search():
        program = lower(graph, chip)
    asymmetric = {c.node.name.split(":")[0] for c in program.calls if c.kernel.signature.w == "s8z"}
    assert asymmetric == {case.name for case in WEIGHTED if case.kind != "AVERAGE_POOL_2D"}
    write(emit(program, plan(program), "m"), tmp_path / "m")
    result = compare(simulate(graph, x), run(tmp_path / "m", chip, x, chain="gcc" if name == "host" else None))
    assert result.bit_exact, result.difference


def test_uint8_at_the_ends(tmp_path: Path) -> None:
    """As the converter writes it: QUANTIZE from uint8, int8 within, QUANTIZE to uint8; scales kept and changed."""
    for q_in, q_out in (((0.02, 100, 0), (0.05, 7, 0)), ((0.02, 100, 0), (0.03, 130, 0))):
        m = TfliteModel()
        x, a = m.input("x", (1, 40), "UINT8", q_in), m.tensor("a", (1, 40), "INT8", (0.02, -28, 0))
        b, y = m.tensor("b", (1, 40), "INT8", (0.05, -121, 0)), m.tensor("y", (1, 40), "UINT8", q_out)
        m.operator("QUANTIZE", [x], [a], ("QuantizeOptions", {}))
        m.operator("RELU", [a], [b])
        m.operator("QUANTIZE", [b], [y], ("QuantizeOptions", {}))
        model = m.finish(y)
        data = np.random.default_rng(0).integers(0, 256, (64, 1, 40)).astype(np.uint8)
        graph = normalise(read(model, tmp_path))
        assert graph.type("x").zero_point == q_in[1] - 128 and graph.type("y").zero_point == q_out[1] - 128
        np.testing.assert_array_equal(simulate(graph, {"x": signed(data)}).outputs["y"], signed(tflm(model, [data])[0]))


def test_bytes_without_a_scale_are_numbers(tmp_path: Path) -> None:
    m = TfliteModel()
    x, y = m.input("x", (1, 6), "UINT8"), m.tensor("y", (1, 6))
    m.operator("CAST", [x], [y], ("CastOptions", {"inDataType": 3, "outDataType": 0}))
    model = m.finish(y)
    data = np.arange(250, 256).astype(np.uint8).reshape(1, 1, 6)
    graph = read(model, tmp_path)
    np.testing.assert_array_equal(simulate(graph, {"x": signed(data)}).outputs["y"], litert(model, [data])[0])


def test_a_zero_point_of_int8_weights_is_tflms(tmp_path: Path) -> None:
    """Fully connected layers know one; convolutions ignore theirs, so that such a file contradicts itself."""
    rng = np.random.default_rng(0)
    for kind, shape, options in (
        ("FULLY_CONNECTED", (7, 12), ("FullyConnectedOptions", {})),
        ("CONV_2D", (7, 1, 1, 12), tc.conv()),
    ):
        m = TfliteModel()
        rows = (1, 12) if kind == "FULLY_CONNECTED" else (1, 1, 1, 12)
        x, y = m.input("x", rows, "INT8", (0.05, 3, 0)), m.tensor("y", (*rows[:-1], 7), "INT8", (0.2, 5, 0))
        w = m.constant("w", rng.integers(-128, 128, shape).astype(np.int8), (0.01, 40, 0))
        m.operator(kind, [x, w, m.constant("b", np.zeros(7, np.int32), (0.0005, 0, 0))], [y], options)
        model = m.finish(y)
        if kind == "CONV_2D":
            with pytest.raises(EdgeqError, match="zero point other than 0"):
                read(model, tmp_path)
            continue
        data = rng.integers(-128, 128, (32, *rows)).astype(np.int8)
        np.testing.assert_array_equal(simulate(read(model, tmp_path), {"x": data}).outputs["y"], tflm(model, [data])[0])
