"""The dialogue of MLPerf Tiny's runner with an emulated board, for its four tasks: their reference models, else stand-ins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import serial
from installed import need
from places import DATA
from random_graphs import Builder

from edgeq import api
from edgeq import target as targets
from edgeq.build import build_firmware, toolchain
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.run.emulated import EmulatedBoard
from edgeq.simulate import quantize_array, real_array, simulate

TASKS = {  # board, reference model, input, outputs
    "kws01": ("virt", "kws_ref_model", (1, 49, 10, 1), 12),
    "vww01": ("mps2-an386", "vww_96_int8", (1, 96, 96, 3), 2),
    "ad01": ("virt", "ad01_int8", (1, 640), 640),
    "ic01": ("mps2-an386", "pretrainedResnet_quant", (1, 32, 32, 3), 10),
}
READY = "m-ready"


def model(task: str) -> Graph:
    """The reference model, or a small network of its shapes."""
    _, file, shape, outputs = TASKS[task]
    path = DATA / "mlperf_tiny" / f"{file}.tflite"
    if path.is_file():
        return api.load(path)
    b = Builder(5, "tflm")
    x = b.input(*shape)
    return b.graph(b.dense(b.dense(x, 8) if len(shape) == 2 else b.pool(b.conv(x, 4, 3, stride=2)), outputs))


class Runner:
    """The host's part of the dialogue: a command, and the lines of its reply."""

    def __init__(self, port: str) -> None:
        self.line = serial.Serial(port, 115200, timeout=60)

    def reply(self) -> list[str]:
        """Lines up to the one that says that the board is ready."""
        lines: list[str] = []
        while not lines or lines[-1] != READY:
            line = self.line.read_until(b"\r\n")
            assert line.endswith(b"\r\n"), (lines, line)
            lines.append(line.decode("ascii").removesuffix("\r\n"))
        return lines[:-1]

    def __call__(self, command: str) -> list[str]:
        self.line.write(f"{command}%".encode())
        return self.reply()

    def load(self, data: bytes) -> None:
        """Load an input as the runner does, 31 bytes at a time."""
        assert self(f"db load {len(data)}") == [f"m-[Expecting {len(data)} bytes]"]
        for i in range(0, len(data), 31):
            last = i + 31 >= len(data)
            assert self(f"db {data[i : i + 31].hex()}") == (["m-load-done"] if last else [])


@contextmanager
def board(task: str, folder: Path) -> Iterator[Runner]:
    """A board with the firmware for a task, and a runner at its port."""
    name = TASKS[task][0]
    need(name, "gcc", "qemu")
    target = targets.load(name)
    out = api.build(model(task), output=folder / "m", target=name, name="model", vectors=0, check=False).folder
    elf = build_firmware(out, target, toolchain(target, "gcc"), folder / "m.elf", app="mlperf", optimize="-Os")
    with EmulatedBoard(elf, target) as emulated:
        runner = Runner(emulated.port)
        emulated.start()
        assert runner.reply() == ["m-timestamp-mode-performance", "m-init-done"]
        yield runner
        runner.line.close()


def sample(task: str, graph: Graph, seed: int) -> tuple[bytes, Array]:
    """What the runner loads, and the int8 input ``[1, *shape]`` that it stands for."""
    rng, shape = np.random.default_rng(seed), TASKS[task][2]
    t = graph.type(graph.given[0])
    if task == "ad01":
        real = ((rng.integers(-128, 128, shape) - t.zero_point) * t.scale + rng.normal(0, t.scale, shape)).astype(np.float32)
        return real.tobytes(), quantize_array(real, t.scale, t.zero_point, t.dtype.numpy, graph.law)[None]
    q = rng.integers(-128, 128, shape).astype(np.int8)
    return (q.view(np.uint8) if task == "kws01" else q.view(np.uint8) ^ 0x80).tobytes(), q[None]


def answers(task: str, graph: Graph, loaded: bytes, x: Array) -> Array:
    """The results that the runner should be told."""
    name = graph.results[0]
    y = real_array(simulate(graph, {graph.given[0]: x}).outputs[name], graph.type(name)).ravel()
    return np.array([np.mean((np.frombuffer(loaded, np.float32) - y) ** 2)]) if task == "ad01" else y


@pytest.mark.parametrize("task", TASKS)
def test_the_dialogue(task: str, tmp_path: Path) -> None:
    graph = model(task)
    with board(task, tmp_path) as runner:
        assert re.fullmatch(r"m-name-dut-\[edgeq-[\w-]+\]", *runner("name"))
        assert runner("profile") == ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", f"m-model-[{task}]"]
        for seed in range(2 if len(sample(task, graph, 0)[0]) < 10_000 else 1):
            loaded, x = sample(task, graph, seed)
            runner.load(loaded)
            lines = runner("infer 2 1")
            assert lines[:2] == ["m-warmup-start-1", "m-warmup-done"] and lines[2] == "m-infer-start-2" and lines[5] == "m-infer-done"
            begin, end = (int(line.removeprefix("m-lap-us-")) for line in lines[3:5])
            assert 0 < end - begin < 60_000_000
            (results,) = lines[6:]
            told = [float(f) for f in results.removeprefix("m-results-[").removesuffix("]").split(",")]
            expected = answers(task, graph, loaded, x)
            np.testing.assert_allclose(told, expected, atol=0.00051, rtol=1e-5)
            assert runner("results") == [results]
        assert re.fullmatch(r"m-lap-us-\d+", *runner("timestamp"))


def test_wrong_commands_are_refused_and_change_nothing(tmp_path: Path) -> None:
    graph = model("kws01")
    loaded, x = sample("kws01", graph, 9)
    with board("kws01", tmp_path) as runner:
        for command in ("", "nonsense", "db", "db load", "db load 491", "db load -1", "db load 0", "db 00", "infer", "infer 0", "infer x",
                        "infer 99999999999", "db zz", "x" * 500, "infer 1 2000000"):  # fmt: skip
            (line,) = runner(command)
            assert re.fullmatch(r"e-\[.*\]", line), command
        runner.load(loaded)
        assert runner(f"db {bytes(3).hex()}") == ["e-[More bytes than expected]"]
        printed = "".join(line.removeprefix("m-buffer-") for line in runner("\r\ndb   print ")).replace("-", "")
        assert bytes.fromhex(printed) == loaded and len(runner("help")) == 1
        told = [float(f) for f in runner("infer")[-1].removeprefix("m-results-[").removesuffix("]").split(",")]
        np.testing.assert_allclose(told, answers("kws01", graph, loaded, x), atol=0.00051)


def test_other_models_are_refused(tmp_path: Path) -> None:
    b = Builder(5, "single")
    folder = api.build(b.graph(b.dense(b.input(1, 12), 4)), output=tmp_path / "m", target="virt", vectors=0, check=False).folder
    with pytest.raises(EdgeqError, match=r"not a model of MLPerf Tiny.*490 and 12 values \(kws01\)"):
        build_firmware(folder, targets.load("virt"), toolchain(targets.load("virt")), tmp_path / "m.elf", app="mlperf")
