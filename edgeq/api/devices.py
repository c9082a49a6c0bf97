"""Where many vectors are evaluated: the simulator's bytes, from the emitted C on all cores or from the GPU's kernels."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgeq import target as targets
from edgeq.api.building import artifact
from edgeq.api.models import Progress, stage
from edgeq.build import toolchain
from edgeq.emit import write
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.simulate import Run, simulate

DEVICES = ("cpu", "gpu", "interpreter")
WORTH = 3e9  # multiplications that the simulator takes longer for than a compiler
SAMPLE = 16
LOG = logging.getLogger("edgeq")


def evaluate(device: str, graph: Graph, inputs: Mapping[str, Array], progress: Progress | None = None) -> Run:
    """Run fitted vectors on a device.

    Args:
        device: ``cpu``: the emitted C by the kernels for this computer's vectors, on all cores. ``gpu``: Triton kernels (see
            `edgeq.run.gpu`). ``interpreter``: the same kernels interpreted on the CPU, slowly, to try them without a GPU.
        inputs: as `fit_inputs` returns them.

    Raises:
        EdgeqError: there is no such device, or a step has no kernel there.
    """
    if device not in DEVICES:
        raise EdgeqError(f"there is no device '{device}'", fix=f"choose one of {', '.join(DEVICES)}")
    if device != "cpu":
        from edgeq.run import gpu

        return gpu.run(lower(graph, targets.load("host")), inputs, device=device, progress=stage(progress, device))
    from edgeq.run import host as runner

    with temporary_folder() as work:
        folder = Path(work) / "model"
        write(artifact(graph, targets.load("native"), graph.name), folder)
        return runner.run(folder, inputs, threads=os.cpu_count() or 1)


def simulated(graph: Graph, inputs: Mapping[str, Array], progress: Progress | None = None) -> Mapping[str, Array]:
    """The simulator's outputs. Where there is much to compute, those of the emitted C on this computer, which it is trusted with after it
    has given the simulator's bytes for the first `SAMPLE` vectors.

    Args:
        inputs: as `fit_inputs` returns them.
    """
    vectors = len(next(iter(inputs.values())))
    tell = stage(progress, "simulate")
    if graph.macs() * vectors < WORTH or vectors <= SAMPLE or not installed():
        return simulate(graph, inputs, progress=tell).outputs
    expected = simulate(graph, {n: a[:SAMPLE] for n, a in inputs.items()}).outputs
    found = evaluate("cpu", graph, inputs, progress).outputs
    if all(np.array_equal(found[n][:SAMPLE], a) for n, a in expected.items()):
        return found
    LOG.warning("the C on this computer gives other bytes than the simulator, which is used instead: please report it")
    return simulate(graph, inputs, progress=tell).outputs


def installed() -> bool:
    """Whether there is a compiler for this computer."""
    try:
        toolchain(targets.load("native"))
    except EdgeqError:
        return False
    return True
