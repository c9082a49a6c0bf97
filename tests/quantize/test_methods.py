"""Methods are found by scan, named nowhere else, and keep what they promise."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_graphs import PLAIN, dense

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph, Node, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.lstm import Lstm
from edgeq.ops.softmax import Softmax
from edgeq.quantize import Options, evaluate_float, quantize
from edgeq.quantize.allocate import ALLOCATORS
from edgeq.quantize.prepare import PREPARATIONS
from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.ranges import METHODS
from edgeq.quantize.refine import REFINEMENTS
from edgeq.quantize.rounding import NEAREST, ROUNDINGS, quick
from edgeq.quantize.sensitivity import MEASURES, USUAL, Probe
from edgeq.quantize.split import SPLITS
from edgeq.quantize.statistics import Observer
from edgeq.quantize.storage import HALF, INT8, WEIGHTS, Unit, uniform, units
from edgeq.quantize.weight_scales import SCALES, widest
from edgeq.recipes import RECIPES
from edgeq.simulate import real_array, simulate
from edgeq.traits import View

PACKAGE = Path(__file__).parents[2] / "edgeq"
KINDS = {
    "quantize/ranges": METHODS, "quantize/weight_scales": SCALES, "quantize/rounding": ROUNDINGS, "quantize/sensitivity": MEASURES,
    "quantize/allocate": ALLOCATORS, "quantize/refine": REFINEMENTS, "quantize/prepare": PREPARATIONS,
    "quantize/split": SPLITS,
    "recipes": RECIPES,
}  # fmt: skip


@pytest.mark.parametrize("folder", KINDS)
def test_every_file_is_a_method(folder: str) -> None:
    files = {p.stem.replace("_", "-") for p in (PACKAGE / folder).glob("*.py") if not p.name.startswith("_")}
    assert files == set(KINDS[folder]) and all(KINDS[folder][name] for name in files)


@pytest.mark.parametrize("folder", [k for k in KINDS if k not in ("quantize/weight_scales", "recipes")])
def test_no_other_file_compares_with_a_methods_name(folder: str) -> None:
    names, found = set(KINDS[folder]), []
    for path in (p for part in ("quantize", "tune", "recipes", "api", "cli") for p in (PACKAGE / part).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                parts = [c for part in (node.left, *node.comparators) for c in ast.walk(part) if isinstance(c, ast.Constant)]
                found += [f"{path.name}:{node.lineno} {c.value}" for c in parts if c.value in names]
    assert not found


def observed(values: Array) -> Observer:
    seen = Observer()
    seen.see_extremes(values)
    seen.see_values(values)
    return seen


def square_error(values: Array, low: float, high: float) -> float:
    step = (max(high, 0) - min(low, 0)) / 255
    return float(((np.clip(np.rint(values / step) * step, low, high) - values) ** 2).mean())


def test_laplace_is_nearly_the_range_of_least_error() -> None:
    values = np.random.default_rng(0).laplace(1.0, 2.0, (64, 4000)).astype(np.float32)
    seen = observed(values)
    (low, high), (best_low, best_high) = METHODS["laplace"](seen), METHODS["mse"](seen)
    assert square_error(values, low, high) < 1.1 * square_error(values, best_low, best_high)
    assert seen.low <= low < high <= seen.high


def test_improved_kl_counts_what_saturates() -> None:
    """A second heap of values far away, which `kl` cuts off, stays; a lone outlier does not."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.laplace(0, 1, (64, 4000)), rng.normal(60, 1, (64, 200))], axis=1).astype(np.float32)
    assert METHODS["improved-kl"](observed(values))[1] > 55
    lone = np.abs(rng.laplace(0, 1, (64, 4000))).astype(np.float32)
    lone[0, 0] = 120
    low, high = METHODS["improved-kl"](observed(lone))
    assert 5 < high < 60 and low == pytest.approx(0, abs=0.1)
    assert METHODS["improved-kl"](observed(np.full((4, 8), 3.0, np.float32))) == (3.0, 3.0)


def test_laplace_of_one_sided_and_of_constant_values() -> None:
    values = np.abs(np.random.default_rng(1).laplace(0.0, 1.0, (32, 4000))).astype(np.float32)
    low, high = METHODS["laplace"](observed(values))
    # b exp(-a / b) (a / b) = 3 (2 N)^2 at a / b = 11.2
    assert low == values.min() and abs(high / values.mean() - 11.165) < 0.02
    assert METHODS["laplace"](observed(np.full((4, 8), 3.0, np.float32))) == (3.0, 3.0)


def problem(seed: int, rows: int = 6, columns: int = 12, limit: int = 7) -> LayerProblem:
    """Few levels and correlated inputs: where nearest is far from best."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(0, 1, (400, columns)) @ rng.normal(0, 1, (columns, columns))).astype(np.float32)
    matrix = rng.normal(0, 1, (1, rows, columns))
    view = View(lambda a: a.reshape(1, -1, columns), lambda m: m[None], lambda m: m[0], (1,), columns)
    return LayerProblem(matrix, widest(matrix, (-limit, limit)), (-limit, limit), view, x, x)


@pytest.mark.parametrize("seed", range(3))
def test_adaptive_rounding_reproduces_the_outputs_better_than_nearest(seed: int) -> None:
    p = problem(seed)
    loss = {name: p.loss(ROUNDINGS[name](p)[0]) for name in ("nearest", "ada-round", "second-order")}
    least = -float(((p.matrix @ p.moments.cross) * p.matrix).sum())  # of the real weights
    assert loss["ada-round"] - least < 0.8 * (loss["nearest"] - least)
    q, real = ROUNDINGS["ada-round"](p)[0], p.matrix / p.scales[..., None]
    assert (np.abs(q - real) <= 1).all() and np.array_equal(q, np.rint(q)) and np.abs(q).max() <= 7


def test_adaptive_rounding_of_inputs_that_say_nothing_is_nearest() -> None:
    p = problem(0)
    still = LayerProblem(p.matrix, p.scales, p.bounds, p.view, np.zeros_like(p.stored), np.zeros_like(p.real))
    assert np.abs(ROUNDINGS["ada-round"](still)[0] - p.matrix / p.scales[..., None]).max() <= 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [1, 3, 7])
def test_scales_and_integers_together_lose_less_than_integers_alone(seed: int, limit: int) -> None:
    p = replace(problem(seed), bounds=(-limit, limit))
    p = p.scaled(np.asarray(SCALES["mse"](p.matrix, p.bounds)))
    (alone, kept), (both, fitted) = ROUNDINGS["second-order"](p), ROUNDINGS["ada-quant"](p)
    least = -float(((p.matrix @ p.moments.cross) * p.matrix).sum())
    lost = p.loss(alone) - least, p.scaled(fitted).loss(both) - least
    assert kept is p.scales and lost[1] < (0.97 if limit < 7 else 1.0) * lost[0]
    assert np.abs(both).max() <= limit and np.array_equal(both, np.rint(both)) and np.array_equal(fitted, fitted.astype(np.float32))


def test_one_scale_for_all_rows_stays_one() -> None:
    p = problem(1)
    p = p.scaled(np.full_like(p.scales, p.scales.max()))
    _, fitted = ROUNDINGS["ada-quant"](p)
    assert len(np.unique(fitted)) == 1 and fitted[0, 0] != p.scales[0, 0]


def test_a_graph_rounded_adaptively() -> None:
    rng = np.random.default_rng(3)
    x = {"x": (rng.normal(0, 1, (200, 1, 12)) @ rng.normal(0, 1, (12, 12))).astype(np.float32)}
    graph = quantize(dense(rng.normal(0, 1, (5, 12)).astype(np.float32)), x, Options(rounding="ada-round"))
    assert simulate(graph, x).outputs["y"].dtype == np.int8


def test_what_stands_for_a_rounding_where_many_are_tried() -> None:
    assert quick("second-order") == quick("ada-round") == quick("nearest") == NEAREST and quick("truncate") == "truncate"


def two_layers() -> Graph:
    """x -> sensitive -> y and x -> mute -> z: the second one's weights are of no account for y."""
    rng = np.random.default_rng(7)
    data = {"w": rng.normal(0, 1, (6, 8)), "b": np.zeros(6), "v": rng.normal(0, 1, (4, 6)), "c": np.zeros(4)}
    tensors = {n: Tensor(n, TensorType(a.shape), a.astype(np.float32)) for n, a in data.items()}
    tensors |= {n: Tensor(n, TensorType(s)) for n, s in {"x": (1, 8), "h": (1, 6), "y": (1, 4)}.items()}
    nodes = [Node("first", FullyConnected(), ("x", "w", "b"), ("h",)), Node("second", FullyConnected(), ("h", "v", "c"), ("y",))]
    return Graph("g", (), tensors, ("x",), ("y",)).with_nodes(nodes)


def test_the_trace_foretells_what_rounding_of_weights_costs() -> None:
    graph, samples = two_layers(), {"x": np.random.default_rng(1).normal(0, 1, (96, 1, 8)).astype(np.float32)}
    real = evaluate_float(graph, samples)["y"].astype(np.float64)

    def measured(storage: dict[str, str]) -> Array:
        made = api.quantize(graph, samples, recipe="fp16").graph if set(storage.values()) == {HALF} else None
        assert made is None or made.type("y").dtype is DType.FLOAT16
        return np.zeros(1)

    half = uniform(graph, HALF)
    probe = Probe(graph, samples, half, measured(half), measured)
    for unit in units(graph):
        found = MEASURES["trace"](probe, unit, WEIGHTS)
        name = unit.nodes[0].inputs[1]
        w = np.asarray(graph.tensors[name].data, np.float64)
        scales = np.abs(w).max(1, keepdims=True) / 127
        data = (np.rint(w / scales) * scales).astype(np.float32)
        rounded = Graph(graph.name, graph.nodes, {**graph.tensors, name: Tensor(name, TensorType(w.shape), data)}, ("x",), ("y",))
        error = ((evaluate_float(rounded, samples)["y"] - real) ** 2).sum() / (real**2).sum()
        assert found.shape == (1,) and 0.3 < float(found[0]) / error < 3
        assert not MEASURES["trace"](probe, unit, HALF).any()


def probed(graph: Graph, samples: dict[str, Array]) -> Probe:
    """Of weights in 8, 4 or 2 bits."""
    usual = {n.name: "w8a8" for n in graph.nodes}
    return Probe(graph, samples, usual, np.zeros(1), lambda _: np.zeros(1), {"w8a8": 127, "w4a8": 7, "w2a8": 1})


def test_the_largest_eigenvalue_is_that_of_the_curvature() -> None:
    graph, x = two_layers(), np.random.default_rng(1).normal(0, 1, (24, 1, 8)).astype(np.float32)
    probe, unit = probed(graph, {"x": x}), units(graph)[0]
    w, v = (np.asarray(graph.tensors[n].data, np.float64) for n in "wv")
    power = (evaluate_float(graph, {"x": x})["y"].astype(np.float64) ** 2).sum()
    largest = np.linalg.eigvalsh(np.kron(v.T @ v, x[:, 0].T.astype(float) @ x[:, 0])).max() / power  # y = v w x
    found = float(MEASURES["eigenvalue"](probe, unit, "w4a8")[0])
    assert 0.8 * largest < found / probe.error(unit.nodes[0], w, "w4a8") < 1.01 * largest
    assert not MEASURES["eigenvalue"](probe, unit, "f16").any()
    tensors = {**graph.tensors, "p": Tensor("p", TensorType((1, 4)))}
    classes = Graph("g", (*graph.nodes, Node("classes", Softmax(), ("y",), ("p",))), tensors, ("x",), ("p",))  # judged before it
    same = MEASURES["eigenvalue"](probed(classes, {"x": x}), units(graph)[0], "w4a8")
    assert float(same[0]) == pytest.approx(found)


def test_ranks_and_errors_of_layers_are_those_of_their_formulas() -> None:
    graph, x = two_layers(), np.random.default_rng(1).normal(0, 1, (80, 1, 8)).astype(np.float32)
    probe, unit = probed(graph, {"x": x}), units(graph)[0]
    w = np.asarray(graph.tensors["w"].data, np.float64)
    far = (w > w.mean() + w.std()).mean()
    for storage, limit in (("w4a8", 7), ("w2a8", 1)):
        assert float(MEASURES["z-scores"](probe, unit, storage)[0]) == pytest.approx(far * (1 / limit**2 - 1 / 127**2), rel=1e-12)
        seen = x[:64, 0].astype(np.float64)  # the first 64 samples
        lost = [((seen @ (probe.rounded(unit.nodes[0], w, s) - w).T) ** 2).sum() for s in (storage, "w8a8")]
        assert float(MEASURES["layer-error"](probe, unit, storage)[0]) == pytest.approx(
            (lost[0] - lost[1]) / ((seen @ w.T) ** 2).sum(), rel=1e-4
        )
    for name in ("z-scores", "layer-error"):
        assert not MEASURES[name](probe, unit, "w8a8").any() and not MEASURES[name](probe, unit, "f16").any()


def test_the_largest_eigenvalue_is_refused_where_it_is_not_known() -> None:
    shapes = {"w": (8, 4), "r": (8, 2), "b": (8,)}
    rng = np.random.default_rng(0)
    tensors = {n: Tensor(n, TensorType(s), rng.normal(0, 1, s).astype(np.float32)) for n, s in shapes.items()}
    tensors |= {n: Tensor(n, TensorType(s)) for n, s in {"x": (3, 4), "y": (3, 2), "d": (1, 2)}.items()}
    tensors |= {n: Tensor(n, TensorType((1, 2)), np.zeros((1, 2), np.float32)) for n in ("h", "e")}
    cell = Node("cell", Lstm(), ("x", "w", "r", "b", "h", "e"), ("y", "d"))
    graph = Graph("g", (cell,), tensors, ("x",), ("y",))
    probe = probed(graph, {"x": rng.normal(0, 1, (4, 3, 4)).astype(np.float32)})
    with pytest.raises(EdgeqError, match=r"cell: the largest eigenvalue is not known here \(lstm is no plain product"):
        MEASURES["eigenvalue"](probe, Unit((cell,), ()), "w4a8")


def test_measures_foretell_that_fewer_bits_cost_more() -> None:
    graph, samples = two_layers(), {"x": np.random.default_rng(1).normal(0, 1, (96, 1, 8)).astype(np.float32)}
    probe = probed(graph, samples)
    for name in set(MEASURES) - {"output-noise"}:
        for unit in units(graph):
            four, two = (float(MEASURES[name](probe, unit, s)[0]) for s in ("w4a8", "w2a8"))
            assert 0 <= four < two, name
    w, unit = np.asarray(graph.tensors["w"].data, np.float64), units(graph)[0]
    rounded = probe.rounded(unit.nodes[0], w, "w2a8")
    assert float(MEASURES["zeros"](probe, unit, "w2a8")[0]) == pytest.approx(np.mean(rounded == 0), abs=0.03)
    h, lost = samples["x"][:64, 0] @ w.T, samples["x"][:64, 0] @ rounded.T
    assert float(MEASURES["layer-error"](probe, unit, "w2a8")[0]) == pytest.approx(((lost - h) ** 2).sum() / (h**2).sum(), rel=0.01)


def test_gradients_and_relevance_are_those_of_their_formulas() -> None:
    """y = v w x: the cross entropy with the likeliest class, and the mean largest output."""
    graph, x = two_layers(), np.random.default_rng(1).normal(0, 1, (40, 1, 8)).astype(np.float32)
    probe, unit = probed(graph, {"x": x}), units(graph)[0]
    w, v = (np.asarray(graph.tensors[n].data, np.float64) for n in "wv")
    seen = x[:32, 0].astype(np.float64)
    y = seen @ w.T @ v.T
    p = np.exp(y) / np.exp(y).sum(1, keepdims=True)
    largest = np.eye(4)[y.argmax(1)]
    slopes = [(g / 32 @ v).T @ seen for g in (p - largest, largest)]  # of w
    error = {s: ((slopes[0] * (probe.rounded(unit.nodes[0], w, s) - w)) ** 2).sum() for s in ("w2a8", "w8a8")}
    assert float(MEASURES["gradients"](probe, unit, "w2a8")[0]) == pytest.approx(error["w2a8"] - error["w8a8"], rel=1e-4)
    share = np.abs(w * slopes[1]).mean() * (1 - 1 / 127**2)
    assert float(MEASURES["relevance"](probe, unit, "w2a8")[0]) == pytest.approx(share, rel=1e-4)
    for name in ("gradients", "relevance"):
        with pytest.raises(EdgeqError, match=f"sensitivity {name} is not known here .the network has states"):
            MEASURES[name](probed(replace(graph, states=(("x", "y"),)), {"x": x}), unit, "w2a8")


def test_pairs_count_what_layers_do_together() -> None:
    """A layer's part of the square of both errors together; each is found beside the other in float."""
    graph, x = two_layers(), np.random.default_rng(1).normal(0, 1, (64, 1, 8)).astype(np.float32)
    probe = probed(graph, {"x": x})
    found = [float(MEASURES["pairs"](probe, u, "w2a8")[0]) for u in units(graph)]
    ends = {}
    for stored in ({}, {"w": "w2a8"}, {"v": "w2a8"}):
        tensors = dict(graph.tensors)
        for node, name in zip(graph.nodes, "wv", strict=True):
            w = np.asarray(graph.tensors[name].data, np.float64)
            tensors[name] = replace(tensors[name], data=probe.rounded(node, w, stored.get(name, "w8a8")).astype(np.float32))
        ends["".join(stored)] = evaluate_float(replace(graph, tensors=tensors), {"x": x})["y"].astype(np.float64)
    a, b, power = ends["w"] - ends[""], ends["v"] - ends[""], (ends[""] ** 2).sum()
    assert found == pytest.approx([max(0, (e * (a + b)).sum() / power) for e in (a, b)], rel=0.01)
    assert sum(found) == pytest.approx(((a + b) ** 2).sum() / power, rel=0.01)


def test_what_a_layer_changes_is_told_by_how_samples_resemble_each_other() -> None:
    x = np.random.default_rng(0).normal(0, 1, (50, 6))
    turned = np.linalg.qr(np.random.default_rng(1).normal(0, 1, (6, 6)))[0]
    alignment = MEASURES.module("input-change").alignment  # type: ignore[attr-defined]
    assert alignment(x, 3 * x @ turned + 5) == pytest.approx(1)
    assert alignment(x, np.random.default_rng(2).normal(0, 1, (50, 6))) < 0.3 and alignment(x, 0 * x) == 1


def test_a_layers_change_counts_by_the_square_of_a_step() -> None:
    graph, x = two_layers(), np.random.default_rng(1).normal(0, 1, (80, 1, 8)).astype(np.float32)
    probe, unit = probed(graph, {"x": x}), units(graph)[0]
    a = x[:64, 0].astype(np.float64)
    b = a @ np.asarray(graph.tensors["w"].data, np.float64).T
    a, b = a - a.mean(0), b - b.mean(0)
    alike = ((b.T @ a) ** 2).sum() / np.sqrt(((a.T @ a) ** 2).sum() * ((b.T @ b) ** 2).sum())
    assert 0.2 < alike < 0.9
    for stored, limit in (("w2a8", 1), ("w4a8", 7)):
        found = float(MEASURES["input-change"](probe, unit, stored)[0])
        assert found == pytest.approx((1 - alike) * (limit**-2 - 127**-2), rel=1e-4)


def test_gradients_of_one_number_are_those_of_half_its_power() -> None:
    w, x = np.random.default_rng(7).normal(0, 1, (1, 8)), np.random.default_rng(1).normal(0, 1, (40, 1, 8)).astype(np.float32)
    graph = dense(w.astype(np.float32))
    probe, (unit,) = probed(graph, {"x": x}), units(graph)
    w, seen = w.astype(np.float32).astype(np.float64), x[:32, 0].astype(np.float64)
    slope = (seen @ w.T).T @ seen / 32
    lost = [((slope * (probe.rounded(unit.nodes[0], w, s) - w)) ** 2).sum() for s in ("w2a8", "w8a8")]
    assert float(MEASURES["gradients"](probe, unit, "w2a8")[0]) == pytest.approx(lost[0] - lost[1], rel=1e-4)


def test_recipe_few_bits_takes_a_sensitivity() -> None:
    graph, samples = two_layers(), {"x": np.random.default_rng(1).normal(0, 1, (96, 1, 8)).astype(np.float32)}
    for name in MEASURES:
        record = api.quantize(graph, samples, recipe="few-bits", sensitivity=name, budget={"flash": 140}).record["allocation"]
        assert 0 < next(r["flash"] for r in record["pareto"] if r["chosen"]) <= 140


def test_recipe_auto_takes_a_sensitivity() -> None:
    graph, samples = two_layers(), {"x": np.random.default_rng(1).normal(0, 1, (96, 1, 8)).astype(np.float32)}
    for name in MEASURES:
        if getattr(MEASURES.module(name), "RANKS", False):  # type: ignore[attr-defined]
            with pytest.raises(EdgeqError, match=f"sensitivity {name} takes no drop in dB"):
                api.quantize(graph, samples, recipe="auto", sensitivity=name, budget={"drop": 24.0})
            api.quantize(graph, samples, recipe="auto", sensitivity=name, aim="noise", budget={"flash": 250})  # as the message says
            continue
        record = api.quantize(graph, samples, recipe="auto", sensitivity=name, budget={"drop": 24.0}).record["allocation"]
        assert record["sqnr_db"] >= 24
    assert USUAL in MEASURES
    with pytest.raises(EdgeqError, match="unknown sensitivity"):
        api.quantize(graph, samples, recipe="auto", sensitivity="none")


def test_recipe_w8a16() -> None:
    graph, samples = two_layers(), {"x": np.random.default_rng(1).normal(0, 1, (96, 1, 8)).astype(np.float32)}
    made = api.quantize(graph, samples, recipe="w8a16").graph
    assert made.type("w").dtype is made.type("v").dtype is DType.INT8 and made.type("h").dtype is made.type("y").dtype is DType.FLOAT16
    want = evaluate_float(graph, samples)["y"].astype(np.float64)
    got = real_array(simulate(made, samples).outputs["y"], made.type("y")).astype(np.float64)
    assert 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()) > 40
    assert PLAIN.rounding == NEAREST and INT8 not in {t.type.dtype.value for t in made.tensors.values() if not t.is_constant}


def test_easy_quant_counts_all_weights_but_one_in_a_hundred() -> None:
    w = np.random.default_rng(0).normal(size=(3, 400))
    w[0, 7], w[1, :20] = 100.0, 100.0  # one outlier; more than there may be
    plain, easy = (SCALES[n](w, (-7, 7), None) for n in ("mse", "easy-quant"))
    assert easy[0] < 0.1 * plain[0] and easy[1] == plain[1] and np.isclose(easy[2], plain[2], rtol=0.2)
    assert SCALES["easy-quant"](np.zeros((2, 5)), (-7, 7), None).tolist() == [0, 0]
