"""Quantizing a float model gives the same bytes on every computer: whatever BLAS, the processor's vectors and the number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeq import matrices

QUANTIZE = """
import sys, zlib
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/frontends"]
import golden, onnx_models, test_streaming
from edgeq.passes import declare_states, normalise
from edgeq import api
from edgeq.quantize import Options

for make, recipe, options in (
    (onnx_models.keywords, "int8", None), (onnx_models.mlp, "int8", Options(rounding="ada-round", method="laplace")),
    (onnx_models.attention, "int8", Options(method="kl")), (test_streaming.model, "mixed", None), (test_streaming.model, "auto", None),
    (onnx_models.mlp, "robust", None),
):
    graph = normalise(declare_states(onnx_models.load(make())))
    made = api.quantize(graph, golden.samples(graph, 64), recipe=recipe, options=options)
    crc = zlib.crc32(made.files["precision.toml"])
    for name in sorted(made.graph.tensors):
        tensor = made.graph.tensors[name]
        text = f"{name} {tensor.type.shape} {tensor.type.dtype} {tensor.type.q}"
        crc = zlib.crc32(b"" if tensor.data is None else tensor.data.tobytes(), zlib.crc32(text.encode(), crc))
    print(recipe, f"{crc:08x}")
"""
PLAIN = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}  # NumPy's own vectors, on x86-64
COMPUTERS = (
    {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1", **PLAIN},
    {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "2"},
)
PRODUCT = """
import zlib, numpy as np
from edgeq import matrices
a = np.random.default_rng(0).normal(0, 1, (70, 900)).astype(np.float32)
print(zlib.crc32((a @ a.T).tobytes()), zlib.crc32(matrices.matmul(a, a.T).tobytes()))
"""


def said(code: str, *arguments: str, **environment: str) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, env={**os.environ, **environment}).stdout


def test_no_computer_decides_about_weights() -> None:
    found = {said(QUANTIZE, str(Path(__file__).parent), **computer) for computer in COMPUTERS}
    assert len(found) == 1, found
    assert len(found.pop().splitlines()) == 6


def test_these_computers_differ() -> None:
    """Else the test above could not fail: BLAS gives other sums, `matrices` the same."""
    found = [said(PRODUCT, **computer).split() for computer in COMPUTERS]
    if len({plain for plain, _ in found}) == 1:
        pytest.skip("BLAS has one way of summing up here")
    assert len({same for _, same in found}) == 1


def test_calls_of_blas_are_known() -> None:
    """A product of float matrices, or a function of the C library's, stands in `matrices` or `reals`, or is exact and named here."""
    exact = {
        "ops/linear.py", "ops/svdf.py", "ops/transpose_conv2d.py", "ops/spectrum.py",  # products of integers below 2^53
        "passes/remove_channels.py", "formats/code.py",
        "numerics.py", "half.py", "matrices.py", "reals.py",
        "api", "cli", "report", "run", "train", "timing.py", "tune/robust.py",  # nothing there decides about bytes
    }  # fmt: skip
    root = Path(__file__).parent.parent / "edgeq"
    words = (" @ ", "np.matmul(", "np.dot(", "np.tensordot(", "np.einsum(")
    words += ("np.linalg.", "scipy.linalg", "np.exp(", "np.log(", "np.log2(", "np.log10(")
    words += ("np.tanh(", "np.power(", "np.exp2(", "np.expm1(", "np.sin(", "np.cos(", "scipy.special", "math.log2(", "math.log10(")
    found = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name.startswith(tuple(exact)) or np.any([part == "gpu" for part in path.parts]):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [f"{name}:{i}: {line.strip()}" for i, line in enumerate(lines, 1) if any(w in line for w in words) and "``" not in line]
    assert found == []


@pytest.mark.parametrize("size", [1.0, 2.0**-140], ids=["usual", "beyond float32"])
def test_a_large_right_factor_takes_half_the_memory(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts fit float32, unless they are smaller than float32 can be; products are the same."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, (5, 700)), rng.normal(0, size, (700, 11))
    expected = matrices.matmul(a, b, True)
    monkeypatch.setattr(matrices, "LARGE", 0)
    made = matrices.right(b, True)
    assert {p.dtype == np.float32 for parts in made.blocks for p in parts} == {size == 1.0}
    assert np.array_equal(matrices.times(a, made), expected)
