"""Mixed precision: types by role, the same bytes everywhere over consecutive frames, precision.toml, and the choice by a budget."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "frontends")]
from installed import uncounted
from onnx_models import load
from test_streaming import FRAMES, frames, model

from edgeq import api, graphfile
from edgeq.compare import compare
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, Tensor, TensorType
from edgeq.ops.lstm import Lstm
from edgeq.passes import declare_states, normalise
from edgeq.quantize import calibrate, cells, evaluate_float
from edgeq.quantize.allocate import WORK, Allocator, Costs, Goal, Problem, decibels
from edgeq.quantize.storage import INTEGERS, spread, uniform, units
from edgeq.run import host, unicorn
from edgeq.simulate import simulate
from edgeq.tune.judge import Judge

NODES = ("Gemm_0", "LSTM_3", "GRU_4", "Gemm_6", "Sigmoid_7")


@pytest.fixture(scope="module")
def real() -> Graph:
    return normalise(declare_states(load(model())))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def mixed(real: Graph) -> api.Quantized:
    return api.quantize(real, {"frame": frames()}, recipe="mixed")


def edited(text: bytes, path: Path, **nodes: str) -> Path:
    """precision.toml with other storages."""
    for name, storage in nodes.items():
        line = next(x for x in text.splitlines() if x.startswith(f'"{name}" ='.encode()))
        text = text.replace(line, f'"{name}" = "{storage}"'.encode())
    path.write_bytes(text)
    return path


def sqnr(real: Graph, graph: Graph) -> float:
    want = evaluate_float(real, {"frame": frames()})["mask"]
    got = simulate(graph, {"frame": frames()}).outputs["mask"].astype(np.float64)
    return float(10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()))


def test_types_follow_roles(mixed: api.Quantized) -> None:
    graph = mixed.graph
    assert graph.type("frame").dtype is graph.type("mask").dtype is DType.FLOAT16
    assert [graph.type(n).dtype for n in ("h1_state_in", "c1_state_in", "h2_state_in")] == [DType.INT8, DType.INT16, DType.INT8]
    weights = {n.name: graph.type(n.inputs[1]).dtype for n in graph.nodes if n.op.parameters}
    assert weights == {"Gemm_0": DType.FLOAT16, "LSTM_3": DType.INT8, "GRU_4": DType.INT8, "Gemm_6": DType.FLOAT16}
    assert [n.op.kind() for n in graph.nodes if n.op.kind() in ("quantize", "dequantize")] == ["quantize", "dequantize"]
    rows = graph.tensors[next(n for n in graph.nodes if n.name == "LSTM_3").inputs[1]].type.q
    assert rows is not None and len(set(rows.scale)) > 30  # per row


def test_it_follows_float(real: Graph, mixed: api.Quantized) -> None:
    assert sqnr(real, mixed.graph) > 40


@pytest.mark.parametrize("name", ["host", "cortex-m4", "riscv", "riscv-f"])
@pytest.mark.parametrize(
    "nodes",
    [
        {},
        {"Gemm_0": "w8a16", "Gemm_6": "int8", "LSTM_3": "float16", "Sigmoid_7": "int8"},
        {"Gemm_0": "int8", "Gemm_6": "int16", "LSTM_3": "int16", "GRU_4": "w8r16"},
    ],
    ids=["mixed", "moved", "finer"],
)
def test_every_frame_is_bit_exact(real: Graph, mixed: api.Quantized, nodes: dict[str, str], name: str, tmp_path: Path) -> None:
    graph = mixed.graph
    if nodes:
        file = edited(mixed.files["precision.toml"], tmp_path / "p.toml", **nodes)
        graph = api.quantize(real, {"frame": frames()}, precision=file).graph
    count = FRAMES if name in ("host", "cortex-m4") else 32
    x = {"frame": frames()[:count].astype(np.float16)}
    expected = simulate(graph, x, steps=True)
    built = api.build(graph, output=tmp_path / "m", target=name, vectors=4, check=False)
    actual = host.run(built.folder, x, steps=True) if name == "host" else unicorn.run(built.folder, uncounted(name), x, steps=True)
    result = compare(expected, actual)
    assert result.bit_exact, str(result.difference)


def test_the_precision_file_is_read_back(real: Graph, mixed: api.Quantized, tmp_path: Path) -> None:
    text = mixed.files["precision.toml"]
    assert b'"LSTM_3" = "int8"  # lstm: x s8, h s8, c s16, W s8, R s8, gates s16' in text
    again = api.quantize(real, {"frame": frames()}, precision=edited(text, tmp_path / "p.toml"))
    assert graphfile.dumps(again.graph) == graphfile.dumps(mixed.graph) and again.files == mixed.files


def test_half_precision_is_read_back(real: Graph, tmp_path: Path) -> None:
    plain = api.quantize(real, recipe="fp16")
    file = edited(plain.files["precision.toml"], tmp_path / "p.toml")
    assert graphfile.dumps(api.quantize(real, precision=file).graph) == graphfile.dumps(plain.graph)
    some = api.quantize(real, {"frame": frames()}, precision=edited(plain.files["precision.toml"], file, GRU_4="int8"))
    assert some.graph.type("h2_state_in").dtype is DType.INT8 and some.graph.type("h1_state_in").dtype is DType.FLOAT16


def test_int8_weights_on_halves_take_half_the_flash(real: Graph, mixed: api.Quantized, tmp_path: Path) -> None:
    file = edited(mixed.files["precision.toml"], tmp_path / "p.toml", Gemm_0="w8a16")
    graph = api.quantize(real, {"frame": frames()}, precision=file).graph
    first = next(n for n in graph.nodes if n.name == "Gemm_0")
    assert graph.type(first.inputs[1]).dtype is DType.INT8 and graph.type(first.outputs[0]).dtype is DType.FLOAT16
    assert sqnr(real, graph) > 40


@pytest.mark.parametrize(
    ("storage", "roles", "least"),
    [
        ("int16", b"lstm: x s16, h s16, c s16, W s8, R s8, gates s16", 45),
        ("w8a16", b"lstm: x f16, h f16, c f16, W s8, R s8, gates f32", 45),
        ("w8r16", b"lstm: x f16, h f16, c f16, W s8, R f16, gates f32", 45),
    ],
)
def test_finer_storages_come_closer(real: Graph, mixed: api.Quantized, storage: str, roles: bytes, least: float, tmp_path: Path) -> None:
    file = edited(mixed.files["precision.toml"], tmp_path / "p.toml", LSTM_3=storage, GRU_4=storage)
    chosen = api.quantize(real, {"frame": frames()}, precision=file)
    assert roles in chosen.files["precision.toml"]
    assert sqnr(real, chosen.graph) > max(least, sqnr(real, mixed.graph))
    again = api.quantize(real, {"frame": frames()}, precision=edited(chosen.files["precision.toml"], tmp_path / "again.toml"))
    assert graphfile.dumps(again.graph) == graphfile.dumps(chosen.graph)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"Gemm_0": "int4"}, "int4"), ({"Sigmoid_7": "w8a16"}, "not computed in w8a16"),
        ({"Sigmoid_7": "float16-sums"}, "sigmoid is not summed up in half precision"),
    ],
)  # fmt: skip
def test_bad_storages_are_named(real: Graph, mixed: api.Quantized, nodes: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match=message):
        api.quantize(real, {"frame": frames()}, precision=edited(mixed.files["precision.toml"], tmp_path / "p.toml", **nodes))


@pytest.mark.parametrize("name", ["host", "cortex-m4"])
def test_sums_in_halves_are_a_law_by_name(real: Graph, name: str, tmp_path: Path) -> None:
    chosen = api.quantize(real, recipe="fp16", accumulate="f16")
    text = chosen.files["precision.toml"]
    assert b'"LSTM_3" = "float16-sums"' in text and b'"Sigmoid_7" = "float16"' in text
    built = api.build(chosen.graph, output=tmp_path / "m", target=name, vectors=4, check=False)
    laws = {s["name"]: s["law"] for s in json.loads((built.folder / "manifest.json").read_text())["steps"]}
    assert laws == {n: "half" if n == "Sigmoid_7" else "half-f16" for n in laws} and set(NODES) <= set(laws)
    x = {"frame": frames()[:32].astype(np.float16)}
    expected = simulate(chosen.graph, x, steps=True)
    actual = host.run(built.folder, x, steps=True) if name == "host" else unicorn.run(built.folder, uncounted(name), x, steps=True)
    result = compare(expected, actual)
    assert result.bit_exact, str(result.difference)
    assert 55 < sqnr(real, chosen.graph) < sqnr(real, api.quantize(real, recipe="fp16").graph) - 1


def test_sums_in_halves_are_read_back(real: Graph, mixed: api.Quantized, tmp_path: Path) -> None:
    chosen, file = api.quantize(real, recipe="fp16", accumulate="f16"), tmp_path / "p.toml"
    file.write_bytes(chosen.files["precision.toml"])
    assert graphfile.dumps(api.quantize(real, precision=file).graph) == graphfile.dumps(chosen.graph)
    both = api.quantize(real, {"frame": frames()}, recipe="mixed", accumulate="f16")
    kinds = {n.name: getattr(n.op, "accumulate", None) for n in both.graph.nodes if n.name in NODES}
    assert kinds == {"Gemm_0": "f16", "LSTM_3": "f32", "GRU_4": "f32", "Gemm_6": "f16", "Sigmoid_7": None}
    one = api.quantize(real, {"frame": frames()}, precision=edited(mixed.files["precision.toml"], file, Gemm_6="float16-sums"))
    assert [n.name for n in one.graph.nodes if getattr(n.op, "accumulate", "f32") == "f16"] == ["Gemm_6"]
    assert b'"Gemm_6" = "float16-sums"' in one.files["precision.toml"]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"recipe": "auto", "accumulate": "f16"}, "recipe fp16 or mixed"), ({"accumulate": "f16"}, "recipe fp16 or mixed"),
        ({"recipe": "fp16", "accumulate": "f64"}, "unknown accumulation 'f64'"),
    ],
)  # fmt: skip
def test_sums_that_nobody_knows_are_refused(real: Graph, choices: dict[str, str], message: str) -> None:
    with pytest.raises(EdgeqError, match=message):
        api.quantize(real, {"frame": frames()}, **choices)  # type: ignore[arg-type]


def test_auto_keeps_to_its_budget(real: Graph) -> None:
    samples = {"frame": frames()}
    chosen = api.quantize(real, samples, recipe="auto", budget={"drop": 47.0, "ram": 400})
    found = chosen.record["allocation"]
    assert found["judged"] == 1 and found["sqnr_db"] >= 47 and sqnr(real, chosen.graph) >= 47
    assert [n["name"] for n in found["nodes"]] == list(NODES) and sum(p["chosen"] for p in found["pareto"]) == 1
    flash = {p["sqnr_db"]: (p["flash"], p["instructions"]) for p in found["pareto"]}
    assert len(flash) > 3
    with pytest.raises(EdgeqError, match="fits the budget"):
        api.quantize(real, samples, recipe="auto", budget={"drop": 120.0})
    with pytest.raises(EdgeqError, match="recipe auto"):
        api.quantize(real, samples, recipe="mixed", budget={"drop": 24.0})


def test_what_half_precision_does_not_keep_is_not_judged(real: Graph) -> None:
    """Of one fold a piece of eight, of the other most: all of that is judged."""
    judge = Judge(real, calibrate(real, {"frame": frames()}), None)
    halves = judge.outputs(uniform(real, "float16"))
    count = len(judge.folds[0].at)
    judge.spare(halves, 40.0)
    assert judge.share == 1
    quiet = judge.noise(halves)
    halves[0]["mask"][count // 8 : count // 4] += 1
    halves[1]["mask"][count // 4 :] += 1
    assert decibels(judge.noise(halves)[:1]) < 40
    judge.spare(halves, 40.0)
    assert judge.share == pytest.approx(1 - 1 / 16) and not judge.folds[0].judged[count // 8 : count // 4].any()
    noise = judge.noise(halves)
    assert 0.5 < noise[0] / quiet[0] < 2 and noise[1] > 0.1


def test_auto_measures_on_the_target(real: Graph, tmp_path: Path) -> None:
    budget = {"drop": 47.0, "instructions": 60000, "flash": 65536, "ram": 4096}
    samples = {"frame": frames()}
    built = api.build(
        real, output=tmp_path / "m", target="cortex-m4", calibration=samples, recipe="auto", budget=budget, vectors=2, optimize="2"
    )
    found = built.measured.quantization["allocation"]
    chosen = next(p for p in found["pareto"] if p["chosen"])
    total = built.measured.runs["unicorn"].instructions
    assert found["costs"] == "measured" and found["sqnr_db"] >= 47
    assert abs(chosen["instructions"] - total) < 0.1 * total  # the rest is the invocation itself
    assert abs(chosen["flash"] - built.manifest.weight_bytes) < 0.1 * chosen["flash"]


def test_the_program_is_exact(real: Graph) -> None:
    """Against all combinations, with random costs."""
    found = tuple(units(real))
    rng = np.random.default_rng(1)
    pairs = [(u.name, s) for u in found for s in u.choices]
    for _ in range(6):
        noise = {p: rng.uniform(0, 1e-3, 1) for p in pairs}
        flash, work = ({p: int(rng.integers(100, 2000)) for p in pairs} for _ in range(2))
        costs = Costs(flash, {p: float(n) for p, n in work.items()}, {"quantize": 30.0, "dequantize": 20.0}, noise, np.zeros(1), True)
        program = Allocator(Problem(real, found, costs))
        goal = Goal(drop=27.0, instructions=9000)
        best = min(_price(real, found, costs, c, goal) for c in itertools.product(*(u.choices for u in found)))
        point = program.solve(goal)
        if np.isinf(best):
            assert point is None
        else:
            assert point is not None
            own = _price(real, found, costs, tuple(point.chosen[u.name] for u in found), goal)
            assert own == pytest.approx(best, rel=1e-3)


def _price(real: Graph, found: tuple, costs: Costs, chosen: tuple[str, ...], goal: Goal) -> float:
    """The objective of a combination, infinite beyond the goal."""
    pairs = [(u.name, s) for u, s in zip(found, chosen, strict=True)]
    storage = spread(found, dict(pairs))
    kinds = {name: s if s in INTEGERS else "" for name, s in storage.items()}
    home = {t: kinds[n.name] for n in real.nodes for t in n.outputs} | dict.fromkeys(real.given, "")
    home |= {a: home[b] for a, b in real.states}
    reads = [(t, kinds[n.name]) for n in real.nodes for t in n.inputs if t in home] + [(t, "") for t in real.results]
    casts = {(t, "quantize", wanted) for t, wanted in reads if wanted and home[t] != wanted}
    casts |= {(t, "dequantize", home[t]) for t, wanted in reads if home[t] and home[t] != wanted}
    work = sum(costs.instructions[p] for p in pairs) + sum(costs.casts[kind] * real.type(t).size for t, kind, _ in casts)
    flash = sum(costs.flash[p] for p in pairs) + 8 * len(casts)
    halves = [(u.name, "float16") for u in found if "float16" in u.choices]
    assert goal.drop is not None and goal.instructions is not None
    if work > goal.instructions or sum(float(costs.noise[p][0]) for p in pairs) > 10 ** (-goal.drop / 10):
        return float("inf")
    return flash / sum(costs.flash[p] for p in halves) + WORK * work / sum(costs.instructions[p] for p in halves)


def test_a_cell_that_adds_up_is_kept_in_int32() -> None:
    """Unit 0 grows by one each step; the others stay below 1, where the steps that it would leave them in int16 are too coarse."""
    units_, rng = 4, np.random.default_rng(3)
    bias = np.zeros((4, units_), np.float32)
    bias[0], bias[1], bias[2, 0], bias[3] = [20, 0, 0, 0], [20, -1, -1, -1], 20, 2
    shapes = {"w": rng.normal(0, 1, (4 * units_, 3)), "r": rng.normal(0, 0.2, (4 * units_, units_)), "b": bias.reshape(-1)}
    constants = {n: Tensor(n, TensorType(a.shape), a.astype(np.float32)) for n, a in shapes.items()}
    for n in ("w", "r"):
        rows = constants[n].data
        assert rows is not None
        rows.reshape(4, units_, -1)[:, 0] = 0
    kinds = {"x": (1, 3), "h": (1, units_), "c": (1, units_), "y": (1, units_), "d": (1, units_)}
    tensors = constants | {n: Tensor(n, TensorType(s)) for n, s in kinds.items()}
    node = Node("lstm", Lstm(), ("x", "w", "r", "b", "h", "c"), ("y", "d"))
    graph = Graph("adds", (node,), tensors, ("x", "h", "c"), ("y", "d"), states=(("h", "y"), ("c", "d")))
    ranges = calibrate(graph, {"x": rng.normal(0, 1, (400, 1, 3)).astype(np.float32)})
    assert ranges.tensors["d"].seen[1] > 390 and cells.cell_scale(400) == 2.0**-6
    assert ranges.cells["d"] == 2.0**-16
