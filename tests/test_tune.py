"""Tuning: every candidate is measured, the cheapest is built, and a file that does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from random_graphs import Builder

from edgeq import api, kernels
from edgeq.errors import EdgeqError
from edgeq.ir import Graph
from edgeq.lower import lower, request
from edgeq.ops.add import Add
from edgeq.target import load
from edgeq.tune import costs

KEY = "cortex-m3 zig Os"


def network() -> Graph:
    """Two convolutions, the second one with an addition."""
    b = Builder(5, "single", clamps=False)
    x = b.input(1, 5, 4, 8)
    y = b.conv(x, 6, 3, pads=(1, 1, 1, 1))
    return b.graph(b.add(b.conv(y, 8, 3, pads=(1, 1, 1, 1)), x))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> api.Tuned:
    return api.tune(network(), output=tmp_path_factory.mktemp("tune") / "t.json", target="cortex-m3")


def test_every_candidate_is_measured_and_the_cheapest_is_chosen(tuned: api.Tuned) -> None:
    graph, chip = network(), load("cortex-m3")
    known = costs.read(tuned.path).known(KEY)
    choices = costs.read(tuned.path).choices(KEY)
    for node in graph.nodes:
        wanted = request(graph, node)
        names = {k.name for k in kernels.candidates(*wanted, chip.isa)}
        found = known.get(kernels.cost_key(*wanted), {})
        assert (set(found) == names) if len(names) > 1 and not isinstance(node.op, Add) else not found  # it may be part of a convolution
        assert not found or choices[kernels.cost_key(*wanted)] == min(found, key=lambda k: found[k])
    assert tuned.key == KEY and tuned.unit == "cycles" and tuned.measured == len(known) >= 2


def test_a_build_takes_the_chosen_kernels_and_the_measured_cycles(tuned: api.Tuned, tmp_path: Path) -> None:
    """By a file in which the dearest kernels are free."""
    known = costs.read(tuned.path).known(KEY)
    dearest = {signature: max(found, key=lambda k: found[k]) for signature, found in known.items()}
    path = tmp_path / "t.json"
    costs.write(costs.Tuning({KEY: {s: {**known[s], kernel: 0} for s, kernel in dearest.items()}}), path)
    graph = network()
    builds = [api.build(graph, output=tmp_path / n, target="cortex-m3", tuning=t) for n, t in (("best", tuned.path), ("dear", path))]
    spent = [b.measured.runs["unicorn"].cycles for b in builds]
    counts = [c.total for c in spent if c is not None]
    wanted = [kernels.cost_key(*request(graph, n)) for n in graph.nodes if n.name in tuned.layers]
    assert {s.kernel for s in builds[1].manifest.steps} >= {dearest[s] for s in wanted}
    more = sum(known[s][dearest[s]] - min(known[s].values()) for s in wanted)
    assert more > 0.1 * counts[0] and abs(counts[1] - counts[0] - more) <= 0.02 * counts[0]


def test_what_the_file_knows_is_not_measured_again(tuned: api.Tuned) -> None:
    before = tuned.path.read_bytes()
    again = api.tune(network(), output=tuned.path, target="cortex-m3")
    assert again.measured == 0 and again.layers == tuned.layers and tuned.path.read_bytes() == before


def test_other_options_are_refused(tuned: api.Tuned, tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match=r"knows nothing of cortex-m3 zig O3.*run `edgeq tune`"):
        api.build(network(), output=tmp_path / "m", target="cortex-m3", optimize="3", tuning=tuned.path)
    assert not (tmp_path / "m").exists()


def test_a_kernel_that_is_gone_is_refused(tuned: api.Tuned) -> None:
    graph, chip = network(), load("cortex-m3")
    choices = dict.fromkeys(costs.read(tuned.path).choices(KEY), "conv2d_of_old")
    with pytest.raises(EdgeqError, match="conv2d_of_old, which does not apply"):
        lower(graph, chip, choices)


KERNELS = ("{}", '{"a": -1}', '{"a": true}')
BODIES = ("", "[]", "{}", '{"format": 1, "costs": {}}', *(f'{{"format": 2, "costs": {{"k": {{"s": {k}}}}}}}' for k in KERNELS))


@pytest.mark.parametrize("text", BODIES)
def test_a_damaged_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(EdgeqError, match=r"tuning file.*edgeq tune"):
        costs.read(path)


def test_the_host_counts_no_instructions(tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match="counts no instructions"):
        api.tune(network(), output=tmp_path / "t.json", target="host")
    assert not (tmp_path / "t.json").exists()


def test_the_file_is_the_same_each_time(tuned: api.Tuned, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    costs.write(costs.read(tuned.path), path)
    assert path.read_bytes() == tuned.path.read_bytes() and set(json.loads(path.read_text())) == {"format", "costs"}
