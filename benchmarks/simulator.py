"""How fast the simulator is: 1000 inferences of the keyword-spotting model, steps not kept.

    python -m benchmarks.simulator        writes simulator.md
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import models
from edgeq import api

INFERENCES = 1000


def main() -> None:
    graph = models.mlperf("kws")
    if graph is None:
        sys.exit("no data folder (set EDGEQ_DATA)")
    x = np.load(models.DATA / "mlperf_tiny" / "kws01_dev.npz")["x"]
    inputs = {graph.inputs[0]: np.resize(x, (INFERENCES, *x.shape[1:]))}
    api.simulate(graph, {graph.inputs[0]: x[:1]})
    start, processor = time.perf_counter(), time.process_time()
    api.simulate(graph, inputs)
    wall, cpu = time.perf_counter() - start, time.process_time() - processor
    text = (
        f"# The simulator's speed\n\n{INFERENCES} inferences of the keyword-spotting model ({graph.macs():,} MACs each) took {wall:.1f} s "
        f"({cpu:.1f} s of processor time, {os.cpu_count()} cores).\nRegenerate with `python -m benchmarks.simulator`.\n"
    )
    print(text, end="")
    (Path(__file__).parent / "simulator.md").write_text(text)


if __name__ == "__main__":
    main()
