"""Features of recordings, as the chip computes them: to train with and to calibrate by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from edgeq.errors import EdgeqError
from edgeq.features.sound import read_sound
from edgeq.ir import Array

if TYPE_CHECKING:
    from edgeq.features import Description


def sound_features(description: str | Path, sound: str | Path | ArrayLike) -> Array:
    """Features float32 ``[frames, width]`` of a recording, bit for bit those of the chip, as real numbers.

    Args:
        description: a description of features; a model that it names is left out.
        sound: a .wav file of int16 in one channel, or samples: int16, or floats in [-1, 1].

    Raises:
        EdgeqError: the description or the recording does not fit, with the numbers.
    """
    from edgeq import features

    d = features.read(Path(description))
    if not isinstance(d, features.Description):
        what, fix = ("pictures", "give images") if isinstance(d, features.ImageDescription) else ("sensors", "take sensor_features")
        raise EdgeqError(f"a recording for a description of {what}", where=str(description), fix=fix)
    samples = read_sound(Path(sound), d.sample_rate) if isinstance(sound, (str, Path)) else np.asarray(sound)
    return features_of(d, samples)


def features_of(d: Description, samples: Array) -> Array:
    """`sound_features` of a description that is no file, and samples ``[N]``."""
    from edgeq import features, passes
    from edgeq.simulate import real_array, simulate

    graph = passes.normalise(features.build(d))
    size = graph.type("samples").size
    if samples.ndim != 1 or len(samples) < size:
        raise EdgeqError(f"a recording of shape {list(samples.shape)}", why=f"one step takes {size} samples of one channel")
    whole = samples[: len(samples) // size * size].reshape(-1, size)
    (name,) = graph.results
    return real_array(simulate(graph, {"samples": whole}).outputs[name], graph.type(name)).reshape(-1, d.width)
