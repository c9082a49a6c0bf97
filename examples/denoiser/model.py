"""The networks (PyTorch): 257 magnitudes -> a mask of 257 in 0...1, a frame at a time, two recurrent layers between dense ones.

    x [1, 257] -> FC ReLU -> recurrent -> recurrent -> FC ReLU -> FC sigmoid -> mask [1, 257]

The exported graph computes one frame: the recurrent states are inputs (rnn1_h_state_in, and rnn1_c_state_in of an LSTM) and
outputs (rnn1_h_state_out, ...).
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from stft import BINS
from torch import nn


@dataclass(frozen=True)
class Shape:
    """Sizes of a network: units of the first dense layer, of the recurrent ones, and of the second dense layer."""

    cell: str
    dense: int
    units: int


# The four of Rusci et al. (arXiv 2210.07692), and one that is small.
NETWORKS = {
    "LSTM256": Shape("LSTM", BINS, 256),
    "GRU256": Shape("GRU", BINS, 256),
    "LSTM128": Shape("LSTM", BINS, 128),
    "GRU128": Shape("GRU", BINS, 128),
    "GRU48": Shape("GRU", 64, 48),
}
State = tuple[torch.Tensor, ...]


class Denoiser(nn.Module):
    """See above.

    Args:
        spread: what to divide the magnitudes by before the first layer, per bin; folded into its weights on export.
    """

    spread: torch.Tensor

    def __init__(self, shape: Shape, spread: torch.Tensor | None = None) -> None:
        super().__init__()
        self.shape = shape
        cell = nn.LSTM if shape.cell == "LSTM" else nn.GRU
        self.register_buffer("spread", torch.ones(BINS) if spread is None else spread)
        self.fc0 = nn.Linear(BINS, shape.dense)
        self.rnn1, self.rnn2 = cell(shape.dense, shape.units), cell(shape.units, shape.units)
        self.fc1, self.fc2 = nn.Linear(shape.units, shape.dense), nn.Linear(shape.dense, BINS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Magnitudes [T, B, 257] -> masks; the states begin at zero."""
        y = torch.relu(self.fc0(x / self.spread))
        y, _ = self.rnn1(y)
        y, _ = self.rnn2(y)
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(y))))

    def folded(self) -> Denoiser:
        """The same function without the division."""
        other = Denoiser(self.shape)
        other.load_state_dict({**self.state_dict(), "spread": torch.ones(BINS), "fc0.weight": self.fc0.weight / self.spread})
        return other

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())


class Step(nn.Module):
    """One frame of a denoiser: (x [1, 257], states [1, units] ...) -> (mask, new states)."""

    def __init__(self, network: Denoiser) -> None:
        super().__init__()
        self.network = network.folded()

    def forward(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n, per_layer = self.network, len(states) // 2
        y, new = torch.relu(n.fc0(x)).unsqueeze(0), []
        for layer, old in ((n.rnn1, states[:per_layer]), (n.rnn2, states[per_layer:])):
            given = tuple(s.unsqueeze(0) for s in old)
            y, got = layer(y, given if per_layer == 2 else given[0])
            new += [s.squeeze(0) for s in (got if per_layer == 2 else (got,))]
        return torch.sigmoid(n.fc2(torch.relu(n.fc1(y.squeeze(0))))), *new


def export(network: Denoiser, path: Path) -> None:
    """Write one step of the network as ONNX, without the exporter's notes (stack traces and paths of this computer)."""
    letters = "hc" if network.shape.cell == "LSTM" else "h"
    names = [f"rnn{k}_{letter}_state" for k in (1, 2) for letter in letters]
    step = Step(network).eval()
    arguments = (torch.zeros(1, BINS), *(torch.zeros(1, network.shape.units) for _ in names))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            step, arguments, input_names=["input", *(f"{n}_in" for n in names)],
            output_names=["output", *(f"{n}_out" for n in names)], dynamo=True, verbose=False,
        )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    graph = proto.graph
    graph.name = path.stem
    for part in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(proto, path)
