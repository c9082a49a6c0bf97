"""Pictures -> what a model expects for them."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.files import reason
from edgeq.ir import Array, DType, Graph, TensorType

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm")
MAX_PIXELS = 2**26  # of one picture


@dataclass(frozen=True)
class Pixels:
    """The real values that a model expects for stored pixels of 0 to 255.

    ``(black + pixel / 255 * (white - black) - mean[c]) / std[c]``, the meaning of ``ToTensor`` and ``Normalize`` of torchvision.

    Attributes:
        black, white: of pixels 0 and 255, before mean and deviation.
        mean, std: per channel, or one for all.
    """

    black: float = 0.0
    white: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.black < self.white:
            raise EdgeqError(f"pixel values {self.black:g}, {self.white:g}", fix="give black, then white")
        if not all(s > 0 for s in self.std):
            raise EdgeqError("a standard deviation is not positive", why=f"std {_text(self.std)}")
        if not all(self.black <= m <= self.white for m in self.mean):
            raise EdgeqError(
                f"mean {_text(self.mean)} lies outside of black and white, {self.black:g} and {self.white:g}",
                fix="give --pixels as well, 0,255 for a mean in steps of 1/255",
            )

    @property
    def plain(self) -> bool:
        """Whether there is neither mean nor deviation."""
        return self.mean == (0.0,) and self.std == (1.0,)

    def real(self, pixels: Array, channels: int, axis: int) -> Array:
        """Real values, float32.

        Args:
            pixels: 0 to 255.
            axis: of the channels, counted from the end (negative).

        Raises:
            EdgeqError: mean or deviation are of another number of channels.
        """
        a = np.float32(self.black) + pixels.astype(np.float32) * np.float32((self.white - self.black) / 255)
        if self.plain:
            return a
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise EdgeqError(f"{len(values)} values of --{name} for {channels} channels", fix="give one, or one per channel")
        shape = (-1, *(1,) * (-axis - 1))
        return (a - np.array(self.mean, np.float32).reshape(shape)) / np.array(self.std, np.float32).reshape(shape)


def _text(values: Sequence[float]) -> str:
    return ",".join(f"{v:g}" for v in values)


def image_shape(name: str, t: TensorType) -> tuple[int, int, int, bool]:
    """Height, width, channels of an image input, and whether channels come first.

    Raises:
        EdgeqError: it takes no images.
    """
    shape = t.shape[1:] if len(t.shape) == 4 and t.shape[0] == 1 else t.shape
    if len(shape) == 2:
        return shape[0], shape[1], 1, False
    if len(shape) == 3 and shape[2] in (1, 3):
        return shape[0], shape[1], shape[2], False
    if len(shape) == 3 and shape[0] in (1, 3):
        return shape[1], shape[2], shape[0], True
    raise EdgeqError(f"input {t} does not take images", where=name, fix="give arrays")


def real_samples(graph: Graph, samples: Mapping[str, Array], pixels: Pixels | None) -> dict[str, Array]:
    """Samples ``[V, ...]`` by input, where uint8 ones are pixels: as real values, float32, if `pixels` says which.

    Of pixels that are taken as they are by a float input a warning is logged.

    Raises:
        EdgeqError: the samples are no pixels, or there is a mean per channel and the input is no image.
    """
    found = dict(samples)
    for name, a in samples.items():
        t = graph.type(name)
        if pixels is not None and a.dtype == np.uint8:
            scalar = len(pixels.mean) == len(pixels.std) == 1
            channels, first = (1, False) if scalar else image_shape(name, t)[2:]
            found[name] = pixels.real(a if scalar else a.reshape(-1, *t.shape), channels, -3 if first else -1)
        elif pixels is not None:
            raise EdgeqError(
                f"pixel values for samples of {a.dtype}", where=name, why="only images and uint8 arrays hold pixels of 0 to 255",
                fix="leave --pixels, --mean and --std out: other arrays hold what the model expects",
            )  # fmt: skip
        elif a.dtype == np.uint8 and t.dtype in (DType.FLOAT32, DType.FLOAT16):
            logging.getLogger("edgeq").warning(
                "uint8 samples of input '%s' are taken as the real values 0 to 255. If the model expects others, say so: "
                "--pixels 0,1, --mean and --std, or --stored SCALE,ZERO", name,
            )  # fmt: skip
    return found


def read_images(files: Sequence[Path], graph: Graph, pixels: Pixels | None, where: str) -> dict[str, Array]:
    """Pictures in the size and with the channels of a graph's one input: float32 ``[V, *shape]``.

    Raises:
        EdgeqError: the input takes no pictures, one cannot be read, or it is not known what their values mean.
    """
    if len(graph.given) != 1:
        raise EdgeqError(f"images for a model with {len(graph.given)} inputs", where=where, fix="give an .npz")
    name = graph.given[0]
    t = graph.type(name)
    if pixels is None:
        raise EdgeqError(
            "it is not known which values the model expects for black and white", where=where,
            fix="say so, for example --pixels 0,1 or 0,255 or -1,1, or with torchvision's --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
        )  # fmt: skip
    height, width, channels, first = image_shape(name, t)
    result = np.empty((len(files), *t.shape), np.float32)
    for i, file in enumerate(files):
        stored = picture(file, "L" if channels == 1 else "RGB", width, height).astype(np.float32).reshape(height, width, channels)
        a = pixels.real(stored, channels, -1)
        result[i] = (a.transpose(2, 0, 1) if first else a).reshape(t.shape)
    return {name: result}


def picture(path: Path, mode: str, width: int, height: int) -> Array:
    """A picture file as uint8 ``[height, width]`` (`mode` "L") or ``[height, width, 3]`` ("RGB"), scaled by bilinear interpolation.

    Raises:
        EdgeqError: it cannot be read, has more than `MAX_PIXELS`, or pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as e:
        raise EdgeqError("reading images needs pillow", where=str(path), fix="pip install pillow") from e
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(f"it has {image.width} x {image.height} pixels, at most {MAX_PIXELS} are read")
                return np.asarray(image.convert(mode).resize((width, height), Image.Resampling.BILINEAR), np.uint8)
    except (
        OSError,
        ValueError,
        SyntaxError,
        RuntimeError,
        struct.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as e:
        raise EdgeqError("cannot read this image", where=str(path), why=reason(e)) from e
