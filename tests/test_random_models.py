"""Random ONNX models through the whole path; ``python tests/random_models.py`` runs as many as one likes, on any target."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import random_models
from installed import need, need_programs
from random_models import FOREIGN, Sample, Way, trials

from edgeq import api
from edgeq.run import host
from edgeq.simulate import Run

COUNT, GROUP = 300, 50
HOST = Way(compiler="gcc" if shutil.which("gcc") else "zig")
OTHERS = [
    Way(compiler="gcc", optimize="-O0"), Way(compiler="gcc", optimize="-O3"), Way(compiler="clang", optimize="-O2"),
    *(Way(name, None, "-O2") for name in ("cortex-m4", "riscv", "riscv-f")), Way("native", None, "-O2"),
    Way("cortex-m4", None, "-O2", True), Way("riscv", None, "-O2", True, "int4"), Way(compiler="gcc", weights="int2"),
]  # fmt: skip


@pytest.mark.parametrize("first", range(0, COUNT, GROUP))
def test_host_c_computes_what_the_simulator_says(first: int) -> None:
    tally = trials(range(first, first + GROUP), HOST)
    assert tally.failed == {} and len(tally.refused) <= GROUP // 25, tally.refused


def test_what_exporters_write() -> None:
    tally = trials(range(FOREIGN, FOREIGN + GROUP), HOST)
    assert tally.failed == {} and len(tally.refused) <= GROUP // 25, tally.refused


@pytest.mark.parametrize("way", OTHERS, ids=lambda w: f"{w.target} {w.compiler or ''} {w.optimize} {w.weights}{' chosen' * w.choose}")
def test_other_compilers_and_chips(way: Way) -> None:
    if way.compiler:
        need_programs(way.compiler)
    else:
        need(way.target, "zig")
    first = 10_000 + 10 * OTHERS.index(way)
    assert trials(range(first, first + 10), way).failed == {}


def test_a_difference_is_found_and_its_model_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One value of one model among ten."""
    samples = {n: random_models.sample(n) for n in range(4)}
    name = f"2: {samples[2].graph.results[0]}"

    def wrong(folder: object, inputs: dict[str, object], **kwargs: object) -> Run:
        found = real(folder, inputs, **kwargs)  # type: ignore[arg-type]
        wanted = name if name in found.outputs else samples[2].graph.results[0] if set(inputs) == set(samples[2].inputs) else ""
        return replace(found, outputs={n: a + a.dtype.type(1) if n == wanted else a for n, a in found.outputs.items()})

    real = host.run
    monkeypatch.setattr(host, "run", wrong)
    tally = trials(range(4), HOST)
    assert list(tally.failed) == [2] and "first difference" in tally.failed[2]


def test_models_are_of_many_kinds() -> None:
    """Of a hundred: every family of operators, both kinds of numbers, states, inputs that are no numbers, hostile names."""
    samples = [random_models.sample(n) for n in range(100)]
    kinds = {n.op.kind() for s in samples for n in s.graph.nodes}
    wanted = "conv2d depthwise_conv2d fully_connected add mul maximum reshape transpose slice concat mean layer_norm lstm gru softmax"
    assert set(wanted.split()) <= kinds
    dtypes = {t.type.dtype.value for s in samples for t in s.graph.tensors.values() if not t.is_constant}
    assert {"s8", "s16", "f16"} <= dtypes and any(s.graph.states for s in samples)
    halves = np.concatenate([a.ravel() for s in samples for a in s.inputs.values() if a.dtype == np.float16])
    assert np.isnan(halves).any() and np.isinf(halves).any() and (np.abs(halves) == 65504).any()
    assert ((halves != 0) & (np.abs(halves) < 2.0**-14)).any()
    assert any("*/" in name for s in samples for name in s.graph.tensors) and any(_long(s) for s in samples)


def test_foreign_models_are_of_many_kinds() -> None:
    """Of fifty: grouped and masked attention, rows by an index, limits of 16 bits, buffers and 16 bits beside 8."""
    samples = [random_models.sample(n) for n in range(FOREIGN, FOREIGN + 50)]
    kinds = {n.op.kind() for s in samples for n in s.graph.nodes}
    assert {"attention", "lookup", "softmax", "clamp", "mat_mul", "concat", "conv2d", "layer_norm"} <= kinds
    dtypes = {t.type.dtype.value for s in samples for t in s.graph.tensors.values() if not t.is_constant}
    assert {"s8", "s16", "s32", "f16"} <= dtypes
    assert sum(bool(s.graph.states) for s in samples) >= 10 and any(api.is_quantized(s.graph) for s in samples)


def _long(s: Sample) -> bool:
    return max(map(len, s.graph.tensors)) > 3000


@pytest.mark.parametrize("seed", [620020, 620025])
def test_kernels_that_cannot_decode_are_no_choice(seed: int) -> None:
    need("riscv", "zig")
    assert trials([seed], Way("riscv", None, "-O2", True, "int3")).failed == {}


def test_not_a_number_has_no_sign_where_software_subtracts() -> None:
    """Zig's functions give a number minus not-a-number a sign; softmax must not see it."""
    need("riscv", "zig")
    assert trials([777003], Way("riscv")).failed == {}
