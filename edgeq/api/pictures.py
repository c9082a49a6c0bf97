"""Pictures as a camera stores them and as the chip hands them to a network: to test with, to train with, to calibrate by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from edgeq.errors import EdgeqError
from edgeq.ir import Array

Pictures = str | Path | Sequence[str | Path] | ArrayLike


def camera_frames(description: str | Path, pictures: Pictures) -> Array:
    """Frames as the camera of a description stores them: int16 ``[V, height, width]``, or int8 (bits of bytes) ``[V, rows, bytes]``.

    Args:
        description: a description of pictures; a model that it names is left out.
        pictures: image files, which are scaled to the camera's frame, or uint8 ``[V, height, width, 3]``.

    Raises:
        EdgeqError: the description is of no picture, an image cannot be read, or the array is of another size.
    """
    from edgeq import features
    from edgeq.quantize.images import picture

    d = features.read(Path(description))
    if not isinstance(d, features.ImageDescription):
        raise EdgeqError("pictures for a description of sounds", where=str(description), fix='kind = "image"')
    files = [pictures] if isinstance(pictures, (str, Path)) else pictures
    if isinstance(files, Sequence) and files and isinstance(files[0], (str, Path)):
        return features.encode(d, np.stack([picture(Path(str(file)), "RGB", d.width, d.height) for file in files]))
    return features.encode(d, np.asarray(files))


def image_features(description: str | Path, pictures: Pictures) -> Array:
    """What a network gets of pictures, bit for bit as the chip computes it: real numbers, float32 ``[V, rows, columns, channels]``.

    Arguments and errors are those of `camera_frames`.
    """
    from edgeq import features, passes
    from edgeq.simulate import real_array, simulate

    d = features.read(Path(description))
    frames = camera_frames(description, pictures)
    assert isinstance(d, features.ImageDescription)
    graph = passes.normalise(features.build_image(d))
    (name,) = graph.results
    return real_array(simulate(graph, {features.FRAME: frames}).outputs[name], graph.type(name))[:, 0]
