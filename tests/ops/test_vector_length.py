"""Kernels for RISC-V vectors give the same bytes whatever the length of a vector register."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import test_attention
import test_average_pool2d
import test_cache
import test_conv2d
import test_depthwise_conv2d
import test_elementwise
import test_fully_connected
import test_layer_norm
import test_mat_mul
import test_max_pool2d
import test_recurrent
import test_reduce
from harness import Case, _Bench, computes_halves, halved, with_vectors
from installed import need_programs

from edgeq import kernels
from edgeq.compare import compare
from edgeq.half import LAW
from edgeq.ops.fourier import Irfft, Rfft
from edgeq.ops.spectrum import ApplyWindow, BandLevels, CosineTransform
from edgeq.run import qemu
from edgeq.simulate import simulate

HALF = ("test_conv2d", "test_depthwise_conv2d", "test_fully_connected", "recurrent")  # of which zvfh has kernels
SUM = test_elementwise.SUM
VECTORS = 4
SPECTRA = {op.kind() for op in (ApplyWindow, BandLevels, CosineTransform, Irfft, Rfft)}
PARTS = 2  # LLVM has no registers left where one program has all the cases
MODULES: Sequence[ModuleType] = (
    test_attention, test_average_pool2d, test_conv2d, test_depthwise_conv2d, test_fully_connected, test_mat_mul, test_max_pool2d,
    test_reduce,
)  # fmt: skip


def some_cases(law: str) -> list[Case]:
    """Every fourth of each operator's cases, those in which a vector of 128 bits is too short or too long, int8 weights on
    halves, and weights of four bits."""
    found = [(m.__name__, c) for m in MODULES for c in m.CASES]
    found += [("elementwise", c) for op in (test_elementwise.Add, test_elementwise.Mul) for c in test_elementwise.cases(op, SUM)]
    found += [("recurrent", c) for c in (*test_recurrent.LSTM, *test_recurrent.GRU)]
    if law == LAW:
        found = [(n, halved(c)) for n, c in found if n in HALF and computes_halves(c)]
    suites = (test_fully_connected.test_fully_connected, test_recurrent.test_lstm, test_recurrent.test_gru)
    int8_weights = [(test.__name__, c) for test in suites for c in test.cases if law in c.laws and c.name.endswith(("_w8", "_w88"))]  # type: ignore[attr-defined]
    narrow = [("four_bits", c) for m in (test_conv2d, test_fully_connected) for c in m.NARROW if law in c.laws]
    whole = [(m.__name__, c) for m in (test_cache, test_layer_norm) for c in m.CASES if law in c.laws]
    chosen = [(n, c) for i, (n, c) in enumerate(found) if i % 4 == 0 or any(n > 30 for t in c.types for n in t.shape[-1:])]
    return [replace(c, name=f"{n}_{i}_{c.name}") for i, (n, c) in enumerate([*chosen, *int8_weights, *narrow, *whole])]


@pytest.mark.parametrize(
    ("law", "bits", "name", "isa"), [("tflm", 256, "riscv-v", "rvv"), ("single", 512, "riscv-v", "rvv"), (LAW, 256, "riscv-vh", "zvfh")]
)
def test_bytes_do_not_depend_on_the_length_of_a_vector(law: str, bits: int, name: str, isa: str, tmp_path: Path) -> None:
    need_programs("qemu-system-riscv32")
    longer = with_vectors(name, bits)
    cases, used = some_cases(law), set()
    for part in range(PARTS):
        bench = _Bench(cases[part::PARTS], law)
        program = bench.program(name)
        used |= {c.kernel.stem for c in program.calls if c.kernel.isa == isa}
        few = {n: a[:VECTORS] for n, a in bench.data.items()}
        result = compare(simulate(bench.graph, few), qemu.run(bench.folder(program, tmp_path / f"model{part}"), longer, few))
        assert result.bit_exact, f"VLEN {bits}: {result.difference}"
    elsewhere = {k.stem for k in kernels.scan() if k.op.endswith("_rows") or k.op in SPECTRA}  # see test_rows, test_spectrum
    assert {k.stem for k in kernels.scan() if k.isa == isa} - elsewhere == used
