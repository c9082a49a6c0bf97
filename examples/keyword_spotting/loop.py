"""The training loop of the two keyword examples: speakers held out test after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from float_pipeline import log_mel
from sounds import HELD_OUT, clips, placed
from torch import Tensor, nn

BATCH = 32


class Recipe(NamedTuple):
    """How a network is trained, by AdamW under a one-cycle schedule.

    Attributes:
        epochs: passes over all clips. copies: of each clip, at another place and another loudness each.
        rate, decay: the highest learning rate, and the decay of weights. smoothing: of the labels.
        changed: what is done to the features of a batch ``[B, 1, frames, bands]``.
    """

    epochs: int
    copies: int
    rate: float
    decay: float
    smoothing: float
    changed: Callable[[Tensor], Tensor]


def train(model: nn.Module, recipe: Recipe) -> Tensor:
    """Train in place; the features of one clip are returned, to export the model with."""
    rng = np.random.default_rng(0)
    sounds = clips()
    own, others = ([c for c in sounds if (c.speaker in HELD_OUT) == held] for held in (False, True))
    louder = [(c, rng.uniform(0.3, 1.0), int(rng.integers(2**16))) for c in own for _ in range(recipe.copies)]
    x = torch.from_numpy(log_mel([placed((c.samples * loud).astype(np.int16), at) for c, loud, at in louder]))
    y = torch.tensor([c.word for c, _, _ in louder])
    held, want = torch.from_numpy(log_mel([placed(c.samples) for c in others])), torch.tensor([c.word for c in others])
    loss = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.decay)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, epochs=recipe.epochs, steps_per_epoch=steps)
    for epoch in range(recipe.epochs):
        model.train()
        for pick in torch.randperm(len(x))[: steps * BATCH].split(BATCH):
            optimizer.zero_grad()
            value = loss(model(recipe.changed(x[pick])), y[pick])
            value.backward()
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            right = (model(held).argmax(1) == want).float().mean()
        print(f"epoch {epoch + 1}: loss {value.item():.3f}, speakers held out {100 * float(right):.2f} %", flush=True)
    return x[:1]
