"""Trains the digits network and writes digits.onnx (PyTorch; a minute on one core).

    pip install "edgeq[torch]" scikit-learn
    python examples/digits/train.py

The data are scikit-learn's 1797 digits of 8x8 pixels; data.py holds the split.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from data import load
from torch import nn

HERE = Path(__file__).parent


class Separable(nn.Sequential):
    """Depthwise 3x3, pointwise 1x1, each with batch normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class Residual(nn.Module):
    """x + Separable(x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = Separable(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def network() -> nn.Module:
    """1x8x8 pixels in 0...1 -> 10 probabilities; 3 k parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Separable(16, 32, 2),
        Residual(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
        nn.Softmax(dim=1),
    )


def augment(x: torch.Tensor) -> torch.Tensor:
    """Shift each image by up to one pixel."""
    dy, dx = (int(torch.randint(-1, 2, ())) for _ in range(2))
    return torch.roll(x, (dy, dx), (2, 3))


def main() -> None:
    torch.manual_seed(0)
    x_train, y_train, x_test, y_test = (torch.from_numpy(a) for a in load())
    model = network()
    loss = nn.NLLLoss()
    epochs, batch = 100, 64
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, epochs=epochs, steps_per_epoch=len(x_train) // batch)
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(x_train))
        for i in range(len(x_train) // batch):
            pick = order[i * batch : (i + 1) * batch]
            optimizer.zero_grad()
            value = loss(torch.log(model(augment(x_train[pick])) + 1e-9), y_train[pick])
            value.backward()
            optimizer.step()
            schedule.step()
        if epoch % 10 == 9:
            model.eval()
            with torch.no_grad():
                accuracy = (model(x_test).argmax(1) == y_test).float().mean()
            print(f"epoch {epoch + 1}: loss {value.item():.4f}, test accuracy {100 * float(accuracy):.2f} %")
    model.eval()
    program = torch.onnx.export(
        model, (x_test[:1],), input_names=["image"], output_names=["probability"], dynamo=True, verbose=False
    )
    save(program.model_proto, HERE / "digits.onnx")


def save(proto: onnx.ModelProto, path: Path) -> None:
    """Write the model without the exporter's notes (stack traces and paths of this computer)."""
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(proto, path)


if __name__ == "__main__":
    main()
