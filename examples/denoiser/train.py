"""Trains a denoiser and writes it as ONNX (PyTorch, one core).

    pip install "edgeq[torch]"
    python examples/denoiser/train.py                                        # GRU48 on synthetic sound: denoiser.onnx
    python examples/denoiser/train.py --network LSTM256 --data FOLDER --minutes 30 --output lstm256.onnx

The data are sound.py's voices and noises; --data adds a folder of recordings (recordings.py says which). Loss: the squared distance
of the masked and the clean magnitudes, both to the power 0.3. A run that is interrupted goes on where it stopped when it is
started again with the same --checkpoint.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model import NETWORKS, Denoiser, export
from recordings import Pool
from stft import HANN, HOP, POINTS, WINDOW

HERE = Path(__file__).parent
POWER = 0.3
SECONDS, BATCH, PIECES = 2.0, 16, 240
REPORT = 50


def spectra(x: np.ndarray[Any, Any]) -> torch.Tensor:
    """float32 [B, N] -> complex64 [T, B, 257]."""
    window = torch.from_numpy(HANN * np.float32(2**16))
    pieces = torch.from_numpy(x).unfold(1, WINDOW, HOP) * window
    return torch.fft.rfft(pieces, POINTS).transpose(0, 1)


def batch(pool: Pool, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Magnitudes of noisy and of clean sound, [T, B, 257] each."""
    drawn = [pool.draw(rng) for _ in range(BATCH)]
    clean, added = (spectra(np.stack(x)) for x in zip(*drawn, strict=True))
    return (clean + added).abs(), clean.abs()


def loss_of(network: Denoiser, noisy: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """See above; louder clean sound than noisy (they may cancel) is no goal of a mask."""
    goal, got = torch.minimum(clean, noisy), network(noisy) * noisy
    return ((got + 1e-6) ** POWER - (goal + 1e-6) ** POWER).square().mean()


def parse() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--network", choices=list(NETWORKS), default="GRU48")
    p.add_argument("--data", type=Path, help="a folder of recordings")
    p.add_argument("--steps", type=int, default=2000)
    p.add_argument("--minutes", type=float, help="stop after this long, whatever --steps says")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--output", type=Path, default=HERE / "denoiser.onnx")
    p.add_argument("--checkpoint", type=Path, help="default: the output with .pt")
    return p.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(1)  # the same sums in the same order every time
    torch.manual_seed(options.seed)
    checkpoint = options.checkpoint or options.output.with_suffix(".pt")
    print("making sound", flush=True)
    pool = Pool(np.random.default_rng(options.seed), options.data, PIECES, SECONDS)
    first = [batch(pool, np.random.default_rng([options.seed, 0, i])) for i in range(4)]
    spread = torch.cat([noisy for noisy, _ in first]).square().mean((0, 1)).sqrt()
    network = Denoiser(NETWORKS[options.network], spread)
    print(f"{options.network}: {network.parameter_count()} parameters", flush=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
    done = 0
    if checkpoint.is_file():
        kept = torch.load(checkpoint)
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        done = kept["done"]
        print(f"going on after step {done}", flush=True)
    train(network, optimizer, pool, options, done, checkpoint)
    export(network.eval(), options.output)
    print(options.output)


def train(
    network: Denoiser, optimizer: torch.optim.Optimizer, pool: Pool, options: argparse.Namespace, done: int, checkpoint: Path
) -> None:
    """Steps `done`...`options.steps`; each draws from its own seed, so that an interrupted run equals one that was not."""
    started, total, last = time.monotonic(), 0.0, REPORT
    for step in range(done, options.steps):
        progress = (step + 1) / options.steps
        if options.minutes:
            progress = max(progress, (time.monotonic() - started) / (60 * options.minutes))
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * min(progress, 1))) + 1e-5
        optimizer.zero_grad()
        loss = loss_of(network, *batch(pool, np.random.default_rng([options.seed, 1, step])))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += float(loss.detach())
        if step % REPORT == REPORT - 1:
            last, total = total / REPORT, 0.0
            seconds = time.monotonic() - started
            print(f"step {step + 1} of {options.steps}: loss {last:.5f}, {seconds:.0f} s", flush=True)
            torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict(), "done": step + 1}, checkpoint)
        if progress >= 1:
            break


if __name__ == "__main__":
    main()
