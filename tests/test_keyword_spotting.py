"""examples/keyword_spotting: raw audio of speakers held out, through the front end and the network, as the float pipeline; on a chip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_modules import load
from installed import need_emulator

from edgeq import api, target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.ir import Array
from edgeq.lower import lower
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import simulate

CLIPS = 60


@pytest.fixture(scope="module")
def example() -> object:
    deploy, sounds = load("keyword_spotting", "deploy", "sounds")
    if not sounds.DATA.is_file():
        pytest.skip("no recordings of digits")
    return deploy


@pytest.fixture(scope="module")
def held(example: object) -> tuple[list[object], Array]:
    found = [c for c in example.clips() if c.speaker in example.HELD_OUT]  # type: ignore[attr-defined]
    found = found[:: len(found) // CLIPS][:CLIPS]
    return found, np.array([c.word for c in found])


@pytest.fixture(scope="module")
def folder(example: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words")
    example.save_words(path, 15)  # type: ignore[attr-defined]
    return path


def test_raw_audio_is_understood_as_by_the_float_pipeline(example, held, folder: Path) -> None:  # type: ignore[no-untyped-def]
    found, words = held
    real = example.float_scores(found).reshape(len(found), -1).argmax(1)
    whole = api.load(example.description(folder, "clip.toml", model="words.eqg", frames=64))
    scores = simulate(whole, {"samples": np.stack([example.placed(c.samples) for c in found])}).outputs[whole.results[0]]
    mine = scores.reshape(len(found), -1).argmax(1)
    assert (real == words).mean() > 0.6 and (mine == words).mean() >= (real == words).mean() - 2 / CLIPS


@pytest.mark.parametrize("chip", ["cortex-m4", "riscv"])
def test_a_stream_of_audio_on_a_chip(example, held, folder: Path, chip: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    need_emulator(chip)
    graph, machine = api.load(example.description(folder, "stream.toml", model="words.eqg", frames=16)), target.load(chip)
    x = np.concatenate([example.placed(c.samples) for c in held[0][:2]]).reshape(-1, 16 * 128)
    program = lower(graph, machine)
    write(emit(program, plan(program), "listen"), tmp_path / "m")
    assert compare(simulate(graph, {"samples": x}), run(tmp_path / "m", machine, {"samples": x})).bit_exact
