"""FullyConnected: every width around the tile, fused clamps, per-tensor and per-channel scales, ratios of 1/4 and more."""

from __future__ import annotations

import math

from harness import Case, activation, fitting_output, suite, weights_and_bias

from edgeq.ir import QParams
from edgeq.ops.fully_connected import FullyConnected


def case(name: str, rows: tuple[int, ...], k: int, n: int, *, zero: int = 0, out: QParams | None = None, **options: object) -> Case:
    clamp = options.pop("clamp", (-math.inf, math.inf))
    x = activation((*rows, k), 0.05, zero)
    w, b = weights_and_bias(n * 1000 + k, x, (n, k), 0, **options)  # type: ignore[arg-type]
    return Case(name, FullyConnected(clamp=clamp), (x, w, b), out or fitting_output(x, w, 0, zero_point=-zero))  # type: ignore[arg-type]


CASES = [
    *(case(f"n{n}_k{k}", (1,), k, n, zero=n - 9) for n in (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33) for k in (1, 4, 7, 8, 13)),
    case("rows", (2, 3), 12, 10, zero=5),
    case("deep", (1,), 640, 24, zero=-128),
    case("per_tensor", (1,), 32, 12, per_channel=False),
    case("saturated_weights", (1,), 64, 8, saturated=True, zero=-128),
    case("relu", (1,), 24, 9, clamp=(0.0, math.inf)),
    case("relu6", (1,), 24, 9, clamp=(0.0, 6.0), zero=-128, out=QParams((6 / 255,), -128)),
    case("left_shift", (1,), 3, 5, out=QParams((0.0003,), 7)),
    case("ratio_above_one", (1,), 2, 6, out=QParams((0.0001,), -3)),
    case("tiny_ratio", (1,), 16, 8, out=QParams((1e6,), 1)),
]
test_fully_connected = suite(CASES)
