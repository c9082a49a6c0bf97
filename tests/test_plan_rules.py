"""Rules of the planner as formulas: how work and tables are cut, what lies where, and what a way costs by the figures of a core."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import test_cluster
import test_stage
from random_graphs import Builder

from edgeq import target
from edgeq.ir import Graph
from edgeq.lower import lower
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.plan import plan, room, shares, stage
from edgeq.plan.room import Flash, gaps

HOST = target.load("host")


@pytest.mark.parametrize(("count", "parts", "unit"), [(10, 4, 1), (3, 4, 1), (1, 8, 1), (72, 4, 16), (17, 3, 16), (16, 4, 16), (9, 2, 2)])
def test_cuts_are_even_and_cover_all(count: int, parts: int, unit: int) -> None:
    found = shares._cuts(count, parts, unit)
    assert [b for _, b in found[:-1]] == [a for a, _ in found[1:]] and (found[0][0], found[-1][1]) == (0, count)
    sizes = [-(-b // unit) - a // unit for a, b in found]
    assert len(found) == min(parts, -(-count // unit)) and max(sizes) - min(sizes) <= 1 and min(sizes) > 0
    assert all(a % unit == 0 for a, _ in found)


def test_tables_lie_one_behind_the_other_in_a_buffer() -> None:
    found, end = shares._placed({"a": (9, 1), "b": (16, 0), "c": (1, 4)})
    assert found == {"a": (0, 1), "b": (16, 0), "c": (32, 4)} and end == 40


def test_calls_are_divided_where_that_is_worth_it() -> None:
    """800 multiply-accumulates, or elements; never one of any number of operands."""

    def parts(graph: Graph, cores: int = 4) -> list[int]:
        return [max(1, len(c.shares)) for c in shares.spread(lower(graph, HOST), cores).calls]

    for rows, divided in ((99, False), (100, True)):
        b = Builder(1, "single")
        assert (parts(b.graph(b.conv(b.input(1, rows, 1, 2), 4, 1))) == [4]) == divided, rows
    b = Builder(2, "single")
    x = b.input(1, 40, 10, 4)
    b.tensors["x1"] = replace(b.tensors[x], name="x1")
    b.inputs.append("x1")
    graph = b.graph(b.node(Concat(3), x, "x1"))
    assert parts(graph) == [1] and parts(graph, 1) == [1]


@pytest.mark.parametrize("cores", [2, 3, 8])
def test_the_way_with_the_least_tallest_share_is_taken(cores: int) -> None:
    program = lower(test_cluster.model(2), HOST)
    for call in program.calls:
        ways = list(shares._ways(program, call, cores, 0))
        for way in ways:
            assert 1 / cores <= way.slowest <= 1
            sizes = ("out_h", "out_w", "out_c")
            macs = [float(np.prod([int(s.params.scalars[k]) for k in sizes if k in s.params.scalars])) for s in way.shares]
            assert way.slowest == pytest.approx(max(macs) / sum(macs), rel=1e-9), call.node.name
        taken = shares._spread(program, call, cores, 0)
        assert len(taken.shares) == (len(min(ways, key=lambda w: w.slowest).shares) if ways else 0)


def test_reading_weights_from_flash() -> None:
    """Two rows that fit in the cache beside a channel's constants wait once; others wait for every three pixels, copies once more."""
    flash = Flash(line=16, lines=10, wait=5.0, copying=20.0)
    assert flash.cycles(128, 7, 0) == 8 * 5.0 and flash.cycles(144, 7, 0) == 9 * 5.0 * 7
    assert flash.cycles(144, 7, 1) == 9 * 5.0 + 4.5 * 20.0


def test_gaps_are_what_no_tensor_takes_while_a_call_runs() -> None:
    program = lower(test_cluster.model(3), HOST)
    memory = replace(plan(program), arena_bytes=plan(program).arena_bytes + 40)
    for i in range(len(program.calls)):
        taken = np.zeros(memory.arena_bytes, bool)
        for name, (first, last) in memory.lifetimes.items():
            if first <= i <= last:
                taken[memory.offsets[name] :][: program.room(name)] = True
        found = list(gaps(program, memory, i))
        for at, size in found:
            assert not taken[at : at + size].any() and at % memory.alignment == 0 and size > 0
            assert at + size == memory.arena_bytes or taken[at + size]
        left = sum(size for _, size in found)
        assert 0 <= (~taken).sum() - left < memory.alignment * (len(found) + len(memory.lifetimes))


@pytest.mark.parametrize("weights", room.WEIGHTS_IN)
def test_scratch_grows_to_what_there_is_room_for(weights: str) -> None:
    """By as many pixels as fit; rows are copied where reading them again costs more."""
    machine = target.load("nucleo-l4r5")
    b = Builder(4, "tflm", clamps=False)
    program = lower(b.graph(b.conv(b.input(1, 9, 9, 16), 24, 3, pads=(1, 1, 1, 1))), machine)
    (call,) = (c for c in program.calls if c.kernel.takes_room(c.params))
    flash = room._flash(machine, weights)
    assert (flash.wait > 0) == (weights != "ram") and flash.copies == (weights == "auto")
    need = [call.kernel.scratch_bytes(room._with(call.params, {"triples": k, "copied": 0})) for k in range(1, 28)]
    row = call.kernel.scratch_bytes(room._with(call.params, {"triples": 1, "copied": 1})) - need[0]
    step = need[1] - need[0]
    assert row == 2 * 9 * 16 * call.params.tables["weights"].itemsize and set(np.diff(need)) == {step}
    for space in (need[0], need[1] - 1, need[1], need[4] + 1, need[1] + row, need[6] + row - 1, need[26], 10**6):
        grown = room._with(call.params, room._grown(call, space, flash))
        fitting = [(k, c) for k, c in itertools.product(range(1, 28), (0, 1)) if need[k - 1] + c * row <= space]
        fitting = [(k, c) for k, c in fitting if not c or (weights == "auto" and k > 1)]
        cost = {(k, c): flash.cycles(row, k, c) / k for k, c in fitting}
        assert call.kernel.scratch_bytes(grown) <= space
        assert cost[grown.triples, grown.copied] == pytest.approx(min(cost.values())), space
        assert grown.triples == max(k for k, c in fitting if c == grown.copied)


def test_ways_to_decode_by_tiles() -> None:
    """Each costs what its parts do: weights decoded, inputs read again, outputs stored again, calls; and takes what lies in its scratch."""
    b = Builder(4, "single")
    x = b.conv(b.input(1, 6, 8, 8), 24, 1)
    graph = b.graph(b.conv(b.conv(x, 24, 1), 16, 3))
    program = lower(test_stage.narrowed(graph, test_stage.INT4), HOST)
    _, call, third = program.calls
    ways = list(stage._tilings(program, call, 1000, 50))
    assert {(w.call.tiled.rows, w.call.tiled.pixels) for w in ways} == set(itertools.product((4, 8, 12), (48, 24, 16, 12)))  # type: ignore[union-attr]
    for way in ways:
        made, form = way.call, way.call.tiled
        assert form is not None
        tiles, turns, copied = 24 // form.rows, -(-48 // form.pixels), form.source >= 0
        want = 1.5 * 24 * 24 * (turns if copied else 1) + 200.0 * tiles * turns + 1.2 * 24 * 48 * (tiles - 1) + 3.0 * 48 * 24
        assert way.cost == pytest.approx(want + (48 * 24 if copied else 0)), form
        assert way.bytes == 1000 + made.scratch + (0 if copied else 50)
        assert form.result >= form.source + (form.pixels * 24 if copied else 0) and made.scratch >= form.result + form.pixels * form.rows
        assert made.inplace == (call.inplace if copied else ())
        assert (form.pixels == 48) <= (not copied)
    for way in stage._tilings(program, third, 0, 0):
        tiles = 16 // way.call.tiled.rows  # type: ignore[union-attr]
        again = (3.0 + 80.0 / (3 * 24)) * 9 * 24 * (4 * 6) * (tiles - 1)
        assert way.cost == pytest.approx(1.5 * 9 * 24 * 16 + 200.0 * tiles + again + 3.0 * 24 * 16)


def test_every_kind_of_work_is_divided_in_two() -> None:
    """Rows, pixels, channels and rows of the input of a dense layer; into one part none is."""
    b = Builder(5, "single")
    x = b.conv(b.conv(b.input(1, 6, 4, 8), 16, 3), 16, 1)
    program = lower(b.graph(b.conv(x, 32, 4, pads=(0, 1, 0, 1))), HOST)
    d = Builder(6, "single")
    rows = lower(d.graph(d.dense(d.input(4, 40), 32)), HOST)
    e = Builder(7, "single")
    row = lower(e.graph(e.dense(e.input(1, 40), 32)), HOST)
    first, point, whole = program.calls
    assert program.graph.type(whole.output).shape == (1, 1, 1, 32)
    for make, one, call in (
        (shares._by_rows, program, first), (shares._by_pixels, program, point), (shares._by_channels, program, whole),
        (shares._by_channels, row, row.calls[0]), (shares._by_batches, rows, rows.calls[0]),
    ):  # fmt: skip
        (way, *_) = make(one, call, 2, 0)
        assert len(way.shares) == 2 and way.slowest == 0.5, make.__name__
        assert list(make(one, call, 1, 0)) == []


def test_an_output_of_one_pixel_is_a_vector_of_channels() -> None:
    for groups, size, found in ((1, 3, True), (2, 3, False), (1, 4, False)):
        b = Builder(8, "single")
        x = b.input(1, size, 3, 8)
        y = b.linear(Conv2d(groups=groups), x, (16, 3, 3, 8 // groups), 0, 0.0)
        (call,) = lower(b.graph(y), HOST).calls
        axis = shares._axis(call)
        assert (axis is not None) == found, (groups, size)
        assert axis is None or (axis.count, axis.rows, axis.moved) == (16, 1, (1,))


@pytest.mark.parametrize(
    ("close", "scratch", "trails", "takes", "apart"),
    [
        (700, (40, 41), True, True, False),  # an eighth less: worth it
        (701, (40, 41), True, True, True),
        (800, (40, 41), True, True, True),
        (800, (40, 40), True, True, False),  # nothing is lost
        (800, (41, 40), True, True, False),
        (800, (40, 41), False, True, False),  # nothing trails
        (800, (40, 41), True, False, False),  # no kernel takes room
    ],
)
def test_results_trail_where_scratch_is_not_lost_or_an_eighth_is_saved(
    close: int, scratch: tuple[int, int], trails: bool, takes: bool, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = (SimpleNamespace(arena_bytes=n, trails=t) for n, t in ((close, {"a": 1} if trails else {}), (800, {})))
    kernel = SimpleNamespace(takes_room=lambda params: takes)
    program = SimpleNamespace(calls=[SimpleNamespace(kernel=kernel, params=None)])
    monkeypatch.setattr(room, "plan", lambda program, trailing=True: near if trailing else far)

    def filled(program: object, memory: object) -> tuple[SimpleNamespace, object]:
        taken = scratch[memory is far]
        return SimpleNamespace(calls=[SimpleNamespace(scratch=taken - 1), SimpleNamespace(scratch=1)]), memory

    monkeypatch.setattr(room, "filled", filled)
    assert room.roomiest(program) is (far if apart else near)  # type: ignore[arg-type, comparison-overlap]
