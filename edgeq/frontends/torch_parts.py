"""Operators that PyTorch's ONNX exporter refuses, or writes without all of their arguments, in terms of others that it keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any


def taken_apart(program: Any) -> Any:
    """A torch.export program without those operators; itself where it has none."""
    import torch

    aten = torch.ops.aten
    table: dict[Any, Callable[..., Any]] = {
        aten.avg_pool2d.default: _average, aten.avg_pool3d.default: _average,
        aten.adaptive_max_pool1d.default: _adaptive_max, aten.adaptive_max_pool2d.default: _adaptive_max,
        aten.adaptive_max_pool3d.default: _adaptive_max,
        aten.rrelu.default: _leaky, aten.lstm.input: _lstm,
        aten.fake_quantize_per_tensor_affine.default: _fake_tensor,
        aten.fake_quantize_per_tensor_affine.tensor_qparams: _fake_tensor,
        aten.fake_quantize_per_channel_affine.default: _fake_channels,
        aten._fused_moving_avg_obs_fq_helper_functional.default: _fused,
    }  # fmt: skip
    targets = {node.target for node in program.graph.nodes}
    if aten.fused_moving_avg_obs_fake_quant.default in targets:  # PyTorch takes it apart to this one first
        targets.add(aten._fused_moving_avg_obs_fq_helper_functional.default)
    dot = aten.scaled_dot_product_attention.default
    if any(node.target == dot and node.args[0].meta["val"].dim() != 4 for node in program.graph.nodes):
        table[dot] = _dot_product_attention
    found = targets & set(table)
    return program.run_decompositions({op: table[op] for op in found}) if found else program


def _dot_product_attention(
    q: Any, k: Any, v: Any, mask: Any = None, dropout: float = 0.0, is_causal: bool = False, *, scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """Attention of any rank, spelled out: the exporter has it with heads alone."""
    import torch

    if enable_gqa:
        share = q.shape[-3] // k.shape[-3]
        k, v = k.repeat_interleave(share, -3), v.repeat_interleave(share, -3)
    scores = torch.matmul(q, k.transpose(-2, -1)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = torch.where(mask, scores, -math.inf) if mask.dtype == torch.bool else scores + mask
    return torch.matmul(torch.softmax(scores, -1), v)


def _each(value: int | Sequence[int], rank: int) -> list[int]:
    given = [value] if isinstance(value, int) else list(value)
    return given * rank if len(given) == 1 else given


def _average(
    x: Any, kernel: Sequence[int], stride: Sequence[int] = (), padding: int | Sequence[int] = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """Average pooling whose sums are divided by a number of their own: the padding is spelled out, the average is scaled."""
    import torch

    if divisor_override is None:
        return NotImplemented
    rank = 2 if x.dim() == 4 or (x.dim() == 3 and len(kernel) == 2) else 3
    sizes = _each(kernel, rank)
    strides, pads = _each(stride, rank) if stride else sizes, _each(padding, rank)
    borders: list[int] = []
    for n, k, s, p in zip(x.shape[-rank:], sizes, strides, pads, strict=True):
        count = (n + 2 * p - k + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1  # a window must begin in the image or before it
        borders = [p, (count - 1) * s + k - n - p, *borders]
    pool = torch.ops.aten.avg_pool2d.default if rank == 2 else torch.ops.aten.avg_pool3d.default
    return pool(torch.nn.functional.pad(x, borders), sizes, strides) * (math.prod(sizes) / divisor_override)


def _adaptive_max(x: Any, sizes: Sequence[int]) -> tuple[Any, Any]:
    """Maxima of windows that reach from floor(i n / m) to ceil((i + 1) n / m), axis by axis; of the indices nothing is known."""
    import torch

    for axis, count in zip(range(-len(sizes), 0), sizes, strict=True):
        length = x.shape[axis]
        reach = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
        x = torch.stack([x.narrow(axis, start, end - start).amax(axis) for start, end in reach], axis)
    return x, torch.zeros_like(x, dtype=torch.int64)


def _leaky(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: Any = None) -> Any:
    """What a randomized leaky ReLU is in evaluation."""
    import torch

    return NotImplemented if training else torch.nn.functional.leaky_relu(x, (lower + upper) / 2)


def _lstm(x: Any, states: Sequence[Any], *options: Any) -> Any:
    """An LSTM whose hidden state is projected, step by step; the operator of ONNX has no projection."""
    import torch

    if states[0].shape[-1] == states[1].shape[-1]:
        return NotImplemented
    op = torch.ops.aten.lstm.input
    return torch._decomp.get_decompositions([op])[op](x, states, *options)


# Quantization-aware training: what a module rounds to becomes a pair of QuantizeLinear and DequantizeLinear


def quantizing() -> Any:
    """PyTorch's operators that its exporter writes as QuantizeLinear and DequantizeLinear; importing the module registers them."""
    import torch
    import torch.ao.quantization.fx._decomposed

    return torch.ops.quantized_decomposed


def _stored(low: int, high: int) -> tuple[Any, int, int]:
    """The 8-bit type that holds integers from `low` to `high`, and its ends."""
    import torch

    return (torch.uint8, 0, 255) if low >= 0 else (torch.int8, -128, 127)


def _fake_tensor(x: Any, scale: Any, zero_point: Any, *ends: Any) -> Any:
    """Rounded to the multiples of one scale. `ends`: perhaps whether it is switched on, then the least and the largest integer."""
    import torch

    low, high = ends[-2:]
    if isinstance(scale, torch.Tensor):  # which the exporter reads per channel alone
        return _fake_channels(x.unsqueeze(0), scale.reshape(1), zero_point.reshape(1), 0, low, high).squeeze(0)
    if not -128 <= low < high <= 255 or (low < 0 and high > 127):
        return NotImplemented
    dtype, least, largest = _stored(low, high)
    if (low, high) != (least, largest):  # fewer bits, or a symmetric range
        x = torch.clamp(x, (low - zero_point) * scale, (high - zero_point) * scale)
    lib = quantizing()
    q = lib.quantize_per_tensor.default(x, scale, zero_point, least, largest, dtype)
    return lib.dequantize_per_tensor.default(q, scale, zero_point, least, largest, dtype)


def _fake_channels(x: Any, scale: Any, zero_point: Any, axis: int, low: int, high: int) -> Any:
    """Rounded to the multiples of a scale per slice."""
    import torch

    if not -128 <= low < high <= 255 or (low < 0 and high > 127):
        return NotImplemented
    dtype, least, largest = _stored(low, high)
    if (low, high) != (least, largest):
        across = [-1 if i == axis else 1 for i in range(x.dim())]
        s, z = scale.reshape(across), zero_point.reshape(across)
        x = torch.maximum(torch.minimum(x, (high - z) * s), (low - z) * s)
    lib = quantizing()
    q = lib.quantize_per_channel.default(x, scale, zero_point, axis, least, largest, dtype)
    return lib.dequantize_per_channel.default(q, scale, zero_point, axis, least, largest, dtype)


def _fused(x: Any, *rest: Any) -> Any:
    """A moving observer and what it feeds, of which evaluation needs the rounding alone: the scales and statistics stay.

    `rest`: two switches, the least and the largest value, scale, zero point, a factor, the least and the largest integer, the axis, and
    perhaps whether each slice along it has a scale of its own and whether the range is symmetric.
    """
    import torch

    scale, zero_point, low, high, axis = rest[4], rest[5], *rest[7:10]
    rows = len(rest) > 10 and rest[10]
    y = _fake_channels(x, scale, zero_point, axis, low, high) if rows else _fake_tensor(x, scale, zero_point, low, high)
    return y if y is NotImplemented else (y, torch.ones_like(x, dtype=torch.bool), *(a.clone() for a in rest[2:6]))
