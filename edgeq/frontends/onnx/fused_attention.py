"""onnxruntime's fused attention: `Attention` and `MultiHeadAttention` of its own domain, as its optimizer writes them."""

from __future__ import annotations

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import dynamic, linear, quantized
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import DAMAGED
from edgeq.frontends.onnx.linear import scalar
from edgeq.frontends.onnx.logic import binary
from edgeq.frontends.onnx.movement import part
from edgeq.frontends.onnx.registry import MICROSOFT, Result, reads
from edgeq.frontends.onnx.values import Constant, Unscaled, Value
from edgeq.ir import Tensor
from edgeq.ops.add import Add, Sub
from edgeq.ops.attention import FAR, Attention
from edgeq.ops.concat import Concat
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.logic import IsZero, Step
from edgeq.ops.masked_attention import MaskedAttention
from edgeq.ops.mul import Mul


def _count(call: Call) -> int:
    count = call.integer("num_heads", 0)
    if count < 1:
        raise EdgeqError(f"{call.kind} with {count} heads", why=DAMAGED)
    return count


def _heads(call: Call, x: Tensor, count: int, tag: str) -> Tensor:
    """``[B, T, N D]`` as ``[B, T, N, D]``."""
    shape = x.type.shape
    if len(shape) != 3 or shape[2] % count:
        raise EdgeqError(f"{call.kind} of {x.type} with {count} heads does not fit")
    return call.reshape(x, (*shape[:2], count, shape[2] // count), tag)


def _absent(call: Call, first: int, names: tuple[str, ...]) -> None:
    """Refuse inputs that are not supported."""
    for i, name in enumerate(names, first):
        if call.value(i) is not None:
            raise EdgeqError(f"{call.kind} with {name} is not supported", fix="export the model without a cache")


def _excluding(call: Call, mask: Value | None, q: Tensor, k: Tensor) -> list[Tensor]:
    """A mask of keys: lengths ``[B]`` or ``[B, 1]``, or 1 where a key counts, ``[B, S]`` or ``[B, T, S]``; as a term per score."""
    if mask is None:
        return []
    (batch, queries, *_), keys = q.type.shape, k.type.shape[1]
    shape = mask.array.shape if isinstance(mask, Constant) else mask.type.shape
    lengths = shape in ((batch,), (batch, 1)) and (len(shape) == 1 or keys > 1)
    forms = {(batch, keys): (batch, 1, 1, keys), (batch, queries, keys): (batch, 1, queries, keys), (batch, 1, queries, keys): None}
    if not lengths and shape not in forms:
        raise EdgeqError(f"{call.kind} with a mask of shape {list(shape)} is not supported", why=f"{batch} times {queries} to {keys} keys")
    form = (batch, 1, 1, 1) if lengths else forms[shape] or shape
    if isinstance(mask, Constant):
        data = mask.array.reshape(form)
        data = np.arange(keys) < data if lengths else data
        return [call.builder.constant(call.builder.fresh(f"{call.output}.mask"), np.where(data != 0, 0, FAR).astype(np.float32))]
    given = call.reshape(call.tensor(mask), form, "mask_of_keys")
    if lengths:
        row = np.arange(keys, dtype=np.float32).reshape(1, 1, 1, keys)
        places = call.builder.constant(call.builder.fresh(f"{call.output}.places"), row)
        given = call.emit(Step(0.0), binary(call, Sub(), given, places, "left"), tag="counts")
    outside = call.emit(IsZero(), given, tag="outside")
    return [binary(call, Mul(), outside, scalar(call, FAR, 4), "excluded")]


def _bias(call: Call, value: Value | None) -> list[Tensor]:
    """What is added to the scores."""
    return [] if value is None else [call.tensor(value)]


def _attend(call: Call, q: Tensor, k: Tensor, v: Tensor, terms: list[Tensor], past: Tensor | None) -> Tensor:
    """Heads beside channels; terms ``[1 or B, 1 or N, 1 or T, S]`` are added to the scores; the first keys are those of a cache `past`."""
    call.number("mask_filter_value", FAR)
    scale = call.number("scale", 0.0) or q.type.shape[3] ** -0.5
    batch, queries, count, _ = q.type.shape
    keys, before = k.type.shape[1], 0 if past is None else past.type.shape[2]
    causal = bool(call.integer("unidirectional", 0)) and queries > 1
    fixed = np.zeros((1, 1, 1, keys), np.float32)
    if causal and keys - before != queries:
        why = f"which of {keys - before} keys {queries} queries come before is not defined"
        raise EdgeqError(f"{call.kind} with unidirectional=1 between other rows is not supported", why=why, fix="give it a mask instead")
    if causal and keys != queries:  # those of a cache come before all queries
        causal, fixed = False, np.where(np.tri(queries, keys, before, bool), np.float32(0), np.float32(FAR))[None, None]
    for term in terms:
        if term.data is not None:
            fixed = fixed + term.data.astype(np.float32)
    given = [t for t in terms if t.data is None]
    constants = []
    if fixed.any():
        if (fixed != fixed[:1]).any():
            raise EdgeqError(f"{call.kind} with a constant mask that differs between the items of a batch is not supported")
        own = np.broadcast_to(fixed[0], (fixed.shape[1], queries, keys))
        constants = [call.builder.constant(call.builder.fresh(f"{call.output}.fixed"), np.maximum(own, np.float32(FAR)))]
    total = given[0] if given else None
    for term in given[1:]:
        assert total is not None
        total = binary(call, Add(), total, term, "masks")
    op = MaskedAttention(scale, causal) if total is not None else Attention(scale, causal)
    y = call.emit(op, q, k, v, *([total] if total is not None else []), *constants, tag="attention")
    return call.reshape(y, (batch, queries, count * y.type.shape[3]), "flat")


def _grown(call: Call, past: Tensor | None, new: Tensor, tag: str) -> Tensor:
    """Rows ``[B, T, N, D]`` behind those of a cache ``[B, N, P, D]``."""
    if past is None:
        return new
    return call.emit(Concat(1), call.transpose(past, (0, 2, 1, 3), f"past_{tag}"), new, tag=f"all_{tag}")


def _cache(call: Call, rows: Tensor, tag: str) -> Tensor:
    """``[B, S, N, D]`` as a cache."""
    return call.transpose(rows, (0, 2, 1, 3), f"present_{tag}")


@reads("Attention", domain=MICROSOFT)
def attention(call: Call) -> Result:
    """``[B, T, C]``, one matrix for q, k and v, a mask of keys, a cache ``[2, B, N, P, D]`` that grows, and a bias of scores."""
    x, weights, bias = call.x(0), call.data(1, "the weights"), call.data(2, "the bias")
    _absent(call, 6, ("a cache's length",))
    if call.integer("do_rotary", 0):
        raise EdgeqError(f"{call.kind} with rotary embeddings is not supported", fix="export the model without this fusion")
    count = _count(call)
    if weights is None or weights.ndim != 2 or len(x.type.shape) != 3 or x.type.shape[2] != weights.shape[0]:
        raise EdgeqError(f"the weights of {call.kind} do not fit {x.type}", why=DAMAGED)
    sizes = call.integers("qkv_hidden_sizes") or (weights.shape[1] // 3,) * 3
    if len(sizes) != 3 or sum(sizes) != weights.shape[1]:
        raise EdgeqError(f"{weights.shape[1]} columns are not q, k and v of {list(sizes)}", why=DAMAGED)
    ends = np.cumsum(sizes)
    projected = []
    for tag, end, size in zip("qkv", ends, sizes, strict=True):
        row = np.zeros(size) if bias is None else bias[end - size : end]
        data = {"weights": np.ascontiguousarray(weights[:, end - size : end].T, np.float32), "bias": row.astype(np.float32)}
        own = [call.builder.constant(f"{call.output}.{tag}.{name}", a) for name, a in data.items()]
        projected.append(_heads(call, call.emit(FullyConnected(), x, *own, tag=tag), count, f"{tag}_heads"))
    (q, *rows), pasts = projected, list[Tensor]()
    if call.value(4) is not None:
        pasts = [part(call, call.x(4), 0, i, 1, f"past{i}") for i in range(2)]
        pasts = [call.reshape(p, p.type.shape[1:], f"past{i}_heads") for i, p in enumerate(pasts)]
        rows = [_grown(call, p, new, t) for p, new, t in zip(pasts, rows, "kv", strict=True)]
    k, v = rows
    y = _attend(call, q, k, v, _excluding(call, call.value(3), q, k) + _bias(call, call.value(5)), pasts[0] if pasts else None)
    if call.value(4) is None:
        return y
    caches = [_cache(call, r, t) for r, t in zip(rows, "kv", strict=True)]
    return y, call.emit(Concat(0), *(call.reshape(c, (1, *c.type.shape), f"one{i}") for i, c in enumerate(caches)), tag="present")


@reads("QAttention", domain=MICROSOFT, integers=True)
def quantized_attention(call: Call) -> Result:
    """`attention` of an int8 input and weights; what it gives are floats."""
    x, weights = call.required(0), call.required(1)
    if not isinstance(weights, Constant):
        raise EdgeqError(f"{call.kind} with computed weights is not supported", fix=linear.WEIGHTS_FIX)
    if isinstance(x, Unscaled):
        dynamic.own(call, 0, 3, 6)
        real: Tensor = Tensor(x.name, x.type, x.data)
    else:
        real = quantized.dequantize(call, call.x(0), quantized.activation(call, call.x(0), 3, 6), "real")
    floats = Constant(weights.name, quantized.dequantized_constant(call, weights, 4, 7, 1).array)
    return attention(call.with_values([real, floats, call.value(2), call.value(5), call.value(8)], "Attention"))


def _packed(call: Call, x: Tensor, parts: int) -> list[Tensor]:
    """``[B, T, N, parts, D]`` taken apart along axis 3."""
    batch, rows, count, _, depth = x.type.shape
    return [call.reshape(part(call, x, 3, i, 1, f"part{i}"), (batch, rows, count, depth), f"part{i}_heads") for i in range(parts)]


@reads("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(call: Call) -> Result:
    """q ``[B, T, N D]``, k and v likewise, as ``[B, N, S, D]``, or packed ``[B, S, N, 2 or 3, D]``; one bias; growing caches."""
    count = _count(call)
    _absent(call, 8, ("a cache's length", "a cache's indirection"))
    x, second = call.x(0), call.value(1)
    if len(x.type.shape) == 5:
        operands = _packed(call, x, 3)
    elif second is None:
        raise EdgeqError(f"{call.kind} without keys", why=DAMAGED)
    elif len(call.x(1).type.shape) == 5:
        operands = [_heads(call, x, count, "q_heads"), *_packed(call, call.x(1), 2)]
    else:
        operands = [_heads(call, x, count, "q_heads")]
        for i, tag in ((1, "k"), (2, "v")):
            own = call.x(i)
            before = len(own.type.shape) == 4
            operands.append(call.transpose(own, (0, 2, 1, 3), f"{tag}_heads") if before else _heads(call, own, count, f"{tag}_heads"))
    bias = call.data(3, "the bias")
    if bias is not None:
        sizes = [o.type.shape[2] * o.type.shape[3] for o in operands]
        if bias.size != sum(sizes):
            raise EdgeqError(f"a bias of {bias.size} elements for {sum(sizes)} channels", why=DAMAGED)
        for i, (own, end) in enumerate(zip(list(operands), np.cumsum(sizes), strict=True)):
            row = bias.reshape(-1)[end - sizes[i] : end].astype(np.float32).reshape(1, 1, *own.type.shape[2:])
            added = call.builder.constant(call.builder.fresh(f"{call.output}.bias{i}"), row)
            operands[i] = call.emit(Add(), own, added, tag=f"biased{i}")
    q, *rows = operands
    pasts = [call.x(i) if call.value(i) is not None else None for i in (6, 7)]
    k, v = (_grown(call, p, new, t) for p, new, t in zip(pasts, rows, "kv", strict=True))
    y = _attend(call, q, k, v, _excluding(call, call.value(4), q, k) + _bias(call, call.value(5)), pasts[0])
    return y, _cache(call, k, "k"), _cache(call, v, "v")
