"""Trains a network on log-mel features and writes words.onnx (PyTorch; a minute on a core).

    pip install "edgeq[torch]"
    python examples/keyword_spotting/train.py

Four speakers train, two others test: see sounds.py.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from loop import Recipe, train
from torch import Tensor, nn

HERE = Path(__file__).parent


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


def masked(x: Tensor) -> Tensor:
    """A batch with some bands and some frames at its mean, the same ones in all clips."""
    x = x.clone()
    band, at = int(torch.randint(0, 28, ())), int(torch.randint(0, 56, ()))
    x[..., band : band + 4], x[:, :, at : at + 8] = x.mean(), x.mean()
    return x


def main() -> None:
    torch.manual_seed(0)
    model = network()
    features = train(model, Recipe(epochs=6, copies=1, rate=1e-2, decay=1e-2, smoothing=0.05, changed=masked))
    program = torch.onnx.export(model, (features,), input_names=["features"], output_names=["scores"], dynamo=True, verbose=False)
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
