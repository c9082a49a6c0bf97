"""The keyword transformer in int8 and mixed precision, and on emulated chips.

    python examples/keyword_transformer/deploy.py           # writes keyword_transformer/: one folder of C per chip

Prints the accuracy on the speakers held out, in float and of what the chips compute, and per chip the instructions of a clip, the RAM and
whether every answer equals the simulator's byte for byte.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edgeq
from edgeq import api
from edgeq.quantize import evaluate_float
from edgeq.simulate import simulate

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "keyword_spotting"))
from float_pipeline import log_mel  # noqa: E402
from sounds import HELD_OUT, Clip, clips, placed  # noqa: E402

CHIPS = ("cortex-m4", "riscv")


def features(found: list[Clip]) -> NDArray[np.float32]:
    """Decibels ``[N, 1, frames, bands]``."""
    return log_mel([placed(c.samples) for c in found])


def accuracy(scores: NDArray[np.generic], words: NDArray[np.int64]) -> float:
    """Per cent of clips whose largest score is that of their word."""
    return 100 * float((scores.reshape(len(words), -1).argmax(1) == words).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("keyword_transformer"))
    parser.add_argument("--limit", type=int, default=None, help="of the clips held out")
    options = parser.parse_args()
    held = [c for c in clips() if c.speaker in HELD_OUT]
    held = held if options.limit is None else held[:: max(1, len(held) // options.limit)]
    words, x = np.array([c.word for c in held]), features(held)
    samples = features([c for c in clips() if c.speaker not in HELD_OUT][::15])
    graph = edgeq.load(HERE / "words.onnx")
    right = accuracy(evaluate_float(graph, {graph.given[0]: x})[graph.results[0]], words)
    print(f"float: {right:.2f} % of {len(held)} clips of {', '.join(HELD_OUT)}", flush=True)
    int8 = edgeq.quantize(graph, samples).graph
    mixed = edgeq.quantize(graph, samples, recipe="mixed").graph
    for name, quantized in (("int8", int8), ("mixed", mixed)):
        scores = simulate(quantized, {quantized.given[0]: x}).outputs[quantized.results[0]]
        print(f"{name}: {accuracy(scores, words):.2f} %", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    for chip in CHIPS:
        built = edgeq.build(int8, target=chip, output=options.output / chip)
        outcome = api.compare(built.folder, {int8.given[0]: x[:: max(1, len(x) // 8)]})
        if outcome.comparison is None or not outcome.comparison.bit_exact:
            sys.exit(f"{chip} DIFFERS from the simulator")
        print(f"{chip}: {outcome.run.instructions} instructions a clip, {built.manifest.arena_bytes} bytes of arena, "
              f"{built.manifest.weight_bytes} of weights; every answer equals the simulator's", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
