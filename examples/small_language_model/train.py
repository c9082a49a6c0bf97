"""Trains the network and writes weights.npz (PyTorch; a quarter of an hour on a core).

    pip install "edgeq[torch]"
    python examples/small_language_model/train.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from text import split
from torch import Tensor
from torch.nn import functional
from transformer import CONTEXT, Network

HERE = Path(__file__).parent
BATCH, RATE = 24, 4e-3


def loss_of(model: Network, windows: Tensor) -> Tensor:
    """Mean nats per token of windows ``[B, CONTEXT + 1]``."""
    scores = model(windows[:, :-1])
    return functional.cross_entropy(scores.flatten(0, 1), windows[:, 1:].flatten())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "weights.npz")
    options = parser.parse_args()
    torch.manual_seed(0)
    train, test = (torch.from_numpy(t) for t in split())
    held = test[: len(test) // (CONTEXT + 1) * (CONTEXT + 1)].reshape(-1, CONTEXT + 1)[:128]
    model = Network()
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(train)} tokens to train with, {len(test)} held out", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=options.steps, pct_start=0.1)
    for step in range(options.steps):
        at = torch.randint(len(train) - CONTEXT - 1, (BATCH,))
        value = loss_of(model, train[at[:, None] + torch.arange(CONTEXT + 1)])
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            with torch.no_grad():
                print(f"step {step + 1}: perplexity {value.exp():.2f}, held out {loss_of(model, held).exp():.3f}", flush=True)
            save(model, options.output)


def save(model: Network, path: Path) -> None:
    """The weights in half precision, by their names."""
    np.savez_compressed(path, **{n: p.detach().numpy().astype(np.float16) for n, p in model.state_dict().items()})  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
