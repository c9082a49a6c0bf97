"""Random graphs in bands of rows on a target: ``python -m tests.band_sweep [-t cortex-m4] [--seeds 0:75] [--half]``.

Each is cut into bands at random paces, and planned within the least memory; both run on the target's first runner, one vector, and every
tensor that is whole, and the outputs, are compared with the simulator's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from band_graphs import band_graph, halved, inputs
from test_bands import cut

from edgeq import target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.files import temporary_folder
from edgeq.lower import lower
from edgeq.plan import plan
from edgeq.plan.fit import fitted
from edgeq.run import run
from edgeq.simulate import simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-t", "--target", default="cortex-m4")
    parser.add_argument("--seeds", default="0:75", help="first:end")
    parser.add_argument("--half", action="store_true", help="in half precision")
    options = parser.parse_args()
    chip, (first, end) = target.load(options.target), map(int, options.seeds.split(":"))
    banded = 0
    for seed in range(first, end):
        graph = band_graph(seed, ("single", "tflm")[seed % 2])
        graph = halved(graph) if options.half else graph
        x, program = inputs(graph, seed, 1), lower(graph, chip)
        expected = simulate(graph, x, steps=True)
        for made in (cut(program, seed), fitted(program, None)[0]):
            banded += bool(made.bands)
            with temporary_folder() as work:
                write(emit(made, plan(made), "m"), Path(work) / "m")
                found = compare(expected, run(Path(work) / "m", chip, x, steps=True)).difference
            if found is not None:
                sys.exit(f"seed {seed}: {found}")
    print(f"{options.target}: {2 * (end - first)} programs, {banded} with bands: equal to the simulator")


if __name__ == "__main__":
    main()
