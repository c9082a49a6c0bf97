"""Noise in place of rounding while a network is trained: QuantNAS (Gao et al., 2023), after Baskin et al. (UNIQ, 2018).

The error of rounding is modelled as uniform noise, one step of the grid wide; its gradient is the weight's own and needs no
straight-through estimate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.train.learned import LearnedWeight


class NoisyWeight(LearnedWeight):
    """A `LearnedWeight` that is not rounded in training: half a step, up or down, is added at random. In evaluation it is rounded."""

    def __init__(self, weight: Tensor, bits: int, seed: int = 0) -> None:
        super().__init__(weight, bits)
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, w: Tensor) -> Tensor:
        if not self.training:
            return super().forward(w)
        scale = self.scales(w)
        noise = torch.rand(w.shape, generator=self.generator).to(w) - 0.5
        return ((w / scale + noise).clamp(-self.limit, self.limit)) * scale
