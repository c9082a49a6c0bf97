"""The GPU runner in Triton's interpreter: whole models, fault patterns, streams, refusals; and its kernels cross-compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlperf_tiny
import numpy as np
import pytest
from random_graphs import Builder
from test_faults import network
from typer.testing import CliRunner
from zoo import zoo

import edgeq
from edgeq import api, faults, graphfile, target
from edgeq.cli.main import app
from edgeq.compare import compare
from edgeq.errors import EdgeqError
from edgeq.faults import FaultMap
from edgeq.formats.code import Code
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.run import gpu
from edgeq.run.gpu import device as devices
from edgeq.simulate import fit_inputs, simulate

pytest.importorskip("triton")
pytest.importorskip("torch")
HOST = target.load("host")


def random_vectors(graph: Graph, count: int) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    return {n: rng.integers(-128, 128, (count, *graph.type(n).shape)).astype(np.int8) for n in graph.given}


def small(law: str) -> Graph:
    """A convolution, a depthwise one, a sum that is folded in, a pool and a dense layer."""
    b = Builder(5, law, clamps=False)
    x = b.conv(b.input(1, 5, 4, 3), 6, 3, pads=(1, 1, 1, 1))
    y = b.conv(b.depthwise(x), 6, 1)
    return b.graph(b.dense(b.pool(b.add(y, x)), 5))


@pytest.mark.parametrize("law", ["single", "tflm"])
def test_every_step_of_a_graph_of_all_operators(law: str) -> None:
    graph = zoo(3, law)
    inputs = random_vectors(graph, 3)
    result = compare(simulate(graph, inputs, steps=True), gpu.run(lower(graph, HOST), inputs, steps=True, device="interpreter"))
    assert result.bit_exact, result.difference


CODES = (None, Code(7, check="parity", votes=True), Code(3, check="triple"), Code(7, votes=True, asymmetric=True, crc=True))


@pytest.mark.parametrize(
    ("law", "code"), [("single", CODES[0]), ("tflm", CODES[0]), ("single", CODES[1]), ("tflm", CODES[2]), ("single", CODES[3])], ids=str
)
def test_fault_patterns_are_batched(law: str, code: Code | None) -> None:
    """Weights and biases, or what stores them, differ by pattern; each equals the simulator's run of that pattern, and they differ."""
    graph = small(law) if code is None else network(code, law)
    clean = faults.hardened(graph, HOST)
    rates = (0.002, 0.01, 0.02) if code and code.crc else (0.03, 0.05, 0.3)
    programs = [clean, *(faults.apply(clean, FaultMap(seed=1 + i, p=p)) for i, p in enumerate(rates))]
    inputs = random_vectors(graph, 4)
    found = gpu.run_patterns(programs, inputs, device="interpreter")
    for i, program in enumerate(programs):
        expected = simulate(graph, inputs, parameters=faults.parameters(program)).outputs
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name][i], values, err_msg=f"pattern {i}")
    assert len({v[i].tobytes() for v in found.values() for i in range(len(programs))}) == len(programs)


def test_patterns_of_later_layers_share_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = small("single")
    clean = faults.hardened(graph, HOST)
    last = frozenset([len(clean.calls) - 1])
    programs = [faults.apply(clean, FaultMap(seed=s, p=0.1), last) for s in range(3)]
    inputs = random_vectors(graph, 5)
    monkeypatch.setitem(devices.ELEMENTS, "interpreter", 1)  # one vector at a time
    found = gpu.run_patterns(programs, inputs, device="interpreter")
    for i, program in enumerate(programs):
        for name, values in simulate(graph, inputs, parameters=faults.parameters(program)).outputs.items():
            np.testing.assert_array_equal(found[name][i], values)


def test_tables_that_no_kernel_takes_by_pattern_are_refused() -> None:
    graph = small("single")
    program = lower(graph, HOST)
    first = program.calls[0]
    changed = replace(first.params, tables={**first.params.tables, "multiplier": first.params.multiplier + 1})
    other = replace(program, calls=(replace(first, params=changed), *program.calls[1:]))
    with pytest.raises(EdgeqError, match="a table 'multiplier' per pattern"):
        gpu.run_patterns([program, other], random_vectors(graph, 1), device="interpreter")


def test_keyword_model(data: Path) -> None:
    graph = edgeq.load(mlperf_tiny.path(data, mlperf_tiny.INT8["kws"]))
    x = mlperf_tiny.inputs(data, "kws")[[0, 1, -1]]
    inputs = {graph.given[0]: x}
    result = compare(simulate(graph, inputs, steps=True), gpu.run(lower(graph, HOST), inputs, steps=True, device="interpreter"))
    assert result.bit_exact and result.tensors > 10, result.difference


def test_faults_by_the_command_line(tmp_path: Path) -> None:
    graph = small("tflm")
    graphfile.save(graph, tmp_path / "m.eqg")
    np.savez(tmp_path / "x.npz", **random_vectors(graph, 5), y=np.arange(5))
    shared = ["faults", str(tmp_path / "m.eqg"), "-d", str(tmp_path / "x.npz"), "--p", "1%,5%", "--patterns", "3", "--no-layers", "--json"]
    found = []
    for device in ("simulator", "interpreter"):
        done = CliRunner().invoke(app, [*shared, "--device", device])
        assert done.exit_code == 0, done.output
        found.append(json.loads(done.stdout))
    assert found[0]["points"] == found[1]["points"] and found[1]["device"] == "interpreter"


@pytest.mark.parametrize(("recipe", "accumulate"), [("fp16", "f32"), ("fp16", "f16"), ("mixed", "f32")])
def test_denoiser_frame_by_frame(recipe: str, accumulate: str) -> None:
    """The shipped streaming network: each frame finds the states that the one before left."""
    graph = api.load(Path(__file__).parent.parent / "examples" / "denoiser" / "denoiser.onnx")
    frames = np.random.default_rng(1).normal(0, 1, (32, *graph.type(graph.given[0]).shape)).astype(np.float32)
    samples = {graph.given[0]: frames} if recipe == "mixed" else None
    graph = api.quantize(graph, samples, recipe=recipe, accumulate=accumulate).graph
    assert graph.states
    inputs = fit_inputs(graph, {graph.given[0]: frames[:2]})
    result = compare(simulate(graph, inputs, steps=True), gpu.run(lower(graph, HOST), inputs, steps=True, device="interpreter"))
    assert result.bit_exact, result.difference


def test_an_operator_without_a_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeq.run.gpu import kernels

    known = {name: launcher for name, launcher in kernels.launchers().items() if name[0] != "depthwise_conv2d"}
    monkeypatch.setattr(kernels, "launchers", lambda: known)
    graph = small("single")
    with pytest.raises(EdgeqError, match="no GPU kernel computes depthwise_conv2d on s8"):
        gpu.run(lower(graph, HOST), random_vectors(graph, 1), device="interpreter")


def test_every_kernel_is_cross_compiled() -> None:
    """For sm_80 and sm_90, without contraction, flushing or approximate division; each is one that the interpreter ran, too."""
    environment = {k: v for k, v in os.environ.items() if k != devices.INTERPRET}
    script = Path(__file__).with_name("gpu_compile.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    compiled = report["compiled"]
    assert {name.split()[0] for name in compiled} == set(report["kernels"]) and len(report["kernels"]) > 30
    for kernel in report["kernels"]:
        assert {80, 90} <= {int(name.split()[-1]) for name in compiled if name.split()[0] == kernel}, kernel
    assert not {name: found["contracted"] for name, found in compiled.items() if found["contracted"]}
    dots = {"conv_s8", "mat_mul_s8", "dense_s16", "lstm_s8", "gru_gates_s8", "gru_state_s8"}
    assert {name.split()[0] for name, found in compiled.items() if found["tensor_cores"]} == dots


def test_an_absent_gpu_is_said_plainly(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    graph = small("single")
    graphfile.save(graph, tmp_path / "m.eqg")
    environment = {k: v for k, v in os.environ.items() if k != devices.INTERPRET}
    command = [sys.executable, "-m", "edgeq", "simulate", str(tmp_path / "m.eqg"), "--device", "gpu", "-o", str(tmp_path / "y.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 1 and not (tmp_path / "y.npz").exists()
    assert "no CUDA device" in done.stderr and "--device cpu" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("device", ["cpu", "interpreter"])
def test_devices_of_the_command_line(device: str, tmp_path: Path) -> None:
    graph = small("tflm")
    path = tmp_path / "m.eqg"
    graphfile.save(graph, path)
    x = random_vectors(graph, 7)
    np.savez(tmp_path / "x.npz", **x, y=np.arange(7) % 5)
    np.savez(tmp_path / "in.npz", **x)
    cli = CliRunner()
    arguments = ["simulate", str(path), "-i", str(tmp_path / "in.npz"), "--device", device, "-o", str(tmp_path / "y.npz")]
    done = cli.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "y.npz") as file:
        for name, values in simulate(graph, x).outputs.items():
            np.testing.assert_array_equal(file[name], values)
    done = cli.invoke(app, ["accuracy", str(path), "--data", str(tmp_path / "x.npz"), "--device", device, "--json"])
    plain = cli.invoke(app, ["accuracy", str(path), "--data", str(tmp_path / "x.npz"), "--json"])
    assert done.exit_code == 0 and plain.exit_code == 0, done.output
    scored = json.loads(done.stdout)
    assert scored["right"]["runner"] == json.loads(plain.stdout)["right"]["simulator"]
    assert scored["runner_name"] == {"cpu": "host"}.get(device, device)


def test_the_page_of_the_documentation_runs() -> None:
    page = (Path(__file__).parent.parent / "docs" / "gpu.md").read_text(encoding="utf-8")
    graph = small("tflm")
    names: dict[str, Any] = {"graph": graph, "inputs": random_vectors(graph, 2)}
    exec(page.split("```python")[1].split("```")[0].replace("range(50)", "range(3)"), names)
    for name, values in simulate(graph, names["inputs"]).outputs.items():
        np.testing.assert_array_equal(names["run"].outputs[name], values)
        assert names["outputs"][name].shape == (3, *values.shape)


def test_unknown_devices_are_refused() -> None:
    with pytest.raises(EdgeqError, match="no device 'tpu'"):
        edgeq.simulate(small("single"), device="tpu")
