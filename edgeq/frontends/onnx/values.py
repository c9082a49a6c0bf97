"""What flows along an ONNX graph's edges while it is read: tensors of the graph that is built, and constants."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgeq.ir import Array, DType, QParams, Tensor

INTEGERS = {np.dtype(np.int8): 0, np.dtype(np.uint8): 128}  # stored dtype -> what is subtracted to make it int8


@dataclass(frozen=True, eq=False)
class Stored:
    """The integers that a constant was dequantized from.

    Attributes:
        data: int8 (uint8 is moved down by 128, or by its zero point where that fits) or int32.
        zero_point: for int8 data, moved like it; None where slices differ in it.
        scale: float32, one or one per slice along `axis`.
    """

    data: Array
    zero_point: int | None
    scale: Array
    axis: int | None

    @property
    def qparams(self) -> QParams:
        assert self.zero_point is not None
        return QParams(tuple(float(s) for s in self.scale), self.zero_point, self.axis if len(self.scale) > 1 else None)

    def transposed(self, perm: tuple[int, ...]) -> Stored:
        axis = None if self.axis is None else perm.index(self.axis)
        return replace(self, data=np.ascontiguousarray(self.data.transpose(perm)), axis=axis)

    def reshaped(self, shape: tuple[int, ...]) -> Stored | None:
        """None where the slices do not survive as an axis."""
        axis = self.axis
        if axis is not None and len(self.scale) > 1:
            before = int(np.prod(self.data.shape[:axis]))
            fits = [i for i, n in enumerate(shape) if n == len(self.scale) and int(np.prod(shape[:i])) == before]
            if not fits:
                return None
            axis = fits[0]
        return replace(self, data=self.data.reshape(shape), axis=axis)


@dataclass(frozen=True, eq=False)
class Constant:
    """A value known while reading, in ONNX's own dtype.

    Attributes:
        four: the file has each element as an integer of four bits.
    """

    name: str
    array: Array
    stored: Stored | None = None
    four: bool = False

    def transposed(self, perm: tuple[int, ...]) -> Constant:
        stored = self.stored.transposed(perm) if self.stored else None
        return replace(self, array=np.ascontiguousarray(self.array.transpose(perm)), stored=stored)

    def reshaped(self, shape: tuple[int, ...]) -> Constant:
        array = self.array.reshape(shape)
        return replace(self, array=array, stored=self.stored.reshaped(array.shape) if self.stored else None)


@dataclass(frozen=True, eq=False)
class Whole(Tensor):
    """A tensor of floats that stands for one of integers, exact up to 2^24, or of truth values, 1 and 0."""

    logical: bool = False


@dataclass(frozen=True, eq=False)
class Index(Whole):
    """An integer input that is only read as an index, and what is added to it."""

    ahead: int = 0


@dataclass(frozen=True, eq=False)
class Unscaled(Tensor):
    """Floats that stand for integers whose scale is only known at run time; `readers` may read them.

    `sources`: the tensors by whose scales they are still to be multiplied.
    """

    readers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class UnknownScale(Constant):
    """What stands for such a scale or zero point, or a product of such scales, likewise."""

    readers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


def whole(tensor: Tensor, logical: bool = False) -> Whole:
    return Whole(tensor.name, tensor.type, tensor.data, logical=logical)


def is_whole(value: Tensor | Constant | None) -> bool:
    """Whether a value is of integers or truth values in the file."""
    return isinstance(value, Whole) or (isinstance(value, Constant) and value.array.dtype.kind in "iub")


Value = Tensor | Constant


def is_integer(tensor: Tensor) -> bool:
    """Whether a tensor is stored in int8 already."""
    return tensor.type.dtype is DType.INT8
