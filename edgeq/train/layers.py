"""What is put into a network for training: weights as stored, norm scales about one, activations as int8 holds them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from edgeq.errors import EdgeqError
from edgeq.train.codes import TINY, Grid

PLAIN, CLEAN, FAULTY = "plain", "clean", "faulty"  # as the network was; as it is stored; as it is stored with bit errors
WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
SCALED = (*NORMS, nn.GroupNorm, nn.LayerNorm)  # their scales are trained as 1 + a
MOMENTUM = 0.05


class StoredWeight(nn.Module):
    """Parametrization of a weight: what is read from memory, with the gradient of the real weight (straight through).

    Attributes:
        integers, scale: of the last clean or faulty reading.
        change: what its errors add to the sum of each output channel's weights, ``[O]``.
    """

    integers: Tensor
    scale: Tensor
    change: Tensor

    def __init__(self, grid: Grid, p: float) -> None:
        super().__init__()
        self.grid, self.p, self.mode = grid, p, PLAIN
        self.rng = np.random.default_rng(0)

    def forward(self, w: Tensor) -> Tensor:
        if self.mode == PLAIN:
            return w
        self.integers, self.scale = self.grid.encode(w)
        read = self.integers
        if self.mode == FAULTY:
            read = self.grid.faulty(self.integers, self.p, self.rng)
            self.change = ((read - self.integers) * self.scale).reshape(len(w), -1).sum(1)
        return w + (read * self.scale - w).detach()


class Rounded(torch.autograd.Function):
    """Multiples of a step, nearest; the gradient goes straight through."""

    @staticmethod
    def forward(_: Any, x: Tensor, step: float) -> Tensor:
        return (x / step).round_().mul_(step)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class AboutOne(nn.Module):
    """Parametrization of a norm's scale: 1 + a, so that clipping and decay draw it to one."""

    def forward(self, a: Tensor) -> Tensor:
        return 1 + a

    def right_inverse(self, scale: Tensor) -> Tensor:
        return scale - 1


class Range(nn.Module):
    """The range of an activation, and its int8 form in the forward pass.

    The range is a moving average of each clean batch's extremes, or is learned by gradient from the first batch's.

    Args:
        learned: which of the two.
        zero: what the integer 0 means: ``centre``, about the mean of what was seen; ``symmetric``, 0; ``affine``, the middle of the range.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    known: Tensor

    def __init__(self, learned: bool, zero: str) -> None:
        super().__init__()
        self.learned, self.zero = learned, zero
        for name in ("low", "high"):
            if learned:
                self.register_parameter(name, nn.Parameter(torch.zeros(())))
            else:
                self.register_buffer(name, torch.zeros(()))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("known", torch.tensor(False))

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Take in a clean batch."""
        x = x.detach()
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            x = x.movedim(1, -1)  # spares a copy
        part = MOMENTUM if self.known else 1.0
        if self.zero == "centre":
            self.mean.lerp_(x.mean().float(), part)
        if not (self.learned and self.known):
            low, high = torch.aminmax(x)
            if not (low.isfinite() and high.isfinite()):
                raise EdgeqError("an activation is infinite or NaN", fix="lower the learning rate, or look at the data")
            self.low.lerp_(low.float().clamp_max(0), part)
            self.high.lerp_(high.float().clamp_min(0), part)
        self.known.fill_(True)

    def steps(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point (the integer that means 0); the scale has a gradient where it is learned."""
        low, high = self.low.clamp_max(0), self.high.clamp_min(0)
        middle = (low + high) / 2 if self.zero == "affine" else self.mean  # 0 where it is not observed
        reach = torch.maximum(high - middle, middle - low)
        scale = (2 * reach / 255).clamp_min(TINY)
        return scale, ((reach - middle) / scale - 128).round().clamp(-128, 127).detach()

    def forward(self, x: Tensor) -> Tensor:
        """`x` rounded to int8 and back, saturated at the range."""
        scale, zero = self.steps()
        if not self.learned:
            step, least = float(scale), -128 - int(zero)
            bounded = nn.functional.hardtanh(x, least * step, (least + 255) * step)  # clamp, with a quicker gradient
            return cast(Tensor, Rounded.apply(bounded, step))  # type: ignore[no-untyped-call]
        steps = (x / scale + zero).clamp(-128, 127)
        return (steps + (steps.round() - steps).detach() - zero) * scale

    def saturated(self, x: Tensor) -> Tensor:
        """`x` within the range, not rounded."""
        return nn.functional.hardtanh(x, float(self.low), float(self.high))


def channelwise(offset: Tensor, layer: nn.Module) -> Tensor:
    """``[O]`` so that it adds to the layer's output."""
    return offset.reshape(-1, *[1] * len(getattr(layer, "kernel_size", ())))
