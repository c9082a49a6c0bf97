"""Emitted folders of the shipped examples and of the MLPerf models: whole comments, licences, nothing that nobody reads."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path

import mlperf_tiny
import numpy as np
import pytest
from zoo import zoo

from edgeq import kernels, target
from edgeq.emit import emit
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
