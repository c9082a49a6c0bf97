"""examples/listen: a .wav file in, a result per step from an emulated chip, which are those of the windowed network."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from example_modules import load
from installed import need_emulator

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.simulate import simulate


def test_a_recording_gives_a_result_per_step(tmp_path: Path) -> None:
    need_emulator("cortex-m4")
    (example,) = load("listen", "listen")
    sound = example.beeps(tmp_path / "beeps.wav")
    built, scores, instructions = example.answers(sound, "cortex-m4", tmp_path)
    assert built.manifest.warm_up == 9 and instructions and scores.shape == (23, 10)
    whole = api.load(tmp_path / "words.eqg")
    rows = api.sound_features(example.WORDS / "listen.toml", sound)
    steps = rows[: len(scores) * example.HOP].reshape(len(scores), *whole.type(whole.given[0]).shape)
    from_features = simulate(whole, {whole.given[0]: steps}).outputs[whole.results[0]].reshape(len(scores), -1)
    assert np.abs(from_features[8:].astype(int) - scores[8:]).max() <= 6  # features in int16 against float, one rounding apart


def test_a_recording_at_another_rate_is_refused(tmp_path: Path) -> None:
    (example,) = load("listen", "listen")
    with wave.open(str(tmp_path / "fast.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(32000))
    with pytest.raises(EdgeqError, match="16000"):
        example.windows(tmp_path / "fast.wav")
