"""A PyTorch module on two chips: trained on scikit-learn's digits, quantized, built, compared byte for byte, reported."""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import edgeq

digits = load_digits()
x, y = torch.tensor(digits.images / 16).float().unsqueeze(1), torch.tensor(digits.target)
train, test = torch.utils.data.TensorDataset(x[:1400], y[:1400]), (x[1400:], y[1400:])
loader = torch.utils.data.DataLoader(train, batch_size=64, shuffle=True, generator=torch.manual_seed(0))
conv = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU())
module = nn.Sequential(conv, nn.Flatten(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(module.parameters(), lr=0.003)
for _ in range(12):
    for images, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        optimizer.step()

graph = edgeq.load(module, x[:1])
quantized = edgeq.quantize(graph, loader)
right = (quantized.predict(test[0]).argmax(1) == test[1].numpy()).mean()
print(f"{100 * right:.1f} % of {len(test[1])} digits are right")
for target in ("cortex-m4", "riscv"):
    built = edgeq.build(quantized, target=target, output=Path(sys.argv[1] if len(sys.argv) > 1 else "build") / target, name="digits")
    print(target, "bit-exact:", edgeq.compare(built.folder, vectors=8).comparison.bit_exact, edgeq.report(built.folder))
