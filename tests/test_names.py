"""No name from a model meets a name of the emitted C's, of a header's or of a language: it compiles as C99, gnu17, C23 and C++."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeq import target
from edgeq.emit import emit, write
from edgeq.emit.syntax import FILES, KEYWORDS, MACROS, OURS, Names, model_name
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.lower import lower
from edgeq.ops.add import Add
from edgeq.ops.concat import Concat
from edgeq.plan import plan
from edgeq.simulate import simulate

STRICT = ["-Wall", "-Wextra", "-Wshadow", "-Werror", "-fsyntax-only"]
LANGUAGES = [("gcc", "c99"), ("gcc", "gnu17"), ("gcc", "gnu2x"), ("clang", "c99"), ("clang", "gnu17"), ("clang", "gnu2x")]
DIALECTS = [("g++", "c++11"), ("g++", "gnu++20"), ("clang++", "c++11"), ("clang++", "gnu++20")]
HOSTILE = [
    *sorted(KEYWORDS | MACROS | OURS),
    *("int8_t uint_least16_t uintptr_t size_t x1 x0 p1 s1 X1 i I failures in out steps STEPS m_invoke m_s1 M_x m t_m_s1 eq_step".split()),
    *("EQ_STEP eq_model_invoke x a b y p Main mAin __FILE__ _Bool m/invoke a;b;c arena_bytes arena_alignment offset".split()),
    *("step_checks", "vectors", "n" * 10_000, "n" * 10_001, "", "*/", "/* x", "//", "\\", "??/", "a\nb", '"', "%s", "1", "1x"),
    *("\u0430", "\u0445", "\u03c7", "caf\u00e9", "\u202e", "\x00"),
]
MODELS = [
    *sorted(FILES),
    *("int main unix m t x1 EQ eq_ eq_model ../../etc/passwd a/b 1 \u0430 */".split()),
    *("", "n" * 10_000),
]


def graph(names: list[str], name: str = "m") -> Graph:
    """A sum of every two inputs, joined at step N / 2 by a concat (its operands are gathered) and added to the first again."""
    q = QParams((0.1,), 3)
    small, tensors, nodes = TensorType((1, 4), DType.INT8, q), {}, []
    for n in names:
        tensors[n] = Tensor(n, small)
    sums = [f"{a} + {b} */" for a, b in zip(names[::2], names[1::2], strict=True)]
    for n, a, b in zip(sums, names[::2], names[1::2], strict=True):
        tensors[n] = Tensor(n, small)
        nodes.append(Node(n, Add(), (a, b), (n,)))
    out = "y" if "y" not in names else "y2"
    tensors[out] = Tensor(out, TensorType((1, 4 * len(sums)), DType.INT8, q))
    nodes.append(Node("join", Concat(axis=1), tuple(sums), (out,)))
    return Graph(name, tuple(nodes), tensors, tuple(names), (out,))


def emitted(names: list[str], folder: Path, model: str = "m") -> Path:
    program = lower(graph(names, model), target.load("host"))
    data = {n: np.arange(8, dtype=np.int8).reshape(2, 1, 4) for n in names}
    expected = simulate(program.graph, data, steps=True)
    write(emit(program, plan(program), model, {**data, **expected.steps, **expected.outputs}), folder)
    return folder


def compile_all(folder: Path, command: list[str]) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[:3000]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = list(dict.fromkeys(HOSTILE))
    return emitted(names[: len(names) // 2 * 2], tmp_path_factory.mktemp("names") / "m")


@pytest.mark.parametrize(("compiler", "standard"), LANGUAGES)
def test_c(compiler: str, standard: str, hostile: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    compile_all(hostile, [compiler, f"-std={standard}", *STRICT, *sorted(f.name for f in hostile.glob("*.c"))])


@pytest.mark.parametrize(("compiler", "standard"), DIALECTS)
def test_every_header_is_cpp(compiler: str, standard: str, hostile: Path, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    program = tmp_path / "all.cpp"
    headers = sorted(hostile.glob("*.h"))
    program.write_text("".join(f'#include "{h}"\n' for h in headers) + "void *call = (void *)m_invoke;\n")
    compile_all(tmp_path, [compiler, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(program)])


def test_it_runs(hostile: Path, tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    compile_all(hostile, ["gcc", "-std=gnu17", *sorted(f.name for f in hostile.glob("*.c")), "-o", str(tmp_path / "selftest")])
    compile_all(tmp_path, [str(tmp_path / "selftest")])


def test_a_gathered_input_beside_its_array(tmp_path: Path) -> None:
    """The concat at step 1 gathers its operands in an array of its own, whatever the inputs are called."""
    folder = emitted(["parts", "int8_t"], tmp_path / "m")
    text = (folder / "m.c").read_text()
    assert "parts_2[] = {" in text and "const int8_t *t_m_int8_t" in text


@pytest.mark.parametrize("model", ["m", "t", "stdint"])
def test_a_model_and_its_files(model: str, tmp_path: Path) -> None:
    folder = emitted([f"{model}_invoke", f"{model}_s0"], tmp_path / "m", model)
    compile_all(folder, ["gcc", "-std=c99", *STRICT, "-I.", *sorted(f.name for f in folder.glob("*.c"))])


def test_model_names() -> None:
    for name in MODELS:
        word = model_name(name)
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,43}", word) and word not in FILES | KEYWORDS | MACROS and not word.startswith("eq_"), name


def test_names_of_one_scope_differ() -> None:
    for model in ("m", "t", "t_x"):
        names = Names(model)
        found = [names.external(n) for n in (*HOSTILE, *HOSTILE)] + [names.own(w) for w in ("x1", "i", "failures", "x1")]
        assert len(set(found)) == len(found) and not any(n.startswith(f"{model}_") for n in found)
