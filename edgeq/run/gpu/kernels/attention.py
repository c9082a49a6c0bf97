"""Attention: a query of one head per thread, a key after the other."""

import numpy as np
import triton
import triton.language as tl

from edgeq.ops.attention import EXCLUDED, MASKED, PART
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes, halves
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.halves import from_float, of_order, order
from edgeq.run.gpu.kernels.law import leading_zeros, limit, power_of_two
from edgeq.run.gpu.step import Step, Value

LOWEST = tl.constexpr(-(2**31))
BITS, MASK = tl.constexpr(PART), tl.constexpr((1 << PART) - 1)
EMPTY = tl.constexpr(MASKED)  # a query whose largest score lies below has no key


@triton.jit
def places(i, vectors, batches, queries, keys, heads, share, width, pattern, vector):
    """Where the keys or values of a row begin, whose rows are `width` long, and the row's query and head."""
    head, query, batch = i % heads, i // heads % queries, i // (heads * queries) % batches
    row, groups = i // (heads * queries * batches), heads // share
    at = row // vectors * pattern + row % vectors * vector + (batch * keys * groups + head // share) * width
    return at, query, head


@triton.jit
def own_query(i, vectors, size, depth, pattern, vector):
    """Where the query of a row begins; `size` rows per vector."""
    row = i // size
    return row // vectors * pattern + row % vectors * vector + i % size * depth


@triton.jit
def given_row(i, vectors, batches, queries, heads, batch_step, head_step, query_step, pattern, vector):
    """Where the computed mask of a row begins."""
    head, query, batch = i % heads, i // heads % queries, i // (heads * queries) % batches
    row = i // (heads * queries * batches)
    return row // vectors * pattern + row % vectors * vector + batch * batch_step + head * head_step + query * query_step


@kernel()
def attention_s8(
    q_ptr, k_ptr, v_ptr, weights_ptr, terms_ptr, codes_ptr, scores_ptr, y_ptr, total, vectors,
    q_pattern, q_vector, k_pattern, k_vector, v_pattern, v_vector, batches, queries, keys, heads, share, depth, width,
    q_zero, v_zero, offset, farthest, rate, rate_shift, multiplier, shift, n_ptr, n_pattern, n_vector, ahead,
    given_ptr, given_pattern, given_vector, added_ptr, batch_step, head_step, query_step, least,
    CAUSAL: tl.constexpr, MASKS: tl.constexpr, CACHED: tl.constexpr, GIVEN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """scores int32 ``[total, keys]`` are scratch; n, where cached, is how many keys are there."""
    i = elements(BLOCK)
    live = i < total
    q_ptr += own_query(i, vectors, batches * queries * heads, depth, q_pattern, q_vector)
    k_at, query, head = places(i, vectors, batches, queries, keys, heads, share, depth, k_pattern, k_vector)
    v_at, query, head = places(i, vectors, batches, queries, keys, heads, share, width, v_pattern, v_vector)
    scores_ptr += i * keys
    seen = query + keys - queries if CAUSAL else query * 0 + keys
    if CACHED:
        n = tl.load(n_ptr + own_query(i, vectors, batches * queries * heads, 0, n_pattern, n_vector), mask=live, other=0)
        seen = limit(limit(n.to(tl.int64), 0, keys) + ahead, 1, keys) - 1
    if GIVEN:
        given_ptr += given_row(i, vectors, batches, queries, heads, batch_step, head_step, query_step, given_pattern, given_vector)
    codes_ptr += (query if MASKS == 1 else head * queries + query) * keys
    largest = tl.full((BLOCK,), LOWEST, tl.int64)
    for j in range(keys):
        score = tl.zeros((BLOCK,), tl.int64)
        if MASKS > 0:
            score += tl.load(terms_ptr + tl.load(codes_ptr + j, mask=live, other=0).to(tl.int32))
        if GIVEN:
            score += tl.load(added_ptr + (tl.load(given_ptr + j, mask=live, other=0).to(tl.int32) & 255))
        for d in range(depth):
            a = tl.load(q_ptr + d, mask=live, other=0).to(tl.int64) - q_zero
            score += a * tl.load(k_ptr + k_at + j * (heads // share) * depth + d, mask=live, other=0).to(tl.int64)
        score = tl.where(j <= seen, score, LOWEST)
        largest = tl.maximum(largest, score)
        tl.store(scores_ptr + j, score.to(tl.int32), mask=live)
    whole = tl.zeros((BLOCK,), tl.int64)
    for j in range(keys):
        below = largest - tl.load(scores_ptr + j, mask=live, other=0).to(tl.int64)
        t = (tl.minimum(below, farthest) * tl.cast(rate, tl.int64)) >> tl.cast(rate_shift, tl.int64)
        weight = tl.load(weights_ptr + (t & MASK)).to(tl.int64) >> (t >> BITS)
        weight = tl.where((below < farthest) & (j <= seen), weight, 0)
        whole += weight
        tl.store(scores_ptr + j, weight.to(tl.int32), mask=live)
    whole = tl.where(live, whole, 1)
    zeros = leading_zeros(whole)
    factor = (tl.cast(multiplier, tl.int64) * (0xFFFFFFFF // ((whole << zeros) >> 15))) >> 16
    factor = tl.where(GIVEN & (largest < least), 0, factor)
    right = 62 - shift - zeros
    for d in range(width):
        sums = -v_zero * whole
        for j in range(keys):
            value = tl.load(v_ptr + v_at + j * (heads // share) * width + d, mask=live, other=0).to(tl.int64)
            sums += tl.load(scores_ptr + j, mask=live, other=0).to(tl.int64) * value
        y = (sums * factor + power_of_two(right - 1)) >> right
        tl.store(y_ptr + i * width + d, limit(y + offset, -128, 127).to(tl.int8), mask=live)


@kernel()
def attention_f16(
    q_ptr, k_ptr, v_ptr, scale_ptr, mask_ptr, e_ptr, y_ptr, total, vectors,
    q_pattern, q_vector, k_pattern, k_vector, v_pattern, v_vector, batches, queries, keys, heads, share, depth, width,
    n_ptr, n_pattern, n_vector, ahead, given_ptr, given_pattern, given_vector, batch_step, head_step, query_step,
    CAUSAL: tl.constexpr, MASKS: tl.constexpr, CACHED: tl.constexpr, GIVEN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """e float32 ``[total, keys]`` is scratch; n, where cached, is how many keys are there."""
    i = elements(BLOCK)
    live = i < total
    q_ptr += own_query(i, vectors, batches * queries * heads, depth, q_pattern, q_vector)
    k_at, query, head = places(i, vectors, batches, queries, keys, heads, share, depth, k_pattern, k_vector)
    v_at, query, head = places(i, vectors, batches, queries, keys, heads, share, width, v_pattern, v_vector)
    e_ptr += i * keys
    seen = query + keys - queries if CAUSAL else query * 0 + keys
    if CACHED:
        n = tl.load(n_ptr + own_query(i, vectors, batches * queries * heads, 0, n_pattern, n_vector), mask=live, other=0)
        seen = limit(limit(n.to(tl.int64), 0, keys) + ahead, 1, keys) - 1
    mask_ptr += (query if MASKS == 1 else head * queries + query) * keys
    if GIVEN:
        given_ptr += given_row(i, vectors, batches, queries, heads, batch_step, head_step, query_step, given_pattern, given_vector)
    highest = tl.full((BLOCK,), LOWEST, tl.int32)
    for j in range(keys):
        score = tl.zeros((BLOCK,), tl.float32)
        for d in range(depth):
            a = tl.load(q_ptr + d, mask=live, other=0.0).to(tl.float32)
            score += a * tl.load(k_ptr + k_at + j * (heads // share) * depth + d, mask=live, other=0.0).to(tl.float32)
        score = score * tl.load(scale_ptr)
        if MASKS > 0:
            score = score + tl.load(mask_ptr + j, mask=live, other=0.0).to(tl.float32)
        if GIVEN:
            score = score + tl.load(given_ptr + j, mask=live, other=0.0).to(tl.float32)
        rounded = from_float(score)
        highest = tl.maximum(highest, tl.where(j <= seen, order(rounded), LOWEST))
        tl.store(e_ptr + j, rounded.to(tl.float32), mask=live)
    largest = of_order(highest).to(tl.float32)
    whole = tl.zeros((BLOCK,), tl.float32)
    for j in range(keys):
        e = halves.exp(halves.number(tl.load(e_ptr + j, mask=live, other=0.0) - largest))
        whole += tl.where(j <= seen, e, 0.0)
        tl.store(e_ptr + j, e, mask=live)
    factor = halves.reciprocal(whole)
    empty = GIVEN & (largest < EMPTY)
    for d in range(width):
        sums = tl.zeros((BLOCK,), tl.float32)
        for j in range(keys):
            weight = from_float(tl.load(e_ptr + j, mask=live, other=0.0) * factor).to(tl.float32)
            weight = tl.where(empty, 0.0, weight)
            value = tl.load(v_ptr + v_at + j * (heads // share) * width + d, mask=live, other=0.0).to(tl.float32)
            sums = tl.where(j <= seen, sums + weight * value, sums)
        tl.store(y_ptr + i * width + d, from_float(sums), mask=live)


@computes("attention", "cached_attention", "masked_attention")
def attention(step: Step) -> tuple[Value, ...]:
    """Head by head."""
    p, y = step.params, step.result()
    rows = y.total // p.width
    block, grid = flat(step, rows)
    cached, masked = "ahead" in p.scalars, "batch_step" in p.scalars
    operands = [x.data for x in step.operands[:3]]
    steps = [n for x in step.operands[:3] for n in x.steps]
    sizes = rows, y.vectors, *steps, p.batches, p.queries, p.keys, p.heads, p.share, p.depth, p.width
    fixed = {"CAUSAL": bool(p.causal), "MASKS": p.masks, "GIVEN": masked, "BLOCK": block}
    given = (step.operands[3].data, *step.operands[3].steps) if masked else (operands[0], 0, 0)
    strides = (p.batch_step, p.head_step, p.query_step) if masked else (0, 0, 0)
    places = (step.operands[3].data, *step.operands[3].steps, p.ahead) if cached else (operands[0], 0, 0, 0)
    kept = step.device.empty((rows * p.keys,), np.dtype(np.float32 if step.half else np.int32))
    if step.half:
        mask = step.table("mask")[0] if p.masks else operands[0]
        numbers = (step.table("scale")[0], mask, kept, y.data, *sizes, *places, *given, *strides)
        step.device.launch(attention_f16, grid, *operands, *numbers, CACHED=cached, **fixed)
        return (y,)
    weights = step.constant("weights", lambda: p.weights.astype(np.int32))
    terms = step.table("terms")[0] if p.masks else weights
    codes = step.constant("codes", lambda: p.codes.astype(np.int16)) if p.masks else weights
    added = step.table("added")[0] if masked else weights
    numbers = p.q_zero, p.v_zero, p.out_offset, p.limit, p.rate, p.rate_shift, p.multiplier, p.shift, *places
    launch = (*operands, weights, terms, codes, kept, y.data, *sizes, *numbers, *given, added, *strides, EXCLUDED // 2)
    step.device.launch(attention_s8, grid, *launch, CACHED=cached, **fixed)
    return (y,)
