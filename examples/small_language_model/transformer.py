"""The network in PyTorch: two layers with rotary embeddings, keys and values shared by two heads each; 224 k parameters."""

from __future__ import annotations

import numpy as np
import torch
from text import SYMBOLS
from torch import Tensor, nn
from torch.nn import functional

LAYERS, WIDTH, HEADS, GROUPS, DEPTH, INNER = 2, 96, 4, 2, 24, 384  # DEPTH: of a head
CONTEXT = 128  # places of the cache
PLACES = 1024  # of the rotary tables: as far as one text may go on


def rotary() -> tuple[Tensor, Tensor]:
    """Cosines and sines ``[PLACES, DEPTH / 2]`` (Su et al., 2021)."""
    angles = np.arange(PLACES)[:, None] * 10000.0 ** (-np.arange(DEPTH // 2) / (DEPTH // 2))
    return torch.from_numpy(np.cos(angles).astype(np.float32)), torch.from_numpy(np.sin(angles).astype(np.float32))


def turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """x ``[B, T, H, DEPTH]`` with elements i and i + DEPTH / 2 turned as a pair by the angle of its place."""
    a, b = x.chunk(2, -1)
    c, s = cosines[: x.shape[1], None], sines[: x.shape[1], None]
    return torch.cat([a * c - b * s, a * s + b * c], -1)


class Layer(nn.Module):
    """Attention, then two dense layers; each normalizes its input and is added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, n * DEPTH) for n in (HEADS, GROUPS, GROUPS))
        self.out, self.up, self.down = nn.Linear(HEADS * DEPTH, WIDTH), nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        h = self.before(x)
        q, k, v = (m(h).unflatten(-1, (-1, DEPTH)) for m in (self.q, self.k, self.v))
        q, k = (turned(t, cosines, sines).transpose(1, 2) for t in (q, k))
        y = functional.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.between(x))))


class Network(nn.Module):
    """Tokens int64 ``[B, T]`` -> scores of the next token ``[B, T, symbols]``."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(SYMBOLS), WIDTH)
        self.layers = nn.ModuleList([Layer() for _ in range(LAYERS)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(SYMBOLS))

    def forward(self, tokens: Tensor) -> Tensor:
        x, (cosines, sines) = self.embedding(tokens), rotary()
        for layer in self.layers:
            x = layer(x, cosines, sines)
        return self.head(self.norm(x))  # type: ignore[no-any-return]
