"""What the steps of LSTM and GRU layers share: room for a state, and pre-activations of integers and of halves."""

from typing import Any

import numpy as np
import triton
import triton.language as tl

from edgeq.ir import DType
from edgeq.run.gpu.kernels import halves
from edgeq.run.gpu.kernels.convolution import DEPTH, require_exact
from edgeq.run.gpu.kernels.law import limit, rescale, saturate
from edgeq.run.gpu.kernels.words import results_s16
from edgeq.run.gpu.step import Step, Value, unsupported

TABLES = ("weights", "bias", "multiplier", "shift")


@triton.jit
def place(M: tl.constexpr, N: tl.constexpr, vectors, units):
    """Pattern, vectors and units of this program, and which of them there are."""
    v = tl.program_id(0).to(tl.int64) * M + tl.arange(0, M)
    u = tl.program_id(1) * N + tl.arange(0, N)
    return tl.program_id(2).to(tl.int64), v, u, v < vectors, u < units


@triton.jit
def pre_activations(
    x_ptr, at, known, w_ptr, stage_ptr, row, live, rows, depth, left,
    WORDS: tl.constexpr, SINGLE: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Q3.12 sums ``[M, N]`` of int8 (WORDS: int16) rows at `at` with weight rows `row`, saturated to int16; int64.

    stage ``[bias multiplier shift, rows]``.
    """
    if WORDS:
        y = results_s16(x_ptr, at, known, w_ptr, stage_ptr, row, live, rows, depth, M, N, K)
    else:
        total = tl.zeros((M, N), tl.int32)
        for start in range(0, depth, K):
            k = start + tl.arange(0, K)
            a = tl.load(x_ptr + at[:, None] + k[None, :], mask=known[:, None] & (k < depth)[None, :], other=0)
            b = tl.load(w_ptr + row[None, :] * depth + k[:, None], mask=live[None, :] & (k < depth)[:, None], other=0)
            total = tl.dot(a, b, total, out_dtype=tl.int32)
        stage_ptr += row
        sums = total.to(tl.int64) + tl.load(stage_ptr, mask=live, other=0).to(tl.int64)[None, :]
        multiplier, shift = tl.load(stage_ptr + rows, mask=live, other=0), tl.load(stage_ptr + 2 * rows, mask=live, other=1)
        y = saturate(rescale(sums, multiplier[None, :], shift[None, :], left, SINGLE))
    return y


@triton.jit
def to_state(product, multiplier, shift, left, offset, low, high, WORDS: tl.constexpr, SINGLE: tl.constexpr):
    """Q0.30 -> h."""
    return (product + (1 << 14)) >> 15 if WORDS else limit(rescale(product, multiplier, shift, left, SINGLE) + offset, low, high)


@triton.jit
def accumulate(start, x_ptr, at, known, w_ptr, scale_ptr, row, live, depth, SUMS: tl.constexpr):
    """float32 `start` ``[M, N]`` plus the products of halves at `at` with weight rows `row`, in order, perhaps each step a half (SUMS).

    With scales the weights are int8: products are summed from 0, the sum times the row's scale is added to `start`.
    """
    total = start if scale_ptr is None else tl.zeros_like(start)
    for k in range(depth):
        a = tl.load(x_ptr + at + k, mask=known, other=0.0).to(tl.float32)
        b = tl.load(w_ptr + row * depth + k, mask=live, other=0).to(tl.float32)
        total = halves.plus_product(total, a[:, None], b[None, :], SUMS)
    return total if scale_ptr is None else start + total * tl.load(scale_ptr + row, mask=live, other=0.0)[None, :]


@triton.jit
def gate(
    bias_ptr, x_ptr, x_at, x_w_ptr, x_scale_ptr, h_ptr, h_at, h_w_ptr, h_scale_ptr, known, row, live, in_c, units,
    SUMS: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Sums ``[M, N]`` of halves, float32: the bias, the products of x, then those of h."""
    total = tl.zeros((M, N), tl.float32) + tl.load(bias_ptr + row, mask=live, other=0.0)[None, :]
    total = accumulate(total, x_ptr, x_at, known, x_w_ptr, x_scale_ptr, row, live, in_c, SUMS)
    return accumulate(total, h_ptr, h_at, known, h_w_ptr, h_scale_ptr, row, live, units, SUMS)


def part(step: Step, name: str) -> tuple[tuple[Any, Any], tuple[int, int]]:
    """Weights and stage of one product, and what they step from pattern to pattern."""
    if not step.half:
        require_exact(step, step.array(f"{name}_weights").shape[-1])
    weights, per_weights = step.table(f"{name}_weights")
    rest = ("bias",) if step.half else TABLES[1:]
    if f"{name}_bias" not in step.params.tables:
        return (weights, None), (per_weights, 0)
    stage, per_stage = step.stacked(*(f"{name}_{t}" for t in rest))
    return (weights, stage), (per_weights, per_stage)


def scales(step: Step) -> tuple[Any, Any]:
    """Those of int8 weights on halves, of x and of h, per row; None where there are none."""
    x, h = (step.table(n)[0] if n in step.params.tables else None for n in ("x_scale", "h_scale"))
    return x, h


def lefts(step: Step) -> tuple[int, int]:
    """What rescales the sums of x and of h beside their tables."""
    x, h = (step.params.scalars.get(n, 0) for n in ("x_left", "h_left"))
    return int(x), int(h)


def words(step: Step) -> bool:
    """Whether x and h are int16."""
    return step.graph.type(step.node.inputs[0]).dtype is DType.INT16


def patterns(step: Step) -> int:
    """Patterns of the results."""
    return step.patterns(*(f"{p}_{t}" for p in "xh" for t in TABLES))


def copied(step: Step, value: Value, p: int, v: int) -> Value:
    """A state of its own for every pattern and vector."""
    return Value(value.data.expand(p, v, -1).clone().contiguous())


def tiles(step: Step, y: Value) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """The grid over vectors, units and patterns, and the lengths of a tile."""
    units = step.params.units
    m, n = step.device.rows(y.vectors), step.device.rows(units, most=32)
    fixed: dict[str, Any] = {"M": m, "N": n}
    if step.half:
        fixed["SUMS"] = step.sums
    else:
        fixed |= {"K": step.device.rows(max(step.params.in_c, units), 32, DEPTH), "WORDS": words(step), "SINGLE": step.single}
    return (triton.cdiv(y.vectors, m), triton.cdiv(units, n), y.patterns), fixed


def sigmoid(step: Step) -> Any:
    """The table of sigmoid as int32."""
    return step.constant("sigmoid", lambda: step.params.sigmoid.astype(np.int32))


def out_stage(step: Step) -> tuple[int, ...]:
    """What takes a Q0.30 product to h in int8."""
    p = step.params
    if words(step):
        if "out_left" in p.scalars:
            raise unsupported(step.node, "with a state in int16 of any scale")
        return (0,) * 6
    return p.out_multiplier, p.out_shift, p.out_left, p.out_offset, p.act_min, p.act_max
