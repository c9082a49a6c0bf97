"""LSTM and GRU: every width around the tile, both directions, steps and sequences, constant and given states; floats against PyTorch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import Case, _Bench, activation, constant, suite, summed_in_halves, with_int8_weights

from edgeq import faults, numerics, target
from edgeq.faults import FaultMap
from edgeq.half import LAW
from edgeq.ir import Array, DType, QParams, Tensor, TensorType
from edgeq.ops.gru import Gru
from edgeq.ops.lstm import Lstm
from edgeq.ops.lstm_cell import LstmCell
from edgeq.run import gpu
from edgeq.run.patched import patched
from edgeq.simulate import simulate

UNIT = QParams((1 / 128,), 0)


def rows(seed: int, scale: float, shape: tuple[int, int], saturated: bool = False, least: bool = False, small: bool = False) -> Tensor:
    """Weights with a scale per row; no sum leaves Q3.12, unless they are `saturated`. `least`: some are -128; `small`: two of
    three columns of eight are such that four products fit int16."""
    rng = np.random.default_rng(seed)
    w = rng.choice([-127, 127], shape) if saturated else rng.integers(-127, 128, shape)
    w[::3] = np.where(least & (w[::3] > 60), -128, w[::3])
    w[:, (np.arange(shape[1]) % 24 < 16) & small] //= 2
    reach = scale * (128 if scale > 1e-3 else 32768)
    scales = rng.uniform(0.5, 1.0, shape[0]) * (70 if saturated else 7) / (reach * 127 * shape[1])
    return constant(w.astype(np.int8), scales, 0)


def bias(seed: int, scale: float, w: Tensor) -> Tensor:
    assert w.type.q is not None
    scales = scale * np.array(w.type.q.scale)
    real = np.random.default_rng(seed).uniform(-0.5, 0.5, len(scales))
    return constant(np.rint(real / scales).astype(np.int32), scales, 0)


def case(
    name: str, op: Lstm | Gru, units: int, inputs: int, steps: int = 1, *, zero: int = 0, state: QParams = UNIT, bits: int = 11,
    fixed: bool = False, saturated: bool = False, least: bool = False, small: bool = False, dtype: DType = DType.INT8, **options: Any,
) -> Case:  # fmt: skip
    """`fixed`: the state at the start is constant; `least`, `small`: see `rows`."""
    step = 0.02 / 256 if dtype is DType.INT16 else 0.02
    x, h = activation((steps, inputs), step, zero, dtype), activation((1, units), state.scale[0], state.zero_point, dtype)
    seed = 1000 * units + 10 * inputs + steps
    w = rows(seed, x.scale, (op.gates * units, inputs), saturated, least, small)
    r = rows(seed + 1, h.scale, (op.gates * units, units), saturated, least, small)
    biases = (bias(seed + 2, x.scale, w), bias(seed + 3, h.scale, r))[: op.biases]
    cells = (activation((1, units), 2.0**-bits, 0, DType.INT32 if bits == 16 else DType.INT16),) if isinstance(op, Lstm) else ()
    states: tuple[Any, ...] = (h, *cells)
    if fixed:
        states = tuple(constant(np.full(s.shape, s.zero_point, s.dtype.numpy), s.scale, None, s.zero_point) for s in states)
    limits = {"tolerance": np.inf if saturated else 2.0, "half_tolerance": np.inf if saturated else 40.0 * steps}
    return Case(name, op, (x, w, r, *biases, *states), state, **{**limits, **options})


LSTM = [
    *(case(f"h{h}_i{i}", Lstm(), h, i, zero=h - 4) for h in (1, 3, 4, 5, 8) for i in (1, 4, 7, 16)),
    *(case(f"bits{b}", Lstm(), 4, 6, bits=b, tolerance=t) for b, t in ((0, np.inf), (6, 3.0), (12, 2.0), (13, 2.0), (15, np.inf))),
    *(case(f"wide_h{h}", Lstm(), h, 6, bits=16) for h in (1, 4, 9)),
    case("sequence", Lstm(), 6, 5, 7, zero=3),
    case("sequence_wide", Lstm(), 6, 5, 7, bits=16),
    case("reverse", Lstm(reverse=True), 6, 5, 7, zero=-3),
    case("last", Lstm(last=True), 6, 5, 7, zero=3),
    case("last_reverse", Lstm(reverse=True, last=True), 9, 5, 4),
    *(case(f"clip_bits{b}", Lstm(cell_clip=c), 5, 6, 4, bits=b, tolerance=3.0) for b, c in ((11, 0.4), (13, 0.3), (15, 0.9), (16, 0.25))),
    case("fixed", Lstm(), 5, 9, 4, fixed=True),
    case("fixed_wide", Lstm(), 5, 9, 4, fixed=True, bits=16),
    case("narrow", Lstm(), 7, 8, 3, state=QParams((0.3 / 128,), 11), tolerance=np.inf),
    case("shifted", Lstm(), 7, 8, 3, state=QParams((0.01,), -9)),
    case("saturated", Lstm(), 8, 40, 2, saturated=True, zero=-128),
    case("least", Lstm(), 6, 9, 2, least=True, zero=5),
    case("larger", Lstm(), 33, 50, 2),
    *(case(f"small_i{i}", Lstm(), 26, i, small=True, zero=-7) for i in (24, 39, 50)),
]


def on_words(op: Lstm | Gru, name: str, *sizes: int, **options: Any) -> Case:
    """On int16; 500 inputs and more may not fit int32 sums."""
    limits = {"tolerance": np.inf if options.get("saturated") else 80.0, "state": QParams((2.0**-15,))}
    return case(f"words_{name}", op, *sizes, dtype=DType.INT16, bits=16, **{**limits, **options})


def words(*ops: Lstm | Gru) -> list[Case]:
    plain = [on_words(op, f"{i}_{'_'.join(map(str, n))}", *n) for i, op in enumerate(ops) for n in ((1, 1), (3, 7), (8, 16), (6, 5, 7))]
    fixed = [on_words(op, f"{i}_fixed", 5, 9, 4, fixed=True) for i, op in enumerate(ops)]
    fixed += [on_words(replace(op, last=True), f"{i}_last", 5, 9, 4) for i, op in enumerate(ops)]
    fixed += [on_words(op, f"{i}_beyond", 5, 9, 4, state=QParams((2.0**-13,))) for i, op in enumerate(ops) if isinstance(op, Gru)]
    return [*plain, *fixed, *(on_words(op, f"{i}_wide{n}", 2, n, 2, saturated=True) for i, op in enumerate(ops) for n in (40, 600))]


def gru(first: bool) -> list[Case]:
    """`first`: the state is reset before its product."""

    def some(name: str, *sizes: int, reverse: bool = False, last: bool = False, **options: Any) -> Case:
        return case(f"{name}_first{int(first)}", Gru(reverse, not first, last=last), *sizes, **options)

    return [
        *(some(f"h{h}_i{i}", h, i, zero=h - 4) for h in (1, 2, 3, 5, 8) for i in (1, 4, 7)),
        some("sequence", 6, 5, 7, zero=3),
        some("reverse", 7, 5, 7, reverse=True),
        some("last", 6, 5, 4, last=True, zero=3),
        some("last_reverse", 9, 5, 7, reverse=True, last=True),
        some("fixed", 5, 9, 4, fixed=True),
        some("narrow", 7, 8, 3, state=QParams((0.3 / 128,), 11), tolerance=np.inf),
        some("shifted", 7, 8, 3, state=QParams((0.007,), -9)),
        *(some(f"beyond_{r}", 7, 8, 3, state=QParams((r / 128,), z)) for r, z in ((1.3, 0), (3, -17), (200, 5))),
        some("saturated", 8, 40, 2, saturated=True, zero=-128),
        some("least", 6, 9, 2, least=True, zero=5),
        *(some(f"small_i{i}", 26, i, small=True, zero=-7) for i in (24, 39)),
    ]


GRU = [*gru(False), *gru(True)]
HALF_SUMS = ("clip_bits11", "h1_i7", "h3_i4", "h5_i16", "h8_i7", "sequence", "reverse", "last", "larger")
INT8_WEIGHTS = (
    "clip_bits13",
    "h1_i1",
    "h3_i7",
    "h4_i4",
    "h8_i16",
    "sequence",
    "reverse",
    "last_reverse",
    "fixed",
    "shifted",
    "least",
    "larger",
)


def on_halves(cases: list[Case]) -> list[Case]:
    """With sums in halves; with int8 weights of x, and of both."""

    def among(names: tuple[str, ...]) -> list[Case]:
        return [c for c in cases if c.name.removesuffix("_first0").removesuffix("_first1") in names]

    return [*map(summed_in_halves, among(HALF_SUMS)), *(with_int8_weights(c, count) for c in among(INT8_WEIGHTS) for count in (1, 2))]


SCALED = [  # as a .tflite file has it
    replace(
        case(f"scaled{i}", Lstm(cell_clip=c), 5, 6, 4, bits=b, state=QParams((s,)), dtype=DType.INT16, tolerance=np.inf),
        laws=("tflm",),
        gpu=False,
    )
    for i, (b, c, s) in enumerate(((11, 0.0, 0.9 / 32767), (15, 0.4, 2.0**-15), (12, 0.0, 1e-6)))
]
test_lstm = suite([*LSTM, *on_halves(LSTM), *words(Lstm(), Lstm(reverse=True), Lstm(cell_clip=0.3)), *SCALED])
test_gru = suite([*GRU, *on_halves(GRU), *words(Gru(), Gru(linear_before_reset=False))])


GPU = [
    *(("single", c) for c in (*LSTM, *words(Lstm())) if c.name in ("wide_h4", "words_0_3_7")),
    *(("single", c) for c in words(Gru(linear_before_reset=False)) if c.name == "words_0_3_7"),
    *((LAW, c) for c in (*on_halves(LSTM), *on_halves(GRU)) if c.name in ("h8_i16_w88", "h3_i7_first1_w88")),
]


@pytest.mark.parametrize(("law", "case"), GPU, ids=lambda value: value if isinstance(value, str) else value.name)
def test_fault_patterns_on_the_gpu(law: str, case: Case) -> None:
    """Weights and biases of a recurrent layer differ from pattern to pattern."""
    pytest.importorskip("triton")
    bench = _Bench([case], law)
    clean = faults.hardened(bench.graph, target.load("host"))
    programs = [clean, *(faults.apply(clean, FaultMap(seed=s, p=0.05)) for s in (1, 2))]
    inputs = {n: a[:3] for n, a in bench.data.items()}
    found = gpu.run_patterns(programs, inputs, device="interpreter")
    for i, program in enumerate(programs):
        for name, values in simulate(bench.graph, inputs, parameters=faults.parameters(program)).outputs.items():
            np.testing.assert_array_equal(found[name][i], values, err_msg=f"pattern {i}")
    assert len({v.tobytes() for v in found[f"{case.name}_y"]}) == len(programs)


@pytest.mark.parametrize("op", [Lstm(), Gru()], ids=lambda op: op.kind())
def test_faulty_weights_on_int16_are_summed_alike_in_c(op: Lstm | Gru) -> None:
    """Faulty weights and biases may make sums that int32 does not hold."""
    bench = _Bench([on_words(op, "faulty", 8, 16)], "single")
    program = faults.hardened(bench.graph, target.load("host"))
    inputs, maps = {n: a[:5] for n, a in bench.data.items()}, [FaultMap(seed=s, p=0.1) for s in range(6)]
    with patched(program, "gcc", workers=1) as device:
        found = list(device.run(inputs, (faults.flips(program, m) for m in maps)))
    for m, outputs in zip(maps, found, strict=True):
        expected = simulate(bench.graph, inputs, parameters=faults.parameters(faults.apply(program, m))).outputs
        for name, values in expected.items():
            np.testing.assert_array_equal(outputs[name], values, err_msg=str(m))


def gate_weights(seed: int, gates: int, units: int, inputs: int) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed)
    shapes = ((gates * units, inputs), (gates * units, units), (gates * units,), (gates * units,))
    return tuple(rng.normal(0, 0.5, s).astype(np.float32) for s in shapes)


@pytest.mark.parametrize("op", [Lstm(), Gru(), Lstm(reverse=True), Gru(reverse=True)], ids=lambda op: f"{op.kind()}{int(op.reverse)}")
def test_real_is_pytorchs(op: Lstm | Gru) -> None:
    torch = pytest.importorskip("torch")
    w, r, b, c = gate_weights(1, op.gates, 6, 5)
    rng = np.random.default_rng(2)
    x, h, cell = (rng.normal(0, 1, s).astype(np.float32) for s in ((3, 7, 5), (3, 1, 6), (3, 1, 6)))
    lstm = isinstance(op, Lstm)
    layer = (torch.nn.LSTM if lstm else torch.nn.GRU)(5, 6, batch_first=True)
    with torch.no_grad():
        for name, a in (("weight_ih_l0", w), ("weight_hh_l0", r), ("bias_ih_l0", b), ("bias_hh_l0", c)):
            getattr(layer, name).copy_(torch.from_numpy(a))
        states = [torch.from_numpy(s.transpose(1, 0, 2).copy()) for s in (h, cell)]
        step = slice(None, None, -1 if op.reverse else 1)
        y, last = layer(torch.from_numpy(x[:, step].copy()), tuple(states) if lstm else states[0])
    results = op.real_all(x, w, r, *((b + c,) if lstm else (b, c)), h, *((cell,) if lstm else ()))
    np.testing.assert_allclose(results[0], y.numpy()[:, step], atol=2e-6)
    if lstm:
        np.testing.assert_allclose(results[1], last[1].numpy().transpose(1, 0, 2), atol=2e-6)


def test_a_sequence_is_its_steps() -> None:
    """Integers: steps one by one with the states carried give the bytes of the sequence."""
    for found in (c for c in (*LSTM, *GRU) if c.name.startswith("sequence")):
        op, rng = found.op, np.random.default_rng(3)
        single = replace(found.types[0], shape=(1, found.types[0].shape[1]))
        tensors = [i if isinstance(i, Tensor) else Tensor("", i) for i in found.inputs]
        params = op.bind("single", "", tuple(tensors), found.output_type)
        one = op.bind("single", "", (Tensor("", single), *tensors[1:]), replace(found.output_type, shape=(1, found.output_type.shape[1])))
        x = rng.integers(-128, 128, (2, *found.types[0].shape)).astype(np.int8)
        states = [np.full((2, *t.shape), t.zero_point, t.dtype.numpy) for t in found.results.values()]
        states[0] = states[0][:, :1]
        whole = op.reference_all(params, x, *states)
        for t in range(x.shape[1]):
            states = list(op.reference_all(one, x[:, t : t + 1], *states))
            np.testing.assert_array_equal(states[0][:, 0], whole[0][:, t])
        if isinstance(op, Lstm):
            np.testing.assert_array_equal(states[1], whole[1])


def test_sigmoid_and_tanh_are_within_a_few_units() -> None:
    table, x = numerics.sigmoid_table(), np.arange(-32768, 32768)
    real = x / 4096
    assert np.abs(numerics.sigmoid_q15(table, 3 * x) - 32768 / (1 + np.exp(-real))).max() < 1.5
    assert np.abs(numerics.tanh_q15(table, 3 * x) - 32768 * np.tanh(real)).max() < 4


def cell(units: int, bits: int, seed: int, spread: float = 1.0) -> Case:
    """The gates of an LSTM on int16, their products given; `spread` of the bias in ones."""
    gates, dtype = activation((1, 4 * units), 2.0**-12, 0, DType.INT16), DType.INT32 if bits == 16 else DType.INT16
    bias = constant(np.random.default_rng(seed).normal(0, spread, 4 * units).astype(np.float32), None)
    inputs = (gates, bias, gates, activation((1, units), 2.0**-bits, 0, dtype))
    return Case(f"u{units}_bits{bits}_{spread:g}", LstmCell(), inputs, QParams((2.0**-15,)), tolerance=np.inf)  # full ranges of c


def half_cell(units: int) -> Case:
    gates = TensorType((1, 4 * units), DType.FLOAT16)
    bias = constant(np.random.default_rng(units).normal(0, 1, 4 * units).astype(np.float32), None)
    state = TensorType((1, units), DType.FLOAT16)
    return Case(f"half{units}", LstmCell(), (gates, bias, gates, state), state, laws=(LAW,), half_tolerance=40.0)


CELLS = [cell(u, b, u + b) for u, b in ((1, 16), (4, 16), (9, 16), (5, 11), (7, 13), (3, 15), (4, 0))]
test_lstm_cell = suite([*CELLS, cell(6, 16, 3, 6.0), *map(half_cell, (1, 4, 9))])


def test_gates_on_int16_follow_the_float_meaning() -> None:
    """Where nothing saturates: the harness gives cell states that no layer has."""
    rng = np.random.default_rng(5)
    x, h = (rng.integers(-12000, 12000, (50, 1, 32)).astype(np.int16) for _ in range(2))
    c, bias = rng.integers(-(2**17), 2**17, (50, 1, 8)).astype(np.int32), rng.normal(0, 0.5, 32).astype(np.float32)
    gates, cells = activation((1, 32), 2.0**-12, 0, DType.INT16), activation((1, 8), 2.0**-16, 0, DType.INT32)
    state, op = activation((1, 8), 2.0**-15, 0, DType.INT16), LstmCell()
    params = op.bound("single", "cell", (Tensor("", gates), constant(bias, None), Tensor("", gates), Tensor("", cells)), state)
    y, after = op.compute(params, x, h, c)
    real_y, real_c = op.real_all(x * np.float32(2.0**-12), bias, h * np.float32(2.0**-12), c * np.float32(2.0**-16))
    assert np.abs(y - real_y * 2**15).max() < 40
    assert np.abs(after - real_c.astype(np.float64) * 2**16).max() < 40
