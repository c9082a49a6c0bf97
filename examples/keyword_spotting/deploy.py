"""Raw audio to answers: quantizes words.onnx, joins it with its front end, and puts both on emulated chips.

    python examples/keyword_spotting/deploy.py            # writes keyword_spotting/: one folder of C per chip

Prints the accuracy on the speakers held out, from raw audio: of the float pipeline (features and network in float) and of what the
chips compute, and per chip the instructions of a step, the RAM and whether every answer equals the simulator's byte for byte, read
from the emulator and over a serial line; and the latency of a step on a board with such a chip, at its clock, by the model of the core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from float_pipeline import log_mel
from numpy.typing import NDArray
from sounds import HELD_OUT, Clip, clips, placed

import edgeq
from edgeq import api, board, graphfile, target
from edgeq.build import build_firmware, toolchain
from edgeq.evaluate import evaluate
from edgeq.latency import latency
from edgeq.run.emulated import EmulatedBoard
from edgeq.run.ports import Port
from edgeq.simulate import simulate

HERE = Path(__file__).parent
CHIPS = {"cortex-m4": "nucleo-l4r5", "riscv": "riscv"}  # and a board, or the core alone where no clock of a board is known


def description(folder: Path, name: str, **changes: str | int) -> Path:
    """listen.toml with some keys changed."""
    lines = [line for line in (HERE / "listen.toml").read_text().splitlines() if line.split(" = ")[0] not in changes]
    path = folder / name
    path.write_text("\n".join([*lines, *(f"{k} = {v!r}" for k, v in changes.items())]).replace("'", '"') + "\n")
    return path


def float_scores(found: list[Clip]) -> NDArray[np.float32]:
    """Scores of features and network in float."""
    rows = log_mel([placed(c.samples) for c in found])
    graph = edgeq.load(HERE / "words.onnx")
    (given,), (result,) = graph.given, graph.results
    values = evaluate(graph, {given: rows.reshape(len(found), *graph.type(given).shape)}, lambda node, x: node.op.real_all(*x), False)
    return np.asarray(values[result])


def save_words(folder: Path, every: int = 4) -> None:
    """The network in int8, calibrated by a part of the clips of the speakers that trained it, as words.eqg."""
    samples = log_mel([placed(c.samples) for c in clips() if c.speaker not in HELD_OUT][::every])
    graphfile.save(edgeq.quantize(edgeq.load(HERE / "words.onnx"), samples).graph, folder / "words.eqg")


def exact(outcome: api.Outcome) -> bool:
    """Whether the chip's answers are the simulator's."""
    return outcome.comparison is not None and outcome.comparison.bit_exact


def over_the_link(folder: Path, chip: str, samples: NDArray[np.int16]) -> bool:
    """The same as firmware that is asked over a serial line, as a board is (docs/link.md); on a board that QEMU emulates."""
    machine = target.load(chip)
    elf = build_firmware(folder, machine, toolchain(machine), folder.with_suffix(".elf"), app="serve", optimize="-Os")
    with EmulatedBoard(elf, machine) as board:
        board.start()
        return exact(api.compare(folder, {"samples": samples}, port=Port(board.port, timeout=60)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("keyword_spotting"))
    parser.add_argument("--limit", type=int, default=None, help="of the clips held out")
    options = parser.parse_args()
    folder = options.output
    folder.mkdir(parents=True, exist_ok=True)
    held = [c for c in clips() if c.speaker in HELD_OUT]
    held = held if options.limit is None else held[:: max(1, len(held) // options.limit)]
    words = np.array([c.word for c in held])
    save_words(folder)
    right = float((float_scores(held).reshape(len(held), -1).argmax(1) == words).mean())
    print(f"float pipeline: {100 * right:.2f} % of {len(held)} clips of {', '.join(HELD_OUT)}")
    whole = edgeq.load(description(folder, "clip.toml", model="words.eqg", frames=64))
    samples = np.stack([placed(c.samples) for c in held])
    scores = simulate(whole, {"samples": samples}).outputs[whole.results[0]]
    right = float((scores.reshape(len(held), -1).argmax(1) == words).mean())
    print(f"from raw audio on the chip: {100 * right:.2f} %")
    steps = np.concatenate([samples[0], samples[len(held) // 2]]).reshape(-1, 16 * 128)
    stream = description(folder, "stream.toml", model="words.eqg", frames=16)
    for chip, place in CHIPS.items():
        built = edgeq.build(stream, target=chip, output=folder / chip)
        outcome = api.compare(folder / chip, {"samples": steps})
        if not exact(outcome):
            sys.exit(f"{chip} DIFFERS from the simulator")
        print(f"{chip}: {outcome.run.instructions} instructions a step of 256 ms, {built.manifest.arena_bytes} bytes of arena, "
              f"{built.manifest.state_bytes} of state; every step equals the simulator's")  # fmt: skip
        if place != chip:
            outcome = api.compare(edgeq.build(stream, target=place, output=folder / place).folder, {"samples": steps})
        if outcome.run.cycles is not None:
            print(f"{place}: cycles of such a step {latency(outcome.run.cycles, board.load(target.load(place)))}")
        if not over_the_link(folder / chip, chip, steps):
            sys.exit(f"{chip} over a serial line DIFFERS from the simulator")
        print(f"{chip} over a serial line: the same")


if __name__ == "__main__":
    main()
