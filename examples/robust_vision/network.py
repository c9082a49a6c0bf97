"""A residual network for 32x32 images that fits a microcontroller: 78 k parameters, 3.1 million multiplications.

    3x3/2, 16 -> block 16 at 16x16 -> block 32 at 8x8 -> block 64 at 4x4 -> mean -> dense
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

WIDTHS = (16, 32, 64)


def convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """relu(f(x) + x), with x brought to the new shape where it changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(inputs, outputs, 3, stride), nn.ReLU(), convolution(outputs, outputs, 3, 1))
        self.way = nn.Identity() if inputs == outputs and stride == 1 else convolution(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.way(x))


def network(classes: int = 10, widths: tuple[int, ...] = WIDTHS) -> nn.Module:
    """Images float32 ``[B, 3, 32, 32]`` in -1...1 -> logits ``[B, classes]``."""
    before = (widths[0], *widths[:-1])
    blocks = [Block(a, b, 1 if k == 0 else 2) for k, (a, b) in enumerate(zip(before, widths, strict=True))]
    parts = {
        "stem": convolution(3, widths[0], 3, 2), "relu": nn.ReLU(), **{f"block{k + 1}": block for k, block in enumerate(blocks)},
        "mean": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "head": nn.Linear(widths[-1], classes),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(parts))
