"""A camera's frame as the input of a network: pixels taken apart, cut, resized, turned into int8 in one pass.

Positions of pixels are half pixel centers, as in TFLite and OpenCV. Bilinear weights of packed pixels of 16 bits are 32nds at positions
in eighths, so that all fields of a pixel are multiplied at once; those of bytes are products of 32nds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.traits import Traits

WORDS = ("rgb565", "rgb565_swapped")  # int16 ``[H, W]``; swapped: the high byte first in memory
FIELDS = ((11, 31), (5, 63), (0, 31))  # shift and mask of red, green, blue
EIGHTHS, SUM = 8, 32  # of positions of packed pixels; what their weights add up to
METHODS = ("nearest", "bilinear")
LONGEST = 4096


@dataclass(frozen=True)
class Layout:
    """How a frame of bytes stores pixels.

    Attributes:
        step, rows: bytes from one pixel to the next, and rows of bytes of a row of pixels.
        components: for each its byte, its row, and whether two neighbours share it.
    """

    step: int
    components: tuple[tuple[int, int, bool], ...]
    rows: int = 1


def _bayer(red: int) -> Layout:
    """2 x 2 bytes a pixel: red at place 2 * row + column `red`, blue opposite, two greens."""
    places = (red, red ^ 1, red ^ 2, red ^ 3)
    return Layout(2, tuple((p & 1, p >> 1, False) for p in places), 2)


LAYOUTS = {
    "gray8": Layout(1, ((0, 0, False),)),
    "rgb888": Layout(3, tuple((i, 0, False) for i in (0, 1, 2))),
    "bgr888": Layout(3, tuple((i, 0, False) for i in (2, 1, 0))),
    "yuyv": Layout(2, ((0, 0, False), (1, 0, True), (3, 0, True))),
    "uyvy": Layout(2, ((1, 0, False), (0, 0, True), (2, 0, True))),
    "bayer_rggb": _bayer(0), "bayer_grbg": _bayer(1), "bayer_gbrg": _bayer(2), "bayer_bggr": _bayer(3),
}  # fmt: skip


def pixels_of(format: str, frame: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of pixels of a frame ``[H, bytes or words]``.

    Raises:
        EdgeqError: bytes or rows are left over.
    """
    if format in WORDS:
        return frame[0], frame[1]
    layout = LAYOUTS[format]
    pair = layout.step * (2 if any(shared for *_, shared in layout.components) else 1)
    if frame[0] % layout.rows or frame[1] % pair:
        raise EdgeqError(f"a frame of {frame[0]} rows of {frame[1]} bytes does not hold whole pixels of {format}")
    return frame[0] // layout.rows, frame[1] // layout.step


def components(format: str) -> int:
    """Numbers of a pixel."""
    return 3 if format in WORDS else len(LAYOUTS[format].components)


@dataclass(frozen=True)
class CameraImage(Op):
    """A frame ``[H, words]`` int16 or ``[H, bytes]`` int8 (bits of uint8) -> int8 ``[1, rows, columns, C]`` with a scale.

    Channel c is ``matrix[c] . pixel + offset[c]``, limited to ``limits[c]``; constant float32 ``[C, K]``, ``[C]``, ``[C, 2]``.

    Attributes:
        format: how pixels are stored.
        size: rows and columns of the result.
        crop: first row, first column, rows and columns of pixels that it shows.
        method: ``nearest`` or ``bilinear``.
    """

    traits: ClassVar[Traits] = Traits()

    format: str
    size: tuple[int, int]
    crop: tuple[int, int, int, int]
    method: str = "bilinear"

    parameters: ClassVar[tuple[int, ...]] = (1, 2, 3)

    def infer(self, *types: TensorType) -> TensorType:
        frame, matrix = types[:2]
        known = self.format in (*WORDS, *LAYOUTS) and self.method in METHODS
        if not known or len(frame.shape) != 2 or frame.dtype is not (DType.INT16 if self.format in WORDS else DType.INT8):
            raise EdgeqError(f"an image of {frame} in the format {self.format} by {self.method}")
        height, width = pixels_of(self.format, frame.shape)
        top, left, rows, columns = self.crop
        inside = 0 <= top <= top + rows <= height and 0 <= left <= left + columns <= width
        if not inside or min(rows, columns) < 2 or max(height, width, *self.size) > LONGEST or min(self.size) < 1:
            raise EdgeqError(f"{self.size} pixels of {rows} x {columns} at {top}, {left} of {height} x {width}")
        if matrix.shape[1:] != (components(self.format),):
            raise EdgeqError(f"a matrix {matrix} for pixels of {components(self.format)} numbers")
        return TensorType((1, *self.size, matrix.shape[0]), DType.INT8)

    def real(self, *x: Array) -> Array:
        raise EdgeqError("a frame of packed pixels has no float meaning")

    def places(self, axis: int) -> tuple[Array, Array]:
        """First of two neighbours, int64, and how near the second is in units of `steps`, of every index along an axis."""
        first, length, out = self.crop[axis], self.crop[axis + 2], self.size[axis]
        at = np.clip((np.arange(out) + 0.5) * length / out - 0.5, 0, length - 1)
        if self.method == "nearest":
            return first + np.floor((np.arange(out) + 0.5) * length / out).astype(np.int64), np.zeros(out, np.int64)
        low = np.minimum(np.floor(at), length - 2).astype(np.int64)
        return first + low, np.floor((at - low) * self.steps + 0.5).astype(np.int64)

    @property
    def steps(self) -> int:
        """Of a position between two pixels."""
        return EIGHTHS if self.format in WORDS else SUM

    def weights(self) -> Array:
        """int64 ``[steps + 1, steps + 1, 4]`` by row and column: of the pixel, the one on its right, those below; equal sums."""
        n = self.steps
        down, right = np.arange(n + 1)[:, None], np.arange(n + 1)
        exact = np.stack([(n - down) * (n - right), (n - down) * right, down * (n - right), down * right], -1)
        if self.format not in WORDS:
            return exact
        whole, rest = exact * SUM // n**2, exact * SUM % n**2
        missing = SUM - whole.sum(-1)
        rank = np.argsort(np.argsort(-rest, axis=-1, kind="stable"), axis=-1, kind="stable")  # the largest remainders are rounded up
        return np.asarray(whole + (rank < missing[..., None]))

    @property
    def unit(self) -> int:
        """The sum of the weights."""
        return 1 if self.method == "nearest" else SUM if self.format in WORDS else SUM**2

    @property
    def narrowed(self) -> int:
        """Bits that a weighted sum loses before it looks its result up in a table of at most 256."""
        if self.method == "nearest":
            return 0
        return 2 if self.format in WORDS else 10

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        if output.dtype is not DType.INT8 or output.q is None or any(t.data is None for t in inputs[1:]):
            raise EdgeqError(f"an image gives int8 with a scale by constant numbers, not {output}", where=where)
        matrix, offset, limits = (np.asarray(t.data, np.float64) for t in inputs[1:])
        tables = {"rows": np.stack(self.places(0), 1).astype(np.int16), "columns": np.stack(self.places(1), 1).astype(np.int16)}
        scalars: dict[str, int | str] = {
            "out_h": self.size[0], "out_w": self.size[1], "channels": matrix.shape[0], "components": matrix.shape[1],
            "method": self.method, "by_table": int(_diagonal(matrix)),
        }  # fmt: skip
        if self.format in WORDS:
            scalars |= {"stride": inputs[0].type.shape[1], "swapped": int(self.format == WORDS[1])}
            if self.method == "bilinear":
                tables["weights"] = self.weights().astype(np.int8)
        else:
            scalars |= self._bytes(inputs[0].type.shape[1])
        gains, shifts = matrix / output.scale, offset / output.scale + output.zero_point
        ends = np.clip(np.rint(limits / output.scale) + output.zero_point, -128, 127)
        if scalars["by_table"]:
            tables["values"] = self._values(np.diag(gains), shifts, ends)
            return Params(law, scalars, tables)
        largest = np.array(self._largest(matrix.shape[1]), np.float64)
        most = float(((np.abs(gains) * largest).sum(1) + np.abs(shifts) + 1).max())
        bits = min(22, 31 - math.frexp(most)[1])
        if bits < 1:
            raise EdgeqError(f"pixels times {np.abs(matrix).max():g} do not fit a scale of {output.scale:g}", where=where)
        tables["multipliers"] = np.rint(gains * 2.0**bits / self.unit).astype(np.int32)
        tables["offsets"] = np.floor(shifts * 2.0**bits + 2.0 ** (bits - 1)).astype(np.int32)
        tables["limits"] = ends.astype(np.int8)
        return Params(law, {**scalars, "shift": bits}, tables)

    def _bytes(self, row: int) -> dict[str, int]:
        """Where the components of a pixel are, in bytes from its first; `row` bytes are a row."""
        layout = LAYOUTS[self.format]
        places = dict.fromkeys((f"place{k}" for k in range(4)), 0)
        places |= {f"place{k}": below * row + byte for k, (byte, below, _) in enumerate(layout.components)}
        shared = sum(1 << k for k, (_, _, shared) in enumerate(layout.components) if shared)
        return {"stride": layout.rows * row, "step": layout.step, "shared": shared, **places}

    def _largest(self, count: int) -> list[int]:
        return [mask for _, mask in FIELDS] if self.format in WORDS else [255] * count

    def _values(self, gains: Array, shifts: Array, ends: Array) -> Array:
        """int8 ``[C, 256]``: the result for every narrowed sum; the middle of those that become one."""
        index, found = np.arange(256, dtype=np.float64), []
        for c, largest in enumerate(self._largest(len(gains))):
            bits = self.narrowed + (c == 1 and self.format in WORDS and self.method != "nearest")  # green has a bit more
            middle = (2**bits - 1) / 2 if self.format in WORDS else 0
            pixel = np.minimum((index * 2**bits + middle) / self.unit, largest)
            found.append(np.clip(np.rint(gains[c] * pixel + shifts[c]), *ends[c]))
        return np.stack(found).astype(np.int8)

    def reference(self, params: Params, *x: Array) -> Array:
        pixels = self._pixels(x[0])
        (top, down), (left, right) = (t.astype(np.int64).T for t in (params.rows, params.columns))
        if self.method == "nearest":
            sums = pixels[:, top[:, None], left]
        else:
            w = self.weights()[down[:, None], right]
            corners = [pixels[:, (top + i)[:, None], left + j] for i in (0, 1) for j in (0, 1)]
            sums = np.asarray(sum(w[..., k, None] * corners[k] for k in range(4)))
        if params.by_table:
            narrowed = sums >> np.array([2, 3, 2]) if self.format in WORDS else sums + 512 >> 10
            return np.asarray(params.values[np.arange(params.channels), narrowed if self.narrowed else sums][:, None])
        y = ((sums[..., None, :] * params.multipliers.astype(np.int64)).sum(-1) + params.offsets) >> params.shift
        limits = params.limits.astype(np.int64)
        return np.asarray(np.clip(y, limits[:, 0], limits[:, 1]).astype(np.int8)[:, None])

    def _pixels(self, frames: Array) -> Array:
        """int64 ``[V, H, W, K]``."""
        if self.format in WORDS:
            words = np.ascontiguousarray(frames).view(np.uint16).astype(np.int64)
            words = words >> 8 | (words & 255) << 8 if self.format == WORDS[1] else words
            return np.stack([words >> shift & mask for shift, mask in FIELDS], -1)
        data, layout = np.ascontiguousarray(frames).view(np.uint8).astype(np.int64), LAYOUTS[self.format]
        height, width = pixels_of(self.format, frames.shape[1:])
        columns = np.arange(width)
        found = [
            data[:, row : layout.rows * height : layout.rows, (columns & (-2 if shared else -1)) * layout.step + byte]
            for byte, row, shared in layout.components
        ]
        return np.stack(found, -1)


def _diagonal(matrix: Array) -> bool:
    """Every channel is made of its own component."""
    return matrix.shape[0] == matrix.shape[1] and not (matrix - np.diag(np.diag(matrix))).any()
