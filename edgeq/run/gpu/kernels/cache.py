"""What a language model needs token by token: look-up, rotary embeddings, and rows that take the place of others."""

import numpy as np
import triton
import triton.language as tl

from edgeq.ops.lookup import unpacked
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.halves import from_float
from edgeq.run.gpu.kernels.law import limit, rescale
from edgeq.run.gpu.step import Step, Value


@triton.jit
def row_at(row, vectors, pattern, vector):
    """Where a vector of a pattern begins, of an operand that patterns or vectors may share."""
    return row // vectors * pattern + row % vectors * vector


@kernel()
def lookup_rows(x_ptr, rows_ptr, y_ptr, total, size, vectors, depth, last, pattern, vector, rows_pattern, BLOCK: tl.constexpr):
    """`size` elements of y per vector, ``[N, depth]`` rows."""
    i = elements(BLOCK)
    live = i < total
    row = i // size
    index = tl.load(x_ptr + row_at(row, vectors, pattern, vector) + i % size // depth, mask=live, other=0)
    index = limit(index.to(tl.int64), 0, last)
    tl.store(y_ptr + i, tl.load(rows_ptr + row // vectors * rows_pattern + index * depth + i % depth, mask=live, other=0), mask=live)


@kernel()
def lookup_s4(
    x_ptr, rows_ptr, factors_ptr, y_ptr, total, size, vectors, depth, last, pattern, vector, half, shift, offset, BLOCK: tl.constexpr
):  # fmt: skip
    """rows int8 ``[N, depth]`` of four bits, factors int32 ``[N]``."""
    i = elements(BLOCK)
    live = i < total
    row = i // size
    index = tl.load(x_ptr + row_at(row, vectors, pattern, vector) + i % size // depth, mask=live, other=0)
    index = limit(index.to(tl.int64), 0, last)
    code = tl.load(rows_ptr + index * depth + i % depth, mask=live, other=0).to(tl.int32)
    y = ((code * tl.load(factors_ptr + index, mask=live, other=0) + half) >> shift) + offset
    tl.store(y_ptr + i, limit(y, -128, 127).to(tl.int8), mask=live)


@computes("lookup", on=("s32_s8", "s32_f16"))
def lookup(step: Step) -> tuple[Value, ...]:
    """Rows of a table."""
    x, p, y = step.operands[0], step.params, step.result(patterns=step.patterns("rows"))
    block, grid = flat(step, y.total)
    if p.packed:
        tables = step.constant("elements", lambda: unpacked(p)), step.constant("factors", lambda: p.factors.astype(np.int32))
        sizes = y.total, y.size, y.vectors, p.depth, p.last, *x.steps
        step.device.launch(lookup_s4, grid, x.data, *tables, y.data, *sizes, 1 << p.shift >> 1, p.shift, p.out_offset, BLOCK=block)
        return (y,)
    rows, pattern = step.table("rows")
    step.device.launch(lookup_rows, grid, x.data, rows, y.data, y.total, y.size, y.vectors, p.depth, p.last, *x.steps, pattern, BLOCK=block)
    return (y,)


@kernel()
def cache_write_rows(
    kept_ptr, fresh_ptr, place_ptr, y_ptr, total, size, vectors, kept_pattern, kept_vector, fresh_pattern, fresh_vector,
    place_pattern, place_vector, kept, rows, inner, RING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = elements(BLOCK)
    live = i < total
    row, e = i // size, i % size
    place = tl.load(place_ptr + row_at(row, vectors, place_pattern, place_vector), mask=live, other=0).to(tl.int64)
    first = (place % kept + kept) % kept if RING else limit(place, 0, kept - rows)
    at = (e // inner % kept - first + kept) % kept
    new = at < rows
    source = (e // (inner * kept) * rows + tl.where(new, at, 0)) * inner + e % inner
    fresh = tl.load(fresh_ptr + row_at(row, vectors, fresh_pattern, fresh_vector) + source, mask=live & new, other=0)
    old = tl.load(kept_ptr + row_at(row, vectors, kept_pattern, kept_vector) + e, mask=live, other=0)
    tl.store(y_ptr + i, tl.where(new, fresh, old), mask=live)


@computes("cache_write")
def cache_write(step: Step) -> tuple[Value, ...]:
    """Rows from a place on."""
    p, y = step.params, step.result()
    block, grid = flat(step, y.total)
    operands, steps = [x.data for x in step.operands], [n for x in step.operands for n in x.steps]
    sizes = y.total, y.size, y.vectors, *steps, p.kept, p.rows, p.inner
    step.device.launch(cache_write_rows, grid, *operands, y.data, *sizes, RING=bool(p.ring), BLOCK=block)
    return (y,)


@triton.jit
def turn(
    i, live, x_ptr, places_ptr, angles_ptr, size, vectors, x_pattern, x_vector, places_pattern, places_vector, angles_pattern,
    heads, depth, pairs, last, INTERLEAVED: tl.constexpr,
):  # fmt: skip
    """Of elements i: where they, the others of their pairs and their cosines lie; whether they are turned, and are the second ones."""
    row, e, d = i // size, i % size, i % depth
    turned = d < 2 * pairs
    pair = d // 2 if INTERLEAVED else d % pairs
    second = d % 2 if INTERLEAVED else d // pairs
    other = tl.where(second > 0, d - 1, d + 1) if INTERLEAVED else tl.where(second > 0, d - pairs, d + pairs)
    place = tl.load(places_ptr + row_at(row, vectors, places_pattern, places_vector) + e // (heads * depth), mask=live, other=0)
    angles_ptr += row // vectors * angles_pattern + (limit(place.to(tl.int64), 0, last) * pairs + tl.where(turned, pair, 0)) * 2
    x_ptr += row_at(row, vectors, x_pattern, x_vector) + e
    return x_ptr, x_ptr + tl.where(turned, other - d, 0), angles_ptr, turned, second


@kernel()
def rotary_s8(
    x_ptr, places_ptr, angles_ptr, y_ptr, total, size, vectors, x_pattern, x_vector, places_pattern, places_vector, angles_pattern,
    heads, depth, pairs, last, zero, unit, multiplier, shift, left, offset, low, high,
    INTERLEAVED: tl.constexpr, SINGLE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """angles int16 ``[P, pairs, cosine and sine]``."""
    i = elements(BLOCK)
    live = i < total
    x_ptr, partner_ptr, angles_ptr, turned, second = turn(
        i, live, x_ptr, places_ptr, angles_ptr, size, vectors, x_pattern, x_vector, places_pattern, places_vector, angles_pattern,
        heads, depth, pairs, last, INTERLEAVED,
    )  # fmt: skip
    own = tl.load(x_ptr, mask=live, other=0).to(tl.int32) - zero
    partner = tl.load(partner_ptr, mask=live, other=0).to(tl.int32) - zero
    cosine, sine = tl.load(angles_ptr, mask=live, other=0).to(tl.int32), tl.load(angles_ptr + 1, mask=live, other=0).to(tl.int32)
    sums = tl.where(turned, own * cosine + tl.where(second > 0, partner, -partner) * sine, own * unit)
    y = rescale(sums, multiplier, shift, left, SINGLE) + offset
    tl.store(y_ptr + i, limit(y, low, high).to(tl.int8), mask=live)


@kernel()
def rotary_f16(
    x_ptr, places_ptr, angles_ptr, y_ptr, total, size, vectors, x_pattern, x_vector, places_pattern, places_vector, angles_pattern,
    heads, depth, pairs, last, INTERLEAVED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """angles halves ``[P, pairs, cosine and sine]``."""
    i = elements(BLOCK)
    live = i < total
    x_ptr, partner_ptr, angles_ptr, turned, second = turn(
        i, live, x_ptr, places_ptr, angles_ptr, size, vectors, x_pattern, x_vector, places_pattern, places_vector, angles_pattern,
        heads, depth, pairs, last, INTERLEAVED,
    )  # fmt: skip
    own = tl.load(x_ptr, mask=live, other=0.0).to(tl.float32)
    partner = tl.load(partner_ptr, mask=live, other=0.0).to(tl.float32)
    cosine, sine = tl.load(angles_ptr, mask=live, other=0.0).to(tl.float32), tl.load(angles_ptr + 1, mask=live, other=0.0).to(tl.float32)
    y = tl.where(turned, own * cosine + tl.where(second > 0, partner, -partner) * sine, own)
    tl.store(y_ptr + i, from_float(y), mask=live)


@computes("rotary")
def rotary(step: Step) -> tuple[Value, ...]:
    """Pairs turned by angles."""
    x, places, p, y = *step.operands, step.params, step.result(patterns=step.patterns("angles"))
    block, grid = flat(step, y.total)
    angles, pattern = step.table("angles")
    shape = p.heads, p.depth, p.turned // 2, p.last
    if step.half:
        launch = (x.data, places.data, angles, y.data, y.total, y.size, y.vectors, *x.steps, *places.steps, pattern, *shape)
        step.device.launch(rotary_f16, grid, *launch, INTERLEAVED=bool(p.interleaved), BLOCK=block)
        return (y,)
    numbers = *shape, p.zero, p.unit, p.multiplier, p.shift, p.left, p.out_offset, p.act_min, p.act_max
    sizes = y.total, y.size, y.vectors, *x.steps, *places.steps, pattern
    fixed = {"INTERLEAVED": bool(p.interleaved), "SINGLE": step.single, "BLOCK": block}
    step.device.launch(rotary_s8, grid, x.data, places.data, angles, y.data, *sizes, *numbers, **fixed)
    return (y,)
