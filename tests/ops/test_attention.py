"""Attention: heads that share keys, masks, widths around a tile; its float meaning against torch's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from harness import Case, activation, suite

from edgeq.errors import EdgeqError
from edgeq.ir import Array, QParams, Tensor, TensorType
from edgeq.ops.attention import Attention
from edgeq.ops.masked_attention import MaskedAttention

RNG = np.random.default_rng(9)
Shape = tuple[int, int, int, int]


def mask_of(*shape: int) -> Array:
    """A bias with excluded keys, none of them in the first column."""
    mask = RNG.normal(0, 1, shape)
    mask[..., 1:][RNG.random(shape)[..., 1:] < 0.3] = -1e4
    return mask.astype(np.float32)


def case(
    name: str, q: Shape, keys: int, share: int = 1, width: int = 0, scale: float = 0.0, masks: int = 0, causal: bool = False,
    scales: tuple[float, float, float] = (0.05, 0.04, 0.03), zeros: tuple[int, int, int] = (3, -5, 7),
) -> Case:  # fmt: skip
    k = (q[0], keys, q[2] // share, q[3])
    v = (*k[:3], width or q[3])
    inputs = tuple(activation(s, f, z) for s, f, z in zip((q, k, v), scales, zeros, strict=True))
    mask = mask_of(masks, q[1], keys) if masks else None
    constants = () if mask is None else (Tensor("", TensorType(mask.shape), mask),)
    op = Attention(scale or q[3] ** -0.5, causal)
    return Case(name, op, (*inputs, *constants), QParams((0.025,), -9), tolerance=1.05, half_tolerance=8)


def masked(name: str, q: Shape, keys: int, mask: tuple[int, int, int], share: int = 1, own: int = 0, causal: bool = False) -> Case:
    """With a mask that is computed; some values exclude keys, -1012 a row as a whole."""
    plain = case(name, q, keys, share, masks=own, causal=causal)
    assert isinstance(plain.op, Attention)
    given = activation((*mask, keys), 4.0, 125)
    return replace(plain, op=MaskedAttention(plain.op.scale, causal), inputs=(*plain.inputs[:3], given, *plain.inputs[3:]))


CASES = [
    masked("given", (1, 5, 2, 4), 6, (1, 1, 1)),
    masked("given_heads", (2, 3, 4, 8), 5, (2, 4, 3), 2),
    masked("given_causal", (2, 5, 2, 5), 7, (2, 1, 1), causal=True),
    masked("given_both", (1, 4, 2, 8), 9, (1, 2, 4), own=2),
    masked("given_one", (1, 1, 4, 8), 9, (1, 4, 1)),
    masked("given_three", (2, 3, 2, 6), 7, (2, 1, 3), own=2, causal=True),
    *(case(f"d{d}_s{s}", (1, 3, 2, d), s) for d, s in ((1, 1), (3, 2), (4, 5), (7, 4), (8, 9), (16, 33), (33, 6))),
    case("shared", (2, 3, 4, 8), 5, 2),
    case("one_group", (1, 2, 3, 5), 7, 3),
    case("width", (1, 4, 2, 6), 5, width=9),
    case("mask", (1, 5, 2, 4), 6, masks=1),
    case("mask_of_heads", (2, 5, 3, 4), 6, masks=3),
    case("causal", (1, 6, 2, 4), 6, causal=True),
    case("causal_prefix", (1, 3, 2, 4), 8, causal=True),
    case("causal_mask", (1, 4, 2, 4), 4, causal=True, masks=1),
    case("flat", (1, 3, 1, 4), 300, scale=1e-4),
    case("tiny_steps", (1, 3, 1, 4), 9, scale=1e-7),
    replace(case("peaked", (1, 3, 1, 4), 9, scale=50.0), half_tolerance=100),
    case("extreme_zeros", (1, 3, 2, 8), 9, zeros=(-128, 127, -128)),
    case("four", (1, 4, 1, 4), 1),
    case("fours", (2, 9, 2, 8), 7),
    case("fours_rest", (1, 6, 4, 7), 5, 2, width=9),
    case("fours_causal", (1, 7, 2, 8), 7, causal=True),
    case("fours_causal_prefix", (2, 6, 1, 5), 11, causal=True, masks=1),
    case("fours_extreme", (1, 5, 1, 8), 9, zeros=(-128, 127, -128), masks=1),
    case("opposite_zeros", (1, 3, 2, 8), 9, zeros=(127, -128, 127)),
]
test_attention = suite(CASES)


@pytest.mark.parametrize("causal", [False, True])
def test_real_equals_torch(causal: bool) -> None:
    torch = pytest.importorskip("torch")
    q, k, v = (RNG.normal(0, 1, s).astype(np.float32) for s in ((3, 2, 6, 4, 8), (3, 2, 6, 2, 8), (3, 2, 6, 2, 5)))
    heads = [torch.from_numpy(a).transpose(-3, -2) for a in (q, k, v)]
    want = torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=causal, enable_gqa=True, scale=0.3)
    np.testing.assert_allclose(Attention(0.3, causal).real(q, k, v), want.transpose(-3, -2).numpy(), rtol=1e-5, atol=1e-5)


def test_excluded_keys_do_not_count() -> None:
    """Whatever their values: a mask and `causal` give the same bytes."""
    q, k, v = (activation((1, 4, 2, 8), 0.1, z) for z in (1, 2, 3))
    out = activation((1, 4, 2, 8), 0.1, 4)
    mask = np.where(np.tri(4, dtype=bool), 0, -1e4).astype(np.float32)[None]
    plain = Attention(0.5, True).bind("single", "n", tuple(Tensor("", t) for t in (q, k, v)), out)
    masked = Attention(0.5).bind("single", "n", (*(Tensor("", t) for t in (q, k, v)), Tensor("", TensorType(mask.shape), mask)), out)
    data = [RNG.integers(-128, 128, (50, *q.shape), np.int8) for _ in range(3)]
    np.testing.assert_array_equal(Attention(0.5, True).reference(plain, *data), Attention(0.5).reference(masked, *data))


def test_errors() -> None:
    q, k = activation((1, 4, 2, 8), 0.1), activation((1, 3, 2, 8), 0.1)
    with pytest.raises(EdgeqError, match="does not fit"):
        Attention(0.5, True).infer(q, k, k)
    with pytest.raises(EdgeqError, match="does not fit"):
        Attention().infer(q, activation((1, 3, 3, 8), 0.1), activation((1, 3, 3, 8), 0.1))
    whole = Tensor("", TensorType((1, 4, 3)), np.full((1, 4, 3), -1e9, np.float32))
    with pytest.raises(EdgeqError, match="every key"):
        Attention().bind("single", "n", (*(Tensor("", t) for t in (q, k, k)), whole), q)
    long = activation((1, 40000, 2, 8), 0.1)
    with pytest.raises(EdgeqError, match="could overflow"):
        Attention().bind("single", "n", tuple(Tensor("", t) for t in (q, long, long)), q)
