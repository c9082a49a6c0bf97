"""Scales that are learned: LSQ (Esser et al., ICLR 2020) for weights, LSQ+ (Bhalgat et al., CVPR-W 2020) for activations, whose offset
is learned, too. All start at the scales of least square error.

Scales are learned as their logarithms, so that a step of Adam changes large and small ones alike, and none turns negative.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgeq.train.codes import TINY

SHRINKS = tuple(1.0 - 0.02 * i for i in range(46))  # of a range, that are tried for the least error


def through(x: Tensor) -> Tensor:
    """Rounded, halves to even, with the gradient of `x` (straight through)."""
    return x + (x.round() - x).detach()


class LearnedWeight(nn.Module):
    """Parametrization of a weight ``[O, ...]``: multiples of a learned scale per output channel, within ``-limit ... limit``.

    Attributes:
        bits: of a stored weight; may change while training goes on, see `narrow`.
        log_scale: ``[O]``.
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.log_scale = nn.Parameter(_weight_scales(weight.detach(), self.limit).clamp_min(TINY).log())

    @property
    def limit(self) -> int:
        """The largest integer; the least is its negative."""
        return int(2 ** (self.bits - 1) - 1)

    @torch.no_grad()
    def narrow(self, bits: int, weight: Tensor) -> None:
        """Use `bits` bits from now on, at the scales of least error for the real `weight`."""
        self.bits = bits
        self.log_scale.copy_(_weight_scales(weight, self.limit).clamp_min(TINY).log())

    def scales(self, w: Tensor) -> Tensor:
        """Positive, ``[O, 1, ...]``: broadcast to the weight."""
        return self.log_scale.exp().reshape(-1, *[1] * (w.dim() - 1))

    def forward(self, w: Tensor) -> Tensor:
        scale = self.scales(w)
        return through((w / scale).clamp(-self.limit, self.limit)) * scale


class LearnedInput(nn.Module):
    """An activation in `bits` bits: a learned scale and a learned offset, of which the integer that means 0 follows.

    It starts at the range of least square error on the first batch that it sees.
    """

    log_scale: Tensor
    offset: Tensor
    known: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.log_scale, self.offset = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.register_buffer("known", torch.tensor(False))

    @property
    def steps(self) -> int:
        """The largest integer; the least is 0."""
        return int(2**self.bits - 1)

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Scale and offset of least square error on a batch."""
        low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
        part = x.flatten()[:: max(1, x.numel() // 2**16)]
        best = (math.inf, 1.0)
        for shrink in SHRINKS:
            scale = max((high - low) * shrink / self.steps, TINY)
            zero = min(max(round(-low * shrink / scale), 0), self.steps)
            rounded = ((part / scale).round() + zero).clamp(0, self.steps).sub(zero) * scale
            best = min(best, (float((rounded - part).square().sum()), shrink))
        self.log_scale.fill_(math.log(max((high - low) * best[1] / self.steps, TINY)))
        self.offset.fill_(low * best[1])
        self.known.fill_(True)

    def fixed(self) -> tuple[float, int]:
        """The scale, a float32 number, and the integer that means 0, as they are now."""
        scale = self.log_scale.detach().exp()
        return float(scale), int((-self.offset.detach() / scale).round().clamp(0, self.steps))

    def forward(self, x: Tensor) -> Tensor:
        if not self.known:
            self.start(x.detach())
        scale = self.log_scale.exp()
        zero = through((-self.offset / scale).clamp(0, self.steps))
        return (through((x / scale + zero).clamp(0, self.steps)) - zero) * scale


class FixedInput(nn.Module):
    """What a `LearnedInput` has become: a fake quantizer with constants, which `edgeq.load` reads as the scale of its tensor."""

    def __init__(self, learned: LearnedInput) -> None:
        super().__init__()
        (self.scale, zero), self.steps = learned.fixed(), learned.steps
        self.zero = zero

    def forward(self, x: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, self.steps)


def _weight_scales(w: Tensor, limit: int) -> Tensor:
    """Per output channel of ``[O, ...]``, the scale of least square error: ``[O]``."""
    rows = w.reshape(len(w), -1)
    widest = rows.abs().amax(1).clamp_min(TINY) / limit
    best, chosen = torch.full_like(widest, math.inf), widest.clone()
    for shrink in SHRINKS:
        scale = (widest * shrink)[:, None]
        error = ((rows / scale).round().clamp(-limit, limit) * scale - rows).square().sum(1)
        better = error < best
        best, chosen = torch.where(better, error, best), torch.where(better, widest * shrink, chosen)
    return chosen
