"""Results that are stored over what is read: the same bytes where each begins as closely before its operand as it may, on every ISA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import in_arena
import numpy as np
import pytest
from band_graphs import band_graph, halved, inputs
from installed import need_emulator
from random_graphs import Builder, random_graph

from edgeq import target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.frontends import load
from edgeq.ir import Graph, check
from edgeq.lower import lower
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.resize import ResizeNearest
from edgeq.ops.slice import Slice
from edgeq.ops.transpose_conv2d import TransposeConv2d
from edgeq.passes import normalise
from edgeq.plan import MemoryPlan, plan
from edgeq.plan.fit import fitted
from edgeq.plan.room import roomiest
from edgeq.plan.trails import need
from edgeq.program import Program
from edgeq.run import run
from edgeq.simulate import simulate

LAYERS = (
    "conv", "pointwise", "wide", "channels of four", "strided", "dilated", "groups", "depthwise", "windows of four", "max", "max of four",
    "average", "average of four", "concat", "doubled", "slice", "transposed", "few",
)  # fmt: skip


def layer(b: Builder, kind: str, lead: str) -> str:
    """One that may trail its operand, `lead`."""
    rng, c = b.rng, b.tensors[lead].type.shape[3]

    def conv(channels: int, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1, groups: int = 1) -> str:
        op = Conv2d(stride=(stride, stride), pads=(pad,) * 4, dilation=(dilation,) * 2, groups=groups, clamp=b.clamp())
        return b.linear(op, lead, (channels, kernel, kernel, c // groups), 0, 0.0)

    if kind in ("conv", "channels of four"):
        return conv(int(rng.integers(1, 9)), 3, pad=int(rng.integers(0, 2)))
    if kind in ("pointwise", "wide", "few"):
        return conv(70 if kind == "wide" else c + int(rng.integers(1, 30)), 1)
    if kind == "strided":
        return conv(int(rng.integers(1, 20)), 3, stride=2, pad=1)
    if kind == "dilated":
        return conv(int(rng.integers(1, 9)), 3, pad=2, dilation=2)
    if kind == "groups":
        return conv(2 * int(rng.integers(1, 5)), 3, pad=1, groups=2)
    if kind == "depthwise":
        return b.linear(DepthwiseConv2d(pads=(1, 1, 1, 1), clamp=b.clamp()), lead, (1, 2, 3, c * 2), 3, 0.0)
    if kind == "windows of four":
        return b.linear(DepthwiseConv2d(stride=(2, 2), pads=(1, 1, 1, 1), clamp=b.clamp()), lead, (1, 3, 3, c), 3, 0.0)
    if kind.startswith("max"):
        return b.node(MaxPool2d((3, 3), (2, 2), pads=(1, 1, 0, 0)), lead)
    if kind.startswith("average"):
        return b.node(AveragePool2d((2, 2), (2, 1)), lead)
    if kind == "concat":
        shape = (*b.tensors[lead].type.shape[:3], int(rng.integers(1, 6)))
        return b.node(Concat(3), *((lead, b.input(*shape)) if rng.random() < 0.5 else (b.input(*shape), lead)), q=b.tensors[lead].type.q)
    if kind == "doubled":
        _, h, w, _ = b.tensors[lead].type.shape
        return b.node(ResizeNearest((2 * h, 2 * w)), lead)
    if kind == "slice":
        _, h, w, _ = b.tensors[lead].type.shape
        return b.node(Slice((0, 1, 1, 0), (1, h - 2, w - 1, c), (1, 1, 1, 1)), lead)
    return b.linear(TransposeConv2d(stride=(2, 2), clamp=b.clamp()), lead, (int(rng.integers(1, 7)), 2, 2, c), 0, 0.0)


def layers(seed: int, law: str, wanted: Sequence[str] = LAYERS) -> Graph:
    """Each layer behind one and before one that is computed in place."""
    b, found = Builder(seed, law), []
    for kind in wanted:
        channels = 4 * int(b.rng.integers(2, 4)) if kind.endswith("four") else 2 * int(b.rng.integers(1, 6))
        size = {"few": (2, 2), "windows of four": (7, 9)}.get(kind) or tuple(int(n) for n in b.rng.integers(5, 11, 2))
        found.append(b.leaky(layer(b, kind, b.leaky(b.input(1, *size, channels)))))
    return b.graph(*found)


@pytest.fixture
def trailing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All results that may trail do."""
    in_arena.bring_near(monkeypatch)


def held(graph: Graph, machine: target.Target, folder: Path, seed: int) -> MemoryPlan:
    """What is computed is what the simulator computes."""
    program = lower(graph, machine)
    memory = plan(program)
    write(emit(program, memory, "m"), folder)
    x = inputs(graph, seed, 2)
    found = in_arena.run(folder, x) if machine.name == "host" else run(folder, machine, x, steps=True)
    result = compare(simulate(graph, x, steps=True), found)
    assert result.difference is None, f"{result.difference}"
    for i in memory.trails:
        call = program.calls[i]
        assert call.kernel.trails and "restrict" not in _signature(folder, call.kernel.name)
    return memory


def _signature(folder: Path, kernel: str) -> str:
    """The C functions of a kernel, their first lines."""
    text = "".join(f.read_text() for f in folder.rglob("*.c") if f.name != "in_arena.c")
    return "".join(line for line in text.splitlines() if line.startswith(f"static void m_{kernel}("))


@pytest.mark.parametrize("seed", range(4))
def test_as_near_as_may_be(seed: int, tmp_path: Path, trailing: None) -> None:
    memory = held(layers(seed, ("single", "tflm")[seed % 2]), target.load("host"), tmp_path / "m", seed)
    assert len(memory.trails) >= len(LAYERS) - 4  # a depthwise layer goes channel by channel, a pool may be read behind its result


@pytest.mark.parametrize("name", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55", "riscv", "riscv-v", "riscv-vh", "riscv-xcv"])
@pytest.mark.parametrize("half", [False, True])
def test_as_near_as_may_be_on_chips(name: str, half: bool, tmp_path: Path, trailing: None) -> None:
    chip = target.load(name)
    need_emulator(name)
    wanted = [k for k in LAYERS if not half or k not in ("concat", "doubled", "slice", "transposed", "wide")]
    graph = layers(7, "single", wanted)
    memory = held(halved(graph) if half else graph, chip, tmp_path / "m", 7)
    assert len(memory.trails) >= len(wanted) // 2
    windows = next(n.outputs[0] for n in graph.nodes if isinstance(n.op, DepthwiseConv2d) and n.op.stride == (2, 2))
    assert half or windows in memory.inplace


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs(seed: int, tmp_path: Path) -> None:
    held(random_graph(seed, ("single", "tflm")[seed % 2]), target.load("host"), tmp_path / "m", seed)


@pytest.mark.parametrize("seed", (0, 1, 5, 9))
def test_beside_bands(seed: int, tmp_path: Path) -> None:
    """Within the least memory there is: calls alone trail, others run in bands."""
    graph = band_graph(seed, layers=12)
    program, memory = fitted(lower(graph, target.load("host")), None)
    assert memory.arena_bytes <= plan(lower(graph, target.load("host"))).arena_bytes
    write(emit(program, memory, "m"), tmp_path / "m")
    x = inputs(graph, seed, 2)
    result = compare(simulate(graph, x, steps=True), in_arena.run(tmp_path / "m", x))
    assert result.difference is None, f"{result.difference}"


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("seed", range(3))
def test_what_lies_before_is_of_no_more_need(kind: str, seed: int) -> None:
    """Other values before the first element that results need leave these as they are."""
    graph = layers(seed, "single", [kind])
    node = next(n for n in graph.nodes if n.op.traits.firsts)
    rng, given = np.random.default_rng(seed), [n for n in node.inputs if not graph.tensors[n].is_constant]
    x = {n: rng.integers(-128, 128, (1, *graph.type(n).shape)).astype(np.int8) for n in given}
    tensors = {n: graph.tensors[n] for n in (*node.inputs, *node.outputs)}
    one = check(Graph("one", (node,), tensors, tuple(x), node.outputs, graph.law), "test")
    whole = simulate(one, x).outputs[node.outputs[0]].reshape(-1)
    shapes = [graph.type(n).shape for n in node.inputs]
    for position, firsts in enumerate(node.op.traits.firsts(node.op, shapes, graph.type(node.outputs[0]).shape)):
        each = whole.size // len(firsts)
        for p in {0, 1, len(firsts) // 3, len(firsts) // 2, len(firsts) - 1}:
            other: Mapping[str, np.ndarray] = {n: a.copy() for n, a in x.items()}
            flat = other[node.inputs[position]].reshape(-1)
            flat[: firsts[p]] ^= 0x55
            found = simulate(one, other).outputs[node.outputs[0]].reshape(-1)
            assert np.array_equal(found[p * each :], whole[p * each :]), (position, p)


def test_need() -> None:
    assert need(10, []) == 10
    assert need(10, [(6, 4)]) == 10
    assert need(10, [(8, 4)]) == 12
    assert need(10, [(6, 4), (2, 4)]) == 10
    assert need(10, [(4, 6), (2, 6)]) == 14


def test_without_a_limit_scratch_comes_before_a_little_memory(data: Path) -> None:
    """Keyword spotting would be 4 % smaller and 5 % slower on a Cortex-M4, whose kernels take scratch; the wake word is a fifth smaller."""

    def plans(name: str, chip: str) -> tuple[Program, MemoryPlan, MemoryPlan]:
        program = lower(normalise(load(data / "mlperf_tiny" / f"{name}.tflite")), target.load(chip))
        return program, roomiest(program), plan(program)

    program, roomy, close = plans("kws_ref_model", "cortex-m4")
    assert close.trails and not roomy.trails
    assert 7 * roomy.arena_bytes < 8 * close.arena_bytes < 8 * roomy.arena_bytes
    assert fitted(program, roomy.arena_bytes)[1] == roomy
    assert fitted(program, roomy.arena_bytes - 1)[1] == close
    for name, chip in (("kws_ref_model", "riscv"), ("str_ww_ref_model", "cortex-m4")):
        program, roomy, close = plans(name, chip)
        assert close.trails and roomy == close
