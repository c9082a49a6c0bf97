"""Trains a network on log-mel features and writes words.onnx (PyTorch; a minute on a core).

    pip install "edgeq[torch]"
    python examples/keyword_spotting/train.py

Four speakers train, two others test: see sounds.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from float_pipeline import log_mel
from sounds import HELD_OUT, clips, placed
from torch import nn

HERE = Path(__file__).parent
EPOCHS, BATCH, COPIES = 6, 32, 1  # copies: at another place of the clip and another loudness each


class Separable(nn.Sequential):
    """Depthwise 3x3, pointwise 1x1, each with batch normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int]) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs), nn.ReLU(),
            nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        )  # fmt: skip


def network() -> nn.Module:
    """1 x 64 frames x 32 bands, in decibels -> 10 scores; 11 k parameters."""
    return nn.Sequential(
        nn.BatchNorm2d(1),
        nn.Conv2d(1, 24, 5, (2, 2), 2, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        Separable(24, 48, (2, 2)), Separable(48, 64, (2, 2)), Separable(64, 64, (1, 1)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10),
    )  # fmt: skip


def main() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    sounds = clips()
    train = [c for c in sounds if c.speaker not in HELD_OUT]
    test = [c for c in sounds if c.speaker in HELD_OUT]
    louder = [(c, rng.uniform(0.3, 1.0), int(rng.integers(2**16))) for c in train for _ in range(COPIES)]
    x = torch.from_numpy(log_mel([placed((c.samples * loud).astype(np.int16), at) for c, loud, at in louder]))
    y = torch.tensor([c.word for c, _, _ in louder])
    held, want = torch.from_numpy(log_mel([placed(c.samples) for c in test])), torch.tensor([c.word for c in test])
    model, loss = network(), nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, epochs=EPOCHS, steps_per_epoch=len(x) // BATCH)
    for epoch in range(EPOCHS):
        model.train()
        order = torch.randperm(len(x))
        for i in range(len(x) // BATCH):
            pick = order[i * BATCH : (i + 1) * BATCH]
            clip = x[pick].clone()
            band, at = int(torch.randint(0, 28, ())), int(torch.randint(0, 56, ()))
            clip[..., band : band + 4], clip[:, :, at : at + 8] = clip.mean(), clip.mean()
            optimizer.zero_grad()
            value = loss(model(clip), y[pick])
            value.backward()
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            right = (model(held).argmax(1) == want).float().mean()
        print(f"epoch {epoch + 1}: loss {value.item():.3f}, speakers held out {100 * float(right):.2f} %", flush=True)
    program = torch.onnx.export(model, (x[:1],), input_names=["features"], output_names=["scores"], dynamo=True, verbose=False)
    save(program.model_proto, HERE / "words.onnx")


def save(proto: onnx.ModelProto, path: Path) -> None:
    """Write the model without the exporter's notes (stack traces and paths of this computer)."""
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(proto, path)


if __name__ == "__main__":
    main()
