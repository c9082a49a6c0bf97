"""Scaled dot-product attention, a query at a time: the matrix of scores is never whole in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import floats, half, matrices, numerics, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import half_params
from edgeq.ops.linear import exact_matmul
from edgeq.ops.traits import Traits

MASKED = -1e3  # a mask below it excludes the key
FAR = -1e4  # what stands for an excluded key in masks: far below all scores, and a half
PART = 8  # fraction bits of the binary logarithm of a weight
WEIGHT = 15  # bits of a weight, less where more than 256 keys could overflow the sum
LEAST = -700.0  # a score so far below the largest counts nothing
SUM = 23  # bits of the sum of all weights: times 255 it fits int32
EXCLUDED = -(2**29)  # what a mask adds to a score in int8 that is not to count
FARTHEST = 2**26  # largest integer score, and largest term of a mask: an excluded key lies farther than any limit


@dataclass(frozen=True)
class Attention(Op):
    """softmax(scale * q k^T + mask) v, head by head (Vaswani et al., 2017).

    q ``[B, T, H, D]``, k ``[B, S, G, D]``, v ``[B, S, G, E]``, perhaps a constant float32 mask ``[1 or H, T, S]`` -> ``[B, T, H, E]``;
    head h reads the keys and values of head ``h // (H / G)``. A mask below -1000 excludes a key. `causal`: query t sees keys up to
    ``t + S - T``.

    On int8: a score is the integer sum of products of ``q - zero point`` with k (k's zero point adds the same to all scores of a
    row), plus the mask in its steps. A weight is ``2^-t``, t the score's distance to the largest in units of 2^-8, from a table of
    256 fractions, with 15 bits. The sum of weighted values meets one 32-bit reciprocal of the sum of the weights, and is rounded once,
    to nearest with ties up, under both roundings. On halves: scores are rounded to halves, then as MatMul and Softmax do.
    """

    traits: ClassVar[Traits] = Traits("dense", real=(3,))
    parameters: ClassVar[tuple[int, ...]] = (3,)

    scale: float = 1.0
    causal: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        q, k, v = types[:3]
        fits = len(q.shape) == len(k.shape) == len(v.shape) == 4 and q.shape[0] == k.shape[0] and k.shape[:3] == v.shape[:3]
        if not fits or q.shape[3] != k.shape[3] or q.shape[2] % k.shape[2] or (self.causal and k.shape[1] < q.shape[1]):
            raise EdgeqError(f"attention of {q} to keys {k} and values {v} does not fit")
        if not 0 < self.scale < math.inf:
            raise EdgeqError(f"attention with a scale of {self.scale}")
        rows = (q.shape[1], k.shape[1])
        if len(types) > 3 and types[3].shape not in ((1, *rows), (q.shape[2], *rows)):
            raise EdgeqError(f"the mask {types[3]} does not fit attention of {q} to {k}")
        return TensorType((*q.shape[:3], v.shape[3]), q.dtype, q.q)

    def macs(self, *types: TensorType) -> int:
        q, k, v = (t.shape for t in types[:3])
        return q[0] * q[1] * q[2] * k[1] * (q[3] + v[3])

    def _mask(self, where: str, inputs: tuple[Tensor, ...]) -> Array | None:
        """float64 ``[1 or H, T, S]``, -inf where a key is excluded; None where none is."""
        q, k = (t.type.shape for t in inputs[:2])
        if len(inputs) < 4 and not self.causal:
            return None
        mask = np.zeros((1, q[1], k[1])) if len(inputs) < 4 else np.asarray(inputs[3].data, np.float64)
        return self._excluding(where, mask)

    def _excluding(self, where: str, mask: Array) -> Array:
        mask = np.where(mask < MASKED, -np.inf, mask)
        if self.causal:
            mask = np.where(_seen(*mask.shape[1:]), mask, -np.inf)
        if np.isneginf(mask).all(-1).any():
            raise EdgeqError("a mask excludes every key of a query", where=where, fix="mask no row as a whole")
        return mask

    def real(self, *x: Array) -> Array:
        q, k, v = (a.swapaxes(-3, -2) for a in x[:3])
        share = q.shape[-3] // k.shape[-3]
        k, v = (np.repeat(a, share, axis=-3) for a in (k, v))
        scores = self.scale * matrices.matmul(q, k.swapaxes(-1, -2))
        mask = x[3].astype(np.float64) if len(x) > 3 else np.zeros((1, *scores.shape[-2:]))
        scores = scores + self._excluding("attention", mask)
        e = reals.exp(np.maximum(scores - scores.max(-1, keepdims=True), LEAST))
        return np.asarray(matrices.matmul(e / e.sum(-1, keepdims=True), v).swapaxes(-3, -2), np.float32)

    def _sizes(self, inputs: tuple[Tensor, ...]) -> dict[str, int | str]:
        q, k, v = (t.type.shape for t in inputs[:3])
        sizes: dict[str, int | str] = {"batches": q[0], "queries": q[1], "keys": k[1], "heads": q[2], "share": q[2] // k[2]}
        masks = inputs[3].type.shape[0] if len(inputs) > 3 else 0
        return {**sizes, "depth": q[3], "width": v[3], "causal": int(self.causal), "masks": masks}

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        q, k, v = (t.type for t in inputs[:3])
        for t in (q, k, v):
            require_int8(where, self, t, output)
        sizes, keys = self._sizes(inputs), k.shape[1]
        bound = q.shape[3] * max(127 - q.zero_point, 128 + q.zero_point) * 128
        step = float(np.float32(q.scale)) * float(np.float32(k.scale)) * self.scale
        mask = self._mask(where, inputs)
        terms, codes = _terms(mask if sizes["masks"] else None, step)
        numerics.check_accumulator(where, np.array([bound * 2**31 // FARTHEST]))
        bits = min(WEIGHT, SUM - (keys - 1).bit_length())
        if bits < 8:
            raise EdgeqError(f"attention to {keys} keys could overflow", where=where, why=f"at most {2 ** (SUM - 8)} in int8")
        limit, rate, rate_shift = _logarithm(step)
        parts = np.ldexp(reals.exp(-reals.LN2 * np.arange(1 << PART) / (1 << PART)), bits)
        weights = np.minimum(np.rint(parts), 2**bits - 1).astype(np.uint16)
        multiplier, shift = _factor(where, float(np.float32(v.scale)) / float(np.float32(output.scale)))
        scalars = {
            **sizes, "q_zero": q.zero_point, "v_zero": v.zero_point, "out_offset": output.zero_point, "limit": limit, "rate": rate,
            "rate_shift": rate_shift, "multiplier": multiplier, "shift": shift,
        }  # fmt: skip
        masks = {"terms": terms, "codes": codes} if sizes["masks"] else {}
        return Params(law, scalars, {"weights": weights, **masks})

    def _heads(self, params: Params, *x: Array) -> tuple[Array, ...]:
        """q, k and v as ``[V, B, H, rows, D or E]``."""
        q, k, v = (a.swapaxes(-3, -2) for a in x[:3])
        return (q, *(np.repeat(a, params.share, axis=-3) for a in (k, v)))

    def _excluded(self, params: Params) -> Array:
        """bool ``[T, S]``: what `causal` excludes."""
        seen = _seen(params.queries, params.keys)
        return ~seen if params.causal else np.zeros_like(seen)

    def _given(self, params: Params, mask: Array) -> Array:
        """What a computed mask ``[V, ...]`` adds to integer scores."""
        raise NotImplementedError

    def reference(self, params: Params, *x: Array) -> Array:
        q, k, v = self._heads(params, *(a.astype(np.int64) for a in x[:3]))
        scores = exact_matmul(q - params.q_zero, k.swapaxes(-1, -2), params.depth * 255.0 * 128.0)
        if params.masks:
            scores = scores + params.terms.astype(np.int64)[params.codes]
        if len(x) > 3:
            scores = scores + self._given(params, x[3])
        scores = np.where(self._excluded(params), EXCLUDED * 2, scores)
        largest = scores.max(-1, keepdims=True)
        below = largest - scores
        t = (np.minimum(below, params.limit) * params.rate) >> params.rate_shift
        weights = np.where(below < params.limit, params.weights.astype(np.int64)[t & 255] >> (t >> PART), 0)
        total = weights.sum(-1, keepdims=True)
        sums = exact_matmul(weights, v, 2.0**30) - params.v_zero * total
        zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
        reciprocal = (np.int64(2**32) - 1) // ((total << zeros) >> 15)
        factor = np.where(largest < EXCLUDED // 2, 0, (params.multiplier * reciprocal) >> 16)
        y = numerics.requantize_single(sums, factor, params.shift + zeros - 31) + params.out_offset
        return np.asarray(np.clip(y, -128, 127).swapaxes(-3, -2), np.int8)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        mask = self._mask(where, inputs)
        tables = {"scale": np.array([self.scale], np.float32)}
        sizes = self._sizes(inputs)
        if sizes["masks"]:
            tables["mask"] = half.from_float(np.asarray(mask, np.float32))
        return half_params(sizes, tables)

    def reference_half(self, params: Params, *x: Array) -> Array:
        q, k, v = self._heads(params, *x[:3])
        masks = [half.to_float(params.mask)] if params.masks else []
        masks += [half.to_float(a) for a in x[3:]]
        if not params.causal:
            return np.ascontiguousarray(_half_rows(params, q, k, v, masks).swapaxes(-3, -2))
        rows = []
        for t in range(params.queries):
            keys = slice(t + params.keys - params.queries + 1)
            own = [m[..., (t if m.shape[-2] > 1 else 0), None, keys] for m in masks]
            rows.append(_half_rows(params, q[..., t : t + 1, :], k[..., keys, :], v[..., keys, :], own))
        return np.ascontiguousarray(np.concatenate(rows, -2).swapaxes(-3, -2))


@dataclass(frozen=True)
class CachedAttention(Attention):
    """Attention of one query per head to the first keys of a cache: q ``[B, 1, H, D]``, k ``[B, S, G, D]``, v ``[B, S, G, E]``, and a
    number n, int32 of one element: it sees n (0 to S) plus `ahead` keys, at least 1 and at most S. As `Attention` else.
    """

    traits: ClassVar[Traits] = Traits("dense", indices=(3,))
    parameters: ClassVar[tuple[int, ...]] = ()

    ahead: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        if len(types) != 4 or types[3].size != 1 or types[0].shape[1:2] != (1,) or self.causal:
            raise EdgeqError(f"attention to a cache is of one query, not of {types[0]}, and wants one number of keys")
        return super().infer(*types[:3])

    def real(self, *x: Array) -> Array:
        rows = [super(CachedAttention, self).real(q[None], k[None, :, :n], v[None, :, :n]) for q, k, v, n in self._vectors(*x)]
        return np.concatenate(rows)

    def _vectors(self, *x: Array) -> Iterator[tuple[Array, Array, Array, int]]:
        """Per vector its query, the cache and how many keys it sees."""
        count = max(len(a) for a in x)
        q, k, v, n = (np.broadcast_to(a, (count, *a.shape[1:])) for a in x)
        keys = k.shape[-3]
        seen = np.clip(np.clip(n.reshape(count, -1)[:, 0], 0, keys).astype(np.int64) + self.ahead, 1, keys)
        return zip(q, k, v, seen.tolist(), strict=True)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return self._counted(where, super().bind(law, where, inputs[:3], output), inputs[3])

    def _counted(self, where: str, params: Params, number: Tensor) -> Params:
        if number.type.dtype is not DType.INT32:
            raise EdgeqError(f"a number of keys is int32, not {number.type}", where=where)
        return replace(params, scalars={**params.scalars, "ahead": self.ahead})

    def reference(self, params: Params, *x: Array) -> Array:
        return self._by_vector(super().reference, params, *x)

    def _by_vector(self, compute: Callable[..., Array], params: Params, *x: Array) -> Array:
        rows = []
        for q, k, v, n in self._vectors(*x):
            own = replace(params, scalars={**params.scalars, "keys": n})
            rows.append(compute(own, q[None], k[None, :, :n], v[None, :, :n]))
        return np.concatenate(rows)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return self._counted(where, super().bind_half(where, inputs[:3], output), inputs[3])

    def reference_half(self, params: Params, *x: Array) -> Array:
        return self._by_vector(super().reference_half, params, *x)


def _seen(queries: int, keys: int) -> Array:
    """bool ``[T, S]``: the keys up to a query's own place, the last query's being the last key."""
    return np.asarray(np.tri(queries, keys, keys - queries, dtype=bool))


def _half_rows(params: Params, q: Array, k: Array, v: Array, masks: list[Array]) -> Array:
    """Attention of queries ``[..., T, D]`` to all keys on halves ``[..., T, E]``, masks added in turn.

    It is 0 for a query that a computed mask leaves no key.
    """
    with np.errstate(all="ignore"):
        scores = half.products(q, k.swapaxes(-1, -2)) * params.scale[0]
        for mask in masks:
            scores = scores + mask
        scores = half.from_float(scores)
        largest = half.to_float(half.of_order(half.order(scores).max(-1, keepdims=True)))
        e = floats.exp(floats.number(half.to_float(scores) - largest))
        weights = half.from_float(e * (np.float32(1) / half.running_sum(e)[..., None]))
        if len(masks) > bool(params.masks):
            weights = np.where(largest < MASKED, half.from_float(np.zeros(1, np.float32)), weights)
        return half.from_float(half.products(weights, v))


def _terms(mask: Array | None, step: float) -> tuple[Array, Array]:
    """What a mask adds to integer scores of a step: int32 terms ``[N]``, of which the first excludes, and uint8 codes like the mask."""
    if mask is None:
        return np.array([EXCLUDED], np.int32), np.zeros(0, np.uint8)
    counted = np.isfinite(mask)
    values = np.unique(mask[counted])
    if len(values) > 255:
        values = np.linspace(values[0], values[-1], 255)
    nearest = np.abs(mask[counted][:, None] - values).argmin(1) + 1
    codes = np.zeros(mask.shape, np.uint8)
    codes[counted] = nearest
    terms = np.rint(np.clip(values / step, -FARTHEST, FARTHEST)).astype(np.int32)
    return np.concatenate([np.array([EXCLUDED], np.int32), terms]), codes


def _logarithm(step: float) -> tuple[int, int, int]:
    """From a distance of scores, below a limit, to 2^-8 of its binary logarithm's: limit, rate, shift; products fit uint32."""
    rate = step / reals.LN2 * (1 << PART)
    limit = max(1, min(math.ceil(((WEIGHT + 1) << PART) / rate), 2**28)) if rate > 0 else 2**28
    shift = max(0, min(31, math.frexp(2.0**31 / (rate * limit))[1] - 1)) if rate > 0 else 0
    return limit, min(round(math.ldexp(rate, shift)), 2**31 // limit), shift


def _factor(where: str, ratio: float) -> tuple[int, int]:
    """`ratio` as ``multiplier * 2^(shift - 31)``.

    Raises:
        EdgeqError: the output's steps are too fine.
    """
    shift = max(math.frexp(ratio)[1], -7)
    multiplier = round(math.ldexp(ratio, 31 - shift))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if shift > 5:
        raise EdgeqError(f"the values' scale is {ratio:g} times the output's", where=where, fix="check the scales")
    return multiplier, shift
