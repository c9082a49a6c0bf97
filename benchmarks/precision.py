"""What recipes cost and keep on recurrent networks: the tensor-train LSTM256 denoisers, on recordings that calibration has not seen.

    python -m benchmarks.precision                     writes precision.md (needs the data folder, pesq and pystoi; minutes)
    python -m benchmarks.precision tt_rank_80 auto     one network, some recipes; prints their rows only
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.models import DATA, ROOT
from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.quantize.constraints import is_recurrent
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.storage import possible
from edgeq.simulate import real_array, simulate
from edgeq.tables import Constants
from edgeq.target import load

sys.path.insert(0, str(ROOT / "examples" / "denoiser"))

from deploy import Network, read  # type: ignore[import-not-found]
from metrics import mask_sqnr, pesq, stoi  # type: ignore[import-not-found]
from recordings import calibration_set, test_set  # type: ignore[import-not-found]
from stft import BINS, HOP, denoise  # type: ignore[import-not-found]

MODELS = ("tt_rank_8", "tt_rank_80")
RECIPES = ("fp16", "fp16+f16", "int8", "mixed", "mixed/w8a16", "auto")  # + what halves sum up in, / dense layers
JUDGED, RECORDINGS = 400, 6  # frames of each recording, recordings
LATE = 3  # frames that a stream is longer than its sound
NUDGE = 1e-6  # of the input: what float arithmetic itself makes of next to nothing
HEAD = f"""# Precision of recurrent networks

PESQ (wide band) and STOI of the sound, means, and mask SQNR, the power of the float network's mask over that of the difference, mean
and per recording: on the first {JUDGED} frames of {RECORDINGS} recordings. Calibrated on four others. `auto` has no budget but its
own, 24 dB. `fp16+f16`: `--recipe fp16 --accumulate f16`. `mixed/w8a16`: `mixed`, with the
dense layers in `w8a16`. Flash: weights and tables. The last row of a network is the float network with
its input {NUDGE:g} louder: where that alone changes the mask, no arithmetic can keep it. Regenerate with `python -m benchmarks.precision`.

| network | recipe | PESQ | STOI | mask SQNR dB | per recording | flash | fp16's, times |
|---|---|--:|--:|--:|---|--:|--:|
"""
Row = tuple[list[float], list[float], list[float]]


@dataclass(frozen=True, eq=False)
class Trial:
    """The beginning of a recording: inputs ``[T, ...]`` of a network, its float mask ``[T, 257]``, noisy and clean sound."""

    inputs: dict[str, Array]
    mask: Array
    noisy: Array
    clean: Array


def trials(network: Network) -> list[Trial]:
    found = []
    for u in test_set(DATA / "valentini", RECORDINGS):
        inputs = {n: a[:JUDGED] for n, a in network.samples([u.noisy]).items()}
        mask = real(network, inputs)
        noisy, clean = (a[: (len(mask) - LATE) * HOP] for a in (u.noisy, u.clean))
        found.append(Trial(inputs, mask, noisy, clean))
    return found


def real(network: Network, inputs: Mapping[str, Array], factor: float = 1.0) -> Array:
    """The float network's mask, of inputs times a factor."""
    outputs = evaluate_float(network.graph, {n: a * np.float32(factor) for n, a in inputs.items()})
    return np.asarray(outputs[network.output]).reshape(-1, BINS)


def flash(graph: Graph) -> int:
    """Bytes of all tables as the portable kernels lay them out."""
    return sum(t.array.nbytes for t in Constants(lower(graph, load("host"))).tables)


def samples(network: Network) -> dict[str, Array]:
    """What a network is calibrated on."""
    found: dict[str, Array] = network.samples(calibration_set(DATA / "valentini", 4))
    return found


def quantized(model: str, recipe: str) -> Graph | None:
    """A network by a recipe, None where the data folder is absent."""
    path = DATA / "denoiser" / f"{model}.onnx"
    if not path.is_file():
        return None
    return by_recipe(read(path), recipe)


def by_recipe(network: Network, recipe: str) -> Graph:
    """A network by a recipe, ``recipe+sums`` with sums in that, ``mixed/storage`` with the layers that are not recurrent in that."""
    name, _, dense = recipe.partition("/")
    name, _, sums = name.partition("+")
    if not dense:
        return api.quantize(network.graph, samples(network), recipe=name, accumulate=sums or None).graph
    nodes = [n.name for n in network.graph.nodes if dense in possible(n) and not is_recurrent(n)]
    with TemporaryDirectory(prefix="edgeq-bench-") as work:
        path = Path(work) / "precision.toml"
        path.write_text("format = 1\n[nodes]\n" + "".join(f'"{n}" = "{dense}"\n' for n in nodes))
        return api.quantize(network.graph, samples(network), recipe=name, precision=str(path)).graph


def scores(judged: list[Trial], masks: Callable[[Trial], Array]) -> Row:
    """PESQ, STOI and mask SQNR per recording."""
    found: Row = ([], [], [])
    for t in judged:
        got = masks(t).reshape(t.mask.shape)
        sound = denoise(t.noisy, got)
        for values, score in zip(found, (pesq(t.clean, sound), stoi(t.clean, sound), mask_sqnr(t.mask, got)), strict=True):
            values.append(score)
    return found


def line(model: str, recipe: str, found: Row, size: str = "", saved: str = "") -> str:
    quality = [f"{np.nanmean(found[i]):.3f}" for i in (0, 1)]
    masks = [] if recipe == "fp32" else found[2]
    mean = f"{np.mean(masks):.1f}" if masks else ""
    return f"| {model} | `{recipe}` | {' | '.join(quality)} | {mean} | {', '.join(f'{m:.1f}' for m in masks)} | {size} | {saved} |"


def rows(model: str, recipes: tuple[str, ...]) -> Iterator[str]:
    """One line of the table per recipe, and those of the float network."""
    network = read(DATA / "denoiser" / f"{model}.onnx")
    judged = trials(network)
    yield line(model, "fp32", scores(judged, lambda t: t.mask))
    half = flash(by_recipe(network, "fp16"))
    for recipe in recipes:
        try:
            graph = by_recipe(network, recipe)
        except EdgeqError as e:
            yield f"| {model} | `{recipe}` |  |  |  | {e.what}: {e.why} |  |  |"
            continue

        def stored(t: Trial, graph: Graph = graph) -> Array:
            return real_array(simulate(graph, t.inputs).outputs[network.output], graph.type(network.output))

        own = flash(graph)
        yield line(model, recipe, scores(judged, stored), f"{own:,}", f"{half / own:.2f}")
    yield line(model, "fp32, nudged", scores(judged, lambda t: real(network, t.inputs, 1 + NUDGE)))


def main() -> None:
    if not DATA.is_dir():
        sys.exit("no data folder (set EDGEQ_DATA)")
    models, recipes = tuple(a for a in sys.argv[1:] if a in MODELS), tuple(a for a in sys.argv[1:] if a not in MODELS)
    lines = []
    for model in models or MODELS:
        for text in rows(model, recipes or RECIPES):
            print(text, flush=True)
            lines.append(text)
    if not sys.argv[1:]:
        (Path(__file__).parent / "precision.md").write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
