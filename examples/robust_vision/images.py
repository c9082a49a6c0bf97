"""Labelled images: a folder or a zip of class folders, decoded once.

    DATA/train/<class>/*.png      DATA/test/<class>/*.png      (.jpg, .bmp, ... as well; a folder with one such zip will do)

CIFAR-10 and its like in this form are what the example expects; every image is brought to 32x32 in RGB.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgeq import EdgeqError

SIDE = 32
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
HELD = 10  # every tenth training image is held out, for validation
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Images:
    """Pixels uint8 ``[N, 32, 32, 3]``, labels int64 ``[N]``, the classes' names in the labels' order."""

    pixels: Array
    labels: Array
    names: tuple[str, ...]

    def real(self) -> Array:
        """Pixels as the networks expect them: float32 ``[N, 3, 32, 32]``, black -1, white 1."""
        return np.ascontiguousarray(self.pixels.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)

    def pick(self, at: Array) -> Images:
        """The images at some positions, or where a mask is true."""
        return Images(self.pixels[at], self.labels[at], self.names)

    def split(self) -> tuple[Images, Images]:
        """Those to learn from, and every `HELD`-th: classes lie one after the other, so that each gives its share."""
        held = np.arange(len(self.labels)) % HELD == 0
        return self.pick(~held), self.pick(held)


def load(place: Path, split: str, cache: Path | None = None) -> Images:
    """The images of one split, from `cache` (a folder) where they were decoded before.

    Raises:
        EdgeqError: there are none, or one is damaged.
    """
    stored = cache / f"{split}.npz" if cache else None
    if stored and stored.is_file():
        with np.load(stored) as kept:
            return Images(kept["pixels"], kept["labels"], tuple(kept["names"].tolist()))
    found = sorted(_files(place, split), key=lambda entry: entry[0])
    if not found:
        fix = f"give a folder or a zip with {split}/<class>/<image>"
        raise EdgeqError(f"no images for '{split}'", where=str(place), fix=fix)
    names = sorted({name.split("/")[-2] for name, _ in found})
    pixels = np.stack([_decode(name, data) for name, data in found])
    labels = np.array([names.index(name.split("/")[-2]) for name, _ in found])
    if stored:
        stored.parent.mkdir(parents=True, exist_ok=True)
        np.savez(stored, pixels=pixels, labels=labels, names=np.array(names))
    return Images(pixels, labels, tuple(names))


def _files(place: Path, split: str) -> Iterator[tuple[str, bytes]]:
    """Names ``.../split/class/file`` with contents."""
    zips = [place] if place.suffix == ".zip" else sorted(place.glob("*.zip"))
    if not (place / split).is_dir() and len(zips) == 1:
        with zipfile.ZipFile(zips[0]) as archive:
            for name in archive.namelist():
                parts = name.lower().split("/")
                if len(parts) >= 3 and parts[-3] == split and parts[-1].endswith(SUFFIXES):
                    yield name, archive.read(name)
        return
    for path in (place / split).glob("*/*"):
        if path.suffix.lower() in SUFFIXES:
            yield path.as_posix(), path.read_bytes()


def _decode(name: str, data: bytes) -> Array:
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except OSError as e:
        raise EdgeqError("this image cannot be read", where=name, why=str(e)) from e
    return np.asarray(image if image.size == (SIDE, SIDE) else image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def augmented(pixels: Array, rng: np.random.Generator) -> Array:
    """A batch ``[B, 3, 32, 32]`` mirrored at random and shifted by up to four pixels, what is bared being black."""
    b, channels = pixels.shape[:2]
    wide = np.pad(pixels, ((0, 0), (0, 0), (4, 4), (4, 4)), constant_values=-1)
    y, x = (rng.integers(0, 9, b)[:, None] + np.arange(SIDE) for _ in range(2))
    x = np.where(rng.random(b)[:, None] < 0.5, x, x[:, ::-1])
    at = np.arange(b)[:, None, None, None], np.arange(channels)[:, None, None], y[:, None, :, None], x[:, None, None, :]
    return np.ascontiguousarray(wide[at])
