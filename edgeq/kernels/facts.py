"""Facts about a call's constants that a kernel may ask for by name: one function per fact, computed only where a front matter or a
template names it. They say when an ISA's way of computing is exact or worth while; the operators know nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from edgeq.ir import Array, Params
from edgeq.kernels.layouts.lanes import stretches

INT8_MIN, INT8_MAX = -128, 127
BLOCK = 2**20  # weights that are looked at together


def _weights(params: Params) -> dict[str, Array]:
    return {name: table for name, table in params.tables.items() if name.endswith("weights")}


def _blocks(weights: Array) -> Iterator[Array]:
    """Weights as int64 ``[rows, K]``, some rows at a time, so that large layers need no copy eight times their size."""
    rows = weights.reshape(len(weights), -1)
    step = max(1, BLOCK // max(1, rows.shape[1]))
    return (rows[first : first + step].astype(np.int64) for first in range(0, len(rows), step))


def _no_two_least(rows: Array) -> int:
    """1 if no two neighbours along the last axis are both -128: their products with any int8 then sum up to an int16."""
    least = rows == INT8_MIN
    return int(not np.any(least[..., 1:] & least[..., :-1]))


def group(params: Params) -> int:
    """How many neighbouring products (4, 2 or 1) of every row sum up to an int16, whatever the int8 inputs; odd rows of a convolution
    have a zero behind them."""
    weights = params.tables["weights"]
    length = weights[0].size
    filled = length % 2 if weights.ndim > 2 else 0

    def most(size: int) -> int:
        rows = (np.pad(np.abs(block), ((0, 0), (0, filled))) for block in _blocks(weights))
        return max(int(block.reshape(len(block), -1, size).sum(2).max()) for block in rows)

    return next((size for size in (4, 2) if (length + filled) % size == 0 and most(size) * 128 < 2**15), 1)


def stretch(params: Params) -> int:
    """How many neighbouring products of sixteen rows sum up to int16 on average (`layouts.lanes.stretches`), whatever the int8 inputs; 0
    where the rows are not multiples of sixteen of an even length, or where two neighbours already are too much."""
    rows = params.tables["weights"].reshape(len(params.tables["weights"]), -1)
    if len(rows) % 16 or rows.shape[1] % 2 or not _no_two_least(rows):
        return 0
    found = [len(stretches(block)) for block in np.split(rows, len(rows) // 16)]
    return int(rows.shape[1] * len(found) / sum(found))


def twos(params: Params) -> int:
    """1 if the products of any two neighbours of a row of weights with any int8 sum up to an int16."""
    weights = params.tables["weights"]
    return _no_two_least(weights.reshape(len(weights), -1))


def tap_twos(params: Params) -> int:
    """The same of neighbouring taps of depthwise weights ``[1, kernel_h, kernel_w, C]``, row by row and column by column."""
    weights = params.tables["weights"]
    return min(_no_two_least(w.reshape(-1, weights.shape[3]).T) for w in (weights[0], weights[0].swapaxes(0, 1)))


def has_least(params: Params) -> int:
    """1 if some int8 weight is -128."""
    return int(any(w.dtype == np.int8 and bool(np.any(w == INT8_MIN)) for w in _weights(params).values()))


def pairs(params: Params) -> int:
    """1 if kernels may sum 256-fold in int32, by words of two weights each (`layouts.words.pairs`): no weight is -128, and every bias
    plus the products of its row with any int8 inputs stays within 24 bits."""

    def fits(weights: Array, bias: Array) -> bool:
        if weights.min() <= INT8_MIN:
            return False
        above, below = (np.concatenate([part(b, 0).sum(1) for b in _blocks(weights)]) for part in (np.maximum, np.minimum))
        most, least = above * INT8_MAX + below * INT8_MIN + bias, above * INT8_MIN + below * INT8_MAX + bias
        return bool(most.max() < 2**23 and least.min() >= -(2**23))

    return int(all(fits(w, params.tables[name.replace("weights", "bias")]) for name, w in _weights(params).items()))


def powers(params: Params) -> int:
    """1 if a result's halves may be divided by a product with a power of two, plus 1 in law tflm where negative ones are rounded away from
    zero: the factor 2^(33 - shift) is one of 32 bits, and what the 1 adds is less than what tells two results apart, as far as sums
    reach and results do not saturate."""
    shift = params.tables["shift"].astype(np.int64)
    if params.law != "tflm" or shift.min() < 3:
        return int(shift.min() >= 3 and shift.max() <= 31)
    weights, bias = params.tables["weights"], params.tables["bias"].astype(np.int64)
    rows = weights if len(weights) == len(bias) else weights.reshape(-1, len(bias)).T
    sums = np.concatenate([np.abs(block).sum(1) for block in _blocks(rows)])
    most = sums * -INT8_MIN + np.abs(bias) + 1  # no sum, so no halves, are beyond
    n = np.minimum(shift - 1, 31)
    steps = (np.minimum(most, 2 ** (n + 10)) + 1) >> n  # from one result to the next; results of 2^10 and more saturate
    return int(((steps == 0) | ((steps << n) - 1 < 2 ** (32 - n))).all() and shift.max() <= 31)


def uniform(params: Params) -> int:
    """1 if all output channels have one multiplier and one shift."""
    return int(all(np.ptp(params.tables[name]) == 0 for name in ("multiplier", "shift")))


def whole_range(params: Params) -> int:
    """1 if results may be any int8."""
    return int((params.act_min, params.act_max) == (INT8_MIN, INT8_MAX))


def triples(params: Params) -> int:
    """How many times three pixels a convolution takes at a time, where nobody has looked how much memory there is (`edgeq.plan.room`)."""
    return 1


def copied(params: Params) -> int:
    """1 if it copies weights to scratch first; likewise."""
    return 0


def all_lines(params: Params) -> int:
    """1 if a depthwise convolution keeps all lines of a channel in scratch; likewise."""
    return 0


def whole_fours(params: Params) -> int:
    """1 if the output channels are a multiple of four."""
    channels = params.out_c if "out_c" in params.scalars else params.in_c * params.multiple
    return int(channels % 4 == 0)


def whole_words(params: Params) -> int:
    """1 if the rows of a matrix product's left operand are whole words of four elements."""
    return int(params.depth % 4 == 0)


def small_shifts(params: Params) -> int:
    """1 if an offset of 8 bits and a sign may be shifted by any output's shift and one more: it then fits int32 beside a scaled sum."""
    return int(params.tables["shift"].min() >= 1 and params.tables["shift"].max() <= 20)


def near_shifts(params: Params) -> int:
    """1 if every shift right of a layer on int16 is from 17 to 47: what a sum times its multiplier has below 2^16 then does not count."""
    shifts = params.tables["shift"]
    return int(int(shifts.min()) >= 17 and int(shifts.max()) <= 47)


def inside(params: Params) -> int:
    """1 if no window of a convolution can cross the border."""
    p = params
    last_y = (p.out_h - 1) * p.stride_h + (p.kernel_h - 1) * p.dilation_h
    last_x = (p.out_w - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w
    return int(p.pad_top == 0 and p.pad_left == 0 and last_y < p.in_h and last_x < p.in_w)


def pointwise(params: Params) -> int:
    """1 if each window is one pixel, in order."""
    p = params
    return int((p.kernel_h, p.kernel_w, p.stride_h, p.stride_w) == (1, 1, 1, 1) and inside(params))


def direct(params: Params) -> int:
    """1 if a window inside of the input is worth reading where it is."""
    p = params
    return int((p.dilation_h, p.dilation_w) == (1, 1) and (p.kernel_h == 1 or p.kernel_w * p.in_c >= 8))


def tall(params: Params) -> int:
    """1 if columns make longer lines than rows, where both have one stride."""
    p = params
    return int((p.out_h, p.kernel_h) > (p.out_w, p.kernel_w) and p.stride_h == p.stride_w)


def few(params: Params) -> int:
    """1 if a convolution of few pixels would waste much, three of them at a time."""
    p = params
    return int(p.batches * p.out_h * p.out_w in (2, 4, 5, 7, 8))


def rectified(params: Params) -> int:
    """1 if no result below the zero point passes the limits."""
    return int(params.act_min >= params.scalars.get("out_offset", params.scalars.get("out_zero", 0)))


def parted(params: Params) -> int:
    """1 if a recurrent layer's step computes `own_units` of its units alone, from `first_unit` on."""
    return int("own_units" in params.scalars)


FACTS: dict[str, Callable[[Params], int]] = {
    f.__name__: f
    for f in (
        group, stretch, twos, tap_twos, has_least, pairs, powers, uniform, whole_range, triples, copied, all_lines,
        whole_fours, whole_words, small_shifts, near_shifts, inside, pointwise, direct, tall, few, rectified, parted,
    )
}  # fmt: skip

ROOM = {"triples", "copied", "all_lines"}  # what they say is no fact before memory was planned


def value(name: str, params: Params) -> int:
    """A fact by name, computed once per call.

    Raises:
        KeyError: there is no such fact.
    """
    fact = FACTS[name]
    return int(params.derived(("fact", name), lambda: np.asarray(fact(params))))
