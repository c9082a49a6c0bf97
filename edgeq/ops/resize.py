"""Resizing of images: nearest neighbour and bilinear, with the coordinate modes of TFLite and ONNX.

An output index i reads the input coordinate ``i * r`` (asymmetric), ``(i + 1/2) * r - 1/2`` (half pixel centers) or
``i * (in - 1) / (out - 1)`` (aligned corners), r being input over output length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import half_params
from edgeq.ops.loops import Shape
from edgeq.ops.move import Axis, _Move, same_values, size_limit
from edgeq.ops.traits import SHARED, Rows, Traits, same
from edgeq.ops.windows import Pair

Rounding = Literal["tflite", "floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]
LONGEST = 32767  # of a resized axis, so that the indices fit int16
BITS = {"tflm": 10, "single": 11}  # fraction bits of the bilinear weights along each axis


@dataclass(frozen=True)
class _Coordinates:
    """The attributes that the two resizing operators share.

    Attributes:
        size: rows and columns of the output.
        align_corners, half_pixel_centers: the coordinate mode; asymmetric where neither.
        scales: output per input length along both axes where it is not the ratio of the lengths (ONNX).
        one_reads_zero: an output of length 1 reads coordinate 0 (ONNX's ``pytorch_half_pixel``).
    """

    size: Pair
    align_corners: bool = False
    half_pixel_centers: bool = False
    scales: tuple[float, float] | None = None
    one_reads_zero: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        if len(shape) != 4 or min(self.size) < 1 or max(*self.size, *shape[1:3]) > LONGEST:
            raise EdgeqError(f"{types[0]} cannot be resized to {self.size}", why=f"[N, H, W, C] with lengths of 1 to {LONGEST} is needed")
        if self.align_corners and self.half_pixel_centers:
            raise EdgeqError("resizing with both aligned corners and half pixel centers has no meaning")
        if self.scales is not None and not all(0 < s < 1e6 for s in self.scales):
            raise EdgeqError(f"resizing by {self.scales} has no meaning")
        result = (shape[0], *self.size, shape[3])
        size_limit(result)
        return replace(types[0], shape=result)

    def exact(self) -> bool:
        """The mode is one of TFLite's, whose own arithmetic applies."""
        return self.scales is None and not self.one_reads_zero

    def coordinates(self, axis: int, n: int) -> Array:
        """float64 input coordinates of all indices along axis 0 (rows) or 1 (columns) of length `n`, not yet limited."""
        out = self.size[axis]
        index = np.arange(out, dtype=np.float64)
        if out == 1 and self.one_reads_zero:
            return index
        if self.align_corners:
            return index * (n - 1) / max(out - 1, 1)
        ratio = n / out if self.scales is None else 1 / float(np.float32(self.scales[axis]))
        return (index + 0.5) * ratio - 0.5 if self.half_pixel_centers else index * ratio


def _repeated(op: Any, shapes: Sequence[Shape]) -> Rows | None:
    """Rows that are each repeated as often as every other."""
    n = shapes[0][1]
    times = op.size[0] // n
    return Rows(up=times) if np.array_equal(op.indices(0, n), np.arange(op.size[0]) // max(times, 1)) else None


@dataclass(frozen=True)
class ResizeNearest(_Coordinates, _Move):
    """x ``[N, H, W, C]`` -> ``[N, size[0], size[1], C]``, each the nearest element.

    `rounding` of the coordinate: ``tflite`` is TFLite's, down for asymmetric coordinates, else to nearest.
    """

    traits: ClassVar[Traits] = replace(_Move.traits, channels=same, rows=_repeated)

    rounding: Rounding = "tflite"

    def of_rows(self, rows: int) -> ResizeNearest:
        return replace(self, size=(rows, self.size[1]))

    def indices(self, axis: int, n: int) -> Array:
        """Rows or columns of the input, of length `n`, that the output reads."""
        if self.rounding == "tflite" and self.exact():
            found = self._tflite_indices(self.size[axis], n)
        else:
            x = self.coordinates(axis, n)
            nearest = self.align_corners or self.half_pixel_centers
            found = {
                "tflite": np.floor(x + 0.5) if nearest else np.floor(x),
                "floor": np.floor(x),
                "ceil": np.ceil(x),
                "round_prefer_floor": np.ceil(x - 0.5),
                "round_prefer_ceil": np.floor(x + 0.5),
            }[self.rounding]
        return np.asarray(np.clip(found, 0, n - 1), np.int64)

    def _tflite_indices(self, out: int, n: int) -> Array:
        """TFLite's own float32 arithmetic."""
        aligned = self.align_corners and out > 1
        ratio = np.float32(n - 1) / np.float32(out - 1) if aligned else np.float32(n) / np.float32(out)
        x = (np.arange(out, dtype=np.float32) + np.float32(0.5 if self.half_pixel_centers else 0)) * ratio
        return np.asarray(np.floor(x + np.float32(0.5)) if self.align_corners else np.floor(x))

    def axes(self, shape: Shape) -> list[Axis]:
        rows, columns = (self.indices(axis, shape[1 + axis]) for axis in (0, 1))
        return [(0, np.arange(shape[0])), (1, rows), (2, columns), (3, np.arange(shape[3]))]


@dataclass(frozen=True)
class ResizeBilinear(_Coordinates, Op):
    """x ``[N, H, W, C]`` -> ``[N, size[0], size[1], C]``, interpolated between the four nearest elements."""

    traits: ClassVar[Traits] = Traits("move", same_scale=SHARED, averages=True, channels=same, monotone="increasing")

    def real(self, *x: Array) -> Array:
        y = x[0].astype(np.float32)
        for axis in (0, 1):
            n = y.shape[2 + axis]
            at = np.clip(self.coordinates(axis, n), 0, n - 1)
            low = np.floor(at).astype(np.int64)
            weight = (at - low).astype(np.float32).reshape([-1 if i == 2 + axis else 1 for i in range(5)])
            first, second = (y.take(np.minimum(low + k, n - 1), axis=2 + axis) for k in (0, 1))
            y = first * (1 - weight) + second * weight
        return y

    def taps(self, law: str, axis: int, n: int) -> Array:
        """int16 ``[out, 3]``: first index, second index, and the weight of the second in 2^-BITS[law]."""
        bits = BITS[law]
        if law == "tflm" and self.exact():
            at = self._tflm_coordinates(self.size[axis], n)
            low, high = np.clip(np.trunc(at / 1024), 0, n - 1).astype(np.int64), np.minimum(-(-at // 1024), n - 1)
            return np.stack([low, np.maximum(high, low), at - 1024 * low], axis=1).astype(np.int16)
        at = np.rint(np.clip(self.coordinates(axis, n), 0, n - 1) * (1 << bits)).astype(np.int64)
        low = at >> bits
        return np.stack([low, np.minimum(low + 1, n - 1), at - (low << bits)], axis=1).astype(np.int16)

    def _tflm_coordinates(self, out: int, n: int) -> Array:
        """TFLM's integer coordinates in units of 1/1024."""
        index = np.arange(out, dtype=np.int64)
        if self.align_corners and out > 1:
            return index * (((n - 1 << 10) + (out - 1) // 2) // (out - 1))
        ratio = ((n << 10) + out // 2) // out
        return index * ratio + (ratio // 2 - 512 if self.half_pixel_centers else 0)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        require_int8(where, self, output)
        same_values(law, where, inputs, output)
        n, h, w, channels = inputs[0].type.shape
        scalars = {
            "batches": n, "in_h": h, "in_w": w, "channels": channels, "out_h": self.size[0], "out_w": self.size[1], "bits": BITS[law],
        }  # fmt: skip
        return Params(law, scalars, {"rows": self.taps(law, 0, h), "columns": self.taps(law, 1, w)})

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        n, h, w, channels = inputs[0].type.shape
        scalars: dict[str, int | str] = {
            "batches": n, "in_h": h, "in_w": w, "channels": channels, "out_h": self.size[0], "out_w": self.size[1],
        }  # fmt: skip
        tables: dict[str, Array] = {}
        for axis, (name, length) in enumerate((("row", h), ("column", w))):
            at = np.clip(self.coordinates(axis, length), 0, length - 1)
            low = np.floor(at).astype(np.int64)
            weight = (at - low).astype(np.float32)
            tables[f"{name}s"] = np.stack([low, np.minimum(low + 1, length - 1)], axis=1).astype(np.int16)
            tables[f"{name}_weights"] = np.stack([np.float32(1) - weight, weight], axis=1)
        return half_params(scalars, tables)

    def reference_half(self, params: Params, *x: Array) -> Array:
        y = half.to_float(x[0])
        for axis, at, weights in ((3, params.columns, params.column_weights), (2, params.rows, params.row_weights)):
            shape = [-1 if i == axis else 1 for i in range(5)]
            with np.errstate(all="ignore"):
                first, second = (y.take(at[:, k], axis=axis) * weights[:, k].reshape(shape) for k in (0, 1))
                y = first + second
        return half.from_float(y)

    def reference(self, params: Params, *x: Array) -> Array:
        y = x[0].astype(np.int64)
        for axis, taps in enumerate((params.rows, params.columns)):
            weight = taps[:, 2].astype(np.int64).reshape([-1 if i == 2 + axis else 1 for i in range(5)])
            first, second = (y.take(taps[:, k], axis=2 + axis) for k in (0, 1))
            y = first * ((1 << params.bits) - weight) + second * weight
        half = np.int64(1) << (2 * params.bits - 1)
        if params.law == "tflm":  # C's division, half away from zero
            return np.asarray(np.sign(y) * ((np.abs(y) + half) >> (2 * params.bits)), np.int8)
        return np.asarray((y + half) >> (2 * params.bits), np.int8)
