"""Half precision at its ends: 65504, infinity, not-a-number, subnormal numbers and -0 through every kind of operator, twin for twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from installed import need, need_emulator, quickest, uncounted

from edgeq import half, target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph, Node, Op, Tensor, TensorType, check
from edgeq.lower import lower
from edgeq.ops import activations as act
from edgeq.ops import mathematics as maths
from edgeq.ops.add import Add, Sub
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.extremum import Maximum, Minimum
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.gru import Gru
from edgeq.ops.layer_norm import LayerNorm
from edgeq.ops.lstm import Lstm
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.prelu import Prelu
from edgeq.ops.reduce_max import ReduceMax, ReduceMin
from edgeq.ops.reduce_sum import ReduceSum
from edgeq.ops.resize import ResizeBilinear
from edgeq.ops.softmax import Softmax
from edgeq.plan import plan
from edgeq.run import gpu, host, run
from edgeq.simulate import Run, fit_inputs, simulate

ENDS = np.array([np.inf, -np.inf, np.nan, 65504, -65504, 0.0, -0.0, 6e-8, -6e-8, 6.1e-5, 1.5, -3.0, 300.0], np.float16)
RNG = np.random.default_rng(12)
STEPS, DEPTH, UNITS = 3, 9, 6
VECTORS = 48


class Graphs:
    """Collects nodes that each read an input of their own."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.inputs: list[str] = []

    def constant(self, name: str, shape: tuple[int, ...], dtype: DType = DType.FLOAT16) -> str:
        data = np.where(RNG.random(shape) < 0.3, RNG.choice([65504, -65504, 0, 6e-8, 200], shape), RNG.normal(0, 1, shape))
        self.tensors[name] = Tensor(name, TensorType(shape, dtype), data.astype(dtype.numpy))
        return name

    def given(self, name: str, shape: tuple[int, ...]) -> str:
        self.tensors[name] = Tensor(name, TensorType(shape, DType.FLOAT16))
        self.inputs.append(name)
        return name

    def add(self, op: Op, *inputs: str | tuple[int, ...], name: str = "") -> None:
        name = name or f"{op.kind()}_{len(self.nodes)}"
        names = tuple(i if isinstance(i, str) else self.given(f"{name}_x{k}", i) for k, i in enumerate(inputs))
        types = op.infer_all(*(self.tensors[n].type for n in names))
        outputs = tuple(f"{name}_y{k}" for k in range(len(types)))
        self.tensors |= {n: Tensor(n, TensorType(t.shape, DType.FLOAT16)) for n, t in zip(outputs, types, strict=True)}
        self.nodes.append(Node(name, op, names, outputs))

    def graph(self) -> Graph:
        outputs = tuple(o for n in self.nodes for o in n.outputs)
        return check(Graph("ends", tuple(self.nodes), self.tensors, tuple(self.inputs), outputs), "test")


def layers(g: Graphs) -> None:
    """Sums of products in float32 and in halves."""
    image = (1, 4, 5, 3)
    for sums in ("f32", "f16"):
        w, b = g.constant(f"w{sums}", (11, DEPTH)), g.constant(f"b{sums}", (11,), DType.FLOAT32)
        g.tensors[b] = Tensor(b, g.tensors[b].type, np.clip(np.asarray(g.tensors[b].data), -100, 100))
        g.add(FullyConnected(accumulate=sums), (4, DEPTH), w, b)  # type: ignore[arg-type]
        w, b = g.constant(f"c{sums}", (5, 2, 3, 3)), g.constant(f"d{sums}", (5,), DType.FLOAT32)
        g.tensors[b] = Tensor(b, g.tensors[b].type, np.clip(np.asarray(g.tensors[b].data), -100, 100))
        g.add(Conv2d(pads=(1, 1, 1, 1), accumulate=sums), image, w, b)  # type: ignore[arg-type]
        g.add(Conv2d(clamp=(0.0, 6.0), accumulate=sums), image, w, b)  # type: ignore[arg-type]
        for op, gates, biases, states in ((Lstm(accumulate=sums), 4, 1, 2), (Gru(accumulate=sums), 3, 2, 1)):  # type: ignore[arg-type]
            tag = f"{op.kind()}_{sums}"
            own = [g.constant(f"{tag}_{n}", (gates * UNITS, k)) for n, k in (("w", DEPTH), ("r", UNITS))]
            own += [g.constant(f"{tag}_b{i}", (gates * UNITS,), DType.FLOAT32) for i in range(biases)]
            for b in own[2:]:
                g.tensors[b] = Tensor(b, g.tensors[b].type, np.clip(np.asarray(g.tensors[b].data), -100, 100))
            state = [g.given(f"{tag}_s{i}", (1, UNITS)) for i in range(states)]
            g.add(op, (STEPS, DEPTH), *own, *state, name=tag)
    g.add(DepthwiseConv2d(), image, g.constant("e", (1, 2, 2, 3)), g.constant("f", (3,), DType.FLOAT32))
    g.add(MatMul(), (1, 4, DEPTH), (1, DEPTH, 5))


def others(g: Graphs) -> None:
    """Everything else that computes."""
    row, image = (2, 4, DEPTH), (1, 4, 5, 3)
    g.add(LayerNorm(), row, g.constant("scale", (DEPTH,)), g.constant("shift", (DEPTH,), DType.FLOAT32))
    g.add(Softmax(), row)
    for op in (Mean((2,)), ReduceSum((1,)), ReduceMax((2,)), ReduceMin((1,))):
        g.add(op, row)
    for op in (Add(), Sub(), Mul(), Maximum(), Minimum(), Add((0.0, np.inf)), Mul((-1.0, 6.0))):
        g.add(op, row, row)
    for op in (Clamp((0.0, np.inf)), Clamp((0.0, 6.0)), Clamp((-1.0, 1.0)), Concat(1)):
        g.add(op, row)
    g.add(Prelu(), row, g.constant("slopes", (DEPTH,)))
    for op in (AveragePool2d((2, 2)), AveragePool2d((3, 3), (2, 2), (1, 1, 1, 1)), MaxPool2d((2, 3)), ResizeBilinear((7, 9))):
        g.add(op, image)
    functions = [
        act.Sigmoid(), act.Tanh(), act.HardSigmoid(), act.HardSwish(), act.Silu(), act.Gelu(), act.Gelu(True), act.LeakyRelu(), act.Elu(),
        act.Selu(), act.Celu(), act.Softplus(), act.Softsign(), act.Mish(), act.ThresholdedRelu(), maths.Abs(), maths.Neg(), maths.Exp(),
        maths.Log(), maths.Sqrt(), maths.Rsqrt(), maths.Reciprocal(), maths.Square(), maths.Erf(), maths.Sin(), maths.Cos(),
        maths.Floor(), maths.Ceil(), maths.Round(), maths.Sign(), maths.Pow(2.0), maths.Pow(3.0), maths.Pow(1.7),
    ]  # fmt: skip
    for op in functions:
        g.add(op, row)


def made() -> tuple[Graph, dict[str, Array]]:
    g = Graphs()
    layers(g)
    others(g)
    graph = g.graph()
    inputs = {}
    for name in graph.inputs:
        shape = (VECTORS, *graph.type(name).shape)
        chance = np.linspace(0, 0.5, VECTORS).reshape(-1, *(1,) * (len(shape) - 1)) ** 2  # from no ends to many
        values = RNG.normal(0, 2, shape).astype(np.float16)
        inputs[name] = np.where(RNG.random(shape) < chance, RNG.choice(ENDS, shape), values).astype(np.float16)
    return graph, inputs


@pytest.fixture(scope="module")
def ends() -> tuple[Graph, dict[str, Array], Run]:
    graph, inputs = made()
    return graph, inputs, simulate(graph, inputs, steps=True)


def test_every_end_is_met(ends: tuple[Graph, dict[str, Array], Run]) -> None:
    """Infinities, not-a-numbers and subnormal numbers come out of the layers as well."""
    values = np.concatenate([a.ravel() for a in ends[2].outputs.values()])
    assert np.isinf(values).any() and np.isnan(values).any() and ((np.abs(values) < 6.1e-5) & (values != 0)).any()
    assert all(np.array_equal(a[np.isnan(a)].view(np.uint16), np.full(np.isnan(a).sum(), 0x7E00)) for a in ends[2].outputs.values())


def test_a_sum_of_halves_that_overflows_is_infinite() -> None:
    x, w = np.full((1, 3), 65504, np.float16), np.full((3, 1), 2, np.float16)
    assert np.isposinf(half.fused(x, w)).all()


@pytest.mark.parametrize(("chain", "level"), [("gcc", "-O2"), ("clang", "-O2"), ("gcc", "-O0"), ("zig", "-O3")])
def test_host(chain: str, level: str, ends: tuple[Graph, dict[str, Array], Run], tmp_path: Path) -> None:
    need("host", chain)
    graph, inputs, truth = ends
    program = lower(graph, target.load("host"))
    write(emit(program, plan(program), "ends"), tmp_path / "m")
    result = compare(truth, host.run(tmp_path / "m", inputs, steps=True, chain=chain, optimize=level))
    assert result.bit_exact, result.difference


@pytest.mark.parametrize("chip", ["cortex-m0", "cortex-m4", "cortex-m55", "riscv", "riscv-f", "riscv-v", "riscv-vh"])
def test_chips(chip: str, ends: tuple[Graph, dict[str, Array], Run], tmp_path: Path) -> None:
    need_emulator(chip)
    need(chip, quickest(chip))
    graph, inputs, truth = ends
    program = lower(graph, target.load(chip))
    write(emit(program, plan(program), "ends"), tmp_path / "m")
    result = compare(truth, run(tmp_path / "m", uncounted(chip), inputs, steps=True, chain=quickest(chip)))
    assert result.bit_exact, result.difference


def test_gpu_kernels(ends: tuple[Graph, dict[str, Array], Run]) -> None:
    graph, inputs, _ = ends
    few = {n: a[-4:] for n, a in inputs.items()}
    result = compare(simulate(graph, few, steps=True), gpu.run(lower(graph, target.load("host")), few, steps=True, device="interpreter"))
    assert result.bit_exact, result.difference


def test_only_halves_hold_them() -> None:
    """A float32 array with an infinity is refused; an array of halves is what a chip may be given."""
    g = Graphs()
    g.add(Clamp(), (2, 3))
    graph = g.graph()
    name = graph.inputs[0]
    assert np.isinf(fit_inputs(graph, {name: np.full((1, 2, 3), np.inf, np.float16)})[name]).all()
    with pytest.raises(EdgeqError, match="NaN or infinity"):
        fit_inputs(graph, {name: np.full((1, 2, 3), np.inf, np.float32)})
