"""docs/kernel-names.md: names follow its grammar, and its kernel with a layout of its own is the two files that it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgeq import kernels
from edgeq.emit import runtime
from edgeq.errors import EdgeqError
from edgeq.ir import Params
from edgeq.kernels import kernel as kernel_module

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "kernel-names.md"
ISAS = "armv6m", "armv7em", "armv7m", "host", "mve", "rv32im", "rvv", "xcv", "xfvec", "zvfh"
USE = """
import sys; sys.path.insert(0, {tests!r})
import numpy as np
from random_graphs import Builder
from edgeq import target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.lower import lower
from edgeq.plan import plan
from edgeq.run import host
from edgeq.simulate import simulate
from pathlib import Path
b = Builder(1, "tflm")
graph = b.graph(b.dense(b.input(1, 6), 5))
program = lower(graph, target.load("host"))
assert program.calls[0].kernel.name == "fully_connected_backwards_s8", program.calls[0].kernel.name
write(emit(program, plan(program), "m"), Path("m"))
data = {{n: np.random.default_rng(0).integers(-128, 128, (20, *graph.type(n).shape)).astype(np.int8) for n in graph.inputs}}
assert compare(simulate(graph, data), host.run(Path("m"), data)).bit_exact
"""


def test_kernels_and_primitives_follow_the_grammar() -> None:
    types = r"(s8|s16|s32|f16|f32)(_(s8|s16|s32|f16|f32))?(_a16|_wz|_w4|_w8(_r16)?)?"
    for k in kernels.scan():
        assert re.fullmatch(types, k.signature.types) and re.fullmatch(rf"[a-z][a-z0-9_]*_{k.signature.types}", k.stem), k.stem
        assert k.isa in ("c", *ISAS)
    for header in runtime.headers().values():
        isa = next((i for i in ISAS if i in header.name), None)
        for name in header.defines - {header.name.upper().replace(".", "_"), "EQ_MVE", "EQ_DSP", "EQ_RVV", "EQ_ZVFH", "EQ_XFVEC"}:
            assert re.match(rf"(eq_{isa}_|EQ_{isa.upper()}(_|$))" if isa else r"eq_|EQ_", name), (header.name, name)


def test_no_template_is_a_stub() -> None:
    """Front matter with at most three lines of body is a variant of the template that it extends."""
    for path in sorted((ROOT / "templates" / "kernels").glob("*/*.c.j2")):
        body = path.read_text(encoding="utf-8").split("---#}\n", 1)[1]
        assert sum(bool(line.strip()) for line in body.splitlines()) > 3, f"{path} could be a variant"


def test_what_the_page_quotes_is_in_its_file() -> None:
    quoted = re.findall(r"<!-- excerpt (\S+) -->\n```toml\n(.*?)```", PAGE.read_text(), re.S)
    assert len(quoted) == 2
    for name, text in quoted:
        assert text in (ROOT / name).read_text(encoding="utf-8"), name


def test_names_of_kernels_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kernels" / "c"
    folder.mkdir(parents=True)
    monkeypatch.setattr(kernel_module, "resource", lambda name: tmp_path)
    head = 'op = "copy"\nx = "s8"\ny = "s8"\nsummary = "Copies."\n'
    for name, more, said in (
        ("copy_s16", "", "end in its types"), ("copy_s8", 'variants = [{ when = "unit" }]', "two kernels are called copy_s8"),
        ("copy_s8", "pirority = 1", "unknown key"),
    ):  # fmt: skip
        (folder / f"{name}.c.j2").write_text(f"{{#---\n{head}{more}\n---#}}\n")
        with pytest.raises(EdgeqError, match=said):
            kernel_module.scan.__wrapped__()
        (folder / f"{name}.c.j2").unlink()


def test_a_tile_is_not_called_like_a_number_of_the_operator() -> None:
    kernel = next(k for k in kernel_module.scan() if k.name == "mat_mul_rows_s8_rvv")
    params = Params("single", {"rows": 9, "depth": 4, "columns": 40})
    assert kernel.computes(params)
    for name in ("rows", "whole_words"):  # a scalar, and a fact
        with pytest.raises(EdgeqError, match=f"mat_mul_rows_s8.*literal '{name}'"):
            replace(kernel, tile={name: 1}).scratch_bytes(params)


def test_a_kernel_with_its_layout_is_two_files(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "edgeq", tmp_path / "edgeq", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("templates", "targets", "firmware"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    files = re.findall(r"<!-- example (\S+) -->\n```\w+\n(.*?)```", PAGE.read_text(), re.S)
    assert len(files) == 2
    for name, text in files:
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-c", USE.format(tests=str(ROOT / "tests"))]
    env = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, env=env)
    assert done.returncode == 0, done.stderr
