"""What users get wrong: each is one clear line on stderr, an exit code, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected
from edgeq.simulate import fit_inputs

onnx = pytest.importorskip("onnx")

CHAIN = "gcc" if shutil.which("gcc") else "zig"


def conv_model(path: Path, shape: list[Any], weight: float = 0.5, extra: tuple[str, ...] = ()) -> Path:
    """conv1 (4 channels, 3x3) and a chain of further nodes `extra`, as ONNX; its input is ``x``."""
    w = np.full((4, 3, 3, 3), weight, np.float32)
    nodes = [onnx.helper.make_node("Conv", ["x", "w"], ["t0"], "conv1", pads=[1, 1, 1, 1])]
    nodes += [onnx.helper.make_node(kind, [f"t{i}"], [f"t{i + 1}"], f"node{i}") for i, kind in enumerate(extra)]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "g", [info("x", 1, shape)], [info(f"t{len(extra)}", 1, None)], [onnx.numpy_helper.from_array(w, "w")]
    )  # fmt: skip
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)]).SerializeToString())
    return path


def run(*arguments: object, folder: Path, **environment: str) -> tuple[int, str]:
    """Exit code and stderr of ``python -m edgeq``."""
    command = [sys.executable, "-m", "edgeq", *map(str, arguments)]
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "PYTHONPATH": root, **environment}
    )
    return done.returncode, done.stderr


def small() -> Graph:
    """int8: fully connected 6 -> 2; input ``x`` 1x2x3."""
    q = QParams((0.1,), 1)
    tensors = [
        Tensor("x", TensorType((1, 6), DType.INT8, q)),
        Tensor("w", TensorType((2, 6), DType.INT8, QParams((0.01, 0.02), 0, 0)), np.arange(12, dtype=np.int8).reshape(2, 6)),
        Tensor("b", TensorType((2,), DType.INT32), np.array([1, 2], np.int32)), Tensor("y", TensorType((1, 2), DType.INT8, q)),
    ]  # fmt: skip
    return Graph("small", (Node("fc", FullyConnected(), ("x", "w", "b"), ("y",)),), {t.name: t for t in tensors}, ("x",), ("y",), "single")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An emitted folder."""
    return api.build(small(), output=tmp_path / "out", toolchain=CHAIN, check=False).folder


@pytest.mark.parametrize(
    "change",
    [
        {"arena_bytes": 4}, {"arena_bytes": "x"}, {"steps": []}, {"steps": [1]}, {"target": 5}, {"model": "other"}, {"macs": None},
        {"weight_bytes": float("nan")},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("verb", [api.simulate, api.run])
def test_an_edited_manifest_is_refused(folder: Path, change: dict[str, Any], verb: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(EdgeqError, match=r"manifest\.json was changed"):
        verb(folder, vectors=1)


def test_a_manifest_without_an_entry_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    for key in set(data) - {"manifest_sha256"}:
        path.write_text(json.dumps({k: v for k, v in data.items() if k != key}))
        with pytest.raises(EdgeqError, match=r"manifest\.json"):
            api.simulate(folder, vectors=1)


def test_a_graph_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    tensors = {**small().tensors}
    tensors["b"] = Tensor("b", TensorType((2,), DType.INT32), np.array([1, 3], np.int32))
    other = Graph("small", small().nodes, tensors, ("x",), ("y",), "single")
    theirs = api.build(other, output=tmp_path / "theirs", toolchain=CHAIN, check=False).folder
    (folder / "graph.eqg").write_bytes((theirs / "graph.eqg").read_bytes())
    with pytest.raises(EdgeqError, match="not the graph that the code was emitted from"):
        api.run(folder, vectors=1)


def image() -> Graph:
    """An int8 input 1x2x3x4 and nothing done to it but a fully connected layer on its last axis."""
    g = small()
    w = Tensor("w", TensorType((2, 4), DType.INT8, QParams((0.01, 0.02), 0, 0)), np.ones((2, 4), np.int8))
    q = QParams((0.1,), 1)
    tensors = {
        **g.tensors, "w": w, "x": Tensor("x", TensorType((1, 2, 3, 4), DType.INT8, q)),
        "y": Tensor("y", TensorType((1, 2, 3, 2), DType.INT8, q))
    }  # fmt: skip
    return Graph("image", g.nodes, tensors, ("x",), ("y",), "single")


@pytest.mark.parametrize("shape", [(5, 1, 2, 3, 4), (5, 2, 3, 4), (5, 24), (5, 2, 1, 3, 4)], ids=str)
def test_inputs_that_fit(shape: tuple[int, ...]) -> None:
    a = np.arange(120).reshape(shape).astype(np.int8)
    assert np.array_equal(fit_inputs(image(), {"x": a})["x"], a.reshape(5, 1, 2, 3, 4))


@pytest.mark.parametrize("shape", [(5, 4, 2, 3), (5, 3, 2, 4), (5, 1, 4, 3, 2)], ids=str)
def test_inputs_with_their_axes_in_another_order_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EdgeqError, match="another order"):
        fit_inputs(image(), {"x": np.zeros(shape, np.int8)})


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_integer_samples_of_a_float_model_are_values(dtype: type, tmp_path: Path) -> None:
    model = conv_model(tmp_path / "m.onnx", [1, 3, 8, 8])
    samples = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8))
    np.savez(tmp_path / "a.npz", x=samples.astype(dtype))
    np.savez(tmp_path / "b.npz", x=samples.astype(np.float32))
    built = [api.build(model, output=tmp_path / n, calibration=tmp_path / f"{n}.npz", toolchain=CHAIN, check=False).folder for n in "ab"]
    name = "m_vectors.c"
    assert (built[0] / name).read_bytes() == (built[1] / name).read_bytes()


def test_no_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", x=np.zeros((0, 3, 8, 8), np.float32))
    with pytest.raises(EdgeqError, match="is empty"):
        api.build(conv_model(tmp_path / "m.onnx", [1, 3, 8, 8]), output=tmp_path / "out", calibration=tmp_path / "c.npz", toolchain=CHAIN)


@pytest.mark.parametrize(
    ("shape", "weight", "extra", "options", "message"),
    [
        ([1, 3, 100000, 100000], 0.5, (), (), "too large"),
        ([1, 3, 0, 8], 0.5, (), (), "size zero"),
        (["N", 3, "H", 8], 0.5, (), (), "--shape"),
        (["N", 3, "H", 8], 0.5, (), ("--shape", "x=1x2x8x8"), "does not fit"),
        ([1, 3, 8, 8], float("nan"), (), (), "NaN or infinity"),
        ([1, 3, 8, 8], float("inf"), (), (), "NaN or infinity"),
        ([1, 3, 8, 8], 0.5, ("NonZero", "Frob"), (), "'node0': NonZero"),
        ([1, 3, 8, 8], 0.5, ("NonZero", "Frob"), (), "'node1': Frob"),
    ],
    ids=str,
)
def test_models_that_are_refused(
    shape: list[Any], weight: float, extra: tuple[str, ...], options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from edgeq.cli.main import app

    model = conv_model(tmp_path / "m.onnx", shape, weight, extra)
    arguments = ["build", str(model), "-o", str(tmp_path / "out"), "--calib", "random", "--toolchain", CHAIN, *options]
    result = CliRunner().invoke(app, arguments)
    lines = [line for line in result.stderr.splitlines() if "warning: calibrated on random" not in line]
    assert result.exit_code == 1 and len(lines) == 1 and message in lines[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]


def test_a_shape_in_other_digits_is_wrong_usage(tmp_path: Path) -> None:
    model = conv_model(tmp_path / "m.onnx", ["N", 3, "H", 8])
    code, err = run("build", model, "-o", "out", "--calib", "random", "--shape", "x=1x3x²x8", folder=tmp_path)
    assert code == 2 and "is no shape" in err


INTERRUPTED = """
from edgeq.cli import main
def interrupted(*_):
    exec("raise KeyboardInterrupt")
main.TyperGroup.invoke = interrupted
main.main()
"""


def test_an_interrupt_within_an_executed_string_is_one_as_well(tmp_path: Path) -> None:
    """As a dataclass runs while it is made: ``python -m`` would end with the signal instead of the exit code."""
    (tmp_path / "program.py").write_text(INTERRUPTED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-m", "program", "targets"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (130, "edgeq: interrupted")


@pytest.mark.parametrize("delay", [0.0, 0.7])
def test_interrupted(delay: float, tmp_path: Path) -> None:
    model = conv_model(tmp_path / "m.onnx", [1, 3, 160, 160])
    (tmp_path / "tmp").mkdir()
    before = sorted(tmp_path.iterdir())
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-m", "edgeq", "build", str(model), "-o", "out", "--calib", "random", "--toolchain", CHAIN]
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it, and so would its children
    try:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert process.stderr is not None
    assert "calibrated on random" in process.stderr.readline()  # it is at work
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip() == "edgeq: interrupted"
    assert sorted(tmp_path.iterdir()) == before and not list((tmp_path / "tmp").iterdir())
