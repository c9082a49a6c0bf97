"""Weights decoded once, at the start: they lie in the state, no step takes scratch for them, and kernels run as with plain weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from installed import need_emulator
from random_graphs import Builder
from test_stage import check, inputs, layers, narrowed

from edgeq import api
from edgeq.emit import emit
from edgeq.errors import EdgeqError
from edgeq.faults import FaultMap, hardened
from edgeq.formats import PLAIN, parse
from edgeq.lower import lower
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.weights import with_formats
from edgeq.plan import plan, stage
from edgeq.plan.fit import fitted
from edgeq.quantize import Options, quantize
from edgeq.target import load

FORMATS = ["6+hamming", "7", "8", "5+asymmetric", "6+crc+small2560", "codebook", "int3", "int4"]
TARGETS = ["cortex-m0", "cortex-m4", "cortex-m55", "riscv", "riscv-v", "riscv-xcv"]


@pytest.mark.parametrize("name", FORMATS)
def test_the_state_holds_them_and_the_arena_does_not(name: str, tmp_path: Path) -> None:
    """Two runs through one folder: the reset decodes again."""
    graph = narrowed(layers(), parse(name))
    program = lower(graph, load("host"), decode=stage.START)
    plain = lower(with_formats(graph, PLAIN), load("host"))
    memory = plan(program)
    assert memory.arena_bytes <= plan(plain).arena_bytes and not any(c.tiled for c in program.calls)
    made = emit(program, memory, "m")
    assert made.manifest.state_bytes == sum(program.decoded.values()) >= sum(c.tables[n].nbytes for c in program.calls for n in c.staged)
    assert (b"m_reset(void *state)" in made.files["m.h"]) == bool(program.decoded)
    check(program, tmp_path / "m", ways=["beside"])


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("name", ["6+hamming", "codebook"])
def test_emulated_cores(name: str, machine: str, tmp_path: Path) -> None:
    need_emulator(machine)
    graph = narrowed(layers(), parse(name))
    program, plain = (lower(g, load(machine), decode=stage.START) for g in (graph, with_formats(graph, PLAIN)))
    check(program, tmp_path / "m", machine)
    own = {c.kernel.isa for c in program.calls}
    assert own & {c.kernel.isa for c in plain.calls} - {"c"} or machine == "cortex-m0"


@pytest.mark.parametrize("machine", ["host", "cortex-m4", "riscv"])
@pytest.mark.parametrize("name", ["6+hamming", "codebook"])
def test_layers_run_in_bands(name: str, machine: str, tmp_path: Path) -> None:
    """By the kernel that their tables are stored for, others than which are better at rows with plain weights."""
    if machine != "host":
        need_emulator(machine)
    b = Builder(3, "single")
    x = b.input(1, 24, 12, 4)
    for k in range(3):
        x = b.conv(b.depthwise(x), 16, 1) if k else b.conv(x, 16, 3, pads=(1, 1, 1, 1))
    graph = b.graph(b.dense(b.flatten(b.node(AveragePool2d((24, 12)), x)), 5))
    program = lower(narrowed(graph, parse(name)), load(machine), decode=stage.START)
    banded, memory = fitted(program, None)
    inside = [c for band in banded.bands for c in banded.calls[band.first : band.last + 1] if c.staged]
    assert inside and memory.arena_bytes < plan(program).arena_bytes * 2 / 3
    check(banded, tmp_path / "m", "" if machine == "host" else machine, ["beside"])


def test_recurrent_layers_keep_their_states_beside_them(tmp_path: Path) -> None:
    real = api.load(Path(__file__).parents[1] / "examples" / "denoiser" / "denoiser.onnx")
    frames = np.abs(np.random.default_rng(1).normal(0, 1, (30, *real.type(real.given[0]).shape))).astype(np.float32)
    graph = quantize(real, {real.given[0]: frames}, Options(weights="int3", rounding="nearest"))
    program = lower(graph, load("host"), decode=stage.START)
    own = sum(graph.type(a).bytes for a, _ in graph.states)
    assert own and emit(program, plan(program), "m").manifest.state_bytes >= own + sum(program.decoded.values())
    assert not any(c.scratch > c.kernel.scratch_bytes(c.params) for c in program.calls)
    check(program, tmp_path / "m", ways=["beside"])


def test_a_build_says_when_it_decodes_and_counts_the_state(tmp_path: Path) -> None:
    graph = narrowed(layers(), parse("6+hamming"))
    given = inputs(graph)
    built = {way: api.build(graph, output=tmp_path / way, target="cortex-m4", calibration=given, decode=way) for way in ("call", "start")}
    start, call = (built[way].manifest for way in ("start", "call"))
    work = {way: next(iter(b.measured.runs.values())).instructions for way, b in built.items()}
    assert (start.decode, call.decode, call.state_bytes) == ("start", "call", 0) and start.arena_bytes < call.arena_bytes
    assert start.ram_bytes == start.arena_bytes + start.state_bytes and work["start"] * 2 < work["call"]  # type: ignore[operator]
    with pytest.raises(EdgeqError, match=r"of RAM.*Fix: --decode call decodes weights step by step"):
        api.build(graph, output=tmp_path / "small", target="cortex-m4", calibration=given, decode="start", budget={"ram": call.ram_bytes})
    for wrong, message in (({"decode": "never"}, "no decoding at 'never'"), ({"decode": "start", "feed": "rows"}, "leave --decode or")):
        with pytest.raises(EdgeqError, match=message):
            api.build(graph, output=tmp_path / "no", calibration=given, **wrong)  # type: ignore[arg-type]


def test_bit_errors_are_decoded_at_the_start_as_before_each_call(tmp_path: Path) -> None:
    graph = narrowed(layers(), parse("6+hamming"))
    api.build(graph, output=tmp_path / "m", target="host", calibration=inputs(graph), decode="start", hardened=True)
    assert api.compare(tmp_path / "m", faults=FaultMap("random", seed=3, p=0.01)).comparison.bit_exact  # type: ignore[union-attr]
    assert any(c.staged for c in hardened(graph, load("host"), decode=stage.START).calls)
