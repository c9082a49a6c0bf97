"""What the recurrent layers share: shapes, the walk along time, integer pre-activations of gates.

Weights have one row per gate and unit, gate after gate: W ``[G H, I]`` for the inputs, R ``[G H, H]`` for the state,
each with one scale per row or one for all. Kernels take the rows unit after unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from edgeq import half, numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, QParams, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import law_of
from edgeq.ops.linear import NO_CLAMP, exact_matmul, output_stage, rescaled, rescaling
from edgeq.ops.traits import Traits

GATE = TensorType((1,), DType.INT16, QParams((2.0**-12,)))  # of a pre-activation: Q3.12
INT16_MIN, INT16_MAX = -32768, 32767
UNIT = 2.0**-15  # the scale of h in int16
LAST = 2  # rows that are kept where the last step alone is read: that before it is its state
WIDE = 16  # fraction bits of a cell state in int32


@dataclass(frozen=True)
class _Recurrent(Op):
    """x ``[T, I]``, weights, biases, state ``[1, H]`` -> y ``[T, H]``. `reverse`: time runs from the last row to the first.

    `last`: of y the rows of the last two steps alone, ``[2, H]`` in the order of x; of more than two steps.
    """

    traits: ClassVar[Traits] = Traits("recurrent", narrow=True, words=True)

    reverse: bool = False
    last: bool = field(default=False, kw_only=True)

    gates: ClassVar[int]
    biases: ClassVar[int]

    def infer(self, *types: TensorType) -> TensorType:
        x, w, r, *rest = types
        biases, states = rest[: self.biases], rest[self.biases :]
        units = states[0].shape[-1] if states[0].shape else 0
        rows = self.gates * units
        if len(x.shape) != 2 or w.shape != (rows, x.shape[-1]) or r.shape != (rows, units):
            raise EdgeqError(f"weights {w} and {r} do not fit input {x} and state {states[0]}", why=f"{self.gates} gates")
        if any(b.shape != (rows,) for b in biases) or any(s.shape != (1, units) for s in states):
            raise EdgeqError(f"biases or states do not fit {units} units", why=", ".join(map(str, rest)))
        if self.last and x.shape[0] <= LAST:
            raise EdgeqError(f"the last {LAST} rows of {x.shape[0]}", why="there are no others")
        return replace(x, shape=(LAST if self.last else x.shape[0], units))

    def macs(self, *types: TensorType) -> int:
        return types[0].shape[0] * (types[1].size + types[2].size)

    def order(self, steps: int) -> range:
        """Rows of x in the order of time."""
        return range(steps - 1, -1, -1) if self.reverse else range(steps)

    def kept(self, steps: int) -> range:
        """Rows of x whose results y holds."""
        return range(steps) if not self.last else range(LAST) if self.reverse else range(steps - LAST, steps)

    def row(self, t: int, steps: int) -> int:
        """Where in y the state after row t of x lies, as long as the next step needs it."""
        return t if not self.last else t % LAST if self.reverse else (steps - t) % LAST

    def walk(self, x: Array, state: tuple[Array, ...], step: Callable[..., tuple[Array, ...]], *sums: Array) -> tuple[Array, ...]:
        """Run `step(*sums at t, *state) -> state` along time.

        Args:
            x: ``[V, T, I]``, for its shape.
            state: h first, each ``[V, 1, H]`` or ``[1, H]``.
            sums: ``[V, T, ...]``: what is known of the inputs beforehand.

        Returns:
            y ``[V, T, H]``, or its last rows, then the last state ``[V, 1, H]`` but for h.
        """
        vectors, steps = x.shape[:2]
        now = tuple(np.broadcast_to(s.reshape(-1, s.shape[-1]), (vectors, s.shape[-1])) for s in state)
        rows: dict[int, Array] = {}
        for t in self.order(steps):
            now = step(*(s[:, t] for s in sums), *now)
            rows[t] = now[0]
        return np.stack([rows[t] for t in self.kept(steps)], axis=1), *(s[:, None] for s in now[1:])

    def shape_scalars(self, x: TensorType, units: int) -> dict[str, int]:
        return {"steps": x.shape[0], "in_c": x.shape[1], "units": units, "reverse": int(self.reverse), "last": int(self.last)}


def unit_major(rows: Array, gates: int) -> Array:
    """Rows gate after gate -> unit after unit."""
    return np.ascontiguousarray(rows.reshape(gates, -1, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape))


def half_constants(
    where: str, weights: dict[str, Tensor], biases: dict[str, Array], scalars: dict[str, int], accumulate: str,
    order: Array | slice = slice(None),
) -> Params:  # fmt: skip
    """The constants of a layer on halves, rows in the kernels' order: biases as `half.starts`, weights as halves or int8.

    Of weights in int8 there is a table ``<part>_scale``; those of h may be int8 where those of x are.

    Raises:
        EdgeqError: weights are neither.
    """
    tables: dict[str, Array] = {}
    narrow = {n: t.type.dtype is DType.INT8 and t.type.q is not None for n, t in weights.items()}
    law = law_of(accumulate)
    for n, t in weights.items():
        known = t.type.dtype is DType.FLOAT16 or (narrow[n] and law == half.LAW)
        if t.data is None or not known or (narrow["h"] and not narrow["x"]):
            why = "constant halves, or constant int8 with scales, first of x, are expected"
            raise EdgeqError(f"weights of {n} in a layer on halves are {t.type}", where=where, why=why)
        tables[f"{n}_weights"] = t.data[order]
        if narrow[n] and t.type.q is not None:
            tables[f"{n}_scale"] = np.broadcast_to(np.asarray(t.type.q.scale, np.float32), len(t.data))[order]
    tables |= {f"{n}_bias": half.starts(where, law, b)[order if n == "x" else slice(None)] for n, b in biases.items()}
    if narrow["x"]:
        scalars = {**scalars, "h_int8": int(narrow["h"])}
    return Params(law, scalars, tables)


def half_sums(params: Params, part: str, x: Array, start: Array, rows: slice = slice(None)) -> Array:
    """`start` plus products of halves ``x [..., K]`` with some rows of weights, in order: float32, or halves of the law `half.SUMS`.

    With int8 weights the products, exact in float32, are summed from 0; the sum times the row's scale, rounded, is added.
    """
    key = part, rows.start, rows.stop
    w = params.derived(key, lambda: np.ascontiguousarray(params.tables[f"{part}_weights"][rows].T, np.float32))
    scale = params.tables.get(f"{part}_scale")
    if scale is None:
        return half.summed(params.law, x, w, start)
    with np.errstate(all="ignore"):
        return np.asarray(start + half.products(x, w) * scale[rows], np.float32)


def require_types(where: str, op: Op, x: TensorType, h: TensorType, output: TensorType, *constants: Tensor) -> None:
    """Refuse types that the integer meaning does not know.

    Raises:
        EdgeqError: x, h or y are not int8 or int16, h and y differ in scale, or weights and biases are not int8 and int32 constants.
    """
    if words.is_words(x):
        words.require_int16(where, op, x, h, output)
    else:
        require_int8(where, op, x, h, output)
    if h.q != output.q:
        raise EdgeqError("the state h must have one scale before and after the layer", where=where, why=f"{h.q} and {output.q}")
    for t in constants:
        if t.data is None or t.type.dtype not in (DType.INT8, DType.INT32):
            raise EdgeqError(f"{op.kind()} wants constant int8 weights and int32 biases, not {t.type}", where=where)


def products(law: str, where: str, part: str, x: TensorType, w: Tensor, bias: Tensor | None, order: Array) -> Params:
    """The constants of one product's pre-activations: tables ``<part>_weights`` and so on, scalar ``<part>_left``.

    Args:
        w: int8 ``[rows, K]``.
        bias: int32 ``[rows]`` in the scale of the product, or None.
        order: the order in which kernels take the rows.
    """
    assert w.data is not None and w.type.q is not None
    rows = len(w.data)
    b = bias or Tensor("", TensorType((rows,), DType.INT32), np.zeros(rows, np.int32))
    if words.is_words(x):
        assert b.data is not None
        own = words.stage(where, x, w, b.data, GATE.scale)
        tables = {"weights": w.data, **own.tables}
        return Params(law, {f"{part}_wide": own.wide}, {f"{part}_{n}": t[order] for n, t in tables.items()})
    wide = w.data.astype(np.int64)
    stage = output_stage(law, where, x, w, b, GATE, NO_CLAMP, np.stack([wide.sum(1), np.abs(wide).sum(1)], axis=1))
    tables = {"weights": w.data, **stage.tables}
    return Params(law, {f"{part}_left": stage.left}, {f"{part}_{n}": t[order] for n, t in tables.items()})


def joined(*parts: Params) -> Params:
    """The constants of both products."""
    scalars = {name: value for p in parts for name, value in p.scalars.items()}
    return Params(parts[0].law, scalars, {name: table for p in parts for name, table in p.tables.items()})


def pre_activations(params: Params, part: str, x: Array, rows: slice = slice(None)) -> Array:
    """Q3.12 sums ``[..., rows]`` of int8 or int16 ``x [..., K]``, saturated to int16; int64."""
    w, bias, multiplier, shift = (getattr(params, f"{part}_{n}")[rows] for n in ("weights", "bias", "multiplier", "shift"))
    wide = f"{part}_wide" in params.scalars
    columns = params.derived((part, rows.start, rows.stop), lambda: np.ascontiguousarray(w.T, np.float64 if wide else np.float32))
    if wide:
        return words.results(x, columns.T, bias, multiplier, shift)
    sums = exact_matmul(x, columns, float(w.shape[1]) * 128 * 128) + bias
    limits = {"left": getattr(params, f"{part}_left"), "out_offset": 0, "act_min": INT16_MIN, "act_max": INT16_MAX}
    return rescaled(Params(params.law, limits), sums, multiplier, shift)


def saturate(x: Array) -> Array:
    return np.asarray(np.clip(x, INT16_MIN, INT16_MAX))


def from_q30(law: str, where: str, output: TensorType, *, scaled: bool = False, whole: int = 0) -> dict[str, int]:
    """Scalars that requantize a Q0.30 product below 1 to h: ``out_multiplier``, ``out_shift``, ``out_left``, offset and limits.

    In int16 h is Q0.15, and there are none, unless it is `scaled`: then it has any scale. With `whole` bits before the point the product
    is that many powers of two larger, and so is h in int16.

    Raises:
        EdgeqError: h is int16 of another scale than 2^-15, and not scaled.
    """
    if words.is_words(output) and not scaled:
        if output.scale != UNIT * 2.0**whole:
            raise EdgeqError(f"the state h in int16 must have the scale 2^{whole - 15}", where=where, why=str(output.q))
        return {}
    multiplier, shift = numerics.quantize_multipliers(np.array([2.0 ** (whole - 30) / np.float64(np.float32(output.scale))]))
    stage = rescaling(law, where, multiplier, shift, output, NO_CLAMP, 2**30 - 1)
    named = {"out_left": stage.left, "out_multiplier": int(stage.multiplier[0]), "out_shift": int(stage.shift[0])}
    return {**named, **{n: stage.scalars[n] for n in ("out_offset", "act_min", "act_max")}}


def to_state(params: Params, product: Array) -> Array:
    """Q0.30 -> h, int8 or int16."""
    if "out_left" not in params.scalars:
        return ((product + (1 << 14)) >> 15).astype(np.int16)
    limits = {"left": params.out_left, **{n: params.scalars[n] for n in ("out_offset", "act_min", "act_max")}}
    dtype = np.int8 if params.act_max <= 127 else np.int16
    return rescaled(Params(params.law, limits), product, params.out_multiplier, params.out_shift).astype(dtype)


def whole_bits(h: TensorType) -> int:
    """Bits before the point of a GRU's state: 0 where its type ends at ±1, more where the first state may lie beyond that.

    An end that lies beyond by one step is none.
    """
    assert h.q is not None
    info = np.iinfo(h.dtype.numpy)
    steps = max(int(info.max) - h.zero_point, h.zero_point - int(info.min)) - 1
    mantissa, exponent = math.frexp(steps * h.scale)
    return max(0, exponent - (mantissa == 0.5))


def fraction_bits(where: str, t: TensorType) -> int:
    """n of a cell state in int16 with scale 2^-n, or in int32 with scale 2^-16.

    Raises:
        EdgeqError: it is stored otherwise.
    """
    if t.dtype is DType.INT16 and t.q is not None and len(t.q.scale) == 1 and t.q.zero_point == 0:
        mantissa, exponent = math.frexp(t.scale)
        if mantissa == 0.5 and 0 <= 1 - exponent <= 15:
            return 1 - exponent
    if t.dtype is DType.INT32 and t.q == QParams((2.0**-WIDE,)):
        return WIDE
    raise EdgeqError(
        "the cell state must be int16 with a scale of 2^-15 to 1, or int32 with 2^-16, zero point 0", where=where, why=f"{t} {t.q}"
    )
