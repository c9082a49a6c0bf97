"""What nodes are computed in: the storages that an operator has, what recipe ``mixed`` chooses, and what a file may say of some."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from float_graphs import Floats

from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Op, TensorType
from edgeq.ops.activations import LeakyRelu
from edgeq.ops.add import Add
from edgeq.ops.extremum import Maximum
from edgeq.ops.fake_quantize import FakeQuantize
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.gru import Gru
from edgeq.ops.l2_normalization import L2Normalization
from edgeq.ops.lstm import Lstm
from edgeq.ops.lstm_cell import LstmCell
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.reshape import Reshape
from edgeq.quantize import storage
from edgeq.quantize.storage import HALF, INPUTS, INT8, INT16, SUMS, WEIGHTS

UNITS = 3


class Net(Floats):
    """Its layers and scales of a file have four channels."""

    def dense(self, x: str, name: str, clamp: tuple[float, float] = (-np.inf, np.inf), units: int = 4) -> str:
        return self.layer(FullyConnected(clamp=clamp), x, np.ones((units, self.tensors[x].type.shape[-1])), name=name)

    def given(self, x: str, name: str) -> str:
        return self.moved(self.op(FakeQuantize(scale=0.5), x, name=name))

    def moved(self, x: str) -> str:
        """A unit of two nodes from one: there and back again."""
        there = self.op(Reshape((4, 1)), x, name=f"{x} turned")
        return self.op(Reshape((1, 4)), there, name=f"{x} as it was")

    def leaky(self, x: str, name: str) -> str:
        return self.op(LeakyRelu(), x, name=name)


@dataclass(frozen=True)
class Nothing(Op):
    """An operator that nobody has given a meaning in numbers that are stored."""

    def infer(self, *types: TensorType) -> TensorType:
        return types[0]


def recurrent(op: Op, b: Floats, x: str, *more: str, name: str) -> str:
    depth = b.tensors[x].type.shape[-1]
    rows = op.gates * UNITS  # type: ignore[attr-defined]
    biases = [b.const(np.zeros(rows)) for _ in range(op.biases)]  # type: ignore[attr-defined]
    return b.op(op, x, b.const(np.ones((rows, depth))), b.const(np.ones((rows, UNITS))), *biases, *more, name=name)


@pytest.fixture(scope="module")
def kinds() -> Graph:
    """A layer, a move, an activation, both recurrent layers, a norm that integers alone have, and gates with layers around them."""
    b = Net()
    x = b.dense(b.input(1, 4), "layer")
    b.op(L2Normalization(), b.leaky(b.op(Reshape((1, 4)), x, name="moved"), "leaky"), name="unit")
    lstm = recurrent(Lstm(), b, x, b.input(1, UNITS), b.input(1, UNITS), name="lstm")
    gru = recurrent(Gru(), b, x, b.input(1, UNITS), name="gru")
    gates = [b.dense(x, n, units=4 * UNITS) for n in ("own", "back")]
    cell = b.op(LstmCell(), gates[0], b.const(np.zeros(4 * UNITS)), gates[1], b.input(1, UNITS), name="cell")
    return b.graph(lstm, gru, cell, "unit")


def test_operators_have_the_storages_that_they_mean_something_in(kinds: Graph) -> None:
    found = {n.name: set(storage.possible(n)) for n in kinds.nodes}
    assert found["layer"] == {INT8, HALF, WEIGHTS, INT16}
    assert found["leaky"] == {INT8, HALF}
    assert found["lstm"] == {INT8, HALF, WEIGHTS, INPUTS, INT16}
    assert found["cell"] == {HALF, INT16}, "gates in int16 alone have the scales of integers"


def test_what_moves_a_result_is_of_its_unit(kinds: Graph) -> None:
    by_name = {u.name: u for u in storage.units(kinds)}
    assert [n.name for n in by_name["layer"].nodes] == ["layer", "moved"]
    assert [n.name for n in by_name["layer"].computing] == ["layer"]
    assert by_name["layer"].choices == (INT8, HALF, WEIGHTS, INT16), "in the order of STORAGES"
    b = Net()
    graph = b.graph(b.leaky(b.op(Reshape((4, 1)), b.input(1, 4), name="moved"), "leaky"))
    moved = next(u for u in storage.units(graph) if u.name == "moved")
    assert moved.computing == () and moved.choices == (HALF,), "inputs that are moved alone"


def test_all_of_a_unit_have_its_storages() -> None:
    b = Net()
    x = b.input(1, 4)
    pooled = b.op(MaxPool2d((1, 2), (1, 1)), b.op(Reshape((1, 1, 2, 2)), b.dense(x, "layer")), name="pooled")
    lstms = [recurrent(Lstm(), b, x, b.input(1, UNITS), b.input(1, UNITS), name=n) for n in ("lstm", "other")]
    gates = [b.dense(x, n, units=4 * UNITS) for n in ("own", "back")]
    cell = b.op(LstmCell(), gates[0], b.const(np.zeros(4 * UNITS)), gates[1], b.input(1, UNITS), name="cell")
    two = b.op(Maximum(), "lstm.1", "other.1", name="two")
    graph = b.graph(pooled, *lstms, b.op(Maximum(), two, "cell.1", name="three"), cell)
    by_name = {u.name: u for u in storage.units(graph)}
    assert by_name["layer"].choices == (INT8, HALF, WEIGHTS), "there are no windows of int16"
    assert {n.name for n in by_name["lstm"].nodes} == {"lstm", "other", "cell", "two", "three"}, "cell states that are merged"
    assert by_name["lstm"].choices == (HALF,)
    alone = Graph(graph.name, graph.nodes[:-1], graph.tensors, graph.inputs, ("two",))
    assert next(u for u in storage.units(alone) if u.name == "lstm").choices == (INT8, HALF)


def test_an_operator_without_any_storage_is_named() -> None:
    b = Net()
    with pytest.raises(EdgeqError, match="nothing is computed neither in int8 nor in half precision"):
        storage.units(b.graph(b.op(Nothing(), b.input(1, 4))))


def test_a_storage_for_all_where_they_have_it(kinds: Graph) -> None:
    words = storage.uniform(kinds, INT16)
    assert (words["layer"], words["moved"], words["leaky"], words["cell"]) == (INT16, INT16, HALF, INT16)
    assert storage.uniform(kinds, HALF)["unit"] == INT8, "the first that there is"
    small = storage.uniform(kinds, INT8)
    assert (small["layer"], small["moved"], small["leaky"], small["cell"]) == (INT8, INT8, INT8, HALF)


def test_roles(kinds: Graph) -> None:
    node = {n.name: n for n in kinds.nodes}
    assert storage.roles(node["layer"], INT8) == "x s8, W s8" and storage.roles(node["layer"], HALF) == "x f16, W f16"
    assert storage.roles(node["layer"], WEIGHTS) == "x f16, W s8" and storage.roles(node["layer"], INT16) == "x s16, W s8"
    assert storage.roles(node["leaky"], INT8) == "x s8"
    assert storage.roles(node["lstm"], INT8) == "x s8, h s8, c s16, W s8, R s8, gates s16"
    assert storage.roles(node["lstm"], INT8, DType.INT32) == "x s8, h s8, c s32, W s8, R s8, gates s16"
    assert storage.roles(node["lstm"], INT16) == "x s16, h s16, c s32, W s8, R s8, gates s16"
    assert storage.roles(node["lstm"], HALF) == "x f16, h f16, c f16, W f16, R f16, gates f32"
    assert storage.roles(node["lstm"], WEIGHTS) == "x f16, h f16, c f16, W s8, R s8, gates f32"
    assert storage.roles(node["lstm"], INPUTS) == "x f16, h f16, c f16, W s8, R f16, gates f32"
    assert storage.roles(node["gru"], INT8) == "x s8, h s8, W s8, R s8, gates s16", "no cell state"
    assert storage.roles(node["cell"], INT16) == "x s16, h s16, c s32, gates s16", "its products are others'"


def test_sums_in_halves(kinds: Graph) -> None:
    all_halves = {n.name: HALF for n in kinds.nodes}
    graph, kept = storage.with_sums(kinds, all_halves | {"layer": SUMS}, None)
    found = {n.name: storage.written(n, kept[n.name]) for n in graph.nodes}
    assert kept == all_halves and found == {n: SUMS if n == "layer" else HALF for n in kept}
    graph, _ = storage.with_sums(kinds, all_halves, "f16")
    found = {n.name: storage.written(n, HALF) for n in graph.nodes}
    assert (found["layer"], found["own"], found["leaky"]) == (SUMS, SUMS, HALF)
    assert storage.written(next(n for n in graph.nodes if n.name == "layer"), WEIGHTS) == WEIGHTS
    graph, _ = storage.with_sums(kinds, {"layer": INT8}, "f16")
    assert graph.nodes == kinds.nodes, "nothing is a half"
    with pytest.raises(EdgeqError, match=r"leaky.*is not summed up in half precision.*write float16"):
        storage.with_sums(kinds, {"leaky": SUMS}, None)


def test_a_file_may_say_some(kinds: Graph) -> None:
    found = storage.complete(kinds, {"layer": INT16})
    assert (found["layer"], found["moved"], found["leaky"], found["own"], found["cell"]) == (INT16, INT16, INT8, INT8, HALF)
    base = dict.fromkeys(found, WEIGHTS)
    assert storage.complete(kinds, {"leaky": HALF}, base) == base | {"leaky": HALF}
    with pytest.raises(EdgeqError, match=r"layer.*belong together.*layer int8, moved float16"):
        storage.complete(kinds, {"layer": INT8, "moved": HALF})
    with pytest.raises(EdgeqError, match=r"leaky.*not computed in w8a16.*choose one of int8, float16"):
        storage.complete(kinds, {"leaky": WEIGHTS})
    assert not storage.covers(kinds, {})
    every = {n.name: HALF for n in kinds.nodes if n.name != "moved"}
    assert storage.covers(kinds, every) and not storage.covers(kinds, {n: s for n, s in every.items() if n != "leaky"})


def test_mixed_keeps_layers_between_scales_of_the_file_in_int8() -> None:
    b = Net()
    x = b.input(1, 4)
    first = b.given(b.dense(x, "reads an input"), "q0")
    between = b.given(b.dense(first, "between"), "q1")
    sum_ = b.given(b.op(Add(), first, between, name="of both"), "q2")
    free = b.leaky(b.dense(sum_, "read by another"), "free")
    b.given("read by another", "q3")
    half_sum = b.given(b.op(Add(), free, "q3", name="of one"), "q4")
    last = b.moved(b.dense(half_sum, "at the end"))
    b.given(b.dense(half_sum, "an output, too"), "q5")
    found = storage.mixed(b.graph(last, "an output, too", "q5"))
    bytes_ = {n.split(" turned")[0].split(" as it was")[0] for n, s in found.items() if s == INT8}
    assert bytes_ == {"q0", "q1", "q2", "q3", "q4", "q5", "between", "of both"}
    assert {found[n] for n in ("reads an input", "read by another", "free", "of one", "at the end", "an output, too")} == {HALF}
    assert set(found.values()) == {INT8, HALF}


def test_mixed_has_halves_where_the_file_gives_no_scale() -> None:
    b = Net()
    graph = b.graph(b.leaky(b.dense(b.leaky(b.input(1, 4), "a"), "b"), "c"))
    assert set(storage.mixed(graph).values()) == {HALF}
    b = Net()
    gru = recurrent(Gru(), b, b.dense(b.input(1, 4), "before"), b.input(1, UNITS), name="gru")
    graph = b.graph(b.leaky(b.op(Reshape((UNITS, 1)), gru, name="moved"), "c"))
    assert storage.mixed(graph) == {"before": HALF, "gru": INT8, "moved": INT8, "c": HALF}


def test_mixed_keeps_products_of_gates_in_int16() -> None:
    """As far back as layers without limits are read by such alone."""
    b = Net()
    x = b.input(1, 4)
    own = b.dense(b.dense(b.dense(x, "cut off", clamp=(0.0, np.inf)), "further"), "own", units=4 * UNITS)
    also = b.dense(x, "read elsewhere")
    back = b.dense(also, "back", units=4 * UNITS)
    shown = b.dense(x, "an output, too")
    both = b.op(Add(), b.dense(shown, "behind it", units=4 * UNITS), own, name="no layer")
    cells = [
        b.op(LstmCell(), y, b.const(np.zeros(4 * UNITS)), back, b.input(1, UNITS), name=n) for n, y in (("cell", own), ("other", both))
    ]
    found = storage.mixed(b.graph(*cells, b.leaky(also, "leaky"), shown))
    assert {n for n, s in found.items() if s == INT16} == {"cell", "other", "back"}
    alone = Net()
    own = alone.dense(alone.dense(alone.dense(alone.input(1, 4), "cut off", clamp=(0.0, 6.0)), "further"), "own", units=4 * UNITS)
    back = alone.dense(alone.input(1, 4), "back", units=4 * UNITS)
    cell = alone.op(LstmCell(), own, alone.const(np.zeros(4 * UNITS)), back, alone.input(1, UNITS), name="cell")
    graph = alone.graph(alone.op(Reshape((UNITS, 1)), cell, name="moved"))
    assert storage.mixed(graph) == {"cut off": HALF, **dict.fromkeys(("further", "own", "back", "cell", "moved"), INT16)}
    parts = Net()
    x = parts.moved(parts.dense(parts.input(1, 4), "moved, an output"))
    own, back = (parts.dense(x, n, units=4 * UNITS) for n in ("own", "back"))
    cell = parts.op(LstmCell(), own, parts.const(np.zeros(4 * UNITS)), back, parts.input(1, UNITS), name="cell")
    assert storage.mixed(parts.graph(cell, x))["moved, an output"] == HALF
    assert storage.mixed(parts.graph(cell))["moved, an output"] == INT16
