"""What recipes cost and keep on recurrent networks: the tensor-train LSTM256 denoisers, on recordings that calibration has not seen.

    python -m benchmarks.precision            writes precision.md (needs the data folder; minutes)
    python -m benchmarks.precision auto       another recipe instead of those in the table; prints its rows only
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.models import DATA, ROOT
from edgeq import api
from edgeq.ir import Graph
from edgeq.lower import lower
from edgeq.simulate import dequantize_array
from edgeq.target import load

sys.path.insert(0, str(ROOT / "examples" / "denoiser"))

from deploy import read  # type: ignore[import-not-found]
from metrics import mask_sqnr  # type: ignore[import-not-found]
from recordings import calibration_set, test_set  # type: ignore[import-not-found]

MODELS = ("tt_rank_8", "tt_rank_80")
RECIPES = ("fp16", "fp16+f16", "int8", "mixed")  # after the plus: in what layers in half precision sum up
CALIBRATION, JUDGED, RECORDINGS = 400, 300, 3  # frames, frames of each recording, recordings
HEAD = f"""# Precision of recurrent networks

Mask SQNR of every recording: the power of the float network's mask over that of the difference, on the first {JUDGED}
frames. Calibrated on {CALIBRATION} frames of other recordings. Flash: weights and tables. `fp16+f16`: `--recipe fp16
--accumulate f16`. Regenerate with
`python -m benchmarks.precision`.

| network | recipe | mask SQNR dB, per recording | flash | of fp16's |
|---|---|---|--:|--:|
"""


def flash(graph: Graph) -> int:
    """Bytes of all tables as the portable kernels lay them out."""
    return sum(t.nbytes for call in lower(graph, load("host")).calls for t in call.tables.values())


def rows(model: str, recipes: tuple[str, ...]) -> list[str]:
    """One line of the table per recipe."""
    network = read(DATA / "denoiser" / f"{model}.onnx")
    folder = DATA / "valentini"
    samples = {n: a[:CALIBRATION] for n, a in network.samples(calibration_set(folder, 4)).items()}
    found: list[str] = []
    half = 0
    for recipe in recipes:
        name, _, sums = recipe.partition("+")
        graph = api.quantize(network.graph, samples, recipe=name, accumulate=sums or None).graph
        t, scores = graph.type(network.output), []
        for u in test_set(folder, RECORDINGS):
            inputs = {n: a[:JUDGED] for n, a in network.samples([u.noisy]).items()}
            got = api.simulate(graph, inputs).run.outputs[network.output]
            mask = got.astype(np.float32) if t.q is None else dequantize_array(got, t.scale, t.zero_point)
            want = network.masks(u.noisy)[:JUDGED]
            scores.append(f"{mask_sqnr(want, mask.reshape(want.shape)):.1f}")
        size = flash(graph)
        half = half or size
        found.append(f"| {model} | `{recipe}` | {', '.join(scores)} | {size:,} | {size / half:.2f} |")
        print(found[-1], flush=True)
    return found


def main() -> None:
    if not DATA.is_dir():
        sys.exit("no data folder (set EDGEQ_DATA)")
    recipes = tuple(sys.argv[1:]) or RECIPES
    lines = [line for model in MODELS for line in rows(model, recipes)]
    if recipes == RECIPES:
        (Path(__file__).parent / "precision.md").write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
