"""Where many vectors are evaluated: the simulator's bytes, from the emitted C on all cores or from the GPU's kernels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgeq import target as targets
from edgeq.api.building import artifact
from edgeq.api.models import Progress, stage
from edgeq.emit import write
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.simulate import Run

DEVICES = ("cpu", "gpu", "interpreter")


def evaluate(device: str, graph: Graph, inputs: Mapping[str, Array], progress: Progress | None = None) -> Run:
    """Run fitted vectors on a device.

    Args:
        device: ``cpu``: the emitted C, compiled for this computer, on all cores. ``gpu``: Triton kernels (see `edgeq.run.gpu`).
            ``interpreter``: the same kernels interpreted on the CPU, slowly, to try them without a GPU.
        inputs: as `fit_inputs` returns them.

    Raises:
        EdgeqError: there is no such device, or a step has no kernel there.
    """
    if device not in DEVICES:
        raise EdgeqError(f"there is no device '{device}'", fix=f"choose one of {', '.join(DEVICES)}")
    host = targets.load("host")
    if device != "cpu":
        from edgeq.run import gpu

        return gpu.run(lower(graph, host), inputs, device=device, progress=stage(progress, device))
    from edgeq.run import host as runner

    with temporary_folder() as work:
        folder = Path(work) / "model"
        write(artifact(graph, host, graph.name), folder)
        return runner.run(folder, inputs, threads=os.cpu_count() or 1)
