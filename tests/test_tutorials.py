"""Every command of the tutorials runs, in order, in a folder that has what its text says; those for a board are checked for their options.

Fences: ``sh`` runs; ``sh setup`` does not (an installation); ``sh board`` needs a board: verbs and options must exist;
``python file=NAME`` is written to that file; ``python elsewhere`` needs a package that edgeq does not install.
"""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from tflite_models import TfliteModel
from typer.testing import CliRunner

from edgeq.cli.main import app
from edgeq.cli.options import completed

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
CHAINED = ("build", "compare", "firmware")
GCC = shutil.which("arm-none-eabi-gcc") and shutil.which("riscv64-unknown-elf-gcc")


def fences(page: Path) -> list[tuple[str, str]]:
    """What stands behind the three backticks, and the text."""
    return re.findall(r"^```(\w[^\n]*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def parsed(text: str, inputs: dict[str, tuple[int, ...]], path: str) -> None:
    """Write an ONNX model from its text, with random constants of the shapes given."""
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> ' + text)
    for name, shape in inputs.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array((rng.standard_normal(shape) / 4).astype(np.float32), name))
    onnx.save(model, path)


def prepare(page: str) -> None:
    """What a reader has before the first command."""
    rng = np.random.default_rng(1)
    shape = (1, 3, 12, 12)
    if page == "keras":
        m = TfliteModel()
        x, y, p = m.input("x", (1, 12)), m.tensor("y", (1, 2)), m.tensor("p", (1, 2))
        weights = [m.constant("w", rng.standard_normal((2, 12)).astype(np.float32)), m.constant("b", np.zeros(2, np.float32))]
        m.operator("FULLY_CONNECTED", [x, *weights], [y], ("FullyConnectedOptions", {}))
        m.operator("SOFTMAX", [y], [p], ("SoftmaxOptions", {"beta": 1.0}))
        Path("model.tflite").write_bytes(m.finish(p))
        shape = (1, 12)
    else:
        parsed(
            "net (float[1, 3, 12, 12] x) => (float[1, 2] p) { a = Conv<kernel_shape = [3, 3], strides = [2, 2]>(x, w, b) r = Relu(a) "
            "g = GlobalAveragePool(r) f = Flatten(g) h = Gemm<transB = 1>(f, v, c) p = Softmax(h) }",
            {"w": (8, 3, 3, 3), "b": (8,), "v": (2, 8), "c": (2,)}, "model.onnx",
        )  # fmt: skip
    np.savez("calib.npz", x=rng.standard_normal((24, *shape)).astype(np.float32))
    np.savez("test.npz", x=rng.standard_normal((12, *shape)).astype(np.float32), y=np.arange(12) % 2)
    if page == "audio":
        parsed(
            "stream (float[1, 6] x, float[1, 4] h_in) => (float[1, 2] y, float[1, 4] h_out) "
            "{ a = Concat<axis = 1>(x, h_in) b = Gemm(a, w, c) h_out = Tanh(b) y = Gemm(h_out, v, d) }",
            {"w": (10, 4), "c": (4,), "v": (4, 2), "d": (2,)}, "stream.onnx",
        )  # fmt: skip
        np.savez("frames.npz", x=rng.standard_normal((24, 1, 6)).astype(np.float32))
    if page == "sensors":
        text = "net (float[1, 32, 6] x) => (float[1, 2] y) { a = Flatten(x) b = Gemm(a, w, c) y = Softmax(b) }"
        parsed(text, {"w": (192, 2), "c": (2,)}, "model.onnx")
        for name in ("walk", "still"):
            np.savetxt(f"{name}.csv", rng.standard_normal((96, 7)), delimiter=",", header="time,ax,ay,az,gx,gy,gz", comments="")
    if page == "camera":
        images = pytest.importorskip("PIL.Image")
        for i in range(12):
            folder = Path("photos") / ("cat", "dog")[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            images.fromarray(rng.integers(0, 256, (16, 20, 3), np.uint8)).save(folder / f"{i}.png")


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of a shell: edgeq and Python in this process, all else in a shell."""
    command, _, target = line.partition(" > ")
    words = shlex.split(command)
    if words[0] == "edgeq":
        extra = ["--toolchain", "gcc"] if GCC and words[1] in CHAINED else []
        result = CliRunner().invoke(app, [*words[1:], *extra], prog_name="edgeq")
        assert result.exit_code == 0, f"{line}\n{result.stderr}"
        if target:
            Path(target).write_text(result.stdout, encoding="utf-8")
    elif words[0] == "python":
        monkeypatch.setattr(sys, "argv", words[1:])
        runpy.run_path(words[1], run_name="__main__")
    else:
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def check_options(line: str) -> None:
    """The verb and the long options of a command exist."""
    words = shlex.split(line)
    group = typer.main.get_command(app)
    command = completed(words[1], group.commands[words[1]])  # type: ignore[attr-defined]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    assert {w for w in words if w.startswith("-")} <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_command_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fences(page)
    assert found, "a tutorial without a command"
    if page.stem == "pytorch":
        pytest.importorskip("onnxscript", reason="PyTorch's exporter is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    prepare(page.stem)
    for kind, text in found:
        lines = [line for line in text.splitlines() if line]
        if " file=" in kind:
            Path(kind.partition("=")[2]).write_text(text, encoding="utf-8")
        elif kind == "sh":
            if any(line.startswith("cc ") for line in lines) and shutil.which("cc") is None:
                continue
            for line in lines:
                run(line, monkeypatch)
        elif kind == "sh board":
            for line in lines:
                check_options(line)
        else:
            assert kind in ("sh setup", "python elsewhere"), kind
