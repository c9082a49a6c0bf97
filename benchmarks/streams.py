"""Networks on a stream and on windows: ``python -m benchmarks.streams [--target cortex-m4] [--frames 3000] [MODEL...]``.

The wake word and keyword models of MLPerf Tiny and a causal TCN of random weights. Frames of noise run through an emulated chip; each
answer is compared, byte for byte, with the windowed network's answer on the same frames.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.bands import DATA, FILES, Net
from edgeq import target
from edgeq.api import load
from edgeq.api.layout import Layout
from edgeq.api.models import random_inputs
from edgeq.api.streaming import Streaming, streamed
from edgeq.emit import emit, write
from edgeq.files import temporary_folder
from edgeq.ir import Array, Graph
from edgeq.run import run
from edgeq.simulate import Run, simulate
from edgeq.streams import ANSWERS

PART = 500  # windows that are simulated at once


def tcn() -> Graph:
    """Eight dilated convolutions of 24 channels, which read zeros before a window of 128 frames; the last row answers."""
    net = Net("tcn", 1, 128, 1, 16)
    x = "x"
    for i in range(8):
        x = net.causal(x, 24, 2 ** (i // 2))
    return net.graph(net.last(x, 6))


def graphs(wanted: list[str]) -> list[Graph]:
    """The networks that are there."""
    files = {name: DATA / f"{FILES[name]}.tflite" for name in ("wake_word", "kws")}
    found = [replace(load(f), name=name) for name, f in files.items() if f.is_file() and (not wanted or name in wanted)]
    return found + ([tcn()] if not wanted or "tcn" in wanted else [])


def on_chip(graph: Graph, chip: target.Target, inputs: dict[str, Array]) -> tuple[Run, int, int]:
    """What an emulated chip gives, its arena and its state."""
    program, memory = Layout().of(graph, chip)
    emitted = emit(program, memory, "m")
    with temporary_folder() as work:
        folder = Path(work) / "m"
        write(emitted, folder)
        return run(folder, chip, inputs), emitted.manifest.arena_bytes, emitted.manifest.state_bytes


def answers(graph: Graph, frames: Array, ends: Array, axis: int) -> Array:
    """The windowed network's output on the windows that end there."""
    name, length = graph.given[0], graph.type(graph.given[0]).shape[axis]
    found = []
    for part in np.array_split(ends, max(1, -(-len(ends) // PART))):
        windows = np.stack([frames[e - length : e] for e in part])
        found.append(simulate(graph, {name: np.moveaxis(windows, 1, axis + 1)}).outputs[graph.results[0]])
    return np.concatenate(found)


def measure(graph: Graph, chip: target.Target, count: int) -> None:
    """Print the rows of a network: as it is, and with each answer."""
    name = graph.given[0]
    whole, arena, _ = on_chip(graph, chip, random_inputs(graph, 1))
    print(f"{graph.name:10} {'windows':8} {graph.macs():>10} MACs {whole.instructions or 0:>9} instructions, arena {arena}")
    for answer in ANSWERS:
        made = streamed(graph, Streaming(answer=answer))
        axis = made.axes[name]
        steps = count // made.hop
        given = random_inputs(made.graph, steps)
        frames = np.moveaxis(given[name], axis + 1, 1).reshape(-1, *np.delete(given[name].shape, [0, axis + 1]))
        result, arena, state = on_chip(made.graph, chip, given)
        ends = (np.arange(steps) + 1) * made.hop
        kept = np.flatnonzero((ends >= made.needed) & (ends >= made.window + made.lag))
        expected = answers(graph, frames, ends[kept] - made.lag, axis)
        alike = expected == result.outputs[graph.results[0]][kept]
        equal = int(alike.reshape(len(kept), -1).all(1).sum())
        print(
            f"{graph.name:10} {answer:8} {made.macs[0]:>10} MACs {result.instructions or 0:>9} instructions, arena {arena}, "
            f"state {state}, every {made.hop} frames: {equal} of {len(kept)} equal", flush=True,
        )  # fmt: skip
        if made.exact and equal < len(kept):
            sys.exit("they should be")
        if not made.padded:
            break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--frames", type=int, default=3000)
    given = parser.parse_args()
    for graph in graphs(given.models):
        measure(graph, target.load(given.target), given.frames)


if __name__ == "__main__":
    main()
