"""Emitted folders of the shipped examples and of the MLPerf models: whole comments, licences, nothing that nobody reads."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import mlperf_tiny
import numpy as np
import pytest
from installed import need_programs
from zoo import zoo

from edgeq import kernels, target
from edgeq.emit import emit, runtime
from edgeq.frontends import load
from edgeq.ir import Graph
from edgeq.lower import Program, lower
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.quantize import Options, quantize
from edgeq.quantize.halving import to_half
from edgeq.resources import resource

EXAMPLES = Path(__file__).parent.parent / "examples"
TARGETS = ["riscv", "cortex-m4", "cortex-m55", "riscv-v"]
MODELS = [*mlperf_tiny.INT8, "digits", "denoiser16", "zoo"]
SENTENCE = "What edgeq generates may be used, changed and shipped in any product, under any terms."


@functools.cache
def graph(model: str, data: Path) -> Graph:
    if model in mlperf_tiny.INT8:
        return normalise(load(mlperf_tiny.path(data, mlperf_tiny.INT8[model])))
    if model == "zoo":
        return normalise(zoo(3, "tflm"))
    real = normalise(load(EXAMPLES / model.rstrip("16") / f"{model.rstrip('16')}.onnx"))
    if model.endswith("16"):
        return normalise(to_half(real))
    samples = {n: np.random.default_rng(0).normal(0, 1, (8, *real.type(n).shape)).astype(np.float32) for n in real.inputs}
    return normalise(quantize(real, samples, Options(rounding="nearest")))


@functools.cache
def emitted(model: str, machine: str, data: Path) -> tuple[Program, Mapping[str, str]]:
    program = lower(graph(model, data), target.load(machine))
    return program, {n: b.decode() for n, b in emit(program, plan(program), "m").files.items()}


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("model", MODELS)
def test_comments_are_whole(model: str, machine: str, data: Path) -> None:
    """Each kernel's comment is its summary, to the last word, and the template that it came from."""
    program, files = emitted(model, machine, data)
    text = re.sub(r"\s+(\* )?", " ", files["m_kernels.c"]).replace(" */", " ")
    for kernel in {c.kernel.name: c.kernel for c in program.calls}.values():
        assert f"/* {kernel.summary} From {kernel.path}. " in text, kernel.name


def test_every_summary_is_a_sentence() -> None:
    for kernel in kernels.scan():
        assert kernel.summary.endswith(".") and "*/" not in kernel.summary and kernel.summary.isascii(), kernel.path


@pytest.mark.parametrize("machine", TARGETS)
def test_every_file_tells_its_licence(machine: str, data: Path) -> None:
    files = emitted("kws", machine, data)[1]
    for name, text in files.items():
        assert name.endswith(".json") or ("SPDX-License-Identifier: Apache-2.0" in text[:200] and SENTENCE in text[:300]), name


def test_every_template_tells_its_licence() -> None:
    root = resource("templates")
    files = [p for p in root.rglob("*") if p.suffix in (".j2", ".h", ".css")]
    assert not [p for p in files if "SPDX-License-Identifier: Apache-2.0" not in p.read_text()[:200]]


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("model", MODELS)
def test_every_member_of_every_struct_is_read(model: str, machine: str, data: Path) -> None:
    files = emitted(model, machine, data)[1]
    code = re.split(r"(?=\nvoid )", files["m_kernels.c"])
    structs = re.findall(r"typedef struct \{(.*?)\} (\w+)_params;", files["m_kernels.h"], re.S)
    assert structs
    for body, function in structs:
        own = next(part for part in code if part.startswith(f"\nvoid {function}("))
        for member in re.findall(r"(\w+);", body):
            assert f"p->{member}" in own, (function, member)
    tables = set(re.findall(r"const \w+ (\w+)\[", files["m_weights.h"]))
    assert tables == {t for t in tables if re.search(rf"\b{t}\b", files["m.c"])}


COMPILERS = {
    "cortex-m4": "arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard -ffreestanding",
    "cortex-m55": "arm-none-eabi-gcc -mcpu=cortex-m55 -mthumb -mfloat-abi=hard -ffreestanding",
    "riscv": "riscv64-unknown-elf-gcc -march=rv32imc_zicsr -mabi=ilp32 -ffreestanding",
}


@pytest.mark.parametrize("machine", COMPILERS)
@pytest.mark.parametrize("model", MODELS)
def test_every_function_is_reached(model: str, machine: str, data: Path, tmp_path: Path) -> None:
    """A compiler says so: no static function of the headers is unused by the kernels, on the chip and on this computer at once."""
    for command in ("gcc", COMPILERS[machine].split()[0]):
        if not shutil.which(command):
            pytest.skip(f"no {command}")
    for name, text in emitted(model, machine, data)[1].items():
        if name.endswith((".c", ".h")):
            (tmp_path / name).write_text(text.replace("static inline", "static"))
    unused = []
    for command in ("gcc", COMPILERS[machine]):
        files = [n for n in ("m_kernels.c", "m.c") if (tmp_path / n).exists()]
        flags = ["-std=c99", "-Wunused-function", "-fsyntax-only", *files]
        done = subprocess.run([*command.split(), *flags], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        unused.append(set(re.findall(r"(\w+).? defined but not used", done.stderr)))
    assert not unused[0] & unused[1]


def test_headers_are_cut_to_what_is_reached() -> None:
    """A function, what it calls, the conditionals around it, and the types that it names; nothing else."""
    files = runtime.reached(["eq_mve_store_first_i16(y, v, n);"])
    assert set(files) == {"eq_mve.h"}
    assert "EQ_MVE_FIRST_LANES(i16" in files["eq_mve.h"] and "EQ_MVE_FIRST_LANES(i32" not in files["eq_mve.h"]
    assert "arm_mve.h" in files["eq_mve.h"] and "eq_mve_dup4" not in files["eq_mve.h"]
    assert runtime.reached(["eq_no_such_function();"]) == {}
    assert runtime.whole("eq_step.h") == (resource("templates") / "runtime" / "eq_step.h").read_text()


def test_all_headers_go_together(tmp_path: Path) -> None:
    """No two headers define one name: a chip may mix the kernels of several instruction sets."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    owners: dict[str, set[str]] = {}
    for header in runtime.headers().values():
        for name in header.defines:
            owners.setdefault(name, set()).add(header.name)
    assert not {name: where for name, where in owners.items() if len(where) > 1}
    text = "".join(f'#include "{resource("templates") / "runtime" / name}"\n' for name in runtime.headers())
    (tmp_path / "all.c").write_text(text + "int all;\n")
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "all.c"], cwd=tmp_path, check=True, timeout=60)


@pytest.mark.parametrize("model", ["digits", "denoiser16"])
def test_the_readme_lists_the_files_and_its_code_compiles(model: str, data: Path, tmp_path: Path) -> None:
    need_programs("gcc")
    files = emitted(model, "host", data)[1]
    text = files["README.md"]
    (code,) = re.findall(r"```c\n(.*?)```", text, re.DOTALL)
    include, declared, call = code.strip().split("\n\n")
    for name in files:
        assert any(fnmatch(name, pattern) for pattern in re.findall(r"`([^`]+)`", text)) or name == "README.md", name
        (tmp_path / name).write_text(files[name])
    (tmp_path / "use.c").write_text(f"{include}\n{declared}\nvoid use(void)\n{{\n{call}\n}}\n")
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-c", "use.c"], cwd=tmp_path, check=True, timeout=60)
