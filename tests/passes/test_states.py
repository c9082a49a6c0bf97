"""Which inputs and outputs are taken for states: by their names, by the file, by hand; and streams without memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType, check
from edgeq.ops.add import Add
from edgeq.ops.concat import Concat
from edgeq.passes import declare_states
from edgeq.simulate import simulate


def stream(before: str, after: str, *, size: int = 4, given: bool = True, output: bool = True, states: bool = False) -> Graph:
    """`after` is the sum of the input x (where `given`) and `before`; y is twice that (where `output`)."""
    q = QParams((0.5,), 7)
    kind = TensorType((1, 4), DType.INT8, q)
    tensors = {n: Tensor(n, kind) for n in ("x", before, "y")} | {after: Tensor(after, replace(kind, shape=(1, size)))}
    x = "x" if given else before
    nodes = [Node("n0", Add(), (x, before), (after,))] if size == 4 else [Node("n0", Add(), (x, before), ("s",))]
    if size != 4:
        tensors["s"] = Tensor("s", kind)
        nodes.append(Node("n2", Concat(axis=1), ("s", "s"), (after,)))
    last = after if size == 4 else "s"
    nodes.append(Node("n1", Add(), (last, last), ("y",)))
    inputs, outputs = (["x"] if given else []) + [before], (["y"] if output else []) + [after]
    used = nodes if output else nodes[:-1]
    g = Graph("g", (), tensors, tuple(inputs), tuple(outputs), "single", ((before, after),) if states else ()).with_nodes(used)
    return check(g, "test")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("state", "stateN"), ("hidden", "hidden_n"), ("Cell", "Cell_next"), ("cell", "cell_out"), ("my_state", "my_state_new"),
        ("rnn_state_in", "rnn_state_out"), ("in_state", "out_state"), ("state.in.1", "state.out.1"),
        ("h0", "hn"), ("c", "cn"), ("h_0", "h_n"), ("h_in", "h_out"), ("past.0.key", "present.0.key"), ("past_0", "present_0"),
        ("past_key_values.0.key", "present.0.key"), ("past_key_values.1.value", "present_key_values.1.value"),
        ("cached_avg_3", "new_cached_avg_3"), ("in_cache0", "out_cache0"), ("conv_cache", "conv_cache_out"), ("prev_hidden", "next_hidden"),
    ],
)  # fmt: skip
def test_names_tell_a_state(before: str, after: str) -> None:
    assert declare_states(stream(before, after)).states == ((before, after),)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("memory", "memory_out"), ("state", "state_y"), ("sin_state", "sout_state"), ("stain", "staout"), ("a_in", "a_out"), ("state", "N"),
        ("height", "heightn"),
    ],
)  # fmt: skip
def test_other_names_do_not(before: str, after: str) -> None:
    assert declare_states(stream(before, after)).states == ()


def test_a_pair_of_two_shapes_is_no_state() -> None:
    assert declare_states(stream("state", "stateN", size=8)).states == ()
    with pytest.raises(EdgeqError, match="both must be alike"):
        g = stream("state", "stateN", size=8)
        wide = Tensor("stateN", replace(g.type("stateN"), shape=(2, 8)))
        declare_states(replace(g, tensors={**g.tensors, "stateN": wide}), {"state": "stateN"})


def test_a_cache_that_grows_keeps_its_end() -> None:
    """Of eight numbers that follow four of a state the last four; the whole is no result any more."""
    g = check(declare_states(stream("past", "present", size=8), {"past": "present"}), "test")
    ((before, after),) = g.states
    assert before == "past" and g.type(after).shape == (1, 4) and g.results == ("y",)
    x = np.random.default_rng(0).integers(-30, 30, (6, 1, 4)).astype(np.int8)
    want = simulate(declare_states(stream("past", "present"), {"past": "present"}), {"x": x}).outputs["y"]
    np.testing.assert_array_equal(simulate(g, {"x": x}).outputs["y"], want)


def test_something_is_left_for_the_caller() -> None:
    """Names alone do not take the only input or output away; who asks for it is told."""
    for g in (stream("state", "stateN", given=False), stream("state", "stateN", output=False)):
        assert declare_states(g) is g
        with pytest.raises(EdgeqError, match="no input or no output is left"):
            declare_states(g, {"state": "stateN"})


def test_wrong_pairs_are_refused() -> None:
    g = stream("a", "b")
    for pair in ({"a": "c"}, {"c": "b"}, {"b": "a"}):
        with pytest.raises(EdgeqError, match="no input and output of the model"):
            declare_states(g, pair)
    with pytest.raises(EdgeqError, match="two states have one output"):
        declare_states(g, {"a": "b", "x": "b"})


def test_without_states_every_inference_begins_with_zero() -> None:
    g = declare_states(stream("state", "stateN"))
    bare = declare_states(replace(g), {})
    assert bare.states == () and bare.inputs == ("x",) and bare.outputs == ("y",)
    x = np.random.default_rng(0).integers(-128, 128, (5, 1, 4)).astype(np.int8)
    want = np.concatenate([simulate(g, {"x": x[i : i + 1]}).outputs["y"] for i in range(5)])
    assert np.array_equal(simulate(bare, {"x": x}).outputs["y"], want)
    assert not np.array_equal(simulate(g, {"x": x}).outputs["y"], want)
