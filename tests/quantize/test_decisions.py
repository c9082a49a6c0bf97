"""What is decided before anything is rounded: whose scale a tensor takes, what somebody wrote down, which samples are walked through."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from float_graphs import PLAIN, Floats, dense, hidden

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.activations import LeakyRelu, Sigmoid
from edgeq.ops.clamp import Clamp
from edgeq.ops.fake_quantize import FakeQuantize
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.lookup import Lookup
from edgeq.ops.reshape import Reshape
from edgeq.quantize import Options, calibrate, data_free, dequantized, quantize, walk
from edgeq.quantize.allocate import noise_of
from edgeq.quantize.calibrate import TensorRange, advise
from edgeq.quantize.calibrate import grid as calibrate_grid
from edgeq.quantize.changes import changes, halved
from edgeq.quantize.channels import scalable
from edgeq.quantize.constraints import demanded, given_scales, indices
from edgeq.quantize.decide import Decision, decide
from edgeq.quantize.plan import LayerPrecision, Precision, TensorPrecision
from edgeq.quantize.precision_toml import read_precision

GIVEN = (0.25, 3)
X = np.random.default_rng(5).normal(0, 1, (90, 1, 6)).astype(np.float32)


def borne() -> Graph:
    """x -> q, a scale of the file -> r, the same -> y; x -> s, a sigmoid -> z."""
    b = Floats()
    x = b.input(1, 6)
    q = b.op(FakeQuantize(scale=GIVEN[0], zero_point=GIVEN[1]), x, name="q")
    r = b.op(Reshape((6, 1)), q, name="r")
    return b.graph(b.op(LeakyRelu(alpha=0.5), r, name="y"), b.op(LeakyRelu(alpha=0.5), b.op(Sigmoid(), x, name="s"), name="z"))


def test_scales_of_the_file_are_told_from_those_of_operators() -> None:
    graph = borne()
    assert given_scales(graph) and not given_scales(hidden((1, 6)))
    tensors = decide(graph, {"x": X}, PLAIN).precision.tensors
    assert {n: tensors[n].method for n in "qrs"} == {"q": "given", "r": "given", "s": "fixed"}
    assert tensors["q"].scale == tensors["r"].scale == GIVEN and tensors["s"].scale == (1 / 256, -128)


def test_what_is_cut_off_has_the_scale_of_what_is_left_unless_two_scales_meet() -> None:
    b = Floats()
    s = b.op(Sigmoid(), b.input(1, 6), name="s")
    met = demanded(b.graph(b.op(FakeQuantize(scale=0.25), s, name="q")), "single", saturating=True)
    assert met.find("s") != met.find("q")
    b = Floats()
    h = b.op(LeakyRelu(alpha=0.5), b.input(1, 6), name="h")
    joined = demanded(b.graph(b.op(Clamp((-0.5, 0.5)), h, name="c")), "single", saturating=True)
    assert joined.find("h") == joined.find("c")


def test_a_method_of_a_tensors_own_chooses_its_range() -> None:
    graph = hidden((1, 6))
    x = X.repeat(100, 0)
    x[0, 0, 0] = 40.0
    own = decide(graph, {"x": x}, precision=Precision(method="minmax", tensors={"h": TensorPrecision(None, "percentile")}))
    usual, other = (decide(graph, {"x": x}, replace(PLAIN, method=m)).precision.tensors["h"] for m in ("minmax", "percentile"))
    assert own.precision.tensors["h"].scale == other.scale != usual.scale
    assert own.precision.tensors["h"].method == "percentile" and own.precision.method == "minmax"


def test_what_is_written_down_is_not_prepared_again() -> None:
    """Scales are those of channels as they were, so that no channel may be scaled then."""
    b = Floats()
    w = np.eye(6) * np.array([1, 1, 1, 1, 1, 64])[:, None]
    h = b.layer(FullyConnected(), b.input(1, 6), w, name="h")
    graph = b.graph(b.layer(FullyConnected(), h, np.ones((2, 6)), name="y"))
    equalizing = replace(PLAIN, equalize=True)
    assert decide(graph, {"x": X}, equalizing).precision.tensors["h"].exponents
    kept = decide(graph, {"x": X}, equalizing, Precision(tensors={"h": TensorPrecision((0.5, 7))})).precision.tensors["h"]
    assert kept.scale == (0.5, 7) and not kept.exponents


def chain(*widths: int) -> Graph:
    """Dense layers d0, d1, ... between so many numbers."""
    b, rng = Floats(), np.random.default_rng(3)
    h = b.input(1, widths[0])
    for i, (k, o) in enumerate(itertools.pairwise(widths)):
        h = b.layer(FullyConnected(), h, rng.normal(0, 1, (o, k)), name=f"d{i}")
    return b.graph(h)


def formats(graph: Graph, options: Options, precision: Precision | None = None, nodes: dict[str, str] | None = None) -> list[str]:
    x = np.random.default_rng(5).normal(0, 1, (90, *graph.type("x").shape)).astype(np.float32)
    return [p.weights for p in decide(graph, {"x": x}, options, precision, nodes=nodes).precision.layers.values()]


def test_small_layers_keep_eight_bits() -> None:
    """As many of the smallest as hold at most 6 % of all weights."""
    options = replace(PLAIN, weights="int4")
    graph = chain(6, 2, 12, 48)  # 12 + 24 of 612 weights are 5.9 %
    assert formats(graph, options) == ["int8", "int8", "int4"] and formats(graph, replace(options, weights="int2"))[2] == "int2"
    assert formats(chain(6, 2, 12, 46), options) == ["int8", "int4", "int4"], "36 of 588 are 6.1 %, 12 alone 2 %"
    assert formats(chain(48, 12, 2, 6), options) == ["int4", "int8", "int8"], "wherever they are"
    assert formats(graph, replace(options, keep_small=False)) == ["int4"] * 3
    assert formats(graph, replace(options, weights="int8")) == ["int8"] * 3
    written = Precision(layers={"d0": LayerPrecision("mse", "nearest", False, "int4")})
    assert formats(graph, options, written) == ["int4", "int8", "int4"], "what is written down stays, and does not count"
    halves = {"d0": "int8", "d1": "int8", "d2": "float16"}
    assert formats(graph, options, nodes=halves) == ["int4", "int4"], "nor do weights in half precision"


def test_channels_that_never_vary_do_not_count() -> None:
    """They are dropped with their weights: of 16 outputs of the large layers one is left."""
    b, rng = Floats(), np.random.default_rng(3)
    dead = np.where(np.arange(16) > 0, -1e3, 1e2)
    h = b.layer(FullyConnected(), b.input(1, 2), rng.normal(0, 1, (2, 2)), name="d0")
    for name, k in (("d1", 2), ("d2", 16)):
        h = b.layer(FullyConnected(clamp=(0.0, np.inf)), h, rng.random((16, k)), dead, name=name)
    graph = b.graph(b.layer(FullyConnected(), h, rng.normal(0, 1, (40, 16)), name="d3"))
    assert 4 < 0.06 * (4 + 32 + 256 + 640) and 4 > 0.06 * (4 + 2 + 1 + 40)
    assert formats(graph, replace(PLAIN, weights="int4")) == ["int4", "int4", "int8", "int4"], "1 of 47, of 3 with the next"


def test_layers_that_share_weights_keep_their_bits_together() -> None:
    b, rng = Floats(), np.random.default_rng(3)
    w, zero = b.const(rng.normal(0, 1, (4, 4))), b.const(np.zeros(4))
    h = b.op(FullyConnected(), b.op(FullyConnected(), b.input(1, 4), w, zero, name="d0"), w, zero, name="d1")
    graph = b.graph(b.layer(FullyConnected(), h, rng.normal(0, 1, (64, 4)), name="d2"))
    assert formats(graph, replace(PLAIN, weights="int4")) == ["int8", "int8", "int4"], "16 of 272, once"


def decided(precision: Precision) -> Decision:
    return decide(hidden((1, 6)), {"x": X}, precision=precision)


def test_only_what_became_something_else_is_listed() -> None:
    given = Precision(tensors={"h": TensorPrecision((0.5, 7)), "y": TensorPrecision(None, "mse")})
    assert changes(given, decided(given)) == []
    elsewhere = replace(given, tensors={**given.tensors, "h": TensorPrecision((0.5, 9))})
    assert changes(elsewhere, decided(given)) == ["- tensors.h: scale 0.5, zero point 9", "+ tensors.h: scale 0.5, zero point 7"]
    scaled = replace(given, tensors={"h": TensorPrecision((0.5, 7), exponents=(1, 0))})
    assert changes(scaled, decided(given)) == ["- tensors.h: scale 0.5, zero point 7, equalized", "+ tensors.h: scale 0.5, zero point 7"]
    layer = replace(given, layers={"gone": LayerPrecision("mse", "nearest", False, "int4")})
    assert changes(layer, decided(given)) == ["- layers.gone: int4", "+ layers.gone: float16"]
    assert halved(given) == ["- tensors.h: int8", "+ tensors.h: float16", "- tensors.y: int8", "+ tensors.y: float16"]


PRECISION = """format = 1
[calibration]
method = "mse"

[tensors."h"] # [1, 6]
scale = 0.5
zero_point = 0
method = "edited"
dtype = "int8"

[tensors."y"]
method = "kl"
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('"kl"', '"best"', 12),  # a key whose name other tables have, too
        ('"edited"', '"best"', 8),
        ('"mse"', '"best"', 3),
        ("= 0.5", "= 0.5\nzero = 1", 7),  # no such key
        ("scale = 0.5\n", "", 5),  # a key that is missing: its table
        ('method = "mse"', "'method' = \"best\"", 2),  # a key in other quotes: its table
        ('"y"', '"z"', 11),  # a table
        ("format = 1", "format = 2", 1),
        ("zero_point = 0", "zero_point = 0\nequalize = 3", 8),
        ("zero_point = 0", "zero_point = 0\nrange = [-64, 63.506]", 8),  # more than a hundredth of a step away
    ],
)
def test_a_mistake_has_the_line_of_its_key(old: str, new: str, line: int) -> None:
    text = PRECISION.replace(old, new)
    assert text != PRECISION
    with pytest.raises(EdgeqError) as e:
        read_precision(text, hidden((1, 6)), "p.toml")
    assert e.value.where == f"p.toml:{line}"


@pytest.mark.parametrize(("memory", "kept"), [(3 * 8 * 8, [0, 3, 6]), (3 * 8 * 8 - 1, [0, 5]), (1, [0]), (10**9, list(range(10)))])
def test_as_many_samples_are_walked_through_as_memory_holds(memory: int, kept: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the two tensors of four values that live at once, eight bytes a value; evenly spread."""
    monkeypatch.setattr(walk, "MEMORY", memory)
    samples: dict[str, Array] = {"x": np.arange(40, dtype=np.float32).reshape(10, 1, 4)}
    assert walk._subset(hidden((1, 4)), samples)["x"][:, 0, 0].tolist() == [4.0 * i for i in kept]


def test_a_layer_has_a_scale_per_channel_unless_one_is_asked_for() -> None:
    w = np.array([[1, 0.5], [4, 2]], np.float32)
    for asked, scales in ((PLAIN, 2), (replace(PLAIN, per_tensor=True), 1)):
        graph = quantize(dense(w), calibrate(dense(w), {"x": X[:, :, :2]}, "minmax"), asked)
        q = graph.tensors[graph.nodes[0].inputs[1]].type.q
        assert q is not None and len(set(q.scale)) == scales


def test_weights_on_a_grid_keep_it_where_the_file_gives_scales() -> None:
    w = np.array([[127, -3, 8, 1, 0, 5], [9, -127, 4, 0, 2, 1]])
    for factor, scale in ((0.01, "stored"), (np.sqrt(np.arange(1.0, 13)).reshape(2, 6), "max")):
        b = Floats()
        q = b.op(FakeQuantize(scale=0.25), b.input(1, 6), name="q")
        graph = b.graph(b.layer(FullyConnected(), q, w * factor, [0.3, 0.7], name="y"))
        assert decide(graph, {"x": X}, PLAIN).precision.layers["y"].weight_scale == scale
        assert decide(dense(w * factor), {"x": X}, PLAIN).precision.layers["y"].weight_scale == "max"


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(251, 255, False), (251.01, 255, True), (-255, -251, False), (-255, -251.01, True), (-1, 254, False), (3, 3, True)],
)
def test_tensors_that_span_less_than_four_steps_are_told_of(low: float, high: float, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    graph = hidden((1, 6))
    advise(graph, {"h": TensorRange(low, high, "mse", (low, high))})
    assert bool(caplog.records) == told and all("'h'" in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(100, 255, -128), (100, 256, None), (-255, -100, 127), (-256, -100, None), (-128, 127, 0), (-100, 155, -28), (0, 255, -128)],
)
def test_steps_are_kept_that_256_integers_hold(low: int, high: int, found: int | None) -> None:
    values = np.arange(low, high + 1) * 0.5
    assert calibrate_grid(values, np.ones(len(values), np.int64)) == (None if found is None else (0.5, found))


def test_layers_that_share_weights_are_not_scaled() -> None:
    """Whatever other constants are theirs alone."""
    b = Floats()
    w = b.const(np.eye(6))
    a, c = (b.op(FullyConnected(), x, w, b.const(np.zeros(6))) for x in (b.input(1, 6), b.input(1, 6)))
    shared = b.graph(*(b.layer(FullyConnected(), t, np.ones((2, 6))) for t in (a, c)))
    assert scalable(shared) == []
    b = Floats()
    alone = b.graph(b.layer(FullyConnected(), b.layer(FullyConnected(), b.input(1, 6), np.eye(6), name="h"), np.ones((2, 6))))
    assert [g.tensors for g in scalable(alone)] == [("h",)]


def test_constants_of_a_quantized_graph_are_their_real_values() -> None:
    """A bias has the scale of input and weights; an integer that is no bias its own."""
    w = np.array([[1, 0.5], [-4, 2]], np.float32)
    quantized = quantize(dense(w, [0.25, -3]), {"x": X[:, :, :2]}, PLAIN)
    node = quantized.nodes[0]
    real = dequantized(quantized)
    q, bias = (quantized.tensors[n] for n in node.inputs[1:])
    scales = np.array(q.type.q.scale)  # type: ignore[union-attr]
    assert q.data is not None and bias.data is not None
    assert np.array_equal(real.tensors[node.inputs[1]].data, (q.data * scales[:, None]).astype(np.float32))  # type: ignore[arg-type]
    sums = quantized.type("x").scale * scales
    assert np.array_equal(real.tensors[node.inputs[2]].data, (bias.data * sums).astype(np.float32))  # type: ignore[arg-type]
    integers = Tensor("c", TensorType((4,), DType.INT32, QParams((0.5,), 1)), np.array([1, 3, 5, 9], np.int32))
    moved = Tensor("y", TensorType((2, 2), DType.INT32, QParams((0.5,), 1)))
    other = Graph("g", (Node("y", Reshape((2, 2)), ("c",), ("y",)),), {"c": integers, "y": moved}, (), ("y",))
    assert dequantized(other).tensors["c"].data.tolist() == [0, 1, 2, 4]  # type: ignore[union-attr]


def test_neighbours_lie_along_long_axes() -> None:
    assert data_free._axes((3, 8, 7, 40)) == [2, 4] and data_free._spans((3, 8, 7, 40)) == [1, 2, 4, 8, 16, 32, 64]


def test_a_range_may_be_written_to_a_hundredth_of_a_step() -> None:
    text = PRECISION.replace("zero_point = 0", "zero_point = 0\nrange = [-64.004, 63.504]")
    assert read_precision(text, hidden((1, 6))).tensors["h"].scale == (0.5, 0)


def test_positions_are_whole_numbers() -> None:
    b = Floats()
    table = b.const(np.ones((7, 3)))
    moved = b.op(Reshape((2, 2)), b.input(1, 4, name="i"), name="r")
    graph = b.graph(b.op(Lookup(), moved, table, name="y"))
    assert indices(graph, "single") == {"i", "r"} and indices(hidden((1, 6)), "single") == frozenset()


def test_noise_is_relative_to_the_signal() -> None:
    got, real = {"a": np.array([0.1, 0.4]), "b": np.ones(2)}, {"a": np.array([0.2, 0.4]), "b": np.zeros(2)}
    assert noise_of(got, real)[0] == pytest.approx(0.05) and noise_of(got, real)[1] == pytest.approx(2e30)
