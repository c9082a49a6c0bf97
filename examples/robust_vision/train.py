"""Trains the network on a folder or zip of images and writes it as ONNX (PyTorch).

    pip install "edgeq[torch,images]"
    python examples/robust_vision/train.py plain   --data FOLDER      # from scratch: plain.onnx
    python examples/robust_vision/train.py clipped --data FOLDER      # from plain: weights clipped, quantized in the loop
    python examples/robust_vision/train.py randbet --data FOLDER      # from clipped: the same with errors in 1 % of the bits
    python examples/robust_vision/train.py randbet --bits 4 --data FOLDER   # the same for weights of 4 bit: randbet4.onnx

Every tenth training image is held out, and what is printed is measured on those: nothing is chosen by the test images, which only
sweep.py reads. Decoded images and checkpoints are kept in --work; an interrupted run goes on where it stopped when it is started again.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from images import SIDE, Images, augmented, load
from network import network
from torch import nn

from edgeq import EdgeqError
from edgeq.train import Code, Descent, Options, randbet

HERE = Path(__file__).parent
BATCH = 128
EPOCHS = {"plain": 40, "clipped": 12, "randbet": 3}
RATE = {"plain": 0.1, "clipped": 0.05, "randbet": 0.01}
CLIP = {"clipped": 1.5, "randbet": 1.6}  # times the root mean square of a layer's weights before
BEFORE = {"clipped": "plain", "randbet": "clipped"}
Batches = Callable[[int], tuple[torch.Tensor, torch.Tensor]]


def batches(images: Images, seed: int) -> Batches:
    """A function of the step: augmented images and labels. Every epoch is a permutation of its own seed."""
    pixels, per_epoch = images.real(), len(images.labels) // BATCH
    orders: dict[int, np.ndarray] = {}

    def draw(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, i = divmod(step, per_epoch)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = np.random.default_rng([seed, 0, epoch]).permutation(len(pixels))
        pick = orders[epoch][i * BATCH : (i + 1) * BATCH]
        x = torch.from_numpy(augmented(pixels[pick], np.random.default_rng([seed, 1, step])))
        return x.contiguous(memory_format=torch.channels_last), torch.from_numpy(images.labels[pick])

    return draw


def accuracy(model: nn.Module, images: Images) -> float:
    """Percent right."""
    training = model.training
    model.eval()
    with torch.no_grad():
        right = [model(torch.from_numpy(x)).argmax(1).numpy() for x in np.array_split(images.real(), max(1, len(images.labels) // 250))]
    model.train(training)
    return 100 * float((np.concatenate(right) == images.labels).mean())


def plain(model: nn.Module, draw: Batches, steps: int, checkpoint: Path, report: Callable[[int, int, float, float | None], None]) -> None:
    """Ordinary training: SGD, cosine schedule after a short warm-up."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE["plain"], momentum=0.9, nesterov=True, weight_decay=5e-4)
    done = 0
    if checkpoint.is_file():
        kept = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        done = kept["done"]
    model.train()
    for step in range(done, steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE["plain"] * min(1, (step + 1) / 500) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        x, y = draw(step)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "done": step + 1}, checkpoint)
        report(step + 1, steps, float(loss.detach()), None)


def export(model: nn.Module, path: Path) -> None:
    """Write the network as ONNX, without the exporter's notes (stack traces and paths of this computer)."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    model = model.eval().to(memory_format=torch.contiguous_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (torch.zeros(1, 3, SIDE, SIDE),), input_names=["image"], output_names=["logits"], dynamo=True, verbose=False
        )
    assert program is not None
    proto = program.model_proto
    graph = proto.graph
    graph.name = path.stem
    for part in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(proto, path)


def reporter(model: nn.Module, held: Images, every: int) -> Callable[[int, int, float, float | None], None]:
    """Prints mean losses, and the accuracy in float, once in `every` steps."""
    started, losses = time.monotonic(), []

    def report(done: int, steps: int, clean: float, faulty: float | None) -> None:
        losses.append((clean, math.nan if faulty is None else faulty))
        if done % every == 0 or done == steps:
            mean = np.mean(losses, axis=0)
            losses.clear()
            errors = "" if math.isnan(mean[1]) else f", with bit errors {mean[1]:.3f}"
            right, seconds = accuracy(model, held), time.monotonic() - started
            print(f"step {done} of {steps}: loss {mean[0]:.3f}{errors}, validation {right:.2f} %, {seconds:.0f} s", flush=True)

    return report


def parse() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("kind", choices=list(EPOCHS))
    p.add_argument("--data", type=Path, required=True, help="a folder or zip of train/<class>/<image> and test/<class>/<image>")
    p.add_argument("--bits", type=int, default=8, help="of the stored weights, for clipped and randbet")
    p.add_argument("--p", type=float, default=0.01, help="rate of bit errors, for randbet")
    p.add_argument("--clip", type=float, help="weights end at so many root mean squares of their layer, for clipped and randbet")
    p.add_argument("--epochs", type=float, help="default: " + ", ".join(f"{e} {k}" for k, e in EPOCHS.items()))
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=1, help="of PyTorch; how many decides how sums are rounded")
    p.add_argument("--work", type=Path, default=HERE / "work", help="decoded images and checkpoints")
    p.add_argument("--start", type=Path, help="weights to begin from; default: in --work, of plain for clipped, of clipped for randbet")
    p.add_argument("--output", type=Path, help="default: beside this file")
    return p.parse_args()


def limits(model: nn.Module, clip: float) -> dict[str, float | None]:
    """Where each layer's weights are clipped. Norms are free: folded, they are in the scales of the channels."""
    layers = {name: m.weight for name, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    return {"": None, **{name: clip * float(w.detach().square().mean().sqrt()) for name, w in layers.items()}}


def start(model: nn.Module, path: Path) -> None:
    """Load the weights that a robust network begins from."""
    if not path.is_file():
        raise EdgeqError("no network to begin from", where=str(path), fix=f"run train.py {path.stem.split('.')[0]} first")
    model.load_state_dict(torch.load(path, weights_only=True))


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train, held = load(options.data, "train", options.work).split()
    name = options.kind + ("" if options.bits == 8 else str(options.bits))
    model = network(len(train.names)).to(memory_format=torch.channels_last)
    per_epoch = len(train.labels) // BATCH
    steps = max(1, round((options.epochs or EPOCHS[options.kind]) * per_epoch))
    draw, report = batches(train, options.seed), reporter(model, held, min(per_epoch, steps))
    checkpoint = options.work / f"{name}.pt"
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, {steps} steps of {BATCH} images", flush=True)
    if options.kind == "plain":
        plain(model, draw, steps, checkpoint, report)
    else:
        start(model, options.start or options.work / f"{BEFORE[options.kind]}.weights.pt")
        p = options.p if options.kind == "randbet" else 0.0
        wanted = Options(p=p, w_max=limits(model, options.clip or CLIP[options.kind]), code=Code(options.bits, votes=True))
        descent = Descent(rate=RATE[options.kind], schedule="cosine", seed=options.seed)
        randbet(model, draw, steps=steps, options=wanted, descent=descent, checkpoint=checkpoint, progress=report)
    torch.save(model.state_dict(), options.work / f"{name}.weights.pt")
    output = options.output or HERE / f"{name}.onnx"
    export(model, output)
    print(f"{output}: {accuracy(model, held):.2f} % of the held-out images in float", flush=True)


if __name__ == "__main__":
    try:
        main()
    except EdgeqError as e:
        raise SystemExit(f"error: {e}") from e
