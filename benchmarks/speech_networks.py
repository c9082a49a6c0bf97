"""Networks on speech as papers describe them, in PyTorch, with random weights: what a user's own code looks like."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class KeywordTransformer(nn.Module):
    """KWT (Berg et al. 2021): a token per frame of a spectrogram, a class token, learned positions, encoder layers with the norm last."""

    def __init__(self, frames: int = 98, bands: int = 40, width: int = 64, heads: int = 1, layers: int = 4, classes: int = 35) -> None:
        super().__init__()
        self.tokens, self.mark = nn.Linear(bands, width), nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, frames + 1, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True, activation="gelu")
        self.encoder, self.head = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False), nn.Linear(width, classes)

    def forward(self, x: Any) -> Any:
        y = torch.cat([self.mark.expand(x.shape[0], -1, -1), self.tokens(x)], 1) + self.places
        return self.head(self.encoder(y)[:, 0])


class Crnn(nn.Module):
    """Convolutional recurrent network (Arik et al. 2017; Adavanne et al. 2018): convolutions and pooling, GRUs both ways, a dense head."""

    def __init__(self, bands: int = 40, width: int = 32, hidden: int = 32, classes: int = 12) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d((5, 2)),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d((4, 2)),
        )  # fmt: skip
        self.recurrent = nn.GRU(width * (bands // 20), hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, x: Any) -> Any:
        y = self.front(x).permute(0, 3, 1, 2).flatten(2)
        y, _ = self.recurrent(y)
        return torch.sigmoid(self.head(y))


class Tdnn(nn.Module):
    """x-vectors (Snyder et al. 2018): dilated convolutions over time, mean and deviation pooled, dense layers."""

    def __init__(self, bands: int = 24, width: int = 64, classes: int = 10) -> None:
        super().__init__()
        sizes = ((bands, width, 5, 1), (width, width, 3, 2), (width, width, 3, 3), (width, width, 1, 1), (width, 3 * width, 1, 1))
        parts = [(nn.Conv1d(i, o, k, dilation=d), nn.ReLU(), nn.BatchNorm1d(o)) for i, o, k, d in sizes]
        self.frames = nn.Sequential(*[p for part in parts for p in part])
        self.segment = nn.Sequential(nn.Linear(6 * width, width), nn.ReLU(), nn.BatchNorm1d(width), nn.Linear(width, classes))

    def forward(self, x: Any) -> Any:
        y = self.frames(x)
        return functional.log_softmax(self.segment(torch.cat([y.mean(2), y.std(2)], 1)), -1)


class ConvTasNet(nn.Module):
    """Conv-TasNet (Luo and Mesgarani 2019): a learned filter bank, masks from dilated blocks with global norms, its inverse."""

    def __init__(self, sources: int = 2, filters: int = 64, length: int = 16, width: int = 32, hidden: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.sources, self.filters = sources, filters
        self.encoder = nn.Conv1d(1, filters, length, stride=length // 2, bias=False)
        self.enter = nn.Sequential(nn.GroupNorm(1, filters, eps=1e-8), nn.Conv1d(filters, width, 1))
        self.blocks: Any = nn.ModuleList(self._block(width, hidden, 2**i) for i in range(layers))
        self.leave = nn.Sequential(nn.PReLU(), nn.Conv1d(width, sources * filters, 1), nn.Sigmoid())
        self.decoder = nn.ConvTranspose1d(filters, 1, length, stride=length // 2, bias=False)

    def _block(self, width: int, hidden: int, dilation: int) -> Any:
        depthwise = nn.Conv1d(hidden, hidden, 3, padding=dilation, dilation=dilation, groups=hidden)
        norms = [nn.GroupNorm(1, hidden, eps=1e-8) for _ in range(2)]
        shared = nn.Sequential(nn.Conv1d(width, hidden, 1), nn.PReLU(), norms[0], depthwise, nn.PReLU(), norms[1])
        return nn.ModuleList([shared, nn.Conv1d(hidden, width, 1), nn.Conv1d(hidden, width, 1)])

    def forward(self, x: Any) -> Any:
        mixed = self.encoder(x)
        y, total = self.enter(mixed), 0.0
        for shared, residual, skip in self.blocks:
            inner = shared(y)
            y, total = y + residual(inner), total + skip(inner)
        masks = self.leave(total).reshape(x.shape[0], self.sources, self.filters, -1)
        parts = (masks * mixed[:, None]).reshape(x.shape[0] * self.sources, self.filters, -1)
        return self.decoder(parts).reshape(x.shape[0], self.sources, -1)


class Conformer(nn.Module):
    """A conformer block (Gulati et al. 2020): attention and a gated depthwise convolution between two halves of a feed-forward."""

    def __init__(self, width: int = 32, heads: int = 4, hidden: int = 128, kernel: int = 15) -> None:
        super().__init__()
        self.first, self.last = self._forward(width, hidden), self._forward(width, hidden)
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, heads, batch_first=True)
        self.mix_norm, self.end = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1), nn.GLU(1), nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width),
            nn.BatchNorm1d(width), nn.SiLU(), nn.Conv1d(width, width, 1),
        )  # fmt: skip

    def _forward(self, width: int, hidden: int) -> Any:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width))

    def forward(self, x: Any) -> Any:
        y = x + 0.5 * self.first(x)
        z = self.norm(y)
        y = y + self.attention(z, z, z, need_weights=False)[0]
        y = y + self.mix(self.mix_norm(y).transpose(1, 2)).transpose(1, 2)
        return self.end(y + 0.5 * self.last(y))
