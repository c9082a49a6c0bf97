"""Windows of sensors' samples, as the chip computes them: to train with and to calibrate by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from edgeq.errors import EdgeqError
from edgeq.ir import Array


def sensor_samples(description: str | Path, recording: str | Path | ArrayLike) -> Array:
    """A recording as the steps of a description take it: int16 ``[steps, hop, channels]``, an input of `simulate`, `run` and `compare`.

    Args:
        description: a description of sensors; a model that it names is left out.
        recording: a .csv file of real units with a column per channel, or ``[N, channels]``: int16 samples, or real units.

    Raises:
        EdgeqError: the description is of something else, or the recording does not fit, with the numbers.
    """
    from edgeq import features
    from edgeq.quantize.csv_files import read_table

    d = features.read(Path(description))
    if not isinstance(d, features.SensorDescription):
        raise EdgeqError("samples of sensors for another description", where=str(description), fix='kind = "sensor"')
    values = read_table(Path(recording)).values if isinstance(recording, (str, Path)) else np.asarray(recording)
    try:
        samples = features.to_samples(d, values)
    except EdgeqError as e:
        raise EdgeqError(e.what, where=str(recording) if isinstance(recording, (str, Path)) else "", why=e.why, fix=e.fix) from e
    if len(samples) < d.step:
        raise EdgeqError(f"a recording of {len(samples)} samples per channel", why=f"one step takes {d.step}")
    return samples[: len(samples) // d.step * d.step].reshape(-1, d.step, d.channels)


def sensor_features(description: str | Path, recording: str | Path | ArrayLike) -> Array:
    """What a network gets of a recording, bit for bit as the chip computes it: real numbers, float32 ``[windows, ...]``.

    Each is the window that ends with a step: ``[window, channels]``, or spectra ``[channels, bins]``. Windows that begin before the
    recording are left out. Arguments and errors are those of `sensor_samples`.
    """
    from edgeq import features, passes
    from edgeq.simulate import real_array, simulate

    d = features.read(Path(description))
    steps = sensor_samples(description, recording)
    assert isinstance(d, features.SensorDescription)
    first = -(-d.window // d.step) - 1
    if len(steps) <= first:
        raise EdgeqError(f"a recording of {len(steps) * d.step} samples per channel", why=f"a window takes {(first + 1) * d.step}")
    graph = passes.normalise(features.build_sensor(d))
    (name,) = graph.results
    return real_array(simulate(graph, {features.SAMPLES: steps}).outputs[name], graph.type(name))[first:]
