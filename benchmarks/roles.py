"""What each role of a recurrent network's tensors costs in int8: one role rounded at a time, everything else in float.

    python -m benchmarks.roles            writes roles.md (needs the data folder; minutes)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special

from benchmarks.models import DATA, ROOT
from edgeq.ir import Array, Graph
from edgeq.passes.multiply_out import multiply_out
from edgeq.quantize.weight_scales import SCALES, within

sys.path.insert(0, str(ROOT / "examples" / "denoiser"))

from deploy import Network, read  # type: ignore[import-not-found]
from metrics import mask_sqnr  # type: ignore[import-not-found]
from recordings import calibration_set, test_set  # type: ignore[import-not-found]

MODELS = ("tt_rank_8", "tt_rank_80")
JUDGED, RECORDINGS = 400, 6
Rounding = Callable[[Array], Array]
HEAD = f"""# What each role costs and buys

Mask SQNR with one role rounded and everything else in float (weights to nearest, a scale per row): mean, and the worst of {RECORDINGS}
recordings of {JUDGED} frames; ranges from four others. Flash saved against half precision. Regenerate with
`python -m benchmarks.roles`.

| role | {" | ".join(f"{m}, mean dB | worst" for m in MODELS)} | flash saved |
|---|{"--:|--:|" * len(MODELS)}--:|
"""


@dataclass(frozen=True)
class Chain:
    """A denoiser as what it is made of: a dense layer, LSTMs, two dense layers, in order.

    Attributes:
        cells: per LSTM W, R and bias.
        dense: per dense layer weights and bias.
    """

    cells: list[tuple[Array, Array, Array]]
    dense: list[tuple[Array, Array]]

    @staticmethod
    def of(factored: Graph) -> Chain:
        graph = multiply_out(factored, always=True)

        def constants(kind: str, count: int) -> list[tuple[Array, ...]]:
            nodes = [n for n in graph.nodes if n.op.kind() == kind]
            return [tuple(np.asarray(graph.tensors[n].data) for n in node.inputs[1 : 1 + count]) for node in nodes]

        return Chain(constants("lstm", 3), constants("fully_connected", 2))  # type: ignore[arg-type]

    def run(self, x: Array, rounded: Mapping[str, Rounding]) -> dict[str, Array]:
        """Every role's values over frames ``[T, 257]``; ``mask`` is the result."""
        seen: dict[str, Array] = {}

        def stored(role: str, a: Array) -> Array:
            seen[role] = rounded[role](a) if role in rounded else a
            return seen[role]

        def dense(i: int, a: Array) -> Array:
            w, b = self.dense[i]
            return np.asarray(stored(f"x of dense {i + 1}", a) @ stored(f"W of dense {i + 1}", w).T + b)

        a = np.maximum(dense(0, x), 0)
        for n, (w, r, b) in enumerate(self.cells, 1):
            sums = stored(f"x of LSTM {n}", a) @ stored(f"W of LSTM {n}", w).T + b
            recurrent = np.ascontiguousarray(stored(f"R of LSTM {n}", r).T)
            h = c = np.zeros(r.shape[1], np.float32)
            rows = []
            for t in range(len(x)):
                i, f, g, o = np.split(stored(f"gates of LSTM {n}", sums[t] + h @ recurrent), 4)
                c = stored(f"c of LSTM {n}", special.expit(f) * c + special.expit(i) * np.tanh(g))
                h = stored(f"h of LSTM {n}", special.expit(o) * np.tanh(c))
                rows.append((h, c))
            a = np.stack([h for h, _ in rows])
            seen[f"h of LSTM {n}"], seen[f"c of LSTM {n}"] = a, np.stack([c for _, c in rows])
        a = np.maximum(dense(1, a), 0)
        seen["mask"] = special.expit(dense(2, a))
        return seen


def affine(low: float, high: float) -> Rounding:
    """int8 over a range."""
    low, step = min(low, 0.0), (max(high, 0.0) - min(low, 0.0)) / 255
    return lambda a: np.asarray(np.clip(np.rint((a - low) / step), 0, 255) * step + low, np.float32)


def fixed(bits: int, least: float) -> Rounding:
    """Integers of some bits, steps of `least`."""
    end = 2.0 ** (bits - 1)
    return lambda a: np.asarray(np.clip(np.rint(a / least), -end, end - 1) * least, np.float32)


def rows(w: Array) -> Array:
    """Weights in int8, a scale per row."""
    matrix = w[None].astype(np.float64)
    scales = SCALES["mse"](matrix, (-127, 127), None)
    return np.asarray(within(np.rint(matrix / scales[..., None]), (-127, 127))[0] * scales[0][:, None], np.float32)


def half(a: Array) -> Array:
    return np.asarray(a, np.float16).astype(np.float32)


def roles(chain: Chain, seen: Mapping[str, Array]) -> dict[str, tuple[dict[str, Rounding], int]]:
    """Name -> what is rounded, and bytes of flash saved."""
    found: dict[str, tuple[dict[str, Rounding], int]] = {}

    def activation(role: str) -> Rounding:
        return affine(float(seen[role].min()), float(seen[role].max()))

    def dense(i: int) -> None:
        found[f"x of dense {i}, int8"] = {f"x of dense {i}": activation(f"x of dense {i}")}, 0
        found[f"W of dense {i}, int8"] = {f"W of dense {i}": rows}, chain.dense[i - 1][0].size

    dense(1)
    for n, (w, r, _) in enumerate(chain.cells, 1):
        for role in (f"x of LSTM {n}", f"h of LSTM {n}"):
            found[f"{role}, int8"] = {role: activation(role)}, 0
        found[f"W of LSTM {n}, int8"] = {f"W of LSTM {n}": rows}, w.size
        found[f"R of LSTM {n}, int8"] = {f"R of LSTM {n}": rows}, r.size
        found[f"gates of LSTM {n}, int16 (Q3.12)"] = {f"gates of LSTM {n}": fixed(16, 2.0**-12)}, 0
        peak = float(np.abs(seen[f"c of LSTM {n}"]).max())
        for name, rounding in (
            ("int8", fixed(8, 2.0 ** np.ceil(np.log2(peak / 128)))), ("int16", fixed(16, 2.0 ** np.ceil(np.log2(peak / 32768)))),
            ("half precision", half), ("int32 (2^-16)", fixed(32, 2.0**-16)),
        ):  # fmt: skip
            found[f"c of LSTM {n}, {name}"] = {f"c of LSTM {n}": rounding}, 0
    dense(2)
    dense(3)
    return found


def inputs(network: Network, sound: list[Array]) -> Array:
    return np.asarray(network.samples(sound)[network.input]).reshape(-1, network.graph.type(network.input).size)


def measure(model: str) -> dict[str, tuple[list[float], int]]:
    """Role -> mask SQNR per recording, bytes saved."""
    network = read(DATA / "denoiser" / f"{model}.onnx")
    chain = Chain.of(network.graph)
    frames = [inputs(network, [u.noisy])[:JUDGED] for u in test_set(DATA / "valentini", RECORDINGS)]
    real = [chain.run(x, {})["mask"] for x in frames]
    seen = chain.run(inputs(network, calibration_set(DATA / "valentini", 4)), {})
    found = {}
    for role, (rounded, saved) in roles(chain, seen).items():
        found[role] = [mask_sqnr(a, chain.run(x, rounded)["mask"]) for x, a in zip(frames, real, strict=True)], saved
        print(model, role, *(f"{s:.1f}" for s in found[role][0]), flush=True)
    return found


def main() -> None:
    if not DATA.is_dir():
        sys.exit("no data folder (set EDGEQ_DATA)")
    measured = [measure(m) for m in MODELS]
    lines = []
    for role, (_, saved) in measured[0].items():
        scores = [f"{np.mean(m[role][0]):.1f} | {min(m[role][0]):.1f}" for m in measured]
        lines.append(f"| {role} | {' | '.join(scores)} | {f'{saved / 1000:.0f} kB' if saved else ''} |")
    (Path(__file__).parent / "roles.md").write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
