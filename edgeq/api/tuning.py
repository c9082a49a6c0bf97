"""Tune: measure the candidate kernels of a model's layers on the emulator, for builds to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from edgeq import target as targets
from edgeq.api import keywords
from edgeq.api.building import LEVELS, OPTIMIZE
from edgeq.api.calibration import calibration_samples
from edgeq.api.models import Progress, random_inputs, stage
from edgeq.api.quantizing import goal_of, quantized
from edgeq.api.recipe import Recipe, read
from edgeq.build import check_level
from edgeq.build import toolchain as find_toolchain
from edgeq.errors import EdgeqError
from edgeq.ir import Graph
from edgeq.kernels import cost_key, select
from edgeq.lower import lower, request
from edgeq.simulate import fit_inputs
from edgeq.target import Target
from edgeq.tune import costs as files
from edgeq.tune.costs import Costs, Tuning, key_of
from edgeq.tune.kernels import measure
from edgeq.tune.measure import unit


@dataclass(frozen=True)
class Tuned:
    """What `tune` found.

    Attributes:
        path: the tuning file.
        key: target, tool chain and optimization level.
        layers: node -> (kernel chosen without tuning, kernel chosen by it, costs of both); those with a choice alone.
        measured: how many signatures were measured now; the others were in the file.
        unit: of the costs: cycles, or instructions where the core has no model of cycles.
    """

    path: Path
    key: str
    layers: Mapping[str, tuple[str, str, int, int]]
    measured: int
    unit: str = "instructions"

    @property
    def saved(self) -> int:
        """In that unit per inference."""
        return sum(before - after for _, _, before, after in self.layers.values())


@keywords.verb
def tune(
    model: str | Path | Graph,
    *,
    output: str | Path,
    target: str,
    toolchain: str | None = None,
    optimize: str = OPTIMIZE,
    progress: Progress | None = None,
    budget: Mapping[str, float] | None = None,
    **recipe: Unpack[Recipe],
) -> Tuned:
    """Measure every candidate kernel of every layer on the target's emulator and note the costs in a tuning file.

    Args:
        model: a model file, a graph file, an emitted folder, or a graph. A float one is quantized first.
        output: the tuning file; one that exists is extended, and what it knows is not measured again.
        target: a chip or board.
        toolchain: ``zig`` (default), ``gcc`` or ``clang``.
        optimize: ``s``, ``2`` or ``3``: the level that builds will use.
        budget: of recipe ``auto``, see `quantizing.goal_of`.
        recipe: how a float model is quantized, see `Recipe`.

    Raises:
        EdgeqError: the target counts no instructions, a tool is missing, or a kernel is wrong.
    """
    chip, path = targets.load(target), Path(output)
    check_level(optimize, LEVELS)
    if chip.runners[0] == "host":
        raise EdgeqError(f"target {target} counts no instructions", fix="choose a chip, see `edgeq targets`")
    chain = find_toolchain(chip, toolchain)
    source = read(model, recipe)
    goal = goal_of(budget, target, recipe.get("recipe"), chain.name, optimize)
    graph = quantized(source, calibration_samples(source, recipe), recipe, progress, goal).graph
    tuning, key = files.read(path) if path.exists() else Tuning(), key_of(target, chain.name, optimize)
    inputs = fit_inputs(graph, random_inputs(graph, 1))
    found = measure(
        graph, chip, inputs, toolchain=chain.name, optimize=optimize, known=tuning.known(key), progress=stage(progress, "measure")
    )
    tuning = tuning.updated(key, found)
    files.write(tuning, path)
    return Tuned(path, key, _layers(graph, chip, tuning.known(key), tuning.choices(key)), len(found), unit(chip))


def _layers(graph: Graph, chip: Target, costs: Costs, choices: Mapping[str, str]) -> dict[str, tuple[str, str, int, int]]:
    """Per node with a choice: kernels and costs without and with the tuning."""
    steps = {call.node.name for call in lower(graph, chip).calls}
    rows = {}
    for node in (n for n in graph.nodes if n.name in steps):
        wanted = request(graph, node)
        found = costs.get(cost_key(*wanted))
        if found:
            plain, chosen = select(node.name, *wanted, chip).name, choices[cost_key(*wanted)]
            rows[node.name] = (plain, chosen, found[plain], found[chosen])
    return rows
