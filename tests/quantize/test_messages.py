"""What quantization says, and where the limits lie at which it says it."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_graphs import PLAIN, Floats, dense, load_labelled, load_samples, numbers
from test_allocate import chain, problem

from edgeq.errors import EdgeqError
from edgeq.ir import Graph
from edgeq.ops.add import Add, Sub
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.mul import Mul
from edgeq.quantize import decide, diagnose, quantize, read_precision
from edgeq.quantize.allocate import NOISE, Allocator, Goal
from edgeq.quantize.channels import check, scalable
from edgeq.quantize.classes import names_of
from edgeq.quantize.diagnosis import BINS, PERFECT, Histogram, TensorStats
from edgeq.quantize.enough import advise
from edgeq.quantize.images import Pixels, real_samples
from edgeq.quantize.masks import _scaled
from edgeq.quantize.noise import GOOD, reason

RNG = np.random.default_rng(4)


def test_a_histogram_has_a_sixteenth_of_room_on_either_side() -> None:
    found = Histogram(np.array([-1.0, 3.0]), np.array([0.0]))
    assert found.ends == (-1.25, 3.25) and len(found.real) == len(found.stored) == BINS == 64
    found.add(np.array([-9.0, -1.25, 3.2, 3.25, np.inf, np.nan]), np.array([1.0]))
    assert (found.real[0], found.real[63], found.real.sum()) == (2, 3, 5) and found.stored[32] == 1
    assert Histogram(np.array([4.0]), np.array([4.0])).ends == (3.75, 4.25)
    assert Histogram(np.zeros(1), np.zeros(1)).ends == Histogram(np.array([np.nan]), np.zeros(0)).ends == (-1.0, 1.0)


def stats(**own: object) -> TensorStats:
    x = np.ones((2, 1, 2), np.float32)
    (first, *_) = diagnose(dense(np.eye(2)), quantize(dense(np.eye(2)), {"x": x}, PLAIN), {"x": x})
    return replace(first, **own)  # type: ignore[arg-type]


def test_signal_and_error_of_nothing() -> None:
    x = np.zeros((3, 1, 2), np.float32)
    graph = dense(np.eye(2))
    assert {t.sqnr_db for t in diagnose(graph, quantize(graph, {"x": x}, PLAIN), {"x": x})} == {PERFECT}
    moved = quantize(graph, {"x": x + 1}, PLAIN)
    bias = moved.nodes[0].inputs[2]
    data = np.asarray(moved.tensors[bias].data) + 5000
    wrong = replace(moved, tensors={**moved.tensors, bias: replace(moved.tensors[bias], data=data)})
    assert {t.name: t.sqnr_db for t in diagnose(graph, wrong, {"x": x})} == {"x": PERFECT, "y": 0.0}, "an error and no signal"


def test_reasons_of_noise() -> None:
    quiet = stats(name="a", op="input", sqnr_db=40.0, own_sqnr_db=40.0)
    bad = stats(name="b", op="conv2d", sqnr_db=20.0, own_sqnr_db=GOOD, saturation=0.0)
    assert reason([quiet, bad], {"b"}) == "2 roundings of 32 dB in turn: below 25 dB after 2, at 'b' (conv2d)"
    bad = replace(bad, own_sqnr_db=GOOD - 0.5)
    assert reason([quiet, bad], {"b"}) == "'b' (conv2d) itself keeps 24 dB"
    assert reason([quiet, replace(bad, saturation=0.02)], {"b"}).endswith(", 2 % of its values are beyond what calibration saw")
    assert reason([quiet, replace(bad, sqnr_db=GOOD)], {"b"}) == reason([quiet, bad], {"a"}) == ""
    moved = replace(bad, name="c", op="reshape", own_sqnr_db=20.0)  # it rounds nothing itself
    assert reason([quiet, replace(bad, own_sqnr_db=30.0), moved], {"c"}).startswith("2 roundings of 35 dB")


@pytest.mark.parametrize(("vectors", "said"), [(1, False), (2, True), (63, True), (64, False)])
def test_few_samples_are_told(vectors: int, said: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="edgeq"):
        advise(dense(np.eye(2)), vectors)
    assert ("are few: ranges are widened" in caplog.text) == said


@pytest.mark.parametrize(("columns", "vectors", "said"), [(127, 1, False), (128, 63, True), (128, 64, False), (300, 149, True)])
def test_layers_with_more_weights_than_rows_are_told(columns: int, vectors: int, said: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="edgeq"):
        advise(dense(np.ones((3, columns))), vectors)
    assert (f"few for 'y': an output has more weights than it sees inputs. Fix: calibrate with {columns} or more" in caplog.text) == said


def test_pixels_without_mean_and_deviation_are_plain() -> None:
    assert Pixels(0, 1, (0.0,), (1.0,)).plain
    assert not Pixels(0, 1, (0.5,), (1.0,)).plain and not Pixels(0, 1, (0.0,), (0.5,)).plain


def test_classes() -> None:
    assert numbers(["b", "a", "b"], None, "").tolist() == [1, 0, 1]
    assert numbers([str(i) for i in range(10)], None, "").tolist() == list(range(10))
    with pytest.raises(EdgeqError, match=r"order of the classes is not clear.*as text '10' comes before '2'"):
        numbers([str(i) for i in range(1, 11)], None, "")
    assert numbers(["10", "2", "x"], None, "").tolist() == [0, 1, 2], "not all are numbers"
    assert numbers(["2", "10"], ["2", "10", "x"], "").tolist() == [0, 1]
    with pytest.raises(EdgeqError, match="'c' is no class"):
        numbers(["a", "c"], ["a", "b"], "")
    assert names_of(" a, b ,,c") == ("a", "b", "c")
    with pytest.raises(EdgeqError, match="a class is named twice"):
        names_of("a,b,a")


def test_a_limit_of_samples(tmp_path: Path) -> None:
    graph, x = dense(np.eye(2)), np.arange(20, dtype=np.float32).reshape(10, 2)
    np.savez(tmp_path / "x.npz", x=x)
    for limit, rows in ((None, range(10)), (10, range(10)), (11, range(10)), (4, (0, 2, 5, 7)), (1, (0,))):
        assert load_samples(tmp_path / "x.npz", graph, limit=limit)["x"][:, 0, 0].tolist() == [2 * r for r in rows], limit
    with pytest.raises(EdgeqError, match="a limit of 0 samples"):
        load_samples(tmp_path / "x.npz", graph, limit=0)
    (tmp_path / "lines.csv").write_text("a,b,y\n1,2,one\n3,4,two\n5,6,one\n")
    samples, labels = load_labelled(tmp_path / "lines.csv", graph, limit=2)
    assert samples["x"].reshape(-1).tolist() == [1, 2, 3, 4] and labels.tolist() == [0, 1]
    with pytest.raises(EdgeqError, match=r"no calibration data.*it does not exist"):
        load_samples(tmp_path / "absent.npz", graph)
    (tmp_path / "x.txt").write_text("1, 2")
    with pytest.raises(EdgeqError, match=r"no calibration data.*'.txt' is not a format"):
        load_samples(tmp_path / "x.txt", graph)


def test_exponents_must_be_alike() -> None:
    b = Floats()
    h = b.layer(Conv2d(), b.input(1, 4, 4, 3), RNG.normal(0, 1, (4, 1, 1, 3)), name="h")
    g = b.layer(Conv2d(), h, RNG.normal(0, 1, (4, 1, 1, 4)), name="g")
    k = b.layer(Conv2d(), h, RNG.normal(0, 1, (4, 1, 1, 4)), name="k")
    graph = b.graph(b.layer(Conv2d(), b.op(Add(), g, k, name="s"), RNG.normal(0, 1, (2, 1, 1, 4)), name="y"))
    assert [sorted(group.tensors) for group in scalable(graph)] == [["h"], ["g", "k", "s"]]
    some, other = np.array([0, -1, -2, 0]), np.array([0, -1, -2, -3])
    check(graph, {"h": other, "g": some, "k": some, "s": some})
    for wrong in ({"g": some, "k": some, "s": other}, {"g": some, "s": some}):
        with pytest.raises(EdgeqError, match="must be equalized alike"):
            check(graph, wrong)
    with pytest.raises(EdgeqError, match=r"x.*cannot be scaled"):
        check(graph, {"x": np.zeros(3, np.int64)})


@pytest.mark.parametrize(("op", "first", "value", "ends"), [
    (Mul(), False, 4.0, (-0.25, 0.5)), (Mul(), True, -2.0, (-1.0, 0.5)), (Add(), False, 3.0, (-4.0, -1.0)), (Sub(), False, 3.0, (2.0, 5.0)),
    (Sub(), True, 3.0, (1.0, 4.0)), (Mul(), False, 1e9, (-np.inf, np.inf)),
])  # fmt: skip
def test_limits_go_back_through_one_number(op: Add | Mul, first: bool, value: float, ends: tuple[float, float]) -> None:
    b = Floats()
    pair = [b.input(1, 3), b.const(np.full((1, 3), value))]
    graph = b.graph(b.op(op, *pair[:: -1 if first else 1], name="y"))
    assert _scaled(graph, graph.nodes[0], (-1.0, 2.0))[1 if first else 0] == pytest.approx(ends)
    several = graph.tensors[pair[1]].data
    assert several is not None
    several[0, 1] += 1
    assert _scaled(graph, graph.nodes[0], (-1.0, 2.0)) == [(-np.inf, np.inf)] * 2


def test_the_front_ends_with_the_quietest() -> None:
    """Nothing on it is beaten, points are half a decibel apart, and where the first goal has no answer there is none."""
    allocator = Allocator(problem(chain()))
    front = allocator.front()
    assert all(b.sqnr_db >= a.sqnr_db + 0.5 - 1e-6 for a, b in itertools.pairwise(front))
    quietest = allocator.solve(Goal(aim=NOISE))
    assert quietest is not None and front[-1].sqnr_db == quietest.sqnr_db == pytest.approx(150.0)
    assert len({tuple(sorted(p.chosen.items())) for p in front}) == len(front) > 3
    assert not any(b.flash <= a.flash and b.instructions <= a.instructions for a, b in itertools.pairwise(front))


def test_tensors_of_a_file_are_stored_in_what_they_can_be() -> None:
    graph = dense(np.eye(2))
    text = 'format = 1\n[tensors.y]\nscale = 0.5\nzero_point = 0\ndtype = "int32"\n'
    with pytest.raises(EdgeqError, match="'y' is stored in int8 or int16"):
        read_precision(text, graph, "p.toml")


@pytest.mark.parametrize("value", ["true", "1.5", "128", "-129", '"1"'])
def test_whole_numbers_of_a_file(value: str) -> None:
    text = f"format = 1\n[tensors.y]\nscale = 0.5\nzero_point = {value}\n"
    with pytest.raises(EdgeqError, match="a whole number from -128 to 127 is expected"):
        read_precision(text, dense(np.eye(2)), "p.toml")
    for right in (-128, 127):
        found = read_precision(text.replace(value, str(right)), dense(np.eye(2)), "p.toml").tensors["y"].scale
        assert found == (0.5, right)


def test_one_mean_for_all_needs_no_picture() -> None:
    graph, x = dense(np.eye(2)), np.array([[0, 255], [51, 102]], np.uint8)
    found = real_samples(graph, {"x": x}, Pixels(0, 2, (0.5,), (0.25,)))["x"]
    np.testing.assert_allclose(found, (x / 255 * 2 - 0.5) / 0.25, rtol=1e-6)
    for mean, std in (((0.5, 0.5), (0.25,)), ((0.5,), (0.25, 0.25))):
        with pytest.raises(EdgeqError):
            real_samples(graph, {"x": x}, Pixels(0, 2, mean, std))


def test_every_tensor_has_a_type_of_its_own() -> None:
    """Behind one that holds whole numbers, too."""
    graph: Graph = dense(np.eye(2))
    found = decide(graph, {"x": np.ones((4, 1, 2), np.float32)}, PLAIN).precision.tensors
    assert list(found) == ["x", "y"]
