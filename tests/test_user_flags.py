"""The proof holds in the user's own build: the emitted self-test passes under the user's flags, or the C refuses to be compiled."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from export_matrix import FORMS, cells, small_model
from installed import need_programs

from edgeq import target
from edgeq.emit import emit, write
from edgeq.export import FORMATS, export
from edgeq.ir import DType, Graph, Node, Tensor, TensorType
from edgeq.lower import lower
from edgeq.ops.gru import Gru
from edgeq.plan import plan
from edgeq.simulate import simulate

VECTORS = 400
FMA = "-march=haswell"
HAS_FMA = " fma " in Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else False
FLAGS = ["-std=gnu99 -O2", "-std=gnu17 -O3", "-std=c99 -O2", "-std=gnu99 -O0", "-std=gnu99 -Os", "-std=gnu99 -O2 -flto"]
REFUSED = ["-std=gnu99 -Ofast", "-std=c99 -O2 -ffast-math", "-O2 -ffinite-math-only", "-std=gnu99 -O3 -ffast-math -ffp-contract=off"]
HERE = [c for c in ("gcc", "clang") if shutil.which(c)]


def gru(units: int = 48) -> Graph:
    """A GRU on halves, five steps of 20 numbers."""
    rng = np.random.default_rng(7)
    f16 = DType.FLOAT16
    tensors = {n: Tensor(n, TensorType(shape, f16)) for n, shape in {"x": (5, 20), "h": (1, units), "y": (5, units)}.items()}
    for name, shape in {"w": (3 * units, 20), "r": (3 * units, units)}.items():
        tensors[name] = Tensor(name, TensorType(shape, f16), rng.normal(0, 0.2, shape).astype(np.float16))
    for name in ("b", "c"):
        tensors[name] = Tensor(name, TensorType((3 * units,), DType.FLOAT32), rng.normal(0, 0.1, 3 * units).astype(np.float32))
    return Graph("gru", (Node("gru", Gru(), ("x", "w", "r", "b", "c", "h"), ("y",)),), tensors, ("x", "h"), ("y",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph, rng = gru(), np.random.default_rng(3)
    data = {n: rng.normal(0, 1, (VECTORS, *graph.type(n).shape)).astype(np.float16) for n in graph.inputs}
    program = lower(graph, target.load("host"))
    path = tmp_path_factory.mktemp("flags") / "gru"
    write(emit(program, plan(program), "gru", {**data, **simulate(graph, data).outputs}), path)
    return path


def compiled(folder: Path, out: Path, compiler: str, flags: str) -> subprocess.CompletedProcess[str]:
    command = [compiler, *flags.split(), *([FMA] if HAS_FMA else []), *map(str, sorted(folder.glob("*.c"))), "-o", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("compiler", HERE)
@pytest.mark.parametrize("flags", FLAGS)
def test_every_bit_is_kept(compiler: str, flags: str, folder: Path, tmp_path: Path) -> None:
    if compiler == "clang" and "lto" in flags:
        pytest.skip("clang's LTO wants a linker of its own")
    done = compiled(folder, tmp_path / "t", compiler, flags)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([tmp_path / "t"], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("compiler", HERE)
@pytest.mark.parametrize("flags", REFUSED)
def test_fast_math_is_refused(compiler: str, flags: str, folder: Path, tmp_path: Path) -> None:
    done = compiled(folder, tmp_path / "t", compiler, flags)
    assert done.returncode != 0 and "IEEE arithmetic" in done.stderr


def test_cmake_with_its_own_flags(folder: Path, tmp_path: Path) -> None:
    """A project's flags come first; the folder's own follow."""
    for program in ("cmake", "gcc"):
        if not shutil.which(program):
            pytest.skip(f"no {program}")
    flags = f"-O2 -ffp-contract=fast {FMA if HAS_FMA else ''}"
    options = [f"-DCMAKE_C_FLAGS={flags}", "-DCMAKE_C_COMPILER=gcc", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    for command in (["-S", folder, "-B", tmp_path, *options], ["--build", tmp_path]):
        subprocess.run(["cmake", *command], check=True, capture_output=True, timeout=120)
    subprocess.run(["ctest", "--test-dir", tmp_path], check=True, capture_output=True, timeout=120)
    commands = (tmp_path / "compile_commands.json").read_text()
    assert commands.count("-ffp-contract=off -fno-strict-aliasing") == commands.count("-std=c99") == 3


@pytest.mark.parametrize("form", FORMATS)
def test_every_export_keeps_it(form: str, folder: Path, tmp_path: Path) -> None:
    """In its build file where it has one, and in the C itself."""
    if FORMATS[form][1]:
        shutil.unpack_archive(export(folder, form, tmp_path / "out.zip"), tmp_path / "out")
    else:
        export(folder, form, tmp_path / "out")
    texts = {p.name: p.read_text() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert "#pragma GCC optimize" in texts["gru_kernels.c"] and '#include "eq_exact.h"' in texts["gru_kernels.c"]
    assert "STDC FP_CONTRACT OFF" in texts["eq_exact.h"]
    build = [t for n, t in texts.items() if n == "CMakeLists.txt"]
    assert all("-ffp-contract=off -fno-strict-aliasing" in t for t in build) and bool(build) == (form in ("cmake", "zephyr", "esp-idf"))


def test_scons_keeps_it(folder: Path) -> None:
    text = (folder / "SConscript").read_text()
    assert "-ffp-contract=off" in text and "-fno-strict-aliasing" in text


def test_every_export_passes_its_self_test_or_refuses(tmp_path: Path) -> None:
    """With what its own build file says; `python -m tests.export_matrix` tries all flags, models, compilers and chips."""
    need_programs("gcc", "g++", "cmake")
    found = cells("host", "fp16", small_model("fp16"), ["gcc"], list(FORMS), ["-O2 -std=gnu99", "-Ofast"], tmp_path)
    assert {form: (c.passed, c.refused, c.failed) for form, c in found.items()} == dict.fromkeys(FORMS, (1, 1, []))


def test_link_time_optimization_does_not_fuse(tmp_path: Path) -> None:
    """A caller whose flags let it fuse operations gets no kernel's floats inlined."""
    need_programs("arm-none-eabi-gcc", "arm-none-eabi-g++", "cmake", "qemu-system-arm")
    found = cells("cortex-m4", "float32", small_model("float32"), ["gcc"], ["zephyr"], ["-O2 -flto"], tmp_path)
    assert found["zephyr"].passed == 1, found["zephyr"].failed
