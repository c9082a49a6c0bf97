"""A denoiser in several precisions, scored: what each costs in sound, in flash, in RAM and in instructions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import metrics
import numpy as np
from audio import RATE, write_wav
from deploy import Network, Precision, compile_program, emit
from numpy.typing import NDArray
from recordings import Utterance
from stft import HOP, denoise

from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder

Array = NDArray[Any]
Report = Callable[[str], None]


@dataclass
class Row:
    """One precision over all recordings.

    Attributes:
        scores: per recording: PESQ, STOI, SI-SDR in dB, mask SQNR in dB; [recordings, 4].
        flash, ram: bytes of the model: weights and code; arena and state. Per target.
        instructions: of the model per frame, per target.
        sounds: per recording int16 [N].
        masks: per recording [T, 257].
    """

    name: str
    scores: Array
    sounds: list[Array]
    masks: list[Array]
    flash: dict[str, int] = field(default_factory=dict)
    ram: dict[str, int] = field(default_factory=dict)
    instructions: dict[str, float] = field(default_factory=dict)

    def means(self) -> list[float]:
        """Of the scores, without those that could not be computed."""
        return [float(np.mean(c[np.isfinite(c)])) if np.isfinite(c).any() else float("nan") for c in self.scores.T]


def _scores(u: Utterance, sound: Array, reference: Array | None, masks: Array | None) -> list[float]:
    sqnr = float("nan") if reference is None or masks is None else metrics.mask_sqnr(reference, masks)
    return [metrics.pesq(u.clean, sound), metrics.stoi(u.clean, sound), metrics.si_sdr(u.clean, sound), sqnr]


def reference_rows(network: Network, test: list[Utterance]) -> tuple[Row, Row]:
    """The noisy recordings as they are, and through the float network."""
    masks = [network.masks(u.noisy) for u in test]
    sounds = [denoise(u.noisy, m) for u, m in zip(test, masks, strict=True)]
    noisy = np.array([_scores(u, u.noisy, None, None) for u in test])
    real = np.array([_scores(u, s, None, None) for u, s in zip(test, sounds, strict=True)])
    return Row("noisy", noisy, [u.noisy for u in test], []), Row("fp32", real, sounds, masks)


def row(
    network: Network, precision: Precision, calibration: list[Array], test: list[Utterance], reference: Row, targets: list[str],
    output: Path, report: Report,
) -> Row:  # fmt: skip
    """One precision: built for every target, run as compiled C over every recording.

    Raises:
        EdgeqError: edgeq cannot build it, or the program's sound is not that of its masks.
    """
    name = precision.name
    result = Row(name, np.zeros((0, 4)), [], [])
    report(f"{name}: building for {', '.join(targets)}")
    builds = emit(network, precision, calibration, targets, output)
    for target, built in zip(targets, builds, strict=True):
        result.flash[target] = built.manifest.weight_bytes + (built.code_bytes or 0)
        result.ram[target] = built.manifest.arena_bytes + built.manifest.state_bytes
        for run in built.measured.runs.values():
            if run.instructions is not None:
                result.instructions[target] = float(run.instructions)
    report(f"{name}: denoising {len(test)} recordings")
    program = compile_program(builds[0].folder, output / f"denoise-{name}")
    with temporary_folder() as work:
        for u in test:
            sound, masks = program.run(u.noisy, Path(work))
            if not np.array_equal(sound, denoise(u.noisy, masks)):
                raise EdgeqError("the front end in C and in numpy give different sound", where=u.name)
            result.sounds.append(sound)
            result.masks.append(masks)
    each = zip(test, result.sounds, reference.masks, result.masks, strict=True)
    result.scores = np.array([_scores(u, sound, real, masks) for u, sound, real, masks in each])
    return result


def write_sounds(rows: list[Row], test: list[Utterance], folder: Path) -> None:
    """Every recording in every precision as .wav."""
    for i, u in enumerate(test):
        write_wav(folder / f"{u.name}-clean.wav", u.clean)
        for r in rows:
            write_wav(folder / f"{u.name}-{r.name}.wav", r.sounds[i])


def number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


SCORES = ("", "PESQ", "STOI", "SI-SDR dB", "mask SQNR dB")
COSTS = ("", "target", "flash kB", "RAM kB", "instructions/frame", "million/s")


def score_cells(rows: list[Row]) -> list[list[str]]:
    """A table under `SCORES`."""
    return [[r.name, *(number(v, d) for v, d in zip(r.means(), (3, 3, 2, 1), strict=True))] for r in rows]


def cost_cells(rows: list[Row]) -> list[list[str]]:
    """A table under `COSTS`: the model alone. 160 frames are a second."""
    table = []
    for r in rows:
        for target, flash in r.flash.items():
            count = r.instructions.get(target)
            work = ["-", "-"] if count is None else [f"{count:,.0f}".replace(",", " "), f"{count * RATE / HOP / 1e6:.1f}"]
            table.append([r.name, target, f"{flash / 1000:.0f}", f"{r.ram[target] / 1000:.1f}", *work])
    return table
