"""python -m benchmarks.architectures: networks of timm, of torchaudio and of papers on speech, with random weights, in every way to edgeq.

Each is read as a live module, from torch.onnx.export's default file (weights beside it), from its TorchScript export and from a .pt2
archive, and compared with PyTorch; then it is quantized to int8 on noise, compared with float on other noise, and built for this computer,
every step compared with the simulator. Below `GOOD` the column of int8 says where it loses. ``pip install timm torchaudio`` first; what is
not installed is left out and named.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import logging
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import speech_networks as speech
from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.evaluate import evaluate
from edgeq.ir import Array, Graph
from edgeq.passes import normalise
from edgeq.quantize.diagnosis import diagnose
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.noise import GOOD, reason

FORMS = ("module", "onnx", "torchscript", "pt2")
CALIBRATION, TESTED = 16, 8  # vectors
CLOSE = 1e-3  # of PyTorch's results, relative to the root of their mean square
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """How to build a network, and the shape of its input, batch included."""

    build: Callable[[], Any]
    shape: Shape


def vision(name: str, size: int = 96, **options: Any) -> Architecture:
    """A network of timm on images of `size` by `size`."""
    return Architecture(lambda: importlib.import_module("timm").create_model(name, **options), (1, 3, size, size))


def audio(name: str, shape: Shape, *arguments: Any, **options: Any) -> Architecture:
    """A network of torchaudio."""
    return Architecture(lambda: getattr(importlib.import_module("torchaudio.models"), name)(*arguments, **options), shape)


def sequences(name: str, frames: int, width: int, *arguments: Any, **options: Any) -> Architecture:
    """A network of torchaudio that also takes the lengths of its sequences, given them all."""

    def build() -> Any:
        import torch

        network = audio(name, (), *arguments, **options).build()

        class Whole(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, x: Any) -> Any:
                return self.network(x, torch.full((1,), frames))[0]

        return Whole()

    return Architecture(build, (1, frames, width))


TABLE: dict[str, Architecture] = {
    "mobilenetv2_035": vision("mobilenetv2_035"),
    "mobilenetv3_small_050": vision("mobilenetv3_small_050"),
    "mobilenetv4_conv_small_035": vision("mobilenetv4_conv_small_035"),
    "efficientnet_lite0": vision("efficientnet_lite0"),
    "ghostnet_050": vision("ghostnet_050"),
    "tinynet_e": vision("tinynet_e"),
    "lcnet_050": vision("lcnet_050"),
    "mobilevit_xxs": vision("mobilevit_xxs"),
    "edgenext_xx_small": vision("edgenext_xx_small"),
    "convnext_atto": vision("convnext_atto"),
    "resnet10t": vision("resnet10t"),
    "resnet18": vision("resnet18", 64),
    "regnetx_002": vision("regnetx_002"),
    "densenet121": vision("densenet121", 64),
    "mnasnet_small": vision("mnasnet_small"),
    "fbnetv3_b": vision("fbnetv3_b", 64),
    "repvgg_a0": vision("repvgg_a0", 64),
    "mobileone_s0": vision("mobileone_s0", 64),
    "vit_tiny_patch16": vision("vit_tiny_patch16_224", img_size=96),
    "deit_tiny_patch16": vision("deit_tiny_patch16_224", img_size=64),
    "mixer_s32": vision("mixer_s32_224", img_size=64, num_classes=10),
    "poolformer_s12": vision("poolformer_s12", 64),
    "tiny_vit_5m": vision("tiny_vit_5m_224", 64, img_size=64),
    "levit_128s": vision("levit_128s", 224),
    "efficientformer_l1": vision("efficientformer_l1", 224),
    "repghostnet_050": vision("repghostnet_050"),
    "starnet_s1": vision("starnet_s1"),
    "ConvTasNet": audio(
        "ConvTasNet", (1, 1, 800), enc_num_feats=64, msk_num_feats=32, msk_num_hidden_feats=64, msk_num_layers=4, msk_num_stacks=2
    ),
    "Wav2Letter": audio("Wav2Letter", (1, 40, 100), 12, "mfcc", 40),
    "DeepSpeech": audio("DeepSpeech", (1, 1, 60, 26), 26, 64, 12),
    "Conformer": sequences("Conformer", 60, 40, 40, 4, 64, 2, 15),
    "keyword transformer": Architecture(speech.KeywordTransformer, (1, 98, 40)),
    "crnn": Architecture(speech.Crnn, (1, 1, 40, 64)),
    "tdnn": Architecture(speech.Tdnn, (1, 24, 60)),
    "conv-tasnet": Architecture(speech.ConvTasNet, (1, 1, 640)),
    "conformer block": Architecture(speech.Conformer, (1, 40, 32)),
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters print."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(level)


def noise(shape: Shape, count: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def read(form: str, module: Any, x: Any, folder: Path) -> Graph:
    """A module in one of `FORMS`, by edgeq."""
    import torch

    if form == "module":
        return api.load(module, x)
    path = folder / {"onnx": "m.onnx", "torchscript": "script.onnx", "pt2": "m.pt2"}[form]
    with quiet():
        if form == "onnx":
            torch.onnx.export(module, (x,), str(path))
        elif form == "torchscript":
            torch.onnx.export(module, (x,), str(path), dynamo=False)
        else:
            torch.export.save(torch.export.export(module, (x,)), path)
    return api.load(path)


def error(graph: Graph, x: Array, wanted: list[Array]) -> float:
    """The largest relative difference of an output from PyTorch's."""
    arrays = {graph.inputs[0]: x.reshape(1, *graph.type(graph.inputs[0]).shape)}
    values = evaluate(graph, arrays, lambda node, a: node.op.real_all(*a), False)
    worst = 0.0
    for name, want in zip(graph.outputs, wanted, strict=True):
        got = values[name].reshape(want.shape)
        worst = max(worst, float(np.sqrt(np.mean((got - want) ** 2) / max(np.mean(want**2), 1e-30))))
    return worst


def ratio(graph: Graph, quantized: Graph, x: Array) -> float:
    """Signal to noise of int8 in dB, of the worst output."""
    real = evaluate_float(graph, {graph.inputs[0]: x})
    found = api.simulate(quantized, {quantized.inputs[0]: x}).outputs(real=True)
    worst = math.inf
    for a, b in zip(graph.outputs, quantized.outputs, strict=True):
        size = float(np.mean(real[a].astype(np.float64) ** 2))
        noise = float(np.mean((found[b].astype(np.float64) - real[a]) ** 2))
        worst = min(worst, 10 * float(np.log10(size / max(noise, 1e-30))))
    return worst


def measured(name: str, architecture: Architecture, forms: tuple[str, ...] = FORMS, build: bool = True) -> dict[str, str]:
    """A row of the table."""
    import torch

    torch.manual_seed(0)
    row = dict.fromkeys(("parameters", "MACs", *forms, "int8", "build", "seconds"), "")
    start = time.monotonic()
    try:
        with quiet():
            module = architecture.build().eval()
    except (ImportError, OSError) as e:
        return {**row, "int8": f"not measured: {type(e).__name__}: {e}"[:120]}
    row["parameters"] = str(sum(p.numel() for p in module.parameters()))
    x = noise(architecture.shape, 1, 0)[0]
    with torch.no_grad():
        results = module(torch.from_numpy(x))
    wanted = [y.numpy() for y in ([results] if isinstance(results, torch.Tensor) else torch.utils._pytree.tree_leaves(results))]
    graph: Graph | None = None
    with tempfile.TemporaryDirectory() as folder:
        for form in forms:
            try:
                found = read(form, module, torch.from_numpy(x), Path(folder))
                difference = error(found, x, wanted)
                row[form] = "yes" if difference < CLOSE else f"differs by {difference:.2g}"
                graph = graph or found
            except EdgeqError as e:
                row[form] = f"refused: {e}"[:300]
            except Exception as e:  # PyTorch's own, or what must not happen
                row[form] = f"{type(e).__name__}: {e}".splitlines()[0][:200]
        if graph is not None:
            row["MACs"] = str(graph.macs())
            try:
                row |= integers(graph, Path(folder) / "c", build)
            except EdgeqError as e:
                row["int8"] = f"{row['int8']} refused: {e}"[:300]
    return {**row, "seconds": f"{time.monotonic() - start:.0f}"}


def integers(graph: Graph, folder: Path, build: bool) -> dict[str, str]:
    """The columns of int8: quality and build."""
    shape = graph.type(graph.inputs[0]).shape
    quantized = api.quantize(graph, {graph.inputs[0]: noise(shape, CALIBRATION, 1)})
    quality = ratio(graph, quantized.graph, noise(shape, TESTED, 2))
    built = ""
    if build:
        api.build(quantized, output=folder, name="m", toolchain="gcc", optimize="2", vectors=1)
        built = "exact"
    found = diagnose(normalise(graph), quantized.graph, {quantized.graph.inputs[0]: noise(shape, TESTED, 2)}) if quality < GOOD else []
    why = f": {reason(found, quantized.graph.outputs)}" if found else ""
    return {"int8": f"{quality:.1f} dB{why}", "build": built}


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architectures", description=__doc__, formatter_class=form)
    parser.add_argument("only", nargs="*", help="names of the table (default: all)")
    parser.add_argument("--forms", type=lambda text: tuple(text.split(",")), default=FORMS, help=f"of {','.join(FORMS)}")
    parser.add_argument("--no-build", action="store_true", help="do not build")
    options = parser.parse_args()
    header = False
    for name, architecture in TABLE.items():
        if options.only and name not in options.only:
            continue
        row = measured(name, architecture, options.forms, not options.no_build)
        if not header:
            header = True
            print("| network | " + " | ".join(row) + " |\n|" + "---|" * (len(row) + 1))
        print(f"| {name} | " + " | ".join(row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
