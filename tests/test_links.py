"""The emitted folder in other hands: two models in one program, three compilers without a warning, sanitizers, symbols."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import in_arena
import numpy as np
import pytest
from random_graphs import Builder
from zoo import zoo

from edgeq import target
from edgeq.build import COMMON_FLAGS
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.numerics import LAWS
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.run import host
from edgeq.simulate import simulate

COMPILERS = {"gcc": ["gcc"], "clang": ["clang"], "zig": [sys.executable, "-m", "ziglang", "cc"]}
STRICT = [*COMMON_FLAGS, "-pedantic", "-Wmissing-prototypes", "-Wstrict-prototypes", "-Wcast-qual", "-Wundef"]


def inputs(graph: Graph, count: int = 8) -> dict[str, Array]:
    rng = np.random.default_rng(5)
    x = {n: rng.integers(-128, 128, (count, *graph.type(n).shape)).astype(np.int8) for n in graph.inputs}
    for a in x.values():
        a[0], a[1] = -128, 127
    return x


def emitted(graph: Graph, name: str, folder: Path) -> Path:
    """A folder with a self-test on 8 vectors."""
    program = lower(graph, target.load("host"))
    x = inputs(graph)
    write(emit(program, plan(program), name, {**x, **simulate(graph, x).outputs}), folder)
    return folder


def call(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def files(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}{part}.c" for part in ("", "_kernels", "_weights", "_vectors")]


DRIVER = """
int first_main(void);
int second_main(void);
int main(void)
{
    return first_main() | second_main() | first_main();
}
"""


def test_two_models_link_into_one_program(tmp_path: Path) -> None:
    """Both use the same kernels and are run in turns by one program."""
    objects: list[Path] = []
    for name, seed in (("first", 1), ("second", 2)):
        folder = emitted(normalise(zoo(seed, "single")), name, tmp_path / name)
        for file in [*files(folder, name), folder / "main.c"]:
            objects.append(folder / f"{file.stem}.o")
            renamed = [f"-Dmain={name}_main"] if file.name == "main.c" else []
            call("gcc", *COMMON_FLAGS, "-O1", *renamed, "-c", file, "-o", objects[-1])
    (tmp_path / "driver.c").write_text(DRIVER)
    call("gcc", *objects, tmp_path / "driver.c", "-o", tmp_path / "both")
    call(tmp_path / "both")


def test_a_wrong_byte_fails_the_self_test(tmp_path: Path) -> None:
    """The program above can fail."""
    b = Builder(3, "single", clamps=False)
    folder = emitted(b.graph(b.conv(b.input(1, 4, 4, 3), 4, 3)), "m", tmp_path / "m")
    weights = folder / "m_weights.c"
    text = weights.read_text()
    weights.write_text(re.sub(r"(int32_t m_s0_bias\[\d+\] = \{\s*)(-?\d+)", lambda m: f"{m[1]}{int(m[2]) + 9000}", text))
    assert weights.read_text() != text
    call("gcc", *COMMON_FLAGS, *files(folder, "m"), folder / "main.c", "-o", tmp_path / "test")
    assert subprocess.run([tmp_path / "test"], check=False).returncode == 1


def test_every_external_symbol_bears_the_models_name(tmp_path: Path) -> None:
    folder = emitted(normalise(zoo(1, "tflm")), "model", tmp_path / "model")
    found = set()
    for file in files(folder, "model"):
        call("gcc", *COMMON_FLAGS, "-c", file, "-o", tmp_path / "x.o")
        rows = [line.split() for line in call("nm", "-g", tmp_path / "x.o").stdout.splitlines()]
        found |= {r[-1] for r in rows if r[-2] != "U"}
        assert {r[-2] for r in rows} <= {"T", "R", "D", "U"}, "no writable data, no common symbols"
        undefined = {r[-1] for r in rows if r[-2] == "U"}
        assert all(s.startswith("model_") or s in ("memcpy", "memset", "_GLOBAL_OFFSET_TABLE_") for s in undefined), undefined
    assert len(found) > 40 and all(s.startswith("model_") for s in found)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_compiler_warns(compiler: str, law: str, tmp_path: Path) -> None:
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None or (compiler == "zig" and find_spec("ziglang") is None):
        pytest.skip(f"{compiler} is not installed")
    folder = emitted(normalise(zoo(1, law)), "zoo", tmp_path / "zoo")
    sources = [*files(folder, "zoo"), folder / "main.c"]
    call(*command, *STRICT, "-O2", *sources, "-o", tmp_path / "selftest", ZIG_LOCAL_CACHE_DIR=str(tmp_path / "cache"))
    call(tmp_path / "selftest")


@pytest.mark.parametrize("law", LAWS)
def test_sanitizers_find_nothing(law: str, tmp_path: Path) -> None:
    folder = emitted(normalise(zoo(2, law)), "zoo", tmp_path / "zoo")
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    call("gcc", *COMMON_FLAGS, *flags, *files(folder, "zoo"), folder / "main.c", "-o", tmp_path / "selftest")
    call(tmp_path / "selftest", ASAN_OPTIONS="detect_leaks=0")


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_step_equals_the_simulator(seed: int, law: str, tmp_path: Path) -> None:
    graph = zoo(seed, law)
    for name, g in (("raw", graph), ("clean", normalise(graph))):
        folder = emitted(g, name, tmp_path / name)
        expected = simulate(g, inputs(g), steps=True)
        assert compare(expected, host.run(folder, inputs(g), steps=True, chain="gcc", optimize="-O1")).difference is None
        assert compare(expected, in_arena.run(folder, inputs(g))).difference is None
    assert {n.op.kind() for n in graph.nodes} >= {"conv2d", "mat_mul", "transpose_conv2d", "concat", "softmax"} and len(graph.nodes) > 25
