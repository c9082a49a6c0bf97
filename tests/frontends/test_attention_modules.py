"""Attention as PyTorch's users write it in blocks of known networks: one step per block, and PyTorch's numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import edgeq  # noqa: E402
from edgeq.quantize import evaluate_float  # noqa: E402

WIDTH, HEADS, ROWS = 32, 4, 12
DEPTH = WIDTH // HEADS


class Block(nn.Module):
    """Projections, heads in front, and a function of q, k and v between."""

    def __init__(self, between: Any, groups: int = HEADS) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, groups * DEPTH), nn.Linear(WIDTH, groups * DEPTH)
        self.out, self.between = nn.Linear(WIDTH, WIDTH), between

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (m(x).view(1, x.shape[1], -1, DEPTH).transpose(1, 2) for m in (self.q, self.k, self.v))
        return self.out(self.between(q, k, v).transpose(1, 2).reshape(1, -1, WIDTH))  # type: ignore[no-any-return]


def weighed(q: Tensor, k: Tensor, v: Tensor, term: Tensor | float = 0.0) -> Tensor:
    return (q @ k.transpose(-1, -2) / math.sqrt(DEPTH) + term).softmax(-1) @ v


def later() -> Tensor:
    return torch.full((ROWS, ROWS), -math.inf).triu(1)


def turned(x: Tensor, form: str) -> Tensor:
    """Rotary embeddings: of halves, of a part, of neighbours, or as complex numbers are multiplied."""
    width = DEPTH // 2 if form == "part" else DEPTH
    angles = torch.arange(ROWS)[:, None] * 100 ** (-torch.arange(0, width, 2) / width)
    if form == "complex":
        a, b = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
        return torch.stack([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1).flatten(-2)
    angles = angles.repeat_interleave(2, -1) if form == "neighbours" else torch.cat([angles, angles], -1)
    own, rest = x[..., :width], x[..., width:]
    other = torch.stack([-own[..., 1::2], own[..., ::2]], -1).flatten(-2)
    if form != "neighbours":
        other = torch.cat([-own[..., width // 2 :], own[..., : width // 2]], -1)
    return torch.cat([own * angles.cos() + other * angles.sin(), rest], -1)


def alibi(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    places = torch.arange(ROWS)
    slopes = 2.0 ** (-8 * torch.arange(1, HEADS + 1) / HEADS)
    return weighed(q, k, v, (places[None] - places[:, None]) * slopes[:, None, None] + later())


def grouped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Queries of a group in an axis of their own, as Einsum."""
    rows = q.view(1, 2, 2, ROWS, DEPTH)
    scores = torch.einsum("bgntd,bgsd->bgnts", rows, k) / math.sqrt(DEPTH)
    return torch.einsum("bgnts,bgsd->bgntd", scores.softmax(-1), v).reshape(1, HEADS, ROWS, DEPTH)


def repeated(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Llama's: keys and values expanded, rotary embeddings, a mask of the lowest number."""
    k, v = (a[:, :, None].expand(1, 2, 2, ROWS, DEPTH).reshape(1, HEADS, ROWS, DEPTH) for a in (k, v))
    return weighed(turned(q, "halves"), turned(k, "halves"), v, torch.full((ROWS, ROWS), torch.finfo(torch.float32).min).triu(1))


def cosine(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ((functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1)) * 8.0).softmax(-1) @ v


class Split(nn.Module):
    """q, k and v out of one matrix, heads by splitting and stacking, batched products."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (torch.stack(a.split(DEPTH, -1), 1).flatten(0, 1) for a in self.qkv(x).chunk(3, -1))
        y = torch.bmm(torch.bmm(q, k.transpose(1, 2)).div(math.sqrt(DEPTH)).softmax(2), v)
        return self.out(torch.cat(y.unbind(0), -1)[None])  # type: ignore[no-any-return]


class Gpt2(nn.Module):
    """Conv1D's product, a buffer of truth values cut to the rows, `where` with the lowest number, tanh's GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.w = nn.LayerNorm(WIDTH), nn.Parameter(torch.randn(WIDTH, 3 * WIDTH) * 0.2)
        self.b = nn.Parameter(torch.randn(3 * WIDTH))
        self.out, self.seen = nn.Linear(WIDTH, WIDTH), torch.tril(torch.ones(32, 32, dtype=torch.bool)).view(1, 1, 32, 32)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.addmm(self.b, self.norm(x).view(-1, WIDTH), self.w).view(1, -1, 3 * WIDTH)
        q, k, v = (a.view(1, -1, HEADS, DEPTH).permute(0, 2, 1, 3) for a in rows.split(WIDTH, 2))
        scores = torch.matmul(q, k.transpose(-1, -2)) / torch.full([], DEPTH**0.5)
        scores = torch.where(self.seen[:, :, :ROWS, :ROWS], scores, torch.full([], torch.finfo(scores.dtype).min))
        y = torch.matmul(functional.softmax(scores, dim=-1), v).permute(0, 2, 1, 3).contiguous().view(1, -1, WIDTH)
        return x + functional.gelu(self.out(y), approximate="tanh")


class Windows(nn.Module):
    """Swin: shifted windows of an image, a bias by relative places, a mask by windows."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out, self.table = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), nn.Parameter(torch.randn(49, HEADS) * 0.5)
        places = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")).flatten(1)
        apart = (places[:, :, None] - places[:, None]).permute(1, 2, 0) + 3
        self.index = apart[..., 0] * 7 + apart[..., 1]
        parts = torch.tensor([0] * 4 + [1] * 2 + [2] * 2)
        windows = (3 * parts[:, None] + parts).view(2, 4, 2, 4).permute(0, 2, 1, 3).reshape(4, 16)
        self.mask = torch.where(windows[:, None] != windows[:, :, None], -100.0, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        moved = torch.roll(x, (-2, -2), (1, 2)).view(1, 2, 4, 2, 4, WIDTH).permute(0, 1, 3, 2, 4, 5).reshape(4, 16, WIDTH)
        q, k, v = self.qkv(moved).reshape(4, 16, 3, HEADS, DEPTH).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index.view(-1)].view(16, 16, HEADS).permute(2, 0, 1)
        scores = ((q * DEPTH**-0.5) @ k.transpose(-2, -1) + bias).view(1, 4, HEADS, 16, 16) + self.mask[None, :, None]
        y = self.out((scores.view(4, HEADS, 16, 16).softmax(-1) @ v).transpose(1, 2).reshape(4, 16, WIDTH))
        return x + torch.roll(y.view(1, 2, 2, 4, 4, WIDTH).permute(0, 1, 3, 2, 4, 5).reshape(1, 8, 8, WIDTH), (2, 2), (1, 2))


MODULES = {
    **{f"rotary {f}": lambda f=f: Block(lambda q, k, v: weighed(turned(q, f), turned(k, f), v, later()))  # type: ignore[misc]
       for f in ("halves", "part", "neighbours", "complex")},
    "alibi": lambda: Block(alibi), "cosine": lambda: Block(cosine), "grouped": lambda: Block(grouped, 2),
    "llama": lambda: Block(repeated, 2), "one group": lambda: Block(weighed, 1), "split": Split, "gpt2": Gpt2, "windows": Windows,
    "shared keys": lambda: Block(lambda q, k, v: weighed(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_one_step(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    x = torch.randn(5, 1, 8, 8, WIDTH) if name == "windows" else torch.randn(5, 1, ROWS, WIDTH)
    torch.onnx.export(module, (x[0],), tmp_path / "m.onnx", dynamo=True, verbose=False)
    graph = edgeq.load(tmp_path / "m.onnx")
    kinds = [n.op.kind() for n in graph.nodes]
    assert kinds.count("attention") == 1 and not {"softmax", "mat_mul", "exp"} & set(kinds)
    with torch.no_grad():
        want = np.stack([module(a).numpy() for a in x])
    got = evaluate_float(graph, {graph.given[0]: x.numpy()})[graph.results[0]].reshape(want.shape)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)
