"""Random networks on streams against the windowed networks: ``python -m tests.stream_sweep 0 300``."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from band_graphs import band_graph

from edgeq.api import streaming
from edgeq.streams import stream


def sweep(first: int, last: int) -> Counter[str]:
    """Every seed along rows and along columns, with the fewest new frames a step and with twice as many."""
    counts: Counter[str] = Counter()
    for seed in range(first, last):
        graph = band_graph(seed, ("single", "tflm")[seed % 2])
        for axis in (1, 2):
            hop = stream(graph, {"x0": axis}).hop
            for new in (hop, 2 * hop):
                made = stream(graph, {"x0": axis}, new)
                found = streaming.difference(graph, made, None)
                less = made.macs[0] < made.macs[1]
                counts += Counter(streams=1, answers=found.answers, equal=found.equal, padded=bool(made.padded), with_less_work=less)
    return counts


if __name__ == "__main__":
    print(dict(sweep(*map(int, sys.argv[1:3]))))
