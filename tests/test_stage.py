"""Weights in few bits: what is stored is what is read, whole or by tiles, with every ISA's kernels, byte for byte."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import in_arena
import numpy as np
import pytest
from installed import need_emulator, uncounted
from random_graphs import Builder
from zoo import zoo

from edgeq import kernels
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.formats import PLAIN, Format, parse, registry
from edgeq.formats.code import Code
from edgeq.formats.format import Packed, Planes
from edgeq.formats.votes import Votes
from edgeq.ir import Array, DType, Graph, Node, Tensor, TensorType
from edgeq.lower import _suits, lower
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.ops.weights import with_formats
from edgeq.plan import plan, stage
from edgeq.program import Program
from edgeq.quantize import Options, quantize, read_precision, write_precision
from edgeq.quantize.weight_scales import nearest
from edgeq.run import host, run
from edgeq.simulate import fit_inputs, simulate
from edgeq.target import load

PACKED = [parse(n) for n, c in registry().items() if issubclass(c, Packed)]
INT4 = parse("int4")
ISAS = sorted({k.isa for k in kernels.scan()} - {"c", "xfvec"})  # which has kernels on halves alone


def narrowed(graph: Graph, format: Format) -> Graph:
    """The graph with its weights cut to what the format holds, and stored in it."""
    bits = 8 - (format.width if isinstance(format, Packed) else format.bits)  # type: ignore[attr-defined]
    names = {n.inputs[p.weights] for n in graph.nodes for p in n.op.traits.products}
    cut = {n: replace(t, data=held(t.data, format, bits)) for n in names if (t := graph.tensors[n]).data is not None}
    votes = isinstance(format, Code) and format.votes
    return with_formats(replace(graph, tensors={**graph.tensors, **cut}), format, Votes() if votes else PLAIN)


def held(data: Array, format: Format, bits: int) -> Array:
    """Weights shifted by so many bits, or those next to them that the format holds."""
    ratios = np.clip(data.astype(float) / 2 if format.marks else data, format.levels[0], format.levels[-1])
    grid = format.grid(ratios, np.ones(1))
    return (
        np.clip(data >> bits, *format.levels[:: len(format.levels) - 1]) if grid is None else nearest(ratios, (0, 0), grid).astype(np.int8)
    )


def layers(law: str = "single", seed: int = 1) -> Graph:
    """A network whose weights take more memory than its activations: convolutions of all kinds, a sum, dense layers."""
    b = Builder(seed, law)
    x = b.conv(b.input(1, 9, 7, 3), 16, 3, stride=2, pads=(1, 1, 1, 1))
    y = b.conv(b.depthwise(x), 16, 1)
    y = b.add(b.conv(y, 16, 3, pads=(1, 1, 1, 1)), y)
    y = b.conv(b.conv(y, 64, 3, pads=(1, 1, 1, 1)), 64, 1)
    y = b.conv(b.conv(y, 32, 1), 24, 3, stride=2, pads=(0, 0, 1, 1))
    return b.graph(b.dense(b.dense(b.pool(y), 48), 10))


def inputs(graph: Graph, count: int = 3) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return fit_inputs(graph, {n: rng.integers(-128, 128, (count, *graph.type(n).shape)).astype(np.int8) for n in graph.given})


def check(program: Program, folder: Path, machine: str = "", ways: Collection[str] = ("beside", "inside")) -> None:
    """The C of a program against the simulator, every step: on an emulator, or here with inputs beside the arena or inside it."""
    data = inputs(program.graph)
    expected = simulate(program.graph, data, steps=True)
    write(emit(program, plan(program), "staged"), folder)
    if machine:
        found = [run(folder, uncounted(machine), data, steps=True)]
    else:
        runners = {"beside": lambda: host.run(folder, data, steps=True), "inside": lambda: in_arena.run(folder, data, "-O1")}
        found = [runners[way]() for way in ways]
    for one in found:
        result = compare(expected, one)
        assert result.bit_exact, result.difference


@pytest.mark.parametrize("format", PACKED, ids=str)
def test_weights_are_stored_and_read_in_numpy(format: Packed) -> None:
    every = format.entries(np.linspace(-128, 127, 2**format.width).astype(np.int8))
    for count in (1, 7, 8, 9, 33):
        values = np.resize(every, count)
        stored = format.encode(values)
        assert np.array_equal(format.decode(stored, count), values) and stored.nbytes * 8 == format.stored_bits(1, count)
    with pytest.raises(EdgeqError, match=f"do not fit {format.width} bits"):
        format.encode(np.array([*every, 5, 2 ** (format.width - 1), 127]))
    assert format.levels[0] == -format.levels[-1] and parse(str(format)) == format


@pytest.mark.parametrize("format", PACKED, ids=str)
@pytest.mark.parametrize("rates", [(0.02, 0.02), (0.05, 0.005)])
def test_what_bit_errors_cost_is_foretold(format: Packed, rates: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    values = rng.choice(format.entries(np.linspace(-100, 90, 2**format.width).astype(np.int8)), 4096)
    stored, measured = format.encode(values).view(np.uint8), []
    for _ in range(300):
        bits = np.unpackbits(stored, bitorder="little")
        faulty = np.packbits(bits ^ (rng.random(len(bits)) < np.where(bits, rates[1], rates[0])), bitorder="little")
        measured.append(((format.decode(faulty.view(np.uint32), 4096).astype(float) - values) ** 2).mean())
    assert format.errors(values, *rates).mean() == pytest.approx(np.mean(measured), rel=0.05)
    assert not format.errors(values, 0.0, 0.0).any()


# How weights are read does not depend on the law: the common format under both, the others in turn.
EVEN = [f for f in PACKED if f.even]
FORMATS = [(f, law) for i, f in enumerate(EVEN) for law in (("single", "tflm") if f == INT4 else (("single", "tflm")[i % 2],))]


CASES = [(f, law, isa) for isa in ("c", *ISAS) for f, law in FORMATS]
CASES += [
    (f, "single", isa) for f in PACKED if not f.even for isa in ("armv7em", "mve", "rvv", "xcv")
]  # their words are placed as others' are


@pytest.mark.parametrize(("format", "law", "isa"), CASES, ids=str)
def test_tiles_compute_what_the_simulator_does(format: Format, law: str, isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this computer, under no room at all, so that every layer that can be cut is."""
    graph = narrowed(layers(law), format)
    monkeypatch.setattr(stage, "ROOM", 0)
    machine = replace(load("host"), isa=tuple(dict.fromkeys((isa, "c"))))
    program = lower(graph, machine)
    own = [c for c in program.calls if format.type and c.kernel.signature.w == format.type]  # kernels that read weights as they are stored
    assert all(not c.staged for c in own) and len(own) + sum(c.tiled is not None for c in program.calls) >= 4
    assert isa in ("c", "zvfh") or any(c.kernel.isa == isa and (c.staged or c in own) for c in program.calls)
    check(program, tmp_path / "m", ways=["inside" if law == "single" else "beside"])


@dataclass(frozen=True)
class Seven(Planes):
    """Of which edgeq has none: lengths of stretches are among its values."""

    name: ClassVar[str] = "int7"
    width: ClassVar[int] = 7
    planes: ClassVar[tuple[int, ...]] = (4, 2, 1)


@pytest.mark.parametrize("isa", ["rv32im", "armv6m", "armv7m"])
def test_kernels_whose_tables_are_as_long_as_weights_are_small_compute_no_tiles(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes sum up as long as they fit: tables of some rows are longer than those of others, and a tile has room for one length."""
    monkeypatch.setattr(stage, "ROOM", 0)
    program = lower(narrowed(layers("tflm"), Seven()), replace(load("host"), isa=(isa, "c")))
    tiled = [c for c in program.calls if c.tiled is not None]
    assert tiled and all(c.tables["weights"].shape[0] * c.tiled.rows == c.params.scalars["out_c"] for c in tiled)  # type: ignore[union-attr]


OTHERS = [*EVEN, Code(7, check="hamming", votes=True), Code(8, asymmetric=False, crc=True)]
ROOMS = [(f, room) for f in OTHERS for room in (0, 9 / 8, 100)] + [(f, 0) for f in PACKED if not f.even]


@pytest.mark.parametrize(("format", "room"), ROOMS, ids=str)
def test_every_operator_in_a_format(format: Format, room: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "ROOM", room)
    ways = ("beside", "inside") if room == 0 else ("inside",)
    check(lower(narrowed(zoo(3, "single"), format), load("host")), tmp_path / "m", ways=ways)


@pytest.mark.parametrize("machine", ["riscv", "cortex-m4", "cortex-m55", "riscv-v"])
@pytest.mark.parametrize("format", [INT4], ids=str)
def test_emulated_boards(format: Format, machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_emulator(machine)
    monkeypatch.setattr(stage, "ROOM", 0)
    check(lower(narrowed(layers(), format), load(machine)), tmp_path / "m", machine)


def test_weights_take_half_the_flash_and_the_arena_no_layers_weights() -> None:
    for machine in ("host", "cortex-m4", "cortex-m55", "riscv-v", "riscv"):
        graph = narrowed(layers(), INT4)
        plain = lower(with_formats(graph, PLAIN), load(machine))
        packed = lower(graph, load(machine))
        sizes = [sum(a.nbytes for c in p.calls for n, a in c.stored.items() if "weights" in n) for p in (plain, packed)]
        assert sizes[1] <= 0.55 * sizes[0], machine  # a Helium table holds biases and multipliers, too
        arenas = [plan(p).arena_bytes for p in (plain, packed)]
        largest = max(t.data.size for t in graph.tensors.values() if t.data is not None)
        assert arenas[1] <= arenas[0] + largest / 6, (machine, arenas, largest)


def test_the_manifest_says_how_many_bits_a_weight_takes() -> None:
    graph = narrowed(layers(), INT4)
    first = next(n.inputs[1] for n in graph.nodes if n.op.traits.products)
    graph = replace(graph, tensors={**graph.tensors, first: replace(graph.tensors[first], format=PLAIN)})
    program = lower(graph, load("cortex-m4"))
    found = [(s.op, s.bits) for s in emit(program, plan(program), "m").manifest.steps]
    assert found[0] == ("conv2d", 8) and {b for op, b in found[1:] if "conv2d" in op or op == "fully_connected"} == {4}
    assert all(b is None for op, b in found if op == "average_pool2d")
    coded = lower(narrowed(layers(), Code(6, check="hamming")), load("host"))
    large = max(range(len(coded.calls)), key=lambda i: coded.calls[i].stored.get("weights", np.zeros(0)).size)
    call, said = coded.calls[large], emit(coded, plan(coded), "m").manifest.steps[large].bits
    assert said is not None and said == pytest.approx(8 * call.stored["weights"].nbytes / call.params.tables["weights"].size, rel=0.05)


def test_codes_use_the_kernels_of_an_isa() -> None:
    """No format forces an ISA; those that stand faults get kernels that rely on no bounds of the weights."""
    for machine, isa in (("cortex-m4", "armv7em"), ("cortex-m55", "mve"), ("riscv-v", "rvv")):
        program = lower(narrowed(layers(), Code(6, check="hamming")), load(machine))
        coded = [c for c in program.calls if c.formats]
        assert any(c.kernel.isa == isa for c in coded), (machine, [c.kernel.name for c in coded])
        assert all(c.params.scalars.get("pairs", 0) == 0 for c in coded)


def test_a_kernel_takes_over_calls_of_a_rare_one_only_where_it_can_store_their_weights() -> None:
    graph = narrowed(layers(), parse("6+hamming"))
    call = lower(graph, load("riscv")).calls[0]
    padded = replace(call.kernel, pack={**call.kernel.pack, "weights": f"filled({1 + len(call.params.tables['weights'])})"})
    assert _suits(graph, call, call.kernel) and not _suits(graph, call, padded)
    plain = with_formats(graph, PLAIN)
    assert _suits(plain, lower(plain, load("riscv")).calls[0], padded)


def test_layers_of_one_graph_may_differ(tmp_path: Path) -> None:
    graph = narrowed(layers(), INT4)
    names = [n.inputs[1] for n in graph.nodes if n.op.traits.products]
    mixed = {n: replace(graph.tensors[n], format=PLAIN if i % 2 else INT4) for i, n in enumerate(names)}
    graph = replace(graph, tensors={**graph.tensors, **mixed})
    assert graph.formats == (INT4,) and all(t.type.dtype is DType.INT8 for t in mixed.values())
    check(lower(graph, load("host")), tmp_path / "m")


def test_a_float_model_is_quantized_for_its_formats(tmp_path: Path) -> None:
    """One format for all layers by option, another for one layer by precision.toml, which says what was taken."""
    rng = np.random.default_rng(0)
    graph = floating(rng)
    data = {"x": rng.normal(0, 1, (32, 1, 8, 8, 3)).astype(np.float32)}
    plain, small = (quantize(graph, data, Options(weights=w, keep_small=False)) for w in ("int8", "int4"))
    assert plain.formats == () and small.formats == (INT4,)
    text = write_precision(graph, data, Options(weights="int4", keep_small=False))
    assert text.count('weights = "int4"') == 2
    edited = text.replace('weights = "int4"', 'weights = "int8"', 1)
    mixed = quantize(graph, data, precision=read_precision(edited, graph))
    assert [mixed.tensors[n].format for n in ("w0", "w1")] == [PLAIN, INT4]
    largest = [[int(np.abs(np.asarray(q.tensors[n].data)).max()) for n in ("w0", "w1")] for q in (plain, small, mixed)]
    assert largest[0][0] > 7 and largest[1] == [7, 7] and largest[2][0] > 7 and largest[2][1] == 7
    with pytest.raises(EdgeqError, match=r"weights is 'int7'.*choose one of int8, codebook, codebook8, fp4, int2"):
        read_precision(text.replace('"int4"', '"int7"', 1), graph)
    with pytest.raises(EdgeqError, match="choose one of them"):
        Options(weights="int4", code=Code(6))
    check(lower(mixed, load("host")), tmp_path / "m")


def floating(rng: np.random.Generator) -> Graph:
    """Convolution and dense layer on floats."""

    def constant(name: str, *shape: int) -> Tensor:
        return Tensor(name, TensorType(shape), rng.normal(0, 0.3, shape).astype(np.float32))

    tensors = [
        Tensor("x", TensorType((1, 8, 8, 3))), constant("w0", 16, 3, 3, 3), constant("b0", 16), Tensor("y", TensorType((1, 8, 8, 16))),
        Tensor("flat", TensorType((1, 1024))), constant("w1", 10, 1024), constant("b1", 10), Tensor("z", TensorType((1, 10))),
    ]  # fmt: skip
    nodes = (
        Node("conv", Conv2d(pads=(1, 1, 1, 1), clamp=(0.0, float("inf"))), ("x", "w0", "b0"), ("y",)),
        Node("flatten", Reshape((1, 1024)), ("y",), ("flat",)),
        Node("dense", FullyConnected(), ("flat", "w1", "b1"), ("z",)),
    )
    return Graph("float", nodes, {t.name: t for t in tensors}, ("x",), ("z",))


@pytest.mark.parametrize("isa", ["c", "armv7em", "mve", "rvv"])
def test_recurrent_layers(isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their tables are decoded whole."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "ops"))
    import harness
    import test_recurrent

    for name, test in vars(test_recurrent).items():
        cases = [c for c in getattr(test, "cases", ()) if c.output_type.dtype is DType.INT8][:3]
        if cases:
            bench = harness._Bench(cases, "single")
            graph, data = narrowed(bench.graph, INT4), {n: a[:4] for n, a in bench.data.items()}
            program = lower(graph, replace(load("host"), isa=tuple(dict.fromkeys((isa, "c")))))
            assert all(c.kernel.isa == isa and len(c.staged) == 2 for c in program.calls)
            write(emit(program, plan(program), "staged"), tmp_path / name)
            assert compare(simulate(graph, data, steps=True), host.run(tmp_path / name, data, steps=True)).bit_exact
