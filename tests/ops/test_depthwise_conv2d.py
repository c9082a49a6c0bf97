"""DepthwiseConv2d: windows, strides, dilations, asymmetric borders, multipliers, channel counts around the tile."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import Case, _Bench, activation, asymmetric, fitting_output, halved, of_four_bits, on_words, suite, weights_and_bias
from installed import need_emulator

from edgeq import kernels, target
from edgeq.compare import compare
from edgeq.half import LAW
from edgeq.ir import QParams
from edgeq.lower import lower, request
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.run import run


def case(
    name: str, shape: tuple[int, int, int, int], window: tuple[int, int], *, multiple: int = 1, zero: int = 0,
    out: QParams | None = None, clamp: tuple[float, float] = (-math.inf, math.inf), saturated: bool = False, least: bool = False,
    down: bool = False, **op: Any,
) -> Case:  # fmt: skip
    """`least` gives the last channel the one weight, -128, with which two products exceed int16; `down` gives it to a column of all."""
    x = activation(shape, 0.05, zero)
    w, b = weights_and_bias(sum(map(ord, name)), x, (1, *window, shape[3] * multiple), 3, saturated=saturated)
    if least:
        assert w.data is not None
        w.data[..., -1] = -128
    if down:
        assert w.data is not None
        w.data[:, :, 1] = -128
    return Case(name, DepthwiseConv2d(clamp=clamp, **op), (x, w, b), out or fitting_output(x, w, 3, zero_point=-zero))


SAME = (1, 1, 1, 1)
CASES = [
    *(case(f"same3_c{c}", (1, 5, 6, c), (3, 3), pads=SAME, zero=11) for c in (1, 3, 4, 5, 8, 9)),
    *(case(f"same3_c{c}", (1, 4, 5, c), (3, 3), pads=SAME, zero=c - 60) for c in (16, 31, 33, 64, 65, 130)),
    *(case(f"stride2_c{c}", (1, 7, 9, c), (3, 3), stride=(2, 2), pads=SAME, zero=c - 60) for c in (8, 20, 66)),
    case("stride3", (1, 11, 10, 7), (2, 2), stride=(3, 3), pads=(1, 1, 0, 0), zero=5),
    case("least", (1, 4, 5, 10), (3, 3), pads=SAME, least=True),
    *(case(f"saturated_c{c}", (1, 4, 5, c), (3, 3), pads=SAME, saturated=True, zero=127) for c in (12, 70)),
    case("multiplier3", (1, 4, 5, 23), (3, 3), multiple=3, stride=(1, 2), pads=SAME, zero=-4),
    *(case(f"same3_h{h}_w{w}", (1, h, w, 4), (3, 3), pads=SAME, zero=-7) for h, w in ((1, 1), (1, 4), (2, 1), (2, 3), (3, 2))),
    *(case(f"stride2_h{h}_w{w}", (1, h, w, 5), (3, 3), stride=(2, 2), pads=(0, 0, 1, 1), zero=4) for h, w in ((6, 6), (8, 4), (3, 3))),
    case("stride2_same", (1, 7, 5, 6), (3, 3), stride=(2, 2), pads=SAME, zero=-128),
    case("stride_unequal", (1, 9, 8, 4), (3, 3), stride=(2, 1), pads=(1, 0, 0, 2)),
    case("valid", (1, 6, 7, 8), (3, 3), zero=3),
    case("batch", (2, 4, 5, 3), (3, 3), pads=SAME, zero=2),
    case("tall", (1, 15, 1, 9), (5, 1), zero=-3),
    *(case(f"tall{h}_k{k}", (1, h, 1, 5), (k, 1), zero=k - 9) for h, k in ((4, 1), (6, 3), (8, 5), (12, 5), (9, 2))),
    *(case(f"wide{w}", (1, 3, w, 4), (2, 3), pads=(1, 1, 0, 1), zero=w) for w in (3, 4, 5, 8, 9)),
    case("grows", (1, 3, 4, 3), (2, 2), pads=(2, 2, 2, 2), zero=-30),
    case("whole", (1, 15, 1, 8), (15, 1), zero=1),
    case("wide", (1, 2, 9, 4), (1, 4), pads=(0, 1, 0, 2), zero=-9),
    case("four_across", (1, 5, 9, 8), (4, 3), pads=(2, 1, 1, 1), zero=17),
    case("four_across_tall", (1, 9, 5, 4), (5, 4), stride=(2, 2), pads=(2, 2, 2, 1), zero=-17),
    case("tall15_stride2", (1, 41, 2, 3), (15, 1), stride=(2, 2), pads=(7, 1, 6, 0), zero=-70),
    case("even", (1, 6, 6, 5), (2, 4), stride=(3, 2), pads=(0, 1, 1, 2), zero=9),
    case("line10", (2, 1, 24, 3), (1, 10), pads=(0, 3, 0, 0), zero=-70),
    case("tall10_stride2", (1, 24, 4, 3), (10, 2), stride=(2, 2), pads=(4, 1, 5, 0), zero=70),
    case("tall_stride_unequal", (2, 11, 3, 5), (4, 3), stride=(3, 1), pads=(1, 1, 2, 1), zero=7),
    case("stride3_window3", (1, 9, 10, 3), (3, 3), stride=(3, 3), zero=-7),
    *(case(f"five_c{c}", (1, 6, w, c), (5, 5), pads=(2, 2, 2, 2), zero=c, saturated=c == 8) for c, w in ((7, 3), (8, 4), (17, 9))),
    case("five_tall", (1, 9, 4, 9), (5, 4), stride=(2, 1), pads=(1, 2, 2, 1), zero=-6),
    case("sixteen_taps", (1, 7, 5, 8), (4, 4), stride=(1, 2), pads=(1, 0, 2, 3), multiple=2, saturated=True, zero=127),
    case("dilated", (1, 9, 8, 4), (3, 3), dilation=(2, 3), pads=(2, 3, 2, 3), zero=21),
    case("multiplier2", (1, 5, 5, 3), (3, 3), multiple=2, pads=SAME, zero=-4),
    case("multiplier8_of1", (1, 6, 5, 1), (4, 3), multiple=8, stride=(2, 2), pads=(1, 1, 2, 1), zero=6),
    case("saturated", (1, 4, 4, 4), (3, 3), pads=SAME, saturated=True, zero=-128),
    case("relu6", (1, 4, 4, 6), (3, 3), pads=SAME, clamp=(0.0, 6.0), out=QParams((6 / 255,), -128)),
    *(case(f"left_shift_c{c}", (1, 3, 3, c), (1, 1), out=QParams((0.0004,), 5)) for c in (4, 40, 70)),
    case("pads_beyond", (1, 2, 2, 4), (3, 3), pads=(2, 2, 2, 2), zero=50),
    *(case(f"row_w{w}", (1, 3, w, c), (3, 3), pads=(0, 1, 0, 1), zero=w) for w, c in ((1, 4), (2, 8), (5, 12), (9, 4))),
    case("row_top", (1, 2, 6, 8), (3, 3), pads=(1, 1, 0, 1), zero=-9),
    case("row_bottom", (1, 2, 6, 8), (3, 3), pads=(0, 1, 1, 1), zero=-9, saturated=True),
    case("row_alone", (1, 1, 5, 4), (3, 3), pads=(1, 0, 1, 2), zero=127),
    case("row_below", (1, 1, 5, 4), (3, 3), pads=(2, 1, 0, 1), zero=-128),
    case("row_beyond", (1, 1, 5, 4), (3, 3), stride=(4, 1), pads=(3, 1, 0, 1), zero=5),
    case("row_stride2", (1, 4, 9, 12), (3, 3), stride=(2, 2), pads=(0, 0, 0, 1), zero=3, clamp=(0.0, 6.0), out=QParams((6 / 255,), -128)),
    *(case(f"row_c{c}", (1, 3, w, c), (3, 3), pads=(0, 1, 0, 1), zero=c, saturated=c == 64) for c, w in ((16, 5), (33, 2), (64, 6))),
    case("row_c16_top", (1, 2, 7, 16), (3, 3), pads=(1, 1, 0, 1), zero=-128, clamp=(0.0, 6.0), out=QParams((6 / 255,), -128)),
    case("row_c48_five", (1, 4, 9, 48), (5, 4), stride=(1, 2), pads=(1, 2, 0, 1), zero=9),
    case("row_c32_least", (1, 1, 4, 32), (3, 3), pads=(1, 0, 1, 0), least=True, zero=127),
    case("row_c16_down", (1, 3, 5, 16), (3, 3), pads=(0, 1, 0, 1), down=True),
    case("row_c16_left", (1, 2, 3, 16), (2, 1), out=QParams((0.0004,), 5)),
    *(case(f"row_c16_w{w}", (1, 3, w, 16), (3, 3), pads=(0, 1, 0, 1), zero=w - 40) for w in (13, 25)),
    case("row_c32_w47_stride2", (1, 2, 47, 32), (3, 3), stride=(1, 2), pads=(1, 1, 0, 1), zero=-9),
    case("row_c16_w29_five", (1, 2, 29, 16), (2, 5), pads=(0, 2, 0, 3), zero=17, saturated=True),
    case("row_c16_w41_stride3", (1, 1, 41, 16), (1, 2), stride=(1, 3), pads=(0, 1, 0, 1), zero=4),
    case("row_c16_w14_beyond", (1, 1, 14, 16), (1, 4), pads=(0, 3, 0, 3), zero=-4),
    case("row_c48_pixel", (1, 5, 1, 48), (5, 1), zero=-30),
    case("row_left", (1, 3, 7, 4), (3, 3), pads=(0, 1, 0, 0), out=QParams((0.0004,), 5)),
]
ASYMMETRIC = {"same3_c5": 3, "saturated_c12": -128, "multiplier3": 127, "grows": -30, "stride_unequal": 66, "batch": -1}
CASES += [asymmetric(c, ASYMMETRIC[c.name]) for c in CASES if c.name in ASYMMETRIC]
FOUR_BITS = ("same3_c5", "stride2_c8", "multiplier3", "tall", "dilated", "five_c7", "line10", "wide", "left_shift_c4", "batch")
CASES += [of_four_bits(c) for c in CASES if c.name in FOUR_BITS]
ON_WORDS = ("same3_c5", "multiplier3", "batch", "tall", "even")
CASES += [on_words(c) for c in CASES if c.name in ON_WORDS]
CASES.append(on_words(case("deep", (1, 30, 30, 2), (24, 24), saturated=True)))  # whose sums leave int32
test_depthwise_conv2d = suite(CASES)


def test_a_cortex_m55_computes_with_dsp_kernels_what_helium_has_none_for(tmp_path: Path) -> None:
    """Rows of many pixels, and few channels in half precision."""
    chip = target.load("cortex-m55")
    cases = {"tflm": case("long_rows", (1, 1, 9600, 2), (1, 5), zero=3), LAW: halved(case("few_channels", (1, 6, 5, 4), (3, 3)))}
    for law, one in cases.items():
        bench = _Bench([one], law)
        program = lower(bench.graph, chip)
        assert program.calls[0].kernel.isa == "armv7em"
        assert not kernels.candidates(*request(bench.graph, bench.graph.nodes[0]), ("mve",))
        need_emulator("cortex-m55")
        data = {n: a[5:6] for n, a in bench.data.items()}
        want = replace(bench.expected, outputs={n: a[5:6] for n, a in bench.expected.outputs.items()}, steps={})
        assert compare(want, run(bench.folder(program, tmp_path / law), chip, data)).bit_exact
