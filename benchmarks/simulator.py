"""How fast the simulator and the C on this computer are: 1000 inferences of the keyword-spotting model, steps not kept.

python -m benchmarks.simulator        writes simulator.md
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import models
from edgeq import api
from edgeq.build import build_library, toolchain
from edgeq.emit import emit, write
from edgeq.files import temporary_folder
from edgeq.ir import Graph
from edgeq.lower import lower
from edgeq.plan import plan
from edgeq.run.layout import Layout
from edgeq.simulate import fit_inputs
from edgeq.target import load

INFERENCES = 1000


def compiled(graph: Graph, inputs: dict[str, NDArray[Any]], name: str) -> float:
    """Inferences per second of processor time of the C for a target, in the quickest of five runs."""
    target = load(name)
    program = lower(graph, target)
    artifact = emit(program, plan(program), "m")
    layout = Layout(artifact.manifest)
    count, packed = layout.pack(fit_inputs(graph, inputs))
    arena, out = np.zeros(layout.arena_bytes + 16, np.uint8), np.zeros((count, layout.output_bytes), np.uint8)
    with temporary_folder() as work:
        write(artifact, Path(work) / "m")
        path = build_library(Path(work) / "m", Path(work) / "m.so", target, toolchain(target), hook=False)
        library = ctypes.CDLL(str(path))
        library.eq_host_run.restype = None
        pointers, spent = [ctypes.c_void_p(a.ctypes.data) for a in (arena, packed, out)], []
        for _ in range(5):
            start = time.process_time()
            library.eq_host_run(ctypes.c_int32(count), *pointers, None)
            spent.append(time.process_time() - start)
    return count / min(spent)


def main() -> None:
    graph = models.mlperf("kws")
    if graph is None:
        sys.exit("no data folder (set EDGEQ_DATA)")
    x = np.load(models.DATA / "mlperf_tiny" / "kws01_dev.npz")["x"]
    inputs = {graph.inputs[0]: np.resize(x, (INFERENCES, *x.shape[1:]))}
    api.simulate(graph, {graph.inputs[0]: x[:1]})
    spent = []
    for _ in range(5):
        start, processor = time.perf_counter(), time.process_time()
        api.simulate(graph, inputs)
        spent.append((time.process_time() - processor, time.perf_counter() - start))
    cpu, wall = min(spent)
    rates = {name: compiled(graph, inputs, name) for name in ("host", "native")}
    text = (
        f"# The speed of simulator and C on this computer\n\n{INFERENCES} inferences of the keyword-spotting model ({graph.macs():,} MACs "
        f"each) took the simulator, in the quickest of five runs, {wall:.1f} s ({cpu:.1f} s of processor time, {os.cpu_count()} cores).\n\n"
        "| | inferences per second of processor time |\n|---|--:|\n"
        f"| simulator | {INFERENCES / cpu:.0f} |\n| C of target `host`, portable kernels, Zig -O2 | {rates['host']:.0f} |\n"
        f"| C of target `native`, kernels for AVX2, Zig -O2 | {rates['native']:.0f} |\n\n"
        "Regenerate with `python -m benchmarks.simulator`.\n"
    )
    print(text, end="")
    (Path(__file__).parent / "simulator.md").write_text(text)


if __name__ == "__main__":
    main()
