"""Random ONNX models with names that nobody should choose, quantized, emitted as C, compiled, run, every step compared.

    python tests/random_models.py                              300 models from seed 0 on, host C by gcc -O1
    python tests/random_models.py --count 10000 --seed 5000 --target riscv
    python tests/random_models.py --compiler clang --optimize O3
    python tests/random_models.py --weights int4 --choose --target cortex-m4
    python tests/random_models.py --seed 1234 --count 1        one of them again

Models are of layers, activations, sums and products with broadcasts of every kind, pools, moves, reductions, normalizations, masks,
LSTMs and GRUs, with states or without; from seed 2 000 000 on also of attention, scales of the file, buffers and integer inputs. A model
takes a recipe with it: int8 by some options, 16 bits, half precision, or both mixed. Half
precision is fed what it ends with as well: +-65504, subnormals, zeros of both signs, infinities and not-a-numbers. `MERGED` models are
compiled as one graph, to compile less often. `--choose` takes one of the kernels that `edgeq tune` would measure for each layer, drawn
by the seed; `--weights` stores those of int8 models in fewer bits; `--record` adds the counts to docs/trials.md. What fails is kept in
build/random: the model, and what was seen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "frontends")]

from installed import uncounted  # noqa: E402
from onnx_models import Net  # noqa: E402
from side_by_side import no_search, side_by_side  # noqa: E402
from trials import record  # noqa: E402

from edgeq import api, simulate, target  # noqa: E402
from edgeq.compare import compare  # noqa: E402
from edgeq.emit import emit, write  # noqa: E402
from edgeq.errors import EdgeqError  # noqa: E402
from edgeq.frontends.onnx import from_model, parse  # noqa: E402
from edgeq.ir import Array, DType, Graph  # noqa: E402
from edgeq.lower import candidates, lower  # noqa: E402
from edgeq.passes import declare_states, normalise  # noqa: E402
from edgeq.plan import plan  # noqa: E402
from edgeq.quantize import Options  # noqa: E402
from edgeq.run import host, run  # noqa: E402
from edgeq.simulate import Run  # noqa: E402

MERGED, VECTORS, CALIBRATION = 10, 12, 16
KEPT = HERE.parent / "build" / "random"
NAMES = (
    "int x X main */ /* // \\ ??/ %s %n \" ' ; a;b ../../etc/passwd a/b 1 1x __FILE__ unix m_s0 eq_step int8_t x1 arena while class "
    "template nullptr \u0430 \u0445 caf\u00e9 \u202e \U0001f600 NULL stdint errno y.s8 y.f16 tensor_0 steps {{x}} {%x%} <b> &amp; $(ls) ` "
    "| con aux nul CON.txt"
).split()  # fmt: skip
METHODS = ("minmax", "moving", "percentile", "mse", "kl")
FOREIGN = 2_000_000  # seeds from here on are of `Foreign`
HALVES = (65504, -65504, 2.0**-24, -(2.0**-24), 2.0**-14, 1000 * 2.0**-24, -0.0, 0.0, np.inf, -np.inf, np.nan)


@dataclass(frozen=True, eq=False)
class Sample:
    """A quantized graph, and vectors for it that no check has seen."""

    seed: int
    graph: Graph
    inputs: dict[str, Array]


class Grower:
    """Adds random nodes to a network; the pool holds (name, shape) of what there is."""

    def __init__(self, seed: int) -> None:
        self.net, self.rng = Net(seed=seed), np.random.default_rng(seed)
        self.pool: list[tuple[str, tuple[int, ...]]] = []
        self.states: list[tuple[str, str]] = []
        self.used: set[str] = set()

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, things: Sequence[Any]) -> Any:
        return things[int(self.rng.integers(len(things)))]

    def const(self, *shape: int, size: float = 1.0) -> str:
        return self.net.const(self.rng.normal(0, size, shape), np.float32)

    def keep(self, name: str, *shape: int) -> None:
        self.pool.append((name, shape))

    def input(self) -> None:
        n, c, h, w = 1, *(int(v) for v in self.rng.integers(1, 7, 3))
        shape = self.pick([(n, c, h, w), (n, c, h, w), (n, h, c), (n, c)])
        self.keep(self.net.input(*shape, name=f"input{len(self.net.inputs)}"), *shape)

    def image(self, x: str, shape: tuple[int, ...]) -> None:
        """A convolution, or a pool."""
        _, c, h, w = shape
        kind = self.pick("Conv Conv Depthwise Pointwise MaxPool AveragePool Global BatchNormalization Resize Pad".split())
        k = self.pick([1, 2, 3]) if min(h, w) > 2 else 1
        stride, pad = self.pick([1, 1, 2]), int(self.rng.integers(0, max(1, k)))
        size = tuple((v + 2 * pad - k) // stride + 1 for v in (h, w))
        if kind in ("Conv", "Depthwise", "Pointwise"):
            out, groups = int(self.rng.integers(1, 9)), 1
            if kind == "Depthwise":
                groups, out = c, c * self.pick([1, 1, 2])
            elif kind == "Pointwise":
                k, stride, pad, size = 1, 1, 0, (h, w)
            weights = [self.const(out, c // groups, k, k, size=1 / np.sqrt(c // groups * k * k))]
            bias = [self.const(out)] if self.chance(0.7) else []
            attributes = {"group": groups, "strides": [stride] * 2, "pads": [pad] * 4}
            self.keep(self.net.op("Conv", x, *weights, *bias, **attributes), 1, out, *size)
        elif kind in ("MaxPool", "AveragePool"):
            pad = min(pad, k - 1, k // 2)
            size = tuple((v + 2 * pad - k) // stride + 1 for v in (h, w))
            self.keep(self.net.op(kind, x, kernel_shape=[k, k], strides=[stride] * 2, pads=[pad] * 4), 1, c, *size)
        elif kind == "Global":
            self.keep(self.net.op(self.pick(["GlobalAveragePool", "GlobalMaxPool"]), x), 1, c, 1, 1)
        elif kind == "BatchNormalization":
            self.keep(self.net.norm(x, c), *shape)
        elif kind == "Resize":
            scales = self.net.const([1, 1, 2, 2], np.float32)
            floor = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
            mode = self.pick([floor, {"mode": "linear"}])
            self.keep(self.net.op("Resize", x, "", scales, **mode), 1, c, 2 * h, 2 * w)
        else:
            self.keep(self.net.op("Pad", x, self.net.ints(0, 0, 1, 0, 0, 0, 0, 1), mode="constant"), 1, c, h + 1, w + 1)

    def dense(self, x: str, shape: tuple[int, ...]) -> None:
        out = int(self.rng.integers(1, 12))
        w = self.const(shape[-1], out, size=1 / np.sqrt(shape[-1]))
        y = self.net.op("Gemm", x, w, self.const(out)) if len(shape) == 2 and self.chance(0.6) else self.net.op("MatMul", x, w)
        self.keep(y, *shape[:-1], out)

    def activation(self, x: str, shape: tuple[int, ...]) -> None:
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("Relu", {}), ("LeakyRelu", {"alpha": 0.2}), ("Sigmoid", {}), ("Tanh", {}), ("Elu", {}), ("HardSigmoid", {}), ("HardSwish", {}),
            ("Softplus", {}), ("Abs", {}), ("Neg", {}), ("Softmax", {"axis": -1}), ("Identity", {}), ("Erf", {}), ("Exp", {}),
        ]  # fmt: skip
        kind, attributes = self.pick(kinds)
        if self.chance(0.15):
            y = self.net.op("Clip", x, *(self.net.const(v, np.float32) for v in self.pick([(0, 6), (-1, 1), (0, 1)])))
        else:
            y = self.net.op(kind, x, **attributes)
        self.keep(y, *shape)

    def binary(self, x: str, shape: tuple[int, ...]) -> None:
        """With another tensor of the shape, or with a constant that is broadcast in some way, on either side."""
        same = [n for n, s in self.pool if s == shape]
        ones = tuple(n if self.chance(0.5) else 1 for n in shape)
        cut = int(self.rng.integers(0, len(shape) + 1))
        other = self.pick(same) if self.chance(0.5) else self.const(*ones[cut:])
        stretched = [n for n, s in self.pool if len(s) == len(shape) and all(a in (b, 1) for a, b in zip(s, shape, strict=True))]
        if self.chance(0.3):
            other = self.pick(stretched)
        pair = [x, other] if self.chance(0.7) else [other, x]
        self.keep(self.net.op(self.pick(["Add", "Add", "Sub", "Mul", "Max", "Min"]), *pair), *shape)

    def mask(self, x: str, shape: tuple[int, ...]) -> None:
        """A tensor times what a sigmoid makes of its average, or of another one."""
        average = self.net.op("ReduceMean", x, axes=[len(shape) - 1], keepdims=1)
        self.keep(self.net.op("Mul", x, self.net.op(self.pick(["Sigmoid", "HardSigmoid"]), average)), *shape)

    def move(self, x: str, shape: tuple[int, ...]) -> None:
        kind = self.pick(["Transpose", "Reshape", "Flatten", "Slice", "Concat", "Split", "Squeeze", "Reduce"])
        axis = int(self.rng.integers(1, len(shape)))
        if kind == "Transpose":
            order = [0, *(1 + int(i) for i in self.rng.permutation(len(shape) - 1))]
            self.keep(self.net.op("Transpose", x, perm=order), *(shape[i] for i in order))
        elif kind == "Reshape":
            new = self.pick([(1, int(np.prod(shape))), (1, shape[-1], int(np.prod(shape[:-1]))), (1, int(np.prod(shape)), 1, 1)])
            self.keep(self.net.op("Reshape", x, self.net.ints(*new)), *new)
        elif kind == "Flatten":
            self.keep(self.net.op("Flatten", x), 1, int(np.prod(shape)))
        elif kind == "Slice" and shape[axis] > 1:
            first, step = int(self.rng.integers(0, shape[axis])), self.pick([1, 1, 2])
            ends = [self.net.ints(v) for v in (first, 10**6, axis, step)]
            self.keep(self.net.op("Slice", x, *ends), *shape[:axis], -(-(shape[axis] - first) // step), *shape[axis + 1 :])
        elif kind == "Concat":
            fits = [(n, s) for n, s in self.pool if len(s) == len(shape) and s[:axis] + s[axis + 1 :] == shape[:axis] + shape[axis + 1 :]]
            n, s = self.pick(fits)
            self.keep(self.net.op("Concat", x, n, axis=axis), *shape[:axis], shape[axis] + s[axis], *shape[axis + 1 :])
        elif kind == "Split" and shape[axis] % 2 == 0:
            for y in self.net.op("Split", x, self.net.ints(shape[axis] // 2, shape[axis] // 2), outputs=2, axis=axis):
                self.keep(y, *shape[:axis], shape[axis] // 2, *shape[axis + 1 :])
        elif kind == "Reduce" and len(shape) > 2:
            y = self.net.op(self.pick(["ReduceMean", "ReduceMax", "ReduceMin"]), x, axes=[axis], keepdims=1)
            self.keep(y, *shape[:axis], 1, *shape[axis + 1 :])
        else:
            y = self.net.op("Unsqueeze", x, self.net.ints(1))
            self.keep(self.net.op("Squeeze", y, self.net.ints(1)), *shape)

    def layer_norm(self, x: str, shape: tuple[int, ...]) -> None:
        """By its operator, or as frameworks write it out."""
        scale, bias = self.net.const(self.rng.uniform(0.5, 1.5, shape[-1]), np.float32), self.const(shape[-1])
        if self.chance(0.5):
            self.keep(self.net.op("LayerNormalization", x, scale, bias, axis=-1), *shape)
            return
        centred = self.net.op("Sub", x, self.net.op("ReduceMean", x, axes=[-1]))
        square = self.net.op("Pow", centred, self.net.const(2.0, np.float32))
        variance = self.net.op("Add", self.net.op("ReduceMean", square, axes=[-1]), self.net.const(1e-5, np.float32))
        y = self.net.op("Div", centred, self.net.op("Sqrt", variance))
        self.keep(self.net.op("Add", self.net.op("Mul", y, scale), bias), *shape)

    def recurrent(self, x: str, shape: tuple[int, ...]) -> None:
        """An LSTM or GRU over the middle axis, its states zero, or carried from inference to inference."""
        units, kind = int(self.rng.integers(1, 7)), self.pick(["LSTM", "GRU"])
        gates = 4 if kind == "LSTM" else 3
        x = self.net.op("Transpose", x, perm=[1, 0, 2])
        w = [self.const(1, gates * units, n, size=0.5) for n in (shape[-1], units)]
        carried = self.chance(0.5)
        more: list[str] = []
        if carried:
            more = ["", *(self.net.input(1, 1, units, name=f"state{len(self.net.inputs)}") for _ in range(gates - 3 + 1))]
        attributes = {"hidden_size": units, **({"linear_before_reset": 1} if kind == "GRU" else {})}
        if not carried and self.chance(0.3):
            attributes["direction"] = "reverse"
        results = self.net.op(kind, x, *w, self.const(1, 2 * gates * units, size=0.3), *more, outputs=gates - 1, **attributes)
        if carried:
            self.states += zip(more[1:], results[1:], strict=True)
        y = self.net.op("Squeeze", results[0], self.net.ints(1))
        self.keep(self.net.op("Transpose", y, perm=[1, 0, 2]), 1, shape[1], units)

    def ways(self, shape: tuple[int, ...]) -> list[tuple[float, Callable[[str, tuple[int, ...]], None]]]:
        """What may follow a tensor of a shape, with its weight."""
        ways: list[tuple[float, Callable[[str, tuple[int, ...]], None]]] = [
            (2.0, self.activation), (2.0, self.binary), (0.6, self.mask), (1.5, self.move), (0.5, self.layer_norm),
        ]  # fmt: skip
        if len(shape) == 4:
            ways.append((4.0, self.image))
        if np.prod(shape) > 600:
            ways = [(1.0, self.activation)] if len(shape) != 4 else [(1.0, self.image)]
        elif shape[-1] <= 200:
            ways.append((1.2, self.dense))
            if len(shape) == 3 and len(self.states) < 4:
                ways.append((2.0, self.recurrent))
        return ways

    def grow(self) -> None:
        """One more node, or what belongs to one."""
        x, shape = self.pool[int(self.rng.integers(max(0, len(self.pool) - 4), len(self.pool)))]
        ways = self.ways(shape)
        weights = np.array([w for w, _ in ways])
        ways[int(self.rng.choice(len(ways), p=weights / weights.sum()))][1](x, shape)

    def model(self) -> tuple[ModelProto, dict[str, str]]:
        """The model with one to three outputs, and its states; half of the models have hostile names."""
        ends = [n for n, _ in self.pool if n not in {i.name for i in self.net.inputs}]
        read = {i for node in self.net.nodes for i in node.input}
        outputs = [n for n in ends if n not in read][-3:] or ends[-1:]
        made = self.net.model(*dict.fromkeys([*outputs, *(b for _, b in self.states)]))
        return (hostile(made, self.rng), self.states) if self.chance(0.5) else (made, self.states)  # type: ignore[return-value]


class Foreign(Grower):
    """Also what exporters of quantized networks, of streams and of language models write."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.rows: dict[str, int] = {}  # of the table that an integer input is an index of

    def input(self) -> None:
        """An index of rows, or what every model has."""
        if self.net.inputs or self.chance(0.6):
            super().input()
            return
        rows, width, count = (int(n) for n in self.rng.integers((2, 1, 1), (20, 9, 4)))
        name = self.net.input(1, count, name="token", dtype=TensorProto.INT64)
        self.rows[name] = rows
        self.keep(self.net.op("Gather", self.const(rows, width), name), 1, count, width)

    def ways(self, shape: tuple[int, ...]) -> list[tuple[float, Callable[[str, tuple[int, ...]], None]]]:
        ways = super().ways(shape)
        if np.prod(shape) > 600:
            return ways
        ways += [(2.0, self.rounded), (0.7, self.average)]
        if len(shape) == 3 and shape[-1] <= 32:
            ways += [(4.0, self.attention), (2.0, self.buffered)]
        return ways

    def rounded(self, x: str, shape: tuple[int, ...]) -> None:
        """A pair of QuantizeLinear and DequantizeLinear, in 8 bits or in 16, whose lower end may stand for a ReLU."""
        dtype = self.pick([np.int8, np.uint8, np.int16, np.uint16])
        info, reach = np.iinfo(dtype), 2.0 ** int(self.rng.integers(-1, 4))
        zero = self.pick([info.min, (info.min + info.max + 1) // 2, int(self.rng.integers(info.min, info.max))])
        grid = [self.net.const(reach / (info.max - info.min), np.float32), self.net.const(zero, dtype)]
        self.keep(self.net.op("DequantizeLinear", self.net.op("QuantizeLinear", x, *grid), *grid), *shape)

    def average(self, x: str, shape: tuple[int, ...]) -> None:
        """A state that forgets: it moves towards the input in every inference."""
        if len(self.states) >= 4:
            return self.rounded(x, shape)
        state = self.net.input(*shape, name=f"state{len(self.net.inputs)}")
        keep = float(self.rng.uniform(0.3, 0.95))
        old = self.net.op("Mul", state, self.net.const(keep, np.float32))
        y = self.net.op("Add", old, self.net.op("Mul", x, self.net.const(1 - keep, np.float32)))
        self.states.append((state, y))
        return self.keep(self.net.op("Sub", x, y), *shape)

    def buffered(self, x: str, shape: tuple[int, ...]) -> None:
        """A convolution over time with the steps before it as a state."""
        if len(self.states) >= 4:
            return self.rounded(x, shape)
        _, steps, channels = shape
        taps, out = int(self.rng.integers(2, 5)), int(self.rng.integers(1, 9))
        state = self.net.input(1, channels, taps - 1, name=f"state{len(self.net.inputs)}")
        joined = self.net.op("Concat", state, self.net.op("Transpose", x, perm=[0, 2, 1]), axis=2)
        after = self.net.op("Slice", joined, self.net.ints(steps), self.net.ints(10**6), self.net.ints(2))
        w = self.const(out, channels, taps, size=1 / np.sqrt(channels * taps))
        self.states.append((state, after))
        return self.keep(self.net.op("Transpose", self.net.op("Conv", joined, w, self.const(out)), perm=[0, 2, 1]), 1, steps, out)

    def attention(self, x: str, shape: tuple[int, ...]) -> None:
        """Grouped queries, with a window or a cap, after an own norm; or masked scores, spelled out."""
        _, rows, width = shape
        heads, groups, depth = self.pick([(1, 1, 4), (2, 1, 4), (2, 2, 3), (4, 2, 16)])
        y = self.net.op("LayerNormalization", x, self.const(width), self.const(width), axis=-1) if self.chance(0.5) else x
        q, k, v = (self.net.op("MatMul", y, self.const(width, n * depth, size=width**-0.5)) for n in (heads, groups, groups))
        if self.chance(0.6):
            end = self.net.const([rows - 1], np.int32)
            options: dict[str, Any] = {"domain": "com.microsoft", "num_heads": heads, "kv_num_heads": groups}
            options |= self.pick([{}, {}, {"local_window_size": 2}, {"softcap": 3.0}])
            tables: list[str] = []
            if self.chance(0.5):
                turns = np.arange(rows)[:, None] / 9 ** np.arange(depth // 2)
                tables, options["do_rotary"] = [self.net.const(f(turns), np.float32) for f in (np.cos, np.sin)], int(depth % 2 == 0)
            y = self.net.op("GroupQueryAttention", q, k, v, "", "", end, end, *tables, outputs=3, **options)[0]
            self.keep(y, 1, rows, heads * depth)
            return
        k, v = (self.net.op("MatMul", y, self.const(width, heads * depth, size=width**-0.5)) for _ in range(2))
        q, k, v = (
            self.net.op("Transpose", self.net.op("Reshape", t, self.net.ints(1, rows, heads, depth)), perm=order)
            for t, order in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3]))
        )
        scores = self.net.op("Mul", self.net.op("MatMul", q, k), self.net.const(depth**-0.5, np.float32))
        hidden = np.triu(np.ones((rows, rows), bool), 1)
        if self.chance(0.5):
            lowest = self.pick([-np.inf, -1e9, -1e4, -3.4e38])
            scores = self.net.op("Add", scores, self.net.const(np.where(hidden, lowest, 0), np.float32))
        elif self.chance(0.5):
            scores = self.net.op("Where", self.net.const(hidden), self.net.const(-np.inf, np.float32), scores)
        y = self.net.op("MatMul", self.net.op("Softmax", scores, axis=-1), v)
        y = self.net.op("Reshape", self.net.op("Transpose", y, perm=[0, 2, 1, 3]), self.net.ints(1, rows, heads * depth))
        self.keep(y, 1, rows, heads * depth)


def hostile(model: ModelProto, rng: np.random.Generator) -> ModelProto:
    """With other names for tensors and nodes; states keep theirs, which are told apart by them."""
    tensors = dict.fromkeys(n for node in model.graph.node for n in (*node.input, *node.output) if n and not n.startswith("state"))
    names = [*NAMES, "n" * 3000]
    chosen = [names[int(i)] for i in rng.permutation(len(names))]
    renamed = {n: chosen[i % len(chosen)] + ("" if i < len(chosen) else f" {i}") for i, n in enumerate(tensors)}
    for node in model.graph.node:
        node.name = NAMES[int(rng.integers(len(NAMES)))]
        node.input[:] = [renamed.get(n, n) for n in node.input]
        node.output[:] = [renamed.get(n, n) for n in node.output]
    for thing in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        thing.name = renamed.get(thing.name, thing.name)
    model.graph.name = NAMES[int(rng.integers(len(NAMES)))]
    return model


def random_model(seed: int) -> tuple[ModelProto, list[tuple[str, str]]]:
    """A model of 3 to 13 random parts, and its states."""
    grower = (Foreign if seed >= FOREIGN else Grower)(seed)
    for _ in range(int(grower.rng.integers(1, 3))):
        grower.input()
    for _ in range(int(grower.rng.integers(3, 14))):
        grower.grow()
    model, states = grower.model()
    renamed = {o.name for o in model.graph.output}
    order = [n for node in grower.net.nodes for n in node.output]
    assert all(b in renamed or b in order for _, b in states)
    return model, states  # type: ignore[return-value]


def sample(seed: int, weights: str = "int8") -> Sample:
    """A quantized random model with vectors.

    Args:
        weights: what those of int8 models are stored in.

    Raises:
        EdgeqError: it has something in it that edgeq refuses.
    """
    model, states = random_model(seed)
    rng = np.random.default_rng([seed, 1])
    real = from_model(parse(model.SerializeToString(), "model.onnx"), "model", shapes=None, where="model.onnx")
    outputs = {b: o for (_, b), o in zip(states, real.outputs[len(real.outputs) - len(states) :], strict=True)}
    real = normalise(declare_states(real, {a: outputs[b] for a, b in states}))
    data = {n: (rng.normal(0, 1, (CALIBRATION, *real.type(n).shape)) * 2.0 ** rng.integers(-3, 4)).astype(np.float32) for n in real.given}
    data |= {n: np.abs(data[n]).astype(np.int32) for n in real.given if _is_index(real, n)}
    recipe = (("int8", "int8", "fp16", "mixed") if seed < FOREIGN else ("int8", "w8a16", "fp16", "mixed"))[int(rng.integers(4))]
    options = Options(
        method=METHODS[int(rng.integers(5))], rounding=("nearest", "second-order", "truncate")[int(rng.integers(3))],
        law="tflm" if recipe == "int8" and rng.random() < 0.3 else "single", per_tensor=bool(rng.random() < 0.2),
        equalize=bool(rng.random() < 0.7), clamp=bool(rng.random() < 0.1), weights=weights, keep_small=False,
    )  # fmt: skip
    kwargs: dict[str, Any] = {"recipe": recipe} | ({"options": options} if recipe == "int8" else {})
    if recipe == "fp16" and rng.random() < 0.3:
        kwargs["accumulate"] = "f16"
    known = api.is_quantized(real)  # the file has scales of all its tensors
    graph = real if known else api.quantize(real, None if recipe == "fp16" else data, **kwargs).graph
    return Sample(seed, graph, {n: vectors(graph.type(n).dtype, graph.type(n).shape, rng) for n in graph.given})


def _is_index(graph: Graph, name: str) -> bool:
    return any(name in node.inputs and node.inputs.index(name) in node.op.traits.indices for node in graph.nodes)


def vectors(dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Noise, and the ends of the type; halves that are no numbers come last, because states never forget them."""
    if dtype.numpy.kind == "f":
        x = (rng.normal(0, 1, (VECTORS, *shape)) * 2.0 ** rng.integers(-4, 8, (VECTORS, *[1] * len(shape)))).astype(dtype.numpy)
        x[1] = rng.integers(-1023, 1024, shape) * 2.0**-24
        x[2], x[3] = 65504, -65504
        x[-3] = np.where(rng.random(shape) < 0.3, rng.choice(HALVES[:8], shape), x[-3])
        x[-2:] = np.where(rng.random((2, *shape)) < 0.3, rng.choice(HALVES, (2, *shape)), x[-2:])
        return x
    info = np.iinfo(dtype.numpy)
    q = rng.integers(info.min, info.max, (VECTORS, *shape), endpoint=True).astype(dtype.numpy)
    q[0], q[1] = info.min, info.max
    return q


def merged(samples: Sequence[Sample]) -> Sample:
    """Several graphs side by side as one, to compile once; all of one law."""
    data = {f"{s.seed}: {n}": a for s in samples for n, a in s.inputs.items()}
    return Sample(samples[0].seed, side_by_side({str(s.seed): s.graph for s in samples}), data)


def canonical(found: Run) -> Run:
    """With one not-a-number: their bits are any compiler's."""

    def one(a: Array) -> Array:
        return np.where(np.isnan(a), a.dtype.type(np.nan), a) if a.dtype.kind == "f" else a

    return replace(found, outputs={n: one(a) for n, a in found.outputs.items()}, steps={n: one(a) for n, a in found.steps.items()})


@dataclass(frozen=True)
class Way:
    """How the emitted C is made and run.

    Attributes:
        choose: take any kernel of those that apply, not the preferred one.
        weights: see `sample`.
        runner: None is the target's first.
    """

    target: str = "host"
    compiler: str | None = "gcc"
    optimize: str = "-O1"
    choose: bool = False
    weights: str = "int8"
    runner: str | None = None

    @property
    def command(self) -> str:
        """That tries models this way, without how many."""
        words = ["python tests/random_models.py"]
        words += [f"--target {self.target}"] if self.target != "host" else [f"--compiler {self.compiler}"]
        words += [f"--optimize {self.optimize[1:]}"] if self.target in ("host", "native") else []
        words += [f"--runner {self.runner}"] if self.runner else []
        return " ".join(words + ["--choose"] * self.choose + [f"--weights {self.weights}"] * (self.weights != "int8"))


def chosen(s: Sample, machine: target.Target) -> dict[str, str]:
    """A kernel for each node, drawn among those that tuning would measure there."""
    rng, found = np.random.default_rng([s.seed, 2]), {}
    for node in s.graph.nodes:
        if not node.op.traits.view:
            names = [k.name for k in candidates(s.graph, node, machine.isa, machine.core)]
            found[node.name] = names[int(rng.integers(len(names)))]
    return found


def difference(s: Sample, way: Way) -> str:
    """What simulator and C do not agree on; empty where they agree."""
    machine = uncounted(way.target)
    program = lower(s.graph, machine, chosen(s, machine) if way.choose else None)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "fit_inputs", lambda graph, arrays: dict(arrays))  # which refuses what is no number
        with np.errstate(all="ignore"):
            expected = simulate.simulate(program.graph, s.inputs, steps=True)
        write(emit(program, plan(program), "m"), Path(folder) / "m")
        if machine.runners[0] == "host":
            actual = host.run(Path(folder) / "m", s.inputs, steps=True, chain=way.compiler, optimize=way.optimize)
        else:
            options: dict[str, Any] = {"chain": way.compiler, "optimize": way.optimize}
            actual = run(Path(folder) / "m", machine, s.inputs, runner=way.runner, steps=True, **options)
    found = compare(canonical(expected), canonical(actual)).difference
    return "" if found is None else str(found)


def guarded(action: Callable[[], str]) -> str:
    """What it says, or how it ended."""
    try:
        return action()
    except Exception:
        return traceback.format_exc()


@dataclass
class Tally:
    """What became of the models.

    Attributes:
        refused: seed -> the error that names the fix.
        failed: seed -> what was seen.
    """

    tried: int
    refused: dict[int, str]
    failed: dict[int, str]


def trials(seeds: Sequence[int], way: Way) -> Tally:
    """Run models, merged; where a merged one differs, each of them alone."""
    tally, laws = Tally(len(seeds), {}, {}), dict[str, list[Sample]]()
    for seed in seeds:
        try:
            s = sample(seed, way.weights)
            laws.setdefault(s.graph.law, []).append(s)
        except EdgeqError as e:
            tally.refused[seed] = str(e)
        except Exception:
            tally.failed[seed] = traceback.format_exc()
    for part in (p for group in laws.values() for p in _parts(group)):
        with no_search():
            differs = guarded(lambda part=part: difference(merged(part), way))
        if differs:
            alone = {s.seed: guarded(lambda s=s: difference(s, way)) for s in part}
            tally.failed |= {n: text for n, text in alone.items() if text} or {part[0].seed: f"only together: {[s.seed for s in part]}"}
    return tally


def _parts(group: list[Sample]) -> Iterator[list[Sample]]:
    for i in range(0, len(group), MERGED):
        yield group[i : i + MERGED]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--target", default="host")
    parser.add_argument("--compiler", default=None, help="gcc, clang or zig")
    parser.add_argument("--optimize", default="O1", help="O0 to O3 or Os")
    parser.add_argument("--choose", action="store_true", help="take any kernel that applies")
    parser.add_argument("--weights", default="int8", help="int4, int3 or int2")
    parser.add_argument("--runner", default=None, help="unicorn, qemu or iss")
    parser.add_argument("--record", action="store_true", help="add the counts to docs/trials.md")
    given = parser.parse_args()
    compiler = given.compiler or ("gcc" if given.target == "host" else None)
    way = Way(given.target, compiler, f"-{given.optimize}", given.choose, given.weights, given.runner)
    tried = failed = refused = 0
    reasons: dict[str, int] = {}
    for first in range(given.seed, given.seed + given.count, 5 * MERGED):
        seeds = range(first, min(first + 5 * MERGED, given.seed + given.count))
        tally = trials(seeds, way)
        tried, failed, refused = tried + tally.tried, failed + len(tally.failed), refused + len(tally.refused)
        for text in tally.refused.values():
            what = text.split(":")[-1][:100]
            reasons[what] = reasons.get(what, 0) + 1
        for seed, text in tally.failed.items():
            folder = KEPT / str(seed)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.onnx").write_bytes(random_model(seed)[0].SerializeToString())
            (folder / "seen.txt").write_text(f"{way}\n{text}\n", encoding="utf-8")
            print(f"seed {seed}: {text.strip().splitlines()[-1][:300]}", flush=True)
    print(f"{tried} models, {refused} refused, {failed} failed ({way})")
    for what, count in sorted(reasons.items(), key=lambda r: -r[1])[:20]:
        print(f"  {count} refused: {what}")
    if given.record:
        record(way.command, "random models, every step", tried, failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
