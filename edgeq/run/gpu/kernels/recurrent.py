"""What the steps of LSTM and GRU layers share: room for a state, and pre-activations in int8 and in halves."""

from typing import Any

import numpy as np
import triton
import triton.language as tl

from edgeq.run.gpu.kernels.convolution import DEPTH
from edgeq.run.gpu.kernels.law import limit, rescale, saturate
from edgeq.run.gpu.step import Step, Value


@triton.jit
def place(M: tl.constexpr, N: tl.constexpr, vectors, units):
    """Pattern, vectors and units of this program, and which of them there are."""
    v = tl.program_id(0).to(tl.int64) * M + tl.arange(0, M)
    u = tl.program_id(1) * N + tl.arange(0, N)
    return tl.program_id(2).to(tl.int64), v, u, v < vectors, u < units


@triton.jit
def pre_activations(
    x_ptr, at, known, w_ptr, stage_ptr, row, live, rows, depth, left,
    SINGLE: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Q3.12 sums ``[M, N]`` of int8 rows at `at` with weight rows `row`, saturated to int16; stage ``[bias multiplier shift, rows]``."""
    total = tl.zeros((M, N), tl.int32)
    for start in range(0, depth, K):
        k = start + tl.arange(0, K)
        a = tl.load(x_ptr + at[:, None] + k[None, :], mask=known[:, None] & (k < depth)[None, :], other=0)
        b = tl.load(w_ptr + row[None, :] * depth + k[:, None], mask=live[None, :] & (k < depth)[:, None], other=0)
        total = tl.dot(a, b, total, out_dtype=tl.int32)
    stage_ptr += row
    sums = total.to(tl.int64) + tl.load(stage_ptr, mask=live, other=0).to(tl.int64)[None, :]
    multiplier, shift = tl.load(stage_ptr + rows, mask=live, other=0), tl.load(stage_ptr + 2 * rows, mask=live, other=1)
    return saturate(rescale(sums, multiplier[None, :], shift[None, :], left, SINGLE))


@triton.jit
def to_state(product, multiplier, shift, left, offset, low, high, SINGLE: tl.constexpr):
    """Q0.30 -> h."""
    return limit(rescale(product, multiplier, shift, left, SINGLE) + offset, low, high)


@triton.jit
def accumulate(total, x_ptr, at, known, w_ptr, row, live, depth):
    """float32 sums plus the products of halves at `at` with weight rows `row`, in order."""
    for k in range(depth):
        a = tl.load(x_ptr + at + k, mask=known, other=0.0).to(tl.float32)
        b = tl.load(w_ptr + row * depth + k, mask=live, other=0.0).to(tl.float32)
        total += a[:, None] * b[None, :]
    return total


TABLES = ("weights", "bias", "multiplier", "shift")


def part(step: Step, name: str) -> tuple[tuple[Any, Any], tuple[int, int]]:
    """Weights and stage of one product, and what they step from pattern to pattern."""
    weights, per_weights = step.table(f"{name}_weights")
    rest = ("bias",) if step.half else TABLES[1:]
    if f"{name}_bias" not in step.params.tables:
        return (weights, None), (per_weights, 0)
    stage, per_stage = step.stacked(*(f"{name}_{t}" for t in rest))
    return (weights, stage), (per_weights, per_stage)


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
    if not step.half:
        fixed |= {"K": step.device.rows(max(step.params.in_c, units), 32, DEPTH), "SINGLE": step.single}
    return (triton.cdiv(y.vectors, m), triton.cdiv(units, n), y.patterns), fixed


def sigmoid(step: Step) -> Any:
    """The table of sigmoid as int32."""
    return step.constant("sigmoid", lambda: step.params.sigmoid.astype(np.int32))


def out_stage(step: Step) -> tuple[int, ...]:
    """What takes a Q0.30 product to h."""
    p = step.params
    return p.out_multiplier, p.out_shift, p.out_left, p.out_offset, p.act_min, p.act_max
