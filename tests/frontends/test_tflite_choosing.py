"""Comparisons, selection, indices and running sums of .tflite files: byte for byte as TFLM beside integers, as LiteRT in float; in C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from side_by_side import side_by_side
from test_tflite_words import read, same_in_c
from tflite_models import Options, Quantization, TfliteModel, litert, real, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.passes import normalise
from edgeq.simulate import simulate

Q: dict[str, Quantization | None] = {"INT8": (0.05, 7, 0), "INT16": (0.0004, 0, 0), "FLOAT32": None}
OTHER: dict[str, Quantization | None] = {"INT8": (0.03, -11, 0), "INT16": (0.0003, 0, 0), "FLOAT32": None}
KINDS = {"INT8": np.int8, "INT16": np.int16}


def comparison(function: str, kind: str, shape: tuple[int, ...] = (3, 4, 5), second: tuple[int, ...] = (3, 4, 5)) -> bytes:
    """A comparison alone, its truth values the output."""
    m = TfliteModel()
    a, b = m.input("a", shape, kind, Q[kind]), m.input("b", second, kind, OTHER[kind])
    y = m.tensor("y", shape, "BOOL")
    m.operator(function, [a, b], [y], None)
    return m.finish(y)


def chosen(kind: str, how: str) -> bytes:
    """`b` where a > b and not b >= c, else a; `how` tells who is broadcast."""
    m = TfliteModel()
    shape = (2, 3, 4)
    a = m.input("a", shape, kind, Q[kind])
    b = m.input("b", (4,) if how == "row" else shape, kind, Q[kind])
    first, second, third, both = (m.tensor(n, shape if n != "t" or how != "row" else (4,), "BOOL") for n in ("s", "t", "u", "v"))
    m.operator("GREATER", [a, b], [first])
    m.operator("LESS_EQUAL", [b, m.constant("c", np.array(2, KINDS.get(kind, np.float32)), Q[kind])], [second])
    m.operator("LOGICAL_NOT", [second], [third := m.tensor("w", (4,) if how == "row" else shape, "BOOL")], ("LogicalNotOptions", {}))
    m.operator("LOGICAL_OR" if how == "or" else "LOGICAL_AND", [first, third], [both])
    y = m.tensor("y", shape, kind, Q[kind])
    m.operator("SELECT_V2", [both, b, a], [y], ("SelectV2Options", {}))
    return m.finish(y)


def masked(kind: str, operator: str = "SELECT_V2") -> bytes:
    """Elements of one tensor or of another by constant truth values; SELECT by one per row."""
    m = TfliteModel()
    a, b = m.input("a", (3, 4, 5), kind, Q[kind]), m.input("b", (3, 4, 5) if operator == "SELECT" else (4, 1), kind, Q[kind])
    mask = np.array([True, False, True]) if operator == "SELECT" else np.arange(20).reshape(4, 5) % 3 == 0
    y = m.tensor("y", (3, 4, 5), kind, Q[kind])
    m.operator(operator, [m.constant("mask", mask), a, b], [y], None)
    return m.finish(y)


def extreme(operator: str, kind: str, axis: int, out: str = "INT32") -> bytes:
    m = TfliteModel()
    shape = [3, 4, 5]
    x = m.input("a", shape, kind, Q[kind])
    del shape[axis]
    y = m.tensor("y", shape, out)
    options = ("ArgMaxOptions" if operator == "ARG_MAX" else "ArgMinOptions", {"outputType": m.schema.TensorType.INT32})
    m.operator(operator, [x, m.constant("axis", np.array(axis, np.int32))], [y], options)
    return m.finish(y)


def gathered(kind: str) -> bytes:
    m = TfliteModel()
    x = m.input("a", (3, 4, 5), kind, Q[kind])
    y = m.tensor("y", (2, 2, 5), kind, Q[kind])
    m.operator("GATHER_ND", [x, m.constant("i", np.array([[[0, 1], [2, 3]], [[1, 1], [0, 0]]], np.int32))], [y], ("GatherNdOptions", {}))
    return m.finish(y)


def sums(kind: str, axis: int, exclusive: bool, reverse: bool, zero: int = 7) -> bytes:
    m = TfliteModel()
    x = m.input("a", (2, 6, 5), kind, (0.05, zero, 0) if kind == "INT8" else None)
    y = m.tensor("y", (2, 6, 5), kind, (0.2, -3, 0) if kind == "INT8" else None)
    options = ("CumsumOptions", {"exclusive": exclusive, "reverse": reverse})
    m.operator("CUMSUM", [x, m.constant("axis", np.array(axis, np.int32))], [y], options)
    return m.finish(y)


def bytes_for(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Vectors over the whole range, some of them close together."""
    rng = np.random.default_rng(seed)
    found = {}
    for name in graph.given:
        t = graph.type(name)
        info = np.iinfo(t.dtype.numpy)
        x = rng.integers(info.min, info.max, (64, *t.shape), endpoint=True)
        x[::2] //= 24
        found[name] = x.astype(t.dtype.numpy)
    return found


INTEGERS: dict[str, Callable[[], bytes]] = {
    **{f"{f}_{k}": (lambda f=f, k=k: comparison(f, k)) for f in ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
       for k in ("INT8",)},
    "LESS_row": lambda: comparison("LESS", "INT8", second=(4, 1)),
    **{f"select_{how}": (lambda how=how: chosen("INT8", how)) for how in ("and", "or", "row")},
    **{f"mask_{k}": (lambda k=k: masked(k)) for k in KINDS},
    **{f"{o}_{a}": (lambda o=o, a=a: extreme(o, "INT8", a)) for o in ("ARG_MAX", "ARG_MIN") for a in (0, 1, -1)},
    "gather_INT8": lambda: gathered("INT8"),
    **{f"sums_{a}{e}{r}": (lambda a=a, e=e, r=r: sums("INT8", a, e, r)) for a in (0, 1, -1) for e in (False, True) for r in (False, True)},
}  # fmt: skip


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_tflms(name: str, tmp_path: Path) -> None:
    model = INTEGERS[name]()
    graph = normalise(read(model, tmp_path))
    x = bytes_for(graph)
    got, want = simulate(graph, x).outputs["y"], tflm(model, list(x.values()))[0]
    np.testing.assert_array_equal(got, want.reshape(got.shape).astype(got.dtype))
    assert len(np.unique(got)) > 1


@pytest.mark.parametrize("chip", ["host", "cortex-m4"])
def test_in_c(chip: str, tmp_path: Path) -> None:
    graphs = {name: normalise(read(model(), tmp_path)) for name, model in INTEGERS.items()}
    x = {f"{name}: {n}": v[:8] for name, graph in graphs.items() for n, v in bytes_for(graph).items()}
    same_in_c(side_by_side(graphs), x, tmp_path, chip)


FLOATS: dict[str, Callable[[], bytes]] = {
    **{f"select_{how}": (lambda how=how: chosen("FLOAT32", how)) for how in ("and", "or", "row")},
    "mask": lambda: masked("FLOAT32"), "rows": lambda: masked("FLOAT32", "SELECT"), "gather": lambda: gathered("FLOAT32"),
    **{f"sums_{a}{e}{r}": (lambda a=a, e=e, r=r: sums("FLOAT32", a, e, r))
       for a, e, r in ((0, True, True), (1, False, True), (-1, True, False))},
    **{f"{o}_{a}": (lambda o=o, a=a: extreme(o, "FLOAT32", a)) for o in ("ARG_MAX", "ARG_MIN") for a in (1, -1)},
    **{f: (lambda f=f: comparison(f, "FLOAT32")) for f in ("EQUAL", "NOT_EQUAL", "GREATER_EQUAL", "LESS")},
}  # fmt: skip


def found_places() -> bytes:
    """What tf.boolean_mask becomes where the mask is known: WHERE on a constant, GATHER_ND by what it finds."""
    m = TfliteModel()
    x, y = m.input("x", (3, 4)), m.tensor("y", (5,))
    mask = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]], bool)
    places = m.tensor("places", (5, 2), "INT64")
    m.operator("WHERE", [m.constant("mask", mask)], [places])
    m.operator("GATHER_ND", [x, places], [y], ("GatherNdOptions", {}))
    return m.finish(y)


FLOATS["found places"] = found_places


@pytest.mark.parametrize("name", FLOATS)
def test_floats_are_litert(name: str, tmp_path: Path) -> None:
    model = FLOATS[name]()
    graph = normalise(read(model, tmp_path))
    rng = np.random.default_rng(0)
    x = {n: rng.integers(-4, 5, (12, *graph.type(n).shape)).astype(np.float32) for n in graph.given}
    np.testing.assert_allclose(real(graph, x)[0], litert(model, list(x.values()))[0].astype(np.float32), atol=1e-5)


def refused(kind: str, shapes: Sequence[tuple[int, ...]], types: Sequence[str], out: str, options: Options | None = None) -> bytes:
    m = TfliteModel()
    inputs = [m.input(f"x{i}", s, t, Q.get(t)) for i, (s, t) in enumerate(zip(shapes, types, strict=True))]
    y = m.tensor("y", shapes[0], out, Q.get(out))
    m.operator(kind, inputs, [y], options)
    return m.finish(y)


@pytest.mark.parametrize(
    ("kind", "types", "out", "match"),
    [
        ("GATHER_ND", ("INT8", "INT32"), "INT8", "the indices of GATHER_ND must be constant"),
        ("CUMSUM", ("INT8", "INT32"), "INT8", "the axis of CUMSUM must be constant"),
        ("SELECT_V2", ("INT8", "INT8", "INT8"), "INT8", "truth values are expected"),
        ("LESS", ("INT32", "INT32"), "BOOL", "LESS of INT32 is not supported"),
        ("WHERE", ("BOOL",), "INT32", "as many indices as it finds"),
    ],
)
def test_what_is_not_read_is_refused(kind: str, types: tuple[str, ...], out: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match=match):
        read(refused(kind, [(4,)] * len(types), types, out), tmp_path)
