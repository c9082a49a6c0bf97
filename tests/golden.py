"""The bytes that models compute, as CRC-32s: what a change of edgeq may not alter.

    python tests/golden.py                        compare everything with golden.json; nothing is written
    python tests/golden.py --bless 'digits *'     take what these entries compute now for right; say why in the commit

An entry holds a CRC of every output, and of every step and every constant by its name. Outputs must stay. Steps and constants may go
(fused, folded, merged), at most `GONE` of them, but those that stay keep their bytes, scales and zero points. A random graph has one
CRC of all its steps. Entries whose model is absent are passed over, and kept.

Float models are quantized here, too: the bytes do not depend on the processor, BLAS or threads (tests/test_same_bytes.py).
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import json
import math
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(HERE / "frontends"), str(ROOT), str(ROOT / "examples" / "denoiser")]

import onnx_models  # noqa: E402
import test_streaming  # noqa: E402
from places import DATA  # noqa: E402
from random_graphs import random_graph  # noqa: E402
from zoo import zoo  # noqa: E402

from edgeq import api, target  # noqa: E402
from edgeq.formats.code import Code  # noqa: E402
from edgeq.ir import Array, Graph, QParams  # noqa: E402
from edgeq.lower import lower  # noqa: E402
from edgeq.passes import declare_states, normalise  # noqa: E402
from edgeq.quantize import Options, dequantized, quantize  # noqa: E402
from edgeq.simulate import simulate  # noqa: E402

FILE = HERE / "golden.json"
GONE = 1 / 3  # of the steps and constants of an entry
RANDOM = 200
Entry = dict[str, dict[str, str]]  # "outputs" and "steps": tensor -> CRC


@dataclass(frozen=True)
class Case:
    """A quantized graph, or nothing where its model is absent.

    Attributes:
        vectors: how many random ones it is given, of a stream consecutive ones.
    """

    make: Callable[[], Graph | None]
    vectors: int = 4


def crc(data: Array, q: QParams | None = None) -> str:
    """Of an array's bytes, its type, and its scales and zero point."""
    text = f"{data.dtype.str} {data.shape} {'' if q is None else [[s.hex() for s in q.scale], q.zero_point, q.axis]}"
    return f"{zlib.crc32(np.ascontiguousarray(data).tobytes(), zlib.crc32(text.encode())):08x}"


def noise(name: str, *shape: int) -> Array:
    """Numbers of 16 bits, a hash of their positions: the same whatever a library of random numbers draws."""
    x = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()) << 32)
    for _ in range(3):
        x = (x ^ (x >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (x >> np.uint64(48)).astype(np.int64).reshape(shape)


def vectors(graph: Graph, count: int) -> dict[str, Array]:
    """Noise over the whole stored type, its two ends first; of floats between -4 and 4."""
    arrays = {}
    for name in graph.given:
        t = graph.type(name)
        bits, dtype = noise(name, count, *t.shape), t.dtype.numpy
        if dtype.kind == "f":
            arrays[name] = (bits / 8192 - 4).astype(dtype)
            continue
        info = np.iinfo(dtype)
        arrays[name] = (info.min + (bits << 16 >> (32 - min(info.bits, 16)) << max(0, info.bits - 16))).astype(dtype)
        arrays[name][0], arrays[name][1] = info.min, info.max
    return arrays


def samples(graph: Graph, count: int = 12, low: float = -2.0, high: float = 2.0) -> dict[str, Array]:
    """Calibration samples of a float graph, noise between two limits."""
    return {n: (low + noise(n, count, *graph.type(n).shape) * ((high - low) / 65536)).astype(np.float32) for n in graph.given}


def answer(graph: Graph, count: int) -> Entry:
    """What a graph computes."""
    run = simulate(graph, vectors(graph, count), steps=True)
    steps = {n: crc(a, graph.type(n).q) for n, a in run.steps.items() if n not in run.outputs}
    steps |= {n: crc(t.data, t.type.q) for n, t in graph.tensors.items() if t.data is not None}
    return {"outputs": {n: crc(a, graph.type(n).q) for n, a in run.outputs.items()}, "steps": dict(sorted(steps.items()))}


def random_answer(seed: int) -> Entry:
    """What a random graph computes: as it is, normalised and lowered, which must not differ."""
    graph = random_graph(seed, ("single", "tflm")[seed % 2], layers=3 + seed % 8, dead=0.2 * (seed % 3))
    x = vectors(graph, 6)
    run = simulate(graph, x, steps=True)
    better = normalise(graph)
    for other in (better, lower(better, target.load("host")).graph):
        outputs = simulate(other, x).outputs
        same = all(np.array_equal(outputs[n], a) for n, a in run.outputs.items())
        assert same, f"random graph {seed} computes something else when optimized"
    total = functools.reduce(lambda found, n: zlib.crc32(crc(run.steps[n], graph.type(n).q).encode(), found), sorted(run.steps), 0)
    return {"outputs": {"all": f"{total:08x}"}, "steps": {}}


def file(
    path: Path, recipe: str | None = None, options: Options | None = None, count: int = 12, limits: tuple[float, float] = (-2, 2)
) -> Callable[[], Graph | None]:  # fmt: skip
    """A model file, quantized by a recipe where one is named."""

    def make() -> Graph | None:
        if not path.is_file():
            return None
        graph = api.load(path)
        if recipe is None:
            return graph
        given = None if recipe == "fp16" else samples(graph, count, *limits)
        return api.quantize(graph, given, recipe=recipe, options=options).graph

    return make


def net(make: Callable[[], object], recipe: str = "int8", options: Options | None = None) -> Callable[[], Graph]:
    """A float network of the tests, quantized."""

    def quantized() -> Graph:
        graph = normalise(declare_states(onnx_models.load(make())))  # type: ignore[arg-type]
        return api.quantize(graph, None if recipe == "fp16" else samples(graph), recipe=recipe, options=options).graph

    return quantized


def requantized(seed: int, options: Options) -> Graph:
    """A random graph as float, quantized."""
    real = normalise(dequantized(random_graph(3100 + seed, "single", layers=6)))
    return quantize(real, samples(real, 16), options)


OPTIONS = {
    **{m: Options(method=m) for m in ("minmax", "moving", "percentile", "mse", "kl")},
    "nearest": Options(rounding="nearest"),
    "truncate": Options(rounding="truncate"),
    "uncorrected": Options(bias_correction=False),
    "unequalized": Options(equalize=False),
    "max": Options(weight_scale="max", law="tflm"),
    "shared": Options(per_tensor=True),
    "clipped": Options(clip=0.5, centre=True),
    "clamped": Options(clamp=True, code=Code.parse("7")),
    "5+hamming": Options(code=Code.parse("5+hamming+crc"), law="tflm"),
    "4+asymmetric": Options(code=Code.parse("4+asymmetric")),
}
NETS = ("resnet", "mobilenet", "keywords", "flat_keywords", "unet", "shufflenet", "decoder", "mlp", "attention")


def cases() -> dict[str, Case]:
    """Every entry but the random graphs."""
    examples, tiny = ROOT / "examples", DATA / "mlperf_tiny"
    found = {f"zoo {seed} {law}": Case(functools.partial(zoo, seed, law), 8) for seed in (0, 1) for law in ("single", "tflm")}
    found |= {f"{n} int8": Case(net(getattr(onnx_models, n))) for n in NETS}
    found |= {f"{n} fp16": Case(net(getattr(onnx_models, n), "fp16")) for n in NETS}
    found |= {f"keywords int8 {o}": Case(net(onnx_models.keywords, options=options)) for o, options in OPTIONS.items()}
    found |= {f"stream {r}": Case(net(test_streaming.model, r), 24) for r in ("int8", "fp16", "mixed", "auto")}
    found |= {f"requantized {o}": Case(functools.partial(requantized, 1 + i, options)) for i, (o, options) in enumerate(OPTIONS.items())}
    found |= {f"digits {r}": Case(file(examples / "digits" / "digits.onnx", r, limits=(0, 1))) for r in ("int8", "fp16", "robust")}
    for n in ("plain", "clipped", "randbet"):
        code = Options(code=Code.parse("7"), centre=True, rounding="second-order" if n == "plain" else "nearest")
        found[f"robust_vision {n}"] = Case(file(examples / "robust_vision" / f"{n}.onnx", "int8", code, 6, (-1, 1)), 2)
    denoisers = {"denoiser": examples / "denoiser" / "denoiser.onnx", "tt_rank_8": DATA / "denoiser" / "tt_rank_8.onnx"}
    for n, path in denoisers.items():
        found |= {f"{n} {r}": Case(file(path, r, count=40, limits=(0, 2)), 6) for r in ("int8", "fp16", "mixed")}
    found["tt_rank_80 mixed"] = Case(file(DATA / "denoiser" / "tt_rank_80.onnx", "mixed", count=40, limits=(0, 2)), 4)
    for n in ("kws_ref_model", "pretrainedResnet_quant", "vww_96_int8", "ad01_int8", "str_ww_ref_model"):
        found[n] = Case(file(tiny / f"{n}.tflite"), 2)
    limits = {"kws_ref_model_float32": (-50, 50), "pretrainedResnet": (0, 255), "vww_96_float": (0, 1), "ad01_fp32": (-40, 0)}
    for n, ends in limits.items():
        some = Options(rounding="second-order" if n.startswith("kws") else "nearest")
        found[n] = Case(file(tiny / f"{n}.tflite", "int8", some, 3, ends), 2)
    return found


def stored() -> dict[str, Entry]:
    """What golden.json holds."""
    return json.loads(FILE.read_text(encoding="ascii"))["entries"] if FILE.is_file() else {}


def names() -> list[str]:
    return [*cases(), *(f"random {i}" for i in range(RANDOM))]


def computed(name: str) -> Entry | str:
    """An entry as the code has it now, or why there is none."""
    if name.startswith("random "):
        return random_answer(int(name.split()[1]))
    case = cases()[name]
    graph = case.make()
    return "its model is absent" if graph is None else answer(graph, case.vectors)


def differences(right: Mapping[str, Mapping[str, str]], found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What an entry lacks or has otherwise."""
    wrong = [f"output '{n}'" for n, c in right["outputs"].items() if found["outputs"].get(n) != c]
    now = {**found["steps"], **found["outputs"]}
    wrong += [f"'{n}'" for n, c in right["steps"].items() if now.get(n, c) != c]
    gone = [n for n in right["steps"] if n not in now]
    if len(gone) > GONE * len(right["steps"]):
        wrong.append(f"{len(gone)} of {len(right['steps'])} steps and constants are gone")
    return wrong


def write(entries: Mapping[str, Entry]) -> None:
    """golden.json, an entry a line."""
    lines = (f"{json.dumps(n)}:{json.dumps(entries[n], separators=(',', ':'))}" for n in names() if n in entries)
    head = '{"entries":{\n'
    FILE.write_text(head + ",\n".join(lines) + "\n}}\n", encoding="ascii")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"], metavar="PATTERN", help="entries to compare; all where there is none")
    parser.add_argument("--bless", action="store_true", help="take what the entries that are named compute for right")
    given = parser.parse_args()
    if given.bless and not sys.argv[2:]:
        parser.error("name the entries that may change")
    right, failed = stored(), False
    for name in (n for n in names() if any(fnmatch.fnmatch(n, p) for p in given.patterns)):
        found = computed(name)
        if isinstance(found, str):
            print(f"{name}: passed over, {found}")
            continue
        wrong = differences(right[name], found) if name in right else ["new"]
        if wrong:
            print(f"{name}: {', '.join(wrong[:8])}{' ...' if len(wrong) > 8 else ''}")
        failed |= bool(wrong)
        right[name] = found
    if given.bless:
        write(right)
    return 1 if failed and not given.bless else 0


if __name__ == "__main__":
    sys.exit(main())
