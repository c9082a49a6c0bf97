"""Small models on disk, and the command line run in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edgeq import graphfile
from edgeq.cli.main import app
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape

CHAIN = "gcc" if shutil.which("gcc") else "zig"
CLASSES = 4


@dataclass(frozen=True)
class Result:
    """What a call of the program did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be one JSON document and nothing else."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line on stderr that says what went wrong."""
        lines = [line for line in self.err.splitlines() if "warning:" not in line]
        assert len(lines) == 1 and lines[0].startswith("edgeq: error: "), self.err
        assert self.code == 1
        return lines[0]


Edgeq = Callable[..., Result]


@pytest.fixture
def edgeq() -> Edgeq:
    """Calls ``edgeq ARGUMENTS``."""

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in arguments], prog_name="edgeq")
        return Result(result.exit_code, result.stdout, result.stderr)

    return call


def quantized_graph() -> Graph:
    """int8: conv 3x3 -> relu -> flatten -> fully connected of CLASSES; input ``x/in:0`` 1x6x5x2."""
    rng = np.random.default_rng(1)

    def q8(name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> Tensor:
        return Tensor(name, TensorType(shape, DType.INT8, QParams((scale,), zero_point)))

    def weights(name: str, shape: tuple[int, ...]) -> Tensor:
        t = TensorType(shape, DType.INT8, QParams(tuple(rng.uniform(0.002, 0.01, shape[0])), 0, 0))
        return Tensor(name, t, rng.integers(-127, 128, shape).astype(np.int8))

    def bias(name: str, n: int) -> Tensor:
        return Tensor(name, TensorType((n,), DType.INT32), rng.integers(-1000, 1000, n).astype(np.int32))

    tensors = [
        q8("x/in:0", (1, 6, 5, 2), 0.05, 3), weights("w", (3, 3, 3, 2)), bias("b", 3), q8("hidden", (1, 6, 5, 3), 0.04, -128),
        q8("flat", (1, 90), 0.04, -128), weights("w2", (CLASSES, 90)), bias("b2", CLASSES), q8("y", (1, CLASSES), 0.2, 5),
    ]  # fmt: skip
    nodes = (
        Node("first/conv", Conv2d(pads=(1, 1, 1, 1), clamp=(0.0, float("inf"))), ("x/in:0", "w", "b"), ("hidden",)),
        Node("flatten", Reshape((1, 90)), ("hidden",), ("flat",)),
        Node("dense <b>&", FullyConnected(), ("flat", "w2", "b2"), ("y",)),
    )
    return Graph("tiny", nodes, {t.name: t for t in tensors}, ("x/in:0",), ("y",), "single")


def float_graph() -> Graph:
    """float32: fully connected 12 -> 8, relu, -> CLASSES; input ``x`` 1x12."""
    rng = np.random.default_rng(2)

    def f32(name: str, shape: tuple[int, ...], data: bool = False) -> Tensor:
        return Tensor(name, TensorType(shape), rng.standard_normal(shape).astype(np.float32) if data else None)

    tensors = [
        f32("x", (1, 12)), f32("w", (8, 12), True), f32("b", (8,), True), f32("h", (1, 8)), f32("w2", (CLASSES, 8), True),
        f32("b2", (CLASSES,), True), f32("y", (1, CLASSES)),
    ]  # fmt: skip
    nodes = (
        Node("one", FullyConnected(clamp=(0.0, float("inf"))), ("x", "w", "b"), ("h",)),
        Node("two", FullyConnected(), ("h", "w2", "b2"), ("y",)),
    )
    return Graph("floaty", nodes, {t.name: t for t in tensors}, ("x",), ("y",))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A quantized model in a file."""
    path = tmp_path / "tiny.eqg"
    graphfile.save(quantized_graph(), path)
    return path


@pytest.fixture
def float_model(tmp_path: Path) -> Path:
    """A float model in a file."""
    path = tmp_path / "floaty.eqg"
    graphfile.save(float_graph(), path)
    return path


@pytest.fixture
def chain() -> str:
    """The quickest tool chain of the host."""
    return CHAIN


@pytest.fixture
def folder(tmp_path: Path, model: Path, edgeq: Edgeq) -> Path:
    """A folder built for the host."""
    result = edgeq("build", model, "-o", tmp_path / "out", "--toolchain", CHAIN)
    assert result.code == 0, result.err
    return tmp_path / "out"


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Five int8 vectors for the quantized model."""
    path = tmp_path / "in.npz"
    np.savez(path, **{"x/in:0": np.random.default_rng(5).integers(-128, 128, (5, 1, 6, 5, 2)).astype(np.int8)})
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Forty calibration vectors for the float model."""
    path = tmp_path / "calib.npz"
    np.savez(path, x=np.random.default_rng(3).standard_normal((40, 12)).astype(np.float32))
    return path
