"""The harness itself: a kernel that no case uses fails however pytest is run, and a compiler that is not there is no failure."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeq import kernels
from edgeq.resources import resource

HERE = Path(__file__).parent
PLUGIN = """
from pathlib import Path
import edgeq.resources
found = edgeq.resources.resource
edgeq.resources.resource = lambda name: Path({templates!r}) if name == "templates" else found(name)
"""
UNUSED = """{#---
op = "softmax"
x = "s8"
y = "s8"
summary = "Never chosen."
when = "depth == 12345"
priority = 99
---#}
"""


def pytest_run(*arguments: str, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Pytest in a process of its own, with a folder of plugins."""
    places = [str(path), *sys.path] if path else sys.path
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(places), **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=HERE.parent.parent, env=env)


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin `unused` by which the templates have one more kernel of softmax."""
    folder = tmp_path_factory.mktemp("unused")
    templates = folder / "templates"
    shutil.copytree(resource("templates"), templates)
    (templates / "kernels" / "c" / "softmax_huge_s8.c.j2").write_text(UNUSED)
    (folder / "unused.py").write_text(PLUGIN.format(templates=str(templates)))
    return folder


@pytest.mark.parametrize("how", ["-p no:xdist", "-k kernels", "-n 2 --dist worksteal"])
def test_a_kernel_that_no_case_uses_fails(how: str, plugins: Path) -> None:
    some = ["-k", "real or kernels"] if "-k" not in how else []
    done = pytest_run("-p", "unused", *how.split(), *some, str(HERE / "test_softmax.py"), path=plugins)
    assert done.returncode == 1 and "no case uses ['softmax_huge_s8']" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("FAILED") == 1


# Operators whose kernels are held against the simulator by tests of their own: they are built from a file, or have several types at once.
ELSEWHERE = {
    "frontends/test_tflite_signal.py": {
        "auto_scale", "filter_bank", "filter_bank_log", "filter_bank_pcan", "filter_bank_root", "frame_count", "frame_stack",
        "frame_window", "overlap_add", "spectral_subtraction", "spectrum_energy", "whole", "whole_cast",
    },
    "ops/test_camera_image.py": {"camera_image"},
    "ops/test_spectrum.py": {"apply_window", "band_levels", "cosine_transform", "energy_normalization", "irfft", "rfft"},
    "test_sensors.py": {"standardize"},
}  # fmt: skip


def test_every_operator_with_kernels_has_cases() -> None:
    """A kernel of an operator that no file of this folder lists is tested by none."""
    modules = [importlib.import_module(p.stem) for p in sorted(HERE.glob("test_*.py")) if p != Path(__file__)]
    covered = {op for m in modules for f in vars(m).values() for op in getattr(f, "operators", ())}
    assert all((HERE.parent / place).is_file() for place in ELSEWHERE)
    assert {" + ".join((k.op, *k.epilogue)) for k in kernels.scan()} == covered | set().union(*ELSEWHERE.values())


def test_a_compiler_that_is_not_installed_is_skipped(tmp_path: Path) -> None:
    """On a computer with nothing on its PATH but Python, what a compiler does is skipped, and says which one is missing."""
    done = pytest_run("-rs", "-k", "clang or gcc or sanitizers", str(HERE / "test_softmax.py"), PATH=str(tmp_path))
    assert done.returncode == 0 and " failed" not in done.stdout, done.stdout + done.stderr
    assert "not installed: clang" in done.stdout and "not installed: gcc" in done.stdout


RAISING = """
import subprocess
import pytest
from edgeq.errors import EdgeqError
from edgeq.process import run

@pytest.fixture
def broken():
    subprocess.run(["clang++"])

def test_compiles():
    raise EdgeqError("tool chain 'gcc' is not installed", why="no gcc")

def test_starts(broken):
    raise AssertionError

def test_runs():
    run(["cppcheck", "x.c"])

def test_other_program():
    raise EdgeqError("not there", why="no frobnicate")

def test_file():
    open("absent.npz")
"""


def test_only_a_missing_compiler_is_a_reason_to_skip(tmp_path: Path) -> None:
    """A test that never looks for one, too, is skipped by name; whatever else is missing fails, and so does a compiler that is there."""
    (tmp_path / "test_raising.py").write_text(RAISING)
    there = tmp_path / "bin"
    there.mkdir()
    arguments = ("-rs", "-p", "conftest", "--rootdir", str(tmp_path), str(tmp_path / "test_raising.py"))
    done = pytest_run(*arguments, path=HERE.parent, PATH=str(there))
    assert "2 failed, 3 skipped" in done.stdout, done.stdout + done.stderr
    assert all(f"not installed: {program}" in done.stdout for program in ("gcc", "clang++", "cppcheck"))
    for program in ("gcc", "clang++", "cppcheck"):
        (there / program).write_text("#!/bin/sh\nexit 1\n")
        (there / program).chmod(0o755)
    done = pytest_run(*arguments, path=HERE.parent, PATH=str(there))
    assert "5 failed" in done.stdout, done.stdout + done.stderr
