"""Storage codes of weights as PyTorch computes them: real values -> the integers that the memory holds -> faulty ones -> real values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeq.errors import EdgeqError

ROUNDINGS = ("nearest", "truncate")
SIGNS = ("twos-complement", "offset-binary")
TINY = 1e-12


@dataclass(frozen=True)
class Code:
    """How real values are stored in m bits.

    Attributes:
        bits: m, 2 to 8.
        rounding: ``nearest`` or ``truncate`` (towards zero).
        sign: ``twos-complement``, or ``offset-binary``: the stored word is the integer plus 2^(m-1).
        per_channel: a scale for every output channel (axis 0), or one for the tensor.
        symmetric: integers -(2^(m-1) - 1) ... 2^(m-1) - 1 that mean multiples of the scale, as int8 kernels take them; or all 2^m
            integers, evenly over the range between the smallest and the largest value.
    """

    bits: int = 8
    rounding: str = "nearest"
    sign: str = "twos-complement"
    per_channel: bool = True
    symmetric: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise EdgeqError(f"a storage code of {self.bits} bit", fix="choose 2 to 8")
        for key, value, allowed in (("rounding", self.rounding, ROUNDINGS), ("sign", self.sign, SIGNS)):
            if value not in allowed:
                raise EdgeqError(f"unknown {key} '{value}'", fix=f"choose one of {', '.join(allowed)}")

    @property
    def half(self) -> int:
        return 1 << (self.bits - 1)

    def encode(self, w: Tensor) -> Stored:
        """The integers of ``w [O, ...]``, with what they mean."""
        flat = w.detach().reshape(len(w), -1) if self.per_channel else w.detach().reshape(1, -1)
        shape = (len(flat), *[1] * (w.dim() - 1))
        if self.symmetric:
            center = torch.zeros(shape)
            scale = (flat.abs().amax(1) / (self.half - 1)).clamp_min(TINY).reshape(shape)
            limits = 1 - self.half, self.half - 1
        else:
            low, high = flat.amin(1), flat.amax(1)
            scale = ((high - low) / (2 * self.half - 1)).clamp_min(TINY).reshape(shape)
            center = (low.reshape(shape) / scale + self.half) * scale  # what integer 0 means
            limits = -self.half, self.half - 1
        steps = (w.detach() - center) / scale
        integers = (steps.round() if self.rounding == "nearest" else steps.trunc()).clamp(*limits).to(torch.int32)
        return Stored(self, integers, scale, center)


@dataclass(frozen=True, eq=False)
class Stored:
    """Integers int32 ``[O, ...]`` in a code; the real value is ``center + scale * integer``."""

    code: Code
    integers: Tensor
    scale: Tensor
    center: Tensor

    def words(self) -> Tensor:
        """What the memory holds: int32, 0 ... 2^m - 1."""
        offset = self.code.half if self.code.sign == "offset-binary" else 0
        return (self.integers + offset) & (2 * self.code.half - 1)

    def with_words(self, words: Tensor) -> Stored:
        """The same scales with other words."""
        half = self.code.half
        integers = words - half if self.code.sign == "offset-binary" else (words ^ half) - half
        return Stored(self.code, integers, self.scale, self.center)

    def real(self) -> Tensor:
        return self.center + self.scale * self.integers

    def faulty(self, p: float, generator: torch.Generator) -> Stored:
        """Every stored bit flipped with probability `p`."""
        return self.with_words(self.words() ^ flips(self.integers.shape, self.code.bits, p, generator))


def flips(shape: torch.Size, bits: int, p: float, generator: torch.Generator) -> Tensor:
    """Words int32 whose lowest `bits` (at most 32) are each 1 with probability `p`."""
    mask = torch.zeros(shape, dtype=torch.int32)
    for bit in range(bits):
        mask |= (torch.rand(shape, generator=generator) < p).to(torch.int32) << bit
    return mask
