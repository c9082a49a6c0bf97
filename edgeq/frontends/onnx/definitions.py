"""Operators of onnxruntime's own domain, defined by operators of the standard for the shapes at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import FunctionProto, NodeProto, helper, numpy_helper

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import DAMAGED
from edgeq.frontends.onnx.values import Constant, Index
from edgeq.ir import Array

VERSION = 24  # of the operators that the definitions are written in
ONE_LENGTH = "give a batch of 1, or sequences of one length"


class Body:
    """Nodes one by one; every method returns the name of what it computes. Inputs of the operator are ``i0``, ``i1`` and so on."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.nodes: list[NodeProto] = []

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def split(self, x: str, sizes: tuple[int, ...], axis: int) -> list[str]:
        names = [f"part{len(self.nodes)}_{i}" for i in range(len(sizes))]
        self.nodes.append(helper.make_node("Split", [x, self.constant(sizes, np.int64)], names, name=f"{names[0]}s", axis=axis))
        return names

    def constant(self, values: ArrayLike, dtype: Any = np.float32) -> str:
        return self.op("Constant", value=numpy_helper.from_array(np.asarray(values, dtype)))

    def reshape(self, x: str, *shape: int) -> str:
        return self.op("Reshape", x, self.constant(shape, np.int64))

    def given(self, position: int) -> str:
        """An input's name; empty where it is left out."""
        return f"i{position}" if self.call.value(position) is not None else ""

    def shape(self, position: int) -> tuple[int, ...]:
        value = self.call.required(position)
        return value.array.shape if isinstance(value, Constant) else value.type.shape

    def function(self, *outputs: str) -> FunctionProto:
        inputs = [f"i{k}" for k in range(len(self.call.values))]
        opsets = [helper.make_opsetid("", VERSION)]
        return helper.make_function("", self.call.kind, inputs, list(outputs), self.nodes, opsets)


def definition(call: Call) -> FunctionProto | None:
    """What defines an operator of onnxruntime's domain; None for one that has none here.

    Raises:
        EdgeqError: not in this form.
    """
    define = DEFINITIONS.get(call.kind)
    if define is None:
        return None
    body = define(call, Body(call))
    unread = {a.name for a in call.node.attribute} - call.read
    if unread:
        raise EdgeqError(f"{call.kind} with attribute '{min(unread)}' is not supported")
    return body


def _turned(call: Call, body: Body, x: str, places: str) -> str:
    """``[B, H, T, D]`` turned by the angles of its places."""
    depth = 2 * body.shape(7)[1]
    return body.op("RotaryEmbedding", x, "i7", "i8", places, rotary_embedding_dim=depth, interleaved=call.integer("rotary_interleaved", 0))


def _lengths(call: Call) -> int | None:
    """The place of the last key, the same of every item of a batch; None where it is an input, read as an index.

    Raises:
        EdgeqError: neither.
    """
    value = call.required(5)
    if isinstance(value, Index):
        return None
    if not isinstance(value, Constant):
        fix = "make it an input of its own ([1], int32), or bind what decides it to a value (--const NAME=VALUE)"
        raise EdgeqError(f"{call.kind} with computed lengths is not supported", fix=fix)
    ends = value.array.ravel()
    if ends.size == 0 or (ends != ends[0]).any() or ends[0] < 0:
        raise EdgeqError(f"{call.kind} with lengths that differ is not supported", fix=ONE_LENGTH)
    return int(ends[0])


def _seen(places: Array, keys: int, window: int) -> Array:
    """bool ``[T, S]``: keys up to a query's own place, at most so many."""
    distance = places[:, None] - np.arange(keys)
    return (distance >= 0) & ((distance < window) if window > 0 else True)


def group_query_attention(call: Call, body: Body) -> FunctionProto:
    """Several heads of queries for each of the keys; rotary embeddings; caches ``[B, G, P, D]`` that grow, or are written at a place."""
    heads, groups = call.integer("num_heads", 0), call.integer("kv_num_heads", 0)
    if heads < 1 or groups < 1 or len(body.shape(0)) != 3:
        raise EdgeqError(f"{call.kind} of {heads} and {groups} heads does not fit its input", why=DAMAGED)
    batch, rows, width = body.shape(0)
    packed = call.value(1) is None
    depth = width // (heads + 2 * groups if packed else heads)
    for name, without in (("smooth_softmax", (0, -1)), ("qk_output", (0,)), ("kv_cache_bit_width", (0,))):
        if call.integer(name, 0) not in without:
            raise EdgeqError(f"{call.kind} with {name} is not supported", fix="export the model without it")
    if any(call.value(i) is not None for i in range(9, len(call.values))):
        raise EdgeqError(f"{call.kind} with places, a bias of the scores or sinks is not supported", fix="export the model without them")
    names = body.split("i0", tuple(n * depth for n in (heads, groups, groups)), 2) if packed else ["i0", "i1", "i2"]
    q, k, v = (
        body.op("Transpose", body.reshape(name, batch, rows, count, depth), perm=[0, 2, 1, 3])
        for name, count in zip(names, (heads, groups, groups), strict=True)
    )
    end, window = _lengths(call), call.integer("local_window_size", -1)
    options: dict[str, Any] = {n: value for n in ("scale", "softcap") if (value := call.number(n, 0.0))}
    past = body.shape(3)[2] if call.value(3) is not None else 0
    start = 0 if end is None else end + 1 - rows
    places = start + np.arange(rows)
    if start < 0 or start > past:
        raise EdgeqError(f"{call.kind} of {rows} rows that end at {end}, with {past} before them, does not fit", why=DAMAGED)
    if call.integer("do_rotary", 0):
        at = "i5" if end is None else body.constant(np.broadcast_to(places, (batch, rows)), np.int64)
        q, k = (_turned(call, body, x, at) for x in (q, k))
    call.integer("rotary_interleaved", 0)
    if end is None:
        if rows != 1 or window > 0 or options.get("softcap") or not past:
            fix = "export it for one token at a time, with caches of a fixed length and no local window"
            raise EdgeqError(f"{call.kind} with a computed length is not supported in this form", fix=fix)
        caches = [body.op("TensorScatter", f"i{i}", new, "i5", axis=2) for i, new in ((3, k), (4, v))]
        keys = body.op("Add", "i5", body.constant([1], np.int64))
        y = body.op("Attention", q, *caches, "", "", "", keys, **options)
    else:
        caches = [_joined(body, i, new, start, past) for i, new in ((3, k), (4, v))]
        used = [body.op("Slice", c, *(body.constant([n], np.int64) for n in (0, end + 1, 2))) if past > end + 1 else c for c in caches]
        seen = _seen(places, end + 1, window)
        y = body.op("Attention", q, *used, *([] if seen.all() else [body.constant(seen, np.bool_)]), **options)
    flat = body.reshape(body.op("Transpose", y, perm=[0, 2, 1, 3]), batch, rows, heads * depth)
    return body.function(flat, *caches)


def _joined(body: Body, position: int, new: str, start: int, past: int) -> str:
    """A cache with new rows from a known place on; longer where they do not fit in."""
    if not past:
        return new

    def rows(first: int, last: int) -> str:
        return body.op("Slice", f"i{position}", *(body.constant([n], np.int64) for n in (first, last, 2)))

    end = start + body.call.x(0).type.shape[1]
    parts = [rows(0, start)] if start else []
    return body.op("Concat", *parts, new, *([rows(end, past)] if end < past else []), axis=2)


def rotary(call: Call, body: Body) -> FunctionProto:
    """Places of their own ``[B, T]``, or one that the rows start at; heads of the tables' width where their number is not given."""
    shape, index = body.shape(0), call.required(1)
    scale, packed = call.number("scale", 1.0), call.integer("is_packed_batching", 0)
    heads, depth = call.integer("num_heads", 0), call.integer("rotary_embedding_dim", 0)
    if scale != 1 or packed or len(shape) not in (3, 4):
        raise EdgeqError(f"{call.kind} with a scale or packed batches is not supported", fix="export the model without it")
    batch, rows = shape[0], shape[-2]
    places = "i1"
    if isinstance(index, Constant):
        first = index.array.astype(np.int64)
        places = body.constant(np.broadcast_to(first + np.arange(rows) if first.size == 1 else first, (batch, rows)), np.int64)
    elif body.shape(1) != (batch, rows) and (batch, rows) != (1, 1):
        raise EdgeqError(f"{call.kind} from a computed place on is not supported", fix="give it one row at a time")
    options: dict[str, Any] = {"rotary_embedding_dim": depth or 2 * body.shape(2)[1], "interleaved": call.integer("interleaved", 0)}
    if len(shape) == 3:
        options["num_heads"] = heads or shape[2] // (2 * body.shape(2)[1])
    return body.function(body.op("RotaryEmbedding", "i0", "i2", "i3", places, **options))


def embedding(call: Call, body: Body) -> FunctionProto:
    """The sum of the rows of words, places and segments, normalized; second output: how many words count."""
    batch, rows = body.shape(0)
    kind = call.integer("mask_index_type", 1)
    if kind not in (0, 1):
        raise EdgeqError(f"{call.kind} with a mask of type {kind} is not supported")
    total = body.op("Gather", "i2", "i0")
    places = "i8" if body.given(8) else body.constant(np.broadcast_to(np.arange(rows), (batch, rows)), np.int64)
    total = body.op("Add", total, body.op("Gather", "i3", places))
    if body.given(1):
        total = body.op("Add", total, body.op("Gather", "i4", "i1"))
    y = body.op("LayerNormalization", total, "i5", "i6", axis=-1, epsilon=call.number("epsilon", 1e-12))
    counted = body.constant(np.zeros(batch), np.int32)
    if body.given(7):
        counted = body.op("ReduceSum", "i7", body.constant([1], np.int64), keepdims=0)
    return body.function(y, counted, total)


DEFINITIONS: dict[str, Callable[[Call, Body], FunctionProto]] = {
    "GroupQueryAttention": group_query_attention,
    "RotaryEmbedding": rotary,
    "EmbedLayerNormalization": embedding,
}
