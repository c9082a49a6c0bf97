"""Sound in, results out: a .wav file through a front end and a network on a stream, on an emulated chip, with a result per step.

    python examples/listen/listen.py                            # beeps that the script makes itself
    python examples/listen/listen.py recording.wav -t riscv     # 8 kHz, one channel, 16 bits; spoken digits

The network of examples/keyword_spotting looks at a window of 64 frames; `stream="time"` makes a step of it that takes 8 new ones.
"""

from __future__ import annotations

import argparse
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edgeq
from edgeq import api

HERE = Path(__file__).parent
WORDS = HERE.parent / "keyword_spotting"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE, FRAMES, HOP = 8000, 64, 8
STEP = HOP * 128  # samples


def beeps(path: Path) -> Path:
    """A recording of three seconds: a tone each second, noise between them."""
    t = np.arange(3 * RATE) / RATE
    tone = 8000 * np.sin(2 * np.pi * (300 + 400 * np.floor(t)) * t) * (t % 1 < 0.4)
    samples = (tone + np.random.default_rng(1).normal(0, 100, len(t))).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


def windows(sound: Path) -> NDArray[np.float32]:
    """Features ``[N, 1, FRAMES, bands]`` of windows of the recording, to calibrate by."""
    rows = api.sound_features(WORDS / "listen.toml", sound)
    rows = np.concatenate([np.repeat(rows[:1], FRAMES, 0), rows])
    return np.stack([rows[at : at + FRAMES] for at in range(0, len(rows) - FRAMES + 1, HOP)])[:, None]


def listening(sound: Path, chip: str, folder: Path) -> api.Built:
    """The front end and the network on a stream, as C for a chip, in ``folder/<chip>``."""
    folder.mkdir(parents=True, exist_ok=True)
    api.write_quantized(WORDS / "words.onnx", folder / "words.eqg", calibration=windows(sound), stream=f"time,hop={HOP}", force=True)
    own = f'model = "words.eqg"\nframes = {HOP}\n'
    (folder / "listen.toml").write_text((WORDS / "listen.toml").read_text() + own)
    return edgeq.build(folder / "listen.toml", target=chip, output=folder / chip)


def answers(sound: Path, chip: str, folder: Path) -> tuple[api.Built, NDArray[np.int8], int | None]:
    """What was built, scores ``[steps, 10]`` as the chip computes them, each compared with the simulator's, and instructions of a step.

    Raises:
        SystemExit: chip and simulator differ.
    """
    built = listening(sound, chip, folder)
    outcome = api.compare(folder / chip, sound)
    if outcome.comparison is None or not outcome.comparison.bit_exact:
        raise SystemExit(f"{chip} and the simulator differ")
    scores = next(iter(outcome.run.outputs.values()))
    return built, scores.reshape(len(scores), -1), outcome.run.instructions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sound", nargs="?", type=Path)
    parser.add_argument("-t", "--target", default="cortex-m4")
    parser.add_argument("-o", "--output", type=Path, default=Path("listening"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    sound = options.sound or beeps(options.output / "beeps.wav")
    built, scores, instructions = answers(sound, options.target, options.output)
    first = built.manifest.warm_up or 1
    memory = f"{built.manifest.arena_bytes} bytes of arena, {built.manifest.state_bytes} of state"
    print(f"{sound.name} on {options.target}: {instructions} instructions a step of {1000 * STEP // RATE} ms, {memory}; ", end="")
    print("every step equals the simulator's")
    for i, row in enumerate(scores, 1):
        best = DIGITS[int(row.argmax())] if i >= first else f"(still to come: results count from step {first} on)"
        print(f"{i * STEP / RATE:7.3f} s  {best}")


if __name__ == "__main__":
    main()
