"""The wheel alone, in an empty environment with nothing on the PATH, builds the example and emulates it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
PIP = ("-m", "pip", "--disable-pip-version-check", "-q")


def call(*words: object, **options: object) -> str:
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, *PIP, "wheel", "--no-deps", "-w", folder, ROOT)
    return next(folder.glob("edgeq-*.whl"))


def test_the_wheel_carries_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for expected in ("templates/kernels/c/conv2d_s8.c.j2", "templates/runtime/eq_numerics.h", "targets/riscv.toml", "firmware/make.py"):
        assert f"edgeq/_data/{expected}" in names
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "examples/"))]


def test_an_empty_environment_is_enough(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    call(python, *PIP, "install", "-c", ROOT / "constraints.txt", wheel)
    np.savez(tmp_path / "calib.npz", image=np.random.default_rng(0).random((16, 1, 8, 8), np.float32))
    environment = {"PATH": "", "HOME": os.environ.get("HOME", str(tmp_path))}
    edgeq = (python, "-m", "edgeq")
    options = {"env": environment, "cwd": tmp_path}
    call(*edgeq, "build", ROOT / "examples/digits/digits.onnx", "--target", "riscv", "--calib", "calib.npz", "-o", "out", **options)
    compared = json.loads(call(*edgeq, "compare", "out", "--vectors", "2", "--json", **options))
    ran = json.loads(call(*edgeq, "run", "out", "--vectors", "2", "--json", **options))
    assert ran["bit_exact"] is True and ran["instructions"] > 0, (compared, ran)
