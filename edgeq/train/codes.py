"""Weights and biases as the chip's memory holds them, with bit errors, seen from PyTorch; `formats` says which bits stand for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeq.formats.code import Code
from edgeq.formats.votes import ChannelVotes

TINY = 1e-12
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Grid:
    """How real weights become integers.

    Attributes:
        code: what stores them.
        truncate: toward zero instead of to nearest.
        per_tensor: one scale instead of one per output channel (axis 0).
    """

    code: Code
    truncate: bool = False
    per_tensor: bool = False

    def encode(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Integers, as floats, and scales ``[O, 1, ...]`` of weights ``[O, ...]``."""
        w = w.detach()
        largest = w.abs().amax() if self.per_tensor else w.abs().reshape(len(w), -1).amax(1)
        scale = (largest / self.code.limit).clamp_min(TINY).expand(len(w)).reshape(-1, *[1] * (w.dim() - 1))
        steps = w / scale
        integers = steps.trunc() if self.truncate else steps.round()
        return integers.clamp(-self.code.limit, self.code.limit), scale

    def faulty(self, integers: Tensor, p: float, rng: np.random.Generator) -> Tensor:
        """What is read where every stored bit has flipped with probability `p`."""
        words = self.code.words(integers.numpy())
        values = self.code.values(words ^ flips(words.shape, self.code.width, self.code.rate(p, words.size), rng))
        return torch.from_numpy(values).to(integers.dtype)


def flips(shape: tuple[int, ...], bits: int, p: float, rng: np.random.Generator) -> Array:
    """Words uint32 whose lowest `bits` are each 1 with probability `p`."""
    mask = np.zeros(shape, np.uint32)
    for bit in range(bits):
        mask |= (rng.random(shape, np.float32) < p).astype(np.uint32) << np.uint32(bit)
    return mask


def faulty_biases(biases: Array, votes: bool, p: float, rng: np.random.Generator) -> Array:
    """Biases int32 ``[O]`` as they are read where every stored bit has flipped with probability `p`."""
    if not votes:
        return (biases.view(np.uint32) ^ flips(biases.shape, 32, p, rng)).view(np.int32)
    form = ChannelVotes().fitted(biases)
    stored = form.encode(form.settled(biases))
    return form.decode(stored ^ flips(stored.shape, 16, p, rng).astype(np.uint16), *biases.shape)
