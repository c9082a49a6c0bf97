"""Trains a transformer on log-mel features and writes words.onnx (PyTorch; some minutes on a core).

    pip install "edgeq[torch]"
    python examples/keyword_transformer/train.py

Features, recordings and the two speakers held out are those of examples/keyword_spotting.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "keyword_spotting"))
from loop import Recipe, train  # noqa: E402

FRAMES, BANDS, STEP, WIDTH, HEADS, LAYERS = 64, 32, 2, 48, 4, 2  # STEP: frames of a token


class Block(nn.Module):
    """A layer of `nn.TransformerEncoder` that normalizes first (a Keyword Transformer's; Berg et al., 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.1, batch_first=True)
        self.inner = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * WIDTH, WIDTH), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.before(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.inner(self.between(x))  # type: ignore[no-any-return]


class Network(nn.Module):
    """Decibels ``[B, 1, FRAMES, BANDS]`` -> 10 scores. A token is STEP frames, seen with those around it."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.BatchNorm2d(1)
        self.tokens = nn.Conv1d(BANDS, WIDTH, 2 * STEP + 1, STEP, STEP)
        self.places = nn.Parameter(0.02 * torch.randn(1, FRAMES // STEP, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(self.levels(x).squeeze(1).transpose(1, 2)).transpose(1, 2) + self.places
        return self.head(self.norm(self.blocks(x)).mean(1))  # type: ignore[no-any-return]


def masked(x: Tensor) -> Tensor:
    """A batch with some bands and some frames at its mean, other ones in each clip (SpecAugment; Park et al., 2019)."""
    x = x.clone()
    mean = x.mean()
    for clip in x:
        for _ in range(2):
            band, at = int(torch.randint(0, BANDS - 5, ())), int(torch.randint(0, FRAMES - 8, ()))
            clip[:, :, band : band + int(torch.randint(1, 6, ()))] = mean
            clip[:, at : at + int(torch.randint(1, 9, ()))] = mean
    shift = torch.randint(-2, 3, ()).item()  # another voice: bands higher or lower
    return torch.roll(x, int(shift), -1) + 3 * torch.randn(len(x), 1, 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "words.onnx")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = Network()
    features = train(model, Recipe(epochs=options.epochs, copies=2, rate=2e-3, decay=0.05, smoothing=0.1, changed=masked))
    torch.backends.mha.set_fastpath_enabled(False)
    torch.onnx.export(model, (features,), options.output, input_names=["features"], output_names=["scores"], dynamo=False)


if __name__ == "__main__":
    main()
