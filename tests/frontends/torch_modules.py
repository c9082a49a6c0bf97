"""What PyTorch users write, as small modules: a table of groups whose members share an input, so that one export serves many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

IMAGE, SEQUENCE, SIGNAL, VECTOR, VOLUME = (1, 4, 9, 10), (1, 7, 8), (1, 4, 20), (1, 12), (1, 4, 5, 6, 7)
Table = dict[str, Callable[[], Any]]


class Of(nn.Module):
    """A function of its input."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


class Branches(nn.Module):
    """Modules side by side on one input; the tensors of all outputs in a row."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.parts = nn.ModuleList(build() for build in table.values())

    def forward(self, x: Any) -> tuple[Any, ...]:
        return tuple(y for part in self.parts for y in flat(part(x)))


def flat(value: Any) -> list[Any]:
    return [y for v in value for y in flat(v)] if isinstance(value, (tuple, list)) else [value]


def of(function: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: Of(function)


class Attention(nn.Module):
    """nn.MultiheadAttention of a sequence with itself."""

    def __init__(self, mask: Any = None, **options: Any) -> None:
        super().__init__()
        self.attention, self.mask = nn.MultiheadAttention(8, 2, batch_first=True, **options), mask

    def forward(self, x: Any) -> Any:
        return self.attention(x, x, x, attn_mask=self.mask, need_weights=False)[0]


class ConvNeXt(nn.Module):
    """A block of ConvNeXt: depthwise 7x7, a layer norm over channels, an inverted bottleneck, a scale per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm = nn.Conv2d(4, 4, 7, padding=3, groups=4), nn.LayerNorm(4)
        self.wide, self.narrow, self.scale = nn.Linear(4, 16), nn.Linear(16, 4), nn.Parameter(torch.full((4,), 0.5))

    def forward(self, x: Any) -> Any:
        y = self.norm(self.mix(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(functional.gelu(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)


class MobileViT(nn.Module):
    """A block of MobileViT: patches of 3x2 unfolded, attention among equal places of them, folded again."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.layer, self.after = nn.Conv2d(4, 8, 1), encoder(), nn.Conv2d(12, 4, 3, padding=1)

    def forward(self, x: Any) -> Any:
        y = self.before(x).reshape(8 * 3, 3, 5, 2).transpose(1, 2).reshape(1, 8, 15, 6).transpose(1, 3)
        y = self.layer(y.reshape(6, 15, 8)).reshape(1, 6, 15, 8)
        y = y.transpose(1, 3).reshape(24, 5, 3, 2).transpose(1, 2).reshape(1, 8, 9, 10)
        return self.after(torch.cat([x, y], 1))


def encoder(**options: Any) -> Any:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)


def with_state(layer: Any) -> Any:
    """A recurrent layer with first states that are not zero."""
    shape = (layer.num_layers * (2 if layer.bidirectional else 1), 1, layer.hidden_size)
    first = torch.linspace(-1, 1, shape[0] * shape[2]).reshape(shape)
    return Of2(layer, (first, first / 2) if isinstance(layer, nn.LSTM) else first)


class Of2(nn.Module):
    """A recurrent layer from constant first states."""

    def __init__(self, layer: Any, first: Any) -> None:
        super().__init__()
        self.layer, self.first = layer, first

    def forward(self, x: Any) -> Any:
        return self.layer(x, self.first)


def chained(*parts: Any) -> Callable[[], Any]:
    return lambda: nn.Sequential(*parts)


CAUSAL = torch.full((7, 7), -torch.inf).triu(1)
HEADS = torch.linspace(-2, 2, 7).repeat(7, 1).tril()


def dot(**options: Any) -> Callable[[], Any]:
    return of(lambda x: functional.scaled_dot_product_attention(x[:, None], x[:, None] * 0.5, x[:, None].flip(-1), **options)[:, 0])


PADDING: Table = {
    "circular": lambda: nn.Conv2d(4, 5, 3, padding=(1, 2), padding_mode="circular"),
    "reflect": lambda: nn.Conv2d(4, 5, 3, padding=2, padding_mode="reflect"),
    "replicate": lambda: nn.Conv2d(4, 5, 3, padding=2, padding_mode="replicate"),
    "same": lambda: nn.Conv2d(4, 5, (3, 4), padding="same", dilation=(2, 1)),
    "circular pad": lambda: nn.CircularPad2d((1, 2, 3, 0)),
    "reflection pad": lambda: nn.ReflectionPad2d((1, 2, 3, 0)),
    "replication pad": lambda: nn.ReplicationPad2d((1, 2, 3, 0)),
    "constant pad": of(lambda x: functional.pad(x, (1, -1, 0, 2), value=0.7)),
    "roll": of(lambda x: torch.roll(x, (1, -3), (2, 3))),
    "flip": of(lambda x: torch.flip(x, (1, 3))),
}  # fmt: skip
POOLING: Table = {
    "adaptive average": lambda: nn.AdaptiveAvgPool2d((4, 3)),
    "adaptive average larger": lambda: nn.AdaptiveAvgPool2d((12, None)),
    "adaptive average exact": lambda: nn.AdaptiveAvgPool2d((3, 5)),
    "adaptive maximum": lambda: nn.AdaptiveMaxPool2d((4, 7)),
    "adaptive maximum one": lambda: nn.AdaptiveMaxPool2d(1),
    "dilated": lambda: nn.MaxPool2d(3, stride=2, dilation=2, padding=1),
    "ceil": lambda: nn.MaxPool2d(2, stride=2, padding=1, ceil_mode=True),
    "average ceil": lambda: nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=True),
    "average ceil without padding": lambda: nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    "average": lambda: nn.AvgPool2d((2, 3), padding=(1, 0), count_include_pad=False),
    "average with a divisor": lambda: nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, divisor_override=5),
    "power": lambda: nn.LPPool2d(2, 3, stride=2),
    "unfold": of(lambda x: functional.unfold(x, (3, 2), padding=1, stride=2)),
}  # fmt: skip
IMAGES: Table = {
    "shuffle": lambda: nn.PixelShuffle(2),
    "unshuffle": of(lambda x: functional.pixel_unshuffle(x[:, :, :8], 2)),
    "channel shuffle": lambda: nn.ChannelShuffle(2),
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "nearest exact": lambda: nn.Upsample(size=(13, 17), mode="nearest-exact"),
    "bilinear": lambda: nn.Upsample(size=(13, 17), mode="bilinear"),
    "bilinear corners": lambda: nn.Upsample(scale_factor=(2, 3), mode="bilinear", align_corners=True),
    "bilinear down": of(lambda x: functional.interpolate(x, size=(5, 4), mode="bilinear")),
    "bicubic": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
    "antialias": of(lambda x: functional.interpolate(x, size=(5, 4), mode="bilinear", antialias=True)),
    "area": of(lambda x: functional.interpolate(x, size=(5, 4), mode="area")),
    "transposed": lambda: nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    "transposed uneven": lambda: nn.ConvTranspose2d(4, 6, (2, 3), stride=(2, 3), output_padding=(0, 2), groups=2, bias=False),
    "transposed dilated": lambda: nn.ConvTranspose2d(4, 3, 3, dilation=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4, stride=2),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 3)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 3, 3)),
    "old weight norm": lambda: torch.nn.utils.weight_norm(nn.Conv2d(4, 3, 3)),
    "ConvNeXt": ConvNeXt,
    "MobileViT": MobileViT,
    "grid": of(lambda x: functional.grid_sample(x, GRID, align_corners=False)),
    "channel dropout": lambda: nn.Dropout2d(),
    "flatten": chained(nn.Flatten(), nn.Linear(360, 3)),
    "unflatten": lambda: nn.Unflatten(1, (2, 2)),
}  # fmt: skip
GRID = torch.linspace(-1.1, 1.1, 60).reshape(1, 5, 6, 2)
ACTIVATIONS: Table = {
    "softplus": lambda: nn.Softplus(2.0, 1.5),
    "softplus plain": lambda: nn.Softplus(),
    "softshrink": lambda: nn.Softshrink(0.4),
    "hardshrink": lambda: nn.Hardshrink(0.4),
    "hardtanh": lambda: nn.Hardtanh(-0.3, 0.8),
    "mish": lambda: nn.Mish(),
    "glu": lambda: nn.GLU(-1),
    "celu": lambda: nn.CELU(1.3),
    "elu": lambda: nn.ELU(0.7),
    "selu": lambda: nn.SELU(),
    "gelu tanh": lambda: nn.GELU("tanh"),
    "silu": lambda: nn.SiLU(),
    "hardswish": lambda: nn.Hardswish(),
    "hardsigmoid": lambda: nn.Hardsigmoid(),
    "log sigmoid": lambda: nn.LogSigmoid(),
    "leaky": lambda: nn.LeakyReLU(0.2),
    "random leaky": lambda: nn.RReLU(),
    "prelu": lambda: nn.PReLU(),
    "softsign": lambda: nn.Softsign(),
    "tanhshrink": lambda: nn.Tanhshrink(),
    "threshold": lambda: nn.Threshold(0.2, -0.7),
    "relu6": lambda: nn.ReLU6(),
    "softmax": lambda: nn.Softmax(1),
    "softmin": lambda: nn.Softmin(-1),
    "log softmax": lambda: nn.LogSoftmax(-1),
    "log softmax of rows": of(lambda x: functional.log_softmax(x, 1)),
    "erf": of(lambda x: torch.erf(x) + torch.exp(-x * x) + torch.sqrt(x.abs() + 1) + torch.rsqrt(x * x + 1)),
    "power": of(lambda x: x.abs() ** 1.5 + x**3 + torch.log1p(x.abs()) + torch.expm1(x)),
    "angles": of(lambda x: torch.sin(x) * torch.cos(x) + torch.atan(x) + torch.sinh(x / 2)),
    "clamp": of(lambda x: x.clamp(max=0.4) + x.clamp(-0.2, 0.7) + torch.clamp_min(x, 0.1)),
    "clamp to tensors": of(lambda x: torch.clamp(x, torch.full((8,), -0.3), torch.linspace(0, 1, 8))),
    "division": of(lambda x: x / (1.5 + x.mean(1, keepdim=True) ** 2) + torch.floor(x) + torch.sign(x) + torch.round(x * 3)),
}  # fmt: skip
RECURRENT: Table = {
    "lstm": lambda: nn.LSTM(8, 6, batch_first=True),
    "lstm two": lambda: nn.LSTM(8, 6, num_layers=2, batch_first=True, bidirectional=True, dropout=0.1),
    "lstm projected": lambda: nn.LSTM(8, 6, proj_size=3, batch_first=True),
    "lstm states": lambda: with_state(nn.LSTM(8, 5, batch_first=True, bidirectional=True)),
    "lstm without bias": lambda: nn.LSTM(8, 6, bias=False, batch_first=True),
    "gru": lambda: nn.GRU(8, 6, num_layers=2, batch_first=True),
    "gru both": lambda: with_state(nn.GRU(8, 6, bidirectional=True, batch_first=True)),
    "rnn": lambda: nn.RNN(8, 6, batch_first=True, bidirectional=True),
    "rnn relu": lambda: nn.RNN(8, 6, nonlinearity="relu", num_layers=2, batch_first=True),
    "time first": chained(Of(lambda x: x.transpose(0, 1)), nn.GRU(8, 4)),
    "gru cell": lambda: Cell(nn.GRUCell(8, 5)),
    "lstm cell": lambda: Cell(nn.LSTMCell(8, 5)),
}  # fmt: skip


class Cell(nn.Module):
    """A cell, step by step."""

    def __init__(self, cell: Any) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Any) -> Any:
        state = None
        for i in range(3):
            state = self.cell(x[:, i], state)
        return state


NORMS: Table = {
    "group": chained(nn.Unflatten(1, (7, 1)), Of(lambda x: x.transpose(1, 3)), nn.GroupNorm(2, 8)),
    "instance": lambda: nn.InstanceNorm1d(7, affine=True),
    "instance plain": lambda: nn.InstanceNorm1d(7),
    "layer": lambda: nn.LayerNorm(8),
    "layer of both": lambda: nn.LayerNorm((7, 8)),
    "layer plain": lambda: nn.LayerNorm(8, elementwise_affine=False),
    "rms": lambda: nn.RMSNorm(8),
    "batch": lambda: nn.BatchNorm1d(7),
    "unit": of(lambda x: functional.normalize(x, dim=-1)),
    "local response": lambda: nn.LocalResponseNorm(3),
    "variance": of(lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 0.1) + x.std(1, keepdim=True)),
    "norms": of(lambda x: torch.cat([x.norm(dim=1), x.abs().sum(1), x.amax(1), x.logsumexp(1), x.prod(1)], -1)),
    "similar": of(lambda x: functional.cosine_similarity(x, x.flip(1), dim=-1)),
}  # fmt: skip
ATTENTION: Table = {
    "dot": dot(),
    "dot causal": dot(is_causal=True),
    "dot masked": dot(attn_mask=CAUSAL),
    "dot boolean mask": dot(attn_mask=CAUSAL == 0),
    "dot bias": dot(attn_mask=HEADS, scale=0.3),
    "multihead": Attention,
    "multihead causal": lambda: Attention(CAUSAL),
    "multihead keys": lambda: Attention(bias=False, add_zero_attn=True),
    "encoder": encoder,
    "encoder first": lambda: encoder(norm_first=True, activation="gelu"),
    "encoder stack": lambda: nn.TransformerEncoder(encoder(), 2, enable_nested_tensor=False),
    "decoder": lambda: Both(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)),
    "einsum": of(lambda x: torch.einsum("btc,bsc->bts", x, x) + torch.einsum("btt->bt", x[:, :, :7])[:, None]),
    "einsum three": of(lambda x: torch.einsum("btc,cd,bsd->bts", x, torch.linspace(-1, 1, 64).reshape(8, 8), x)),
    "outer": of(lambda x: x[..., None] * x[..., None, :]),
    "bmm": of(lambda x: torch.baddbmm(torch.ones(7), x, x.transpose(1, 2), alpha=0.5)),
    "bilinear": lambda: Both(nn.Bilinear(8, 8, 3)),
    "cumsum": of(lambda x: torch.cumsum(x, 1)),
    "argmax": of(lambda x: torch.argmax(x, -1).float() * 0.5 + torch.argmin(x, -1)),
    "where": of(lambda x: torch.where(x > 0.2, x * 2, torch.where(x.abs() <= 0.1, 1.0, -x))),
    "masked": of(lambda x: x.masked_fill(CAUSAL[:, :1] < 0, -3.0).masked_fill(x > 1, 0.5)),
    "embedding": chained(Of(lambda x: torch.argmax(x, -1)), nn.Embedding(8, 5)),
    "one hot": of(lambda x: functional.one_hot(torch.argmax(x, -1), 8).float() * x),
    "gather": of(lambda x: x[:, torch.tensor([2, 0, -1])] + x.index_select(1, torch.tensor([1, 1, 0]))),
    "take": of(lambda x: torch.gather(x, 2, torch.tensor([[[3, 1]]]).expand(1, 7, 2))),
    "top": of(lambda x: torch.topk(x, 3, -1).values),
    "tile": of(lambda x: x.repeat(1, 2, 3) + x.repeat_interleave(2, 1).tile(1, 1, 3)),
    "split": of(lambda x: torch.cat([b * a for a, b in zip(x.split([3, 5], 2)[1].chunk(5, 2), x.unbind(1), strict=False)], -1)),
    "stack": of(lambda x: torch.stack([x, -x], 1).mean((1, 2))),
    "triangle": of(lambda x: torch.tril(x) + torch.triu(x, 2)),
    "assign": of(lambda x: assigned(x)),
    "strides": of(lambda x: x[:, ::2, 1:-1:3] + x[:, -4:, :2]),
    "windows": of(lambda x: x.unfold(1, 3, 2)),
}  # fmt: skip

HEADLESS: Table = {  # the exporter has attention with heads alone: all of a model's is spelled out where some has none
    "dot without heads": of(lambda x: functional.scaled_dot_product_attention(x, x * 0.5, x.flip(-1), is_causal=True)),
    "dot of two": of(lambda x: functional.scaled_dot_product_attention(x[0], x[0] * 0.5, x[0].flip(-1), attn_mask=CAUSAL == 0)[None]),
    "dot of five": of(lambda x: functional.scaled_dot_product_attention(*[x[:, None, None] * f for f in (1, 0.5, 2)], scale=0.2)[0, 0]),
    "dot": dot(attn_mask=CAUSAL),
}


def assigned(x: Any) -> Any:
    y = x.clone()
    y[:, 2] = 0.5
    y[:, :2, 1:3] = x[:, 2:4, :2]
    return y


class Both(nn.Module):
    """A module of two inputs, given one and its half."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Any) -> Any:
        return self.part(x, x * 0.5)


SIGNALS: Table = {
    "circular": lambda: nn.Conv1d(4, 5, 3, padding=1, padding_mode="circular"),
    "reflect": lambda: nn.Conv1d(4, 5, 3, padding=2, padding_mode="reflect", dilation=2),
    "causal": chained(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(4, 5, 3, dilation=2)),
    "transposed": lambda: nn.ConvTranspose1d(4, 3, 4, stride=3, padding=1, output_padding=1),
    "adaptive": lambda: nn.AdaptiveAvgPool1d(6),
    "adaptive maximum": lambda: nn.AdaptiveMaxPool1d(7),
    "dilated pool": lambda: nn.MaxPool1d(3, dilation=3, stride=2),
    "linear": lambda: nn.Upsample(scale_factor=2.5, mode="linear"),
    "group": lambda: nn.GroupNorm(2, 4),
    "glu": lambda: nn.GLU(1),
    "prelu": lambda: nn.PReLU(4),
    "old weight norm": lambda: torch.nn.utils.weight_norm(nn.Conv1d(4, 6, 3)),
    "decoupled": chained(nn.Conv1d(4, 4, 3, groups=4), nn.BatchNorm1d(4), nn.Conv1d(4, 6, 1), nn.ReLU()),
    "pooled statistics": of(lambda x: torch.cat([x.mean(2), x.std(2), x.amax(2)], 1)),
}  # fmt: skip
VOLUMES: Table = {
    "plain": lambda: nn.Conv3d(4, 5, 3),
    "strided": lambda: nn.Conv3d(4, 5, (3, 2, 3), stride=(2, 1, 2), padding=(1, 0, 2)),
    "dilated": lambda: nn.Conv3d(4, 5, (2, 3, 1), dilation=(3, 1, 1), padding=(2, 1, 0), bias=False),
    "same": lambda: nn.Conv3d(4, 5, (4, 3, 2), padding="same"),
    "images": lambda: nn.Conv3d(4, 5, (1, 3, 3), padding=(0, 1, 1)),
    "every second image": lambda: nn.Conv3d(4, 5, (1, 3, 3), stride=(2, 1, 1)),
    "time": lambda: nn.Conv3d(4, 5, (3, 1, 1), padding=(1, 0, 0), stride=(2, 1, 1)),
    "point": lambda: nn.Conv3d(4, 5, 1),
    "whole": lambda: nn.Conv3d(4, 5, (5, 3, 3)),
    "grouped": lambda: nn.Conv3d(4, 6, 3, groups=2, padding=1),
    "depthwise": lambda: nn.Conv3d(4, 8, (3, 3, 2), groups=4),
    "factored": chained(nn.Conv3d(4, 6, (1, 3, 3)), nn.BatchNorm3d(6), nn.ReLU(), nn.Conv3d(6, 3, (3, 1, 1)), nn.AdaptiveAvgPool3d(1)),
    "transposed": lambda: nn.ConvTranspose3d(4, 3, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), output_padding=(0, 1, 0)),
    "maximum": lambda: nn.MaxPool3d((2, 3, 2), stride=2, padding=(0, 1, 1), ceil_mode=True),
    "average": lambda: nn.AvgPool3d((2, 1, 3), stride=(2, 1, 2), padding=(1, 0, 1)),
}  # fmt: skip
GROUPS: dict[str, tuple[tuple[int, ...], Table]] = {
    "padding": (IMAGE, PADDING), "pooling": (IMAGE, POOLING), "images": (IMAGE, IMAGES), "activations": (SEQUENCE, ACTIVATIONS),
    "recurrent": (SEQUENCE, RECURRENT), "norms": (SEQUENCE, NORMS), "attention": (SEQUENCE, ATTENTION), "headless": (SEQUENCE, HEADLESS),
    "signals": (SIGNAL, SIGNALS), "volumes": (VOLUME, VOLUMES),
}  # fmt: skip
