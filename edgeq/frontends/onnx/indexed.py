"""What a language model does with a token and its place, both inputs: an embedding, rotary embeddings, caches and attention to them.

An integer input that nothing else reads stays an integer (`Index`); of the others indices become one-hot products.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

import numpy as np
from onnx import ModelProto, NodeProto

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.values import Constant, Index
from edgeq.ir import Tensor
from edgeq.ops.attention import CachedAttention
from edgeq.ops.cache_write import CacheWrite
from edgeq.ops.lookup import Lookup
from edgeq.ops.rotary import Rotary
from edgeq.ops.sample import Sample

PLACES = {
    ("Gather", 1), ("GatherBlockQuantized", 1), ("RotaryEmbedding", 3), ("TensorScatter", 2), ("Attention", 6), ("GroupQueryAttention", 5),
    ("Sample", 1),
}  # fmt: skip
BY_DEFINITION = ("RotaryEmbedding", "Attention")  # read by their definitions where they have no such input


def is_index(model: ModelProto, name: str, known: Container[str]) -> bool:
    """Whether all that a model does with an integer input is to take it for an index.

    Args:
        known: names of constants.
    """
    readers = [(n, i) for n in model.graph.node for i, read in enumerate(n.input) if read == name]
    return bool(readers) and all(_as_index(model, node, i, known) for node, i in readers)


def _as_index(model: ModelProto, node: NodeProto, position: int, known: Container[str]) -> bool:
    if node.op_type == "Add":
        others = [n for i, n in enumerate(node.input) if i != position]
        after = [(n.op_type, i) for n in model.graph.node for i, read in enumerate(n.input) if read == node.output[0]]
        return all(n in known for n in others) and bool(after) and all(place == ("Attention", 6) for place in after)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    return (node.op_type, position) in PLACES and (node.op_type != "Gather" or (node.input[0] in known and axis == 0))


def by_index(call: Call) -> bool:
    """Whether an operator of `BY_DEFINITION` has a reader here: an index tells the places of its rows, or the keys of its only query.

    Raises:
        EdgeqError: neither that nor its definition computes it.
    """
    index = next((v for v in call.values if isinstance(v, Index)), None)
    if index is None or call.kind != "Attention":
        return index is not None
    plain = all(call.value(i) is None for i in (3, 4, 5)) and not call.integer("is_causal", 0) and not call.number("softcap", 0.0)
    if plain and call.x(0).type.shape[-2] == 1 and index.type.size == 1:
        return True
    if index.ahead:
        raise EdgeqError("attention of several queries to a computed number of keys is not supported", fix="give it one query at a time")
    return False


def shifted(call: Call) -> Index:
    """The sum of an index and a known number."""
    index = next(v for v in call.values if isinstance(v, Index))
    number = next((v for v in call.values if isinstance(v, Constant)), None)
    if number is None or number.array.size != 1 or abs(int(number.array.ravel()[0])) > 2**16:
        raise EdgeqError("the sum of an index and something else than one small number is not supported")
    return replace(index, ahead=index.ahead + int(number.array.ravel()[0]))


def looked_up(call: Call, index: Index) -> Tensor:
    """Rows of a constant by an index."""
    source = call.required(0)
    assert isinstance(source, Constant)
    call.axis(0, source.array.ndim)
    rows = len(source.array)
    table = call.builder.constant(f"{source.name}.rows", source.array.reshape(rows, -1).astype(np.float32))
    found = call.emit(Lookup(), index, table, tag="rows" if source.array.ndim != 2 else "")
    return call.reshape(found, (*index.type.shape, *source.array.shape[1:]), "shape")


def _one(call: Call, index: Index) -> Index:
    if index.type.size != 1:
        raise EdgeqError(f"{call.kind} with more than one index is not supported", why=f"{index.type}", fix="give a batch of 1")
    return index


def written(call: Call, index: Index) -> Tensor:
    """A cache with new rows from an index on."""
    cache, rows = call.x(0), call.x(1)
    axis = call.axis(-2, len(cache.type.shape))
    ring = call.choice("mode", "linear", ("linear", "circular")) == "circular"
    return call.emit(CacheWrite(axis, ring), cache, rows, _one(call, index))


def _heads(call: Call, x: Tensor, count: int, tag: str) -> Tensor:
    """``[B, H, T, D]``, or ``[B, T, H D]`` of so many heads, as ``[B, T, H, D]``."""
    shape = x.type.shape
    if len(shape) == 4:
        return call.transpose(x, (0, 2, 1, 3), tag)
    if len(shape) != 3 or count < 1 or shape[2] % count:
        raise EdgeqError(f"{call.kind} of {x.type} with {count} heads does not fit")
    return call.reshape(x, (*shape[:2], count, shape[2] // count), tag)


def _as_given(call: Call, y: Tensor, like: Tensor) -> Tensor:
    shape = y.type.shape
    if len(like.type.shape) == 4:
        return call.transpose(y, (0, 2, 1, 3), "heads")
    return call.reshape(y, (*shape[:2], shape[2] * shape[3]), "flat")


@reads("RotaryEmbedding")
def rotary(call: Call) -> Tensor:
    x, index = call.x(0), call.required(3)
    cosines, sines = call.data(1, "the cosines"), call.data(2, "the sines")
    assert isinstance(index, Index) and cosines is not None and sines is not None
    call.integer("rotary_embedding_dim", 0)  # twice the width of the tables
    op = Rotary(bool(call.integer("interleaved", 0)))
    tables = [call.builder.constant(f"{call.output}.{n}", t) for n, t in (("cosines", cosines), ("sines", sines))]
    return _as_given(call, call.emit(op, _heads(call, x, call.integer("num_heads", 0), "split"), index, *tables, tag="turned"), x)


@reads("Attention")
def attention(call: Call) -> Tensor:
    index = call.required(6)
    assert isinstance(index, Index)
    call.integer("softmax_precision", 1)
    call.integer("qk_matmul_output_mode", 0)
    counts = call.integer("q_num_heads", 0), *[call.integer("kv_num_heads", 0)] * 2
    q, k, v = (_heads(call, call.x(i), n, f"{t}_heads") for i, (n, t) in enumerate(zip(counts, "qkv", strict=True)))
    scale = call.number("scale", q.type.shape[3] ** -0.5)
    y = call.emit(CachedAttention(scale, False, index.ahead), q, k, v, _one(call, index), tag="attention")
    return _as_given(call, y, call.x(0))


@reads("Sample", domain="edgeq")
def sample(call: Call) -> Tensor:
    """One of the ``top`` largest scores of each row ``[..., N]`` by chance, at a ``temperature``; chance is a number, an integer input."""
    scores, number = call.x(0), call.required(1)
    if not isinstance(number, Index):
        raise EdgeqError("Sample wants an integer input as its number, which nothing computes")
    return call.emit(Sample(call.integer("top", 1), call.number("temperature", 1.0)), scores, _one(call, number))
