"""WHILE loops of .tflite files, as Keras' recurrent layers become: the values of LiteRT, byte for byte as TFLM in int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tflite_words import read
from tflite_models import Quantization, TfliteModel, litert, real, tflm

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite import loops
from edgeq.passes import normalise
from edgeq.simulate import simulate

STEPS, WIDTH, UNITS = 4, 3, 5
RNG = np.random.default_rng(1)
WX, WH = (RNG.normal(0, 0.5, (UNITS, n)).astype(np.float32) for n in (WIDTH, UNITS))
X: Quantization = (0.03, 3, 0)
H: Quantization = (1 / 128, 0, 0)


def quantized(w: Any) -> tuple[Any, Quantization]:
    scale = float(np.abs(w).max() / 127)
    return np.rint(w / scale).astype(np.int8), (scale, 0, 0)


def recurrent(kind: str = "FLOAT32", turns: int = STEPS, computed: bool = False, listed: bool = True) -> bytes:
    """h = tanh(wx x[t] + wh h) over time: a counter, a list that slices and concatenations fill, the weights inside the body."""
    m = TfliteModel()
    words = kind == "INT8"
    x, h = (
        m.input("x", (STEPS, 1, WIDTH), kind, X if words else None),
        m.constant("h0", np.zeros((1, UNITS), np.int8 if words else np.float32), H if words else None),
    )
    rows = m.constant("rows0", np.zeros((STEPS, 1, UNITS), np.int8 if words else np.float32), H if words else None)
    given = [m.input("turns", (), "INT32") if computed else m.constant("zero", np.array(0, np.int32)), x, h, rows]

    def ends() -> list[int]:
        """What goes round, in each subgraph."""
        shapes = {"x": ((STEPS, 1, WIDTH), X), "h": ((1, UNITS), H), "rows": ((STEPS, 1, UNITS), H)}
        return [m.tensor("at", (), "INT32"), *(m.tensor(n, s, kind, q if words else None) for n, (s, q) in shapes.items())]

    outs = ends()
    m.operator("WHILE", given, outs, ("WhileOptions", {"condSubgraphIndex": 1, "bodySubgraphIndex": 2}))
    main = m.graph
    m.subgraph()
    m.graph.inputs = ends()
    flag, most = m.tensor("flag", (), "BOOL"), m.tensor("going", (), "BOOL")
    m.operator("LESS", [m.graph.inputs[0], m.constant("most", np.array(turns, np.int32))], [flag], ("LessOptions", {}))
    m.operator("LOGICAL_AND", [flag, m.constant("true", np.array(True))], [most], ("LogicalAndOptions", {}))
    m.graph.outputs = [most]
    m.subgraph()
    at, x, h, rows = m.graph.inputs = ends()

    def activation(name: str, shape: tuple[int, ...], q: Quantization) -> int:
        return m.tensor(name, [abs(n) for n in shape], kind, q if words else None, signature=shape if -1 in shape else None)

    row = activation("row", (1, WIDTH), X)
    m.operator("GATHER", [x, at], [row], ("GatherOptions", {"axis": 0}))
    sums = []
    for name, source, w in (("wx", row, WX), ("wh", h, WH)):
        sums.append(activation(f"{name}_sum", (1, UNITS), (0.03, 0, 0)))
        m.operator(
            "FULLY_CONNECTED",
            [source, m.constant(name, *quantized(w)) if words else m.constant(name, w), -1],
            [sums[-1]],
            ("FullyConnectedOptions", {}),
        )
    total, following = activation("total", (1, UNITS), (0.03, 0, 0)), activation("h2", (1, UNITS), H)
    m.operator("ADD", sums, [total], ("AddOptions", {}))
    m.operator("TANH", [total], [following], None)
    after = m.tensor("after", (), "INT32")
    m.operator("ADD", [at, m.constant("one", np.array(1, np.int32))], [after], ("AddOptions", {}))
    filled = rows
    if listed:
        begin, rest, zeros = m.tensor("begin", (3,), "INT32"), m.tensor("rest", (3,), "INT32"), m.constant("zeros", np.array(0, np.int32))
        m.operator(
            "PACK",
            [at, m.constant("n", np.array(1, np.int32)), m.constant("m", np.array(UNITS, np.int32))],
            [begin],
            ("PackOptions", {"valuesCount": 3}),
        )
        m.operator("PACK", [after, zeros, zeros], [rest], ("PackOptions", {"valuesCount": 3}))
        left, right, own = (activation(n, s, H) for n, s in (("left", (-1, 1, UNITS)), ("right", (-1, 1, UNITS)), ("own", (1, 1, UNITS))))
        m.operator("SLICE", [rows, m.constant("start", np.zeros(3, np.int32)), begin], [left], ("SliceOptions", {}))
        m.operator("SLICE", [rows, rest, m.constant("all", np.full(3, -1, np.int32))], [right], ("SliceOptions", {}))
        m.operator("EXPAND_DIMS", [following, m.constant("axis", np.array(0, np.int32))], [own], ("ExpandDimsOptions", {}))
        filled = activation("filled", (STEPS, 1, UNITS), H)
        m.operator("CONCATENATION", [left, own, right], [filled], ("ConcatenationOptions", {"axis": 0}))
    m.graph.outputs = [after, x, following, filled]
    m.graph = main
    return m.finish(outs[2], outs[3]) if listed else m.finish(outs[2])


@pytest.mark.parametrize("listed", [True, False])
def test_a_loop_is_read_turn_by_turn(listed: bool, tmp_path: Path) -> None:
    model = recurrent(listed=listed)
    graph = normalise(read(model, tmp_path))
    x = np.random.default_rng(0).normal(0, 1, (6, STEPS, 1, WIDTH)).astype(np.float32)
    for found, wanted in zip(real(graph, {graph.inputs[0]: x}), litert(model, [x]), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("listed", [True, False])
def test_a_loop_in_integers(listed: bool, tmp_path: Path) -> None:
    model = recurrent("INT8", listed=listed)
    graph = normalise(read(model, tmp_path))
    x = np.random.default_rng(0).integers(-128, 128, (6, STEPS, 1, WIDTH)).astype(np.int8)
    found = simulate(graph, {graph.inputs[0]: x}).outputs
    for name, wanted in zip(graph.outputs, litert(model, [x]) if listed else tflm(model, [x]), strict=True):
        assert np.abs(found[name].astype(int) - wanted.astype(int)).max() <= listed  # TFLM has no list that grows


def test_loops_of_many_or_unknown_turns_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EdgeqError, match=r"WHILE by a computed condition is not supported.*unroll=True"):
        read(recurrent(computed=True), tmp_path)
    monkeypatch.setattr(loops, "MAX_TURNED", 30)
    with pytest.raises(EdgeqError, match="it has more than 30 operators"):
        read(recurrent(), tmp_path)


def test_a_loop_that_holds_itself_is_refused(tmp_path: Path) -> None:
    m = TfliteModel()
    x, y, whole = m.input("x", (2,)), m.tensor("y", (2,)), ("WhileOptions", {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})
    m.operator("WHILE", [x], [y], whole)
    m.subgraph()
    m.graph.inputs, m.graph.outputs = [m.tensor("a", (2,))], [m.constant("true", np.array(True))]
    m.subgraph()
    m.graph.inputs, m.graph.outputs = [m.tensor("b", (2,))], [m.tensor("c", (2,))]
    m.operator("WHILE", m.graph.inputs, m.graph.outputs, whole)
    with pytest.raises(EdgeqError, match="WHILE nested in more than 8 others"):
        read(m.finish(y), tmp_path)
