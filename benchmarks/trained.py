"""What training in few bits keeps (`edgeq.train.lsq`), and what the chip's network makes of it.

    python -m benchmarks.trained                    what trained.json does not hold yet; writes trained.md (needs the data folder, PyTorch)
    python -m benchmarks.trained kws/w2a8           likewise, of some rows; the page has those that are measured
    python -m benchmarks.trained --page             the page alone
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import edgeq
from benchmarks.kept import Kept, Record
from benchmarks.models import DATA, ROOT
from benchmarks.networks import NETWORKS, Network
from edgeq import api
from edgeq.ir import Array, Graph, Node
from edgeq.ops.add import Add
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.mean import Mean
from edgeq.passes import normalise
from edgeq.quantize import Options
from edgeq.train import Learning, lsq

HERE = Path(__file__).parent
WAYS = {"w4a8": (4, 8, 0.4), "w2a8": (2, 8, 1.0), "w4a4": (4, 4, 0.6)}  # bits of weights and activations, part of the steps
SHIFT, NOISE = 6, 0.1  # of keyword inputs: frames, and of their spread
HEAD = """# Training in few bits

A trained float network, trained on with learned scales (`edgeq.train.lsq`), the float network as the teacher; first and last layer in 8
bits. Right answers in % on inputs that neither training nor calibration has seen: of the float network, of the trained one in PyTorch,
and of what `edgeq.quantize` makes of it, by the simulator. Seconds of processor time of the training. Keyword spotting has a hundred
inputs to learn from, shifted and mixed, and no labels; robust_vision the training images of CIFAR-10 in JPEG form, with theirs.
Regenerate with `python -m benchmarks.trained`.

| network | bits | steps | float | trained | on the chip | points lost | seconds | weights of layers |
|---|---|--:|--:|--:|--:|--:|--:|---|
"""


class Layer(nn.Module):
    """A convolution or dense layer of a graph, its padding before and its clamp behind; a convolution with a batch norm that does nothing
    to what it sees first."""

    def __init__(self, graph: Graph, node: Node) -> None:
        super().__init__()
        op: Any = node.op
        weight, bias = (torch.from_numpy(np.array(graph.tensors[n].data)) for n in node.inputs[1:3])
        self.pad: tuple[int, ...] = (0, 0, 0, 0)
        self.clamp: tuple[float, float] = op.clamp
        self.norm: nn.Module = nn.Identity()
        if isinstance(op, FullyConnected):
            self.body: Any = nn.Linear(weight.shape[1], weight.shape[0])
        else:
            depthwise = isinstance(op, DepthwiseConv2d)
            weight = weight.permute(3, 0, 1, 2) if depthwise else weight.permute(0, 3, 1, 2)
            groups = len(weight) if depthwise else op.groups
            top, left, bottom, right = op.pads
            self.pad = (left, right, top, bottom)
            self.body = nn.Conv2d(weight.shape[1] * groups, len(weight), (weight.shape[2], weight.shape[3]), op.stride, groups=groups)
            self.norm = nn.BatchNorm2d(len(weight))
        self.body.weight.data.copy_(weight)
        self.body.bias.data.copy_(bias)

    @torch.no_grad()
    def settle(self, y: Tensor) -> None:
        """Have the batch norm take these outputs of the body for what it always sees, and leave them as they are."""
        norm: Any = self.norm
        mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
        for place, value in ((norm.running_mean, mean), (norm.running_var, variance), (norm.bias, mean)):
            place.data.copy_(value)
        norm.weight.data.copy_((variance + norm.eps).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.body(nn.functional.pad(x, self.pad) if any(self.pad) else x))
        return y if self.clamp == (-math.inf, math.inf) else y.clamp(*self.clamp)


class Twin(nn.Module):
    """A float graph of convolutions, dense layers, sums and averages in PyTorch: ``[B, C, H, W]`` -> what its last dense layer gives."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        kept = (Conv2d, DepthwiseConv2d, FullyConnected, Add, AveragePool2d, Mean)
        self.nodes: list[Any] = [n for n in graph.nodes if isinstance(n.op, kept)]
        found = ((n, Layer(graph, n)) for n in self.nodes if isinstance(n.op, (Conv2d, DepthwiseConv2d, FullyConnected)))
        self.layers = nn.ModuleDict({str(self.nodes.index(n)): layer for n, layer in found})

    def forward(self, x: Tensor) -> Tensor:
        values: dict[str, Tensor] = {}
        last = x
        for i, node in enumerate(self.nodes):
            a = values.get(node.inputs[0], last)  # moves between are left out
            if str(i) in self.layers:
                last = self.layers[str(i)](a)
            elif isinstance(node.op, Add):
                last = (a + values[node.inputs[1]]).clamp(*node.op.clamp)
            else:
                last = a.mean((2, 3))
            values[node.outputs[0]] = last
        return last

    @torch.no_grad()
    def settle(self, x: Tensor) -> None:
        """Start all batch norms, by some inputs."""
        layers: list[Any] = list(self.layers.values())
        norms = [m for m in layers if isinstance(m.norm, nn.BatchNorm2d)]
        hooks = [m.norm.register_forward_pre_hook(lambda _, args, m=m: m.settle(args[0])) for m in norms]
        self.eval()(x)
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True, eq=False)
class Task:
    """A network to train.

    Attributes:
        batches: inputs ``[B, C, H, W]`` and labels, by the step.
        samples, x: inputs in that form that calibrate and that judge.
        steps, rate, distil: of training.
    """

    network: Network
    batches: Callable[[int], tuple[Tensor, Tensor]]
    samples: Array
    x: Array
    steps: int
    rate: float = 2e-3
    distil: float = 0.5


def kws() -> Task:
    network = NETWORKS["kws"]()
    samples, x = (a.reshape(-1, 1, 49, 10).astype(np.float32) for a in (network.samples, network.x))
    spread = NOISE * samples.std(0)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([7, step])
        pair = []
        for _ in range(2):
            at = np.clip(np.arange(49) + rng.integers(-SHIFT, SHIFT + 1, (64, 1)), 0, 48)
            pair.append(samples[rng.integers(0, len(samples), 64)][np.arange(64)[:, None], :, at].transpose(0, 2, 1, 3))
        part = rng.beta(0.4, 0.4, (64, 1, 1, 1))
        mixed = part * pair[0] + (1 - part) * pair[1] + rng.normal(size=pair[0].shape) * spread
        return torch.from_numpy(mixed.astype(np.float32)), torch.zeros(64, dtype=torch.long)

    return Task(network, batches, samples, x, 800, distil=1.0)


def vision() -> Task:
    sys.path.append(str(ROOT / "examples" / "robust_vision"))
    from images import load  # type: ignore[import-not-found]
    from train import batches  # type: ignore[import-not-found]

    network = NETWORKS["robust_vision"]()
    work = Path.home() / ".cache" / "edgeq-benchmarks"
    learned, _ = load(DATA / "cifar10", "train", work).split()
    return Task(network, batches(learned, 0), network.samples, network.x, 1000)


TASKS: dict[str, Callable[[], Task]] = {"kws": kws, "robust_vision": vision}


def right(task: Task, outputs: Array) -> float:
    return float(100 * np.mean(outputs.reshape(len(outputs), -1).argmax(1) == task.network.y))


def measured(name: str, way: str) -> Record:
    """Train and judge."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    task, (weights, activations, part) = TASKS[name](), WAYS[way]
    twin = Twin(normalise(task.network.graph))
    twin.settle(torch.cat([task.batches(step)[0] for step in range(8)]))
    learning = Learning(weights, activations, distil=task.distil, rate=task.rate)
    steps, started = round(part * task.steps), time.process_time()
    trained = lsq(twin, task.batches, steps=steps, learning=learning, progress=told)
    seconds = time.process_time() - started
    with torch.no_grad():
        outputs = trained(torch.from_numpy(task.x)).numpy()
    graph = edgeq.load(trained, (torch.from_numpy(task.x[:1]),))
    found = api.quantize(graph, task.samples, options=Options(weights=f"int{weights}"))
    layers = [str(found.graph.tensors[n.inputs[1]].format) for n in found.graph.nodes if n.op.traits.products]
    return {
        "float": right(task, task.network.real), "trained": right(task, outputs), "chip": right(task, found.predict(task.x)),
        "steps": steps, "seconds": round(seconds, 1), "formats": {form: layers.count(form) for form in sorted(set(layers))},
    }  # fmt: skip


def told(done: int, steps: int, loss: float, _: float | None) -> None:
    if done % 50 == 0 or done == steps:
        print(f"step {done} of {steps}: loss {loss:.3f}", flush=True)


def line(key: str, r: Record) -> str:
    name, way = key.split("/")
    formats = ", ".join(f"{n} `{'int8' if form == 'plain' else form}`" for form, n in r["formats"].items())
    cells = [name, way.upper(), r["steps"], *(f"{r[k]:.2f}" for k in ("float", "trained", "chip")), f"{r['float'] - r['chip']:+.2f}"]
    return f"| {' | '.join(map(str, [*cells, round(r['seconds']), formats]))} |"


def main() -> None:
    page = "--page" in sys.argv
    if not (page or DATA.is_dir()):
        sys.exit("no data folder (set EDGEQ_DATA)")
    every = [f"{name}/{way}" for name in TASKS for way in WAYS]
    wanted = [] if page else sys.argv[1:] or every
    if unknown := [w for w in wanted if w not in every]:
        sys.exit(f"no row {unknown[0]}: choose of {', '.join(every)}")
    kept = Kept(HERE / "trained.json")
    for key in wanted:
        kept.get(key, lambda k=key: measured(*k.split("/")))  # type: ignore[misc]
    rows = [line(key, kept.records[key]) for key in every if key in kept.records]
    missing = [key for key in every if key not in kept.records]
    more = f"\nNot measured yet: {', '.join(missing)}.\n" if missing else ""
    (HERE / "trained.md").write_text(HEAD + "\n".join(rows) + "\n" + more)


if __name__ == "__main__":
    main()
