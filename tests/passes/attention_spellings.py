"""Attention in the words of many exporters: a generator of ONNX models, each of which is one attention whatever its spelling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto
from onnx_models import Net

F = np.float32
SCALES = ("scores", "divided", "q", "k", "both", "softmaxed", "none")
MASKS = ("none", "causal", "filled", "padding", "heads", "multiplied", "given", "given_bool", "lengths", "bert", "given_and_own")
SHARING = ("own", "repeated", "broadcast", "expanded")
PRODUCTS = ("matmul", "transposed", "einsum")
SOFTMAX = ("operator", "shifted", "spelled", "late")


@dataclass
class Spelling:
    """One way to spell attention: a word of each of the lists above, ``[batch, t, h * d]`` in and out."""

    scale: str = "scores"
    mask: str = "none"
    sharing: str = "own"
    first: str = "matmul"
    second: str = "matmul"
    softmax: str = "operator"
    batch: int = 1
    net: Net = field(default_factory=Net)
    t: int = 5
    h: int = 4
    d: int = 4

    def __str__(self) -> str:
        return f"{self.batch}-{self.scale}-{self.mask}-{self.sharing}-{self.first}-{self.second}-{self.softmax}"

    @property
    def groups(self) -> int:
        return {"own": self.h, "repeated": 2, "expanded": 2, "broadcast": 1}[self.sharing]

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return str(self.net.op(kind, *inputs, **attributes))

    def number(self, value: float) -> str:
        return self.net.const(value, F)

    def projected(self, x: str, heads: int) -> str:
        """``[B, T, heads, d]``."""
        width = heads * self.d
        made = self.op("MatMul", x, self.net.const(self.net.rng.normal(0, 0.4, (self.h * self.d, width)), F))
        return self.op("Reshape", made, self.net.ints(self.batch, self.t, heads, self.d))

    def repeated(self, x: str) -> str:
        """``[B, G, ...]`` as ``[B, H, ...]``."""
        share = self.h // self.groups
        if self.sharing == "repeated":
            return self.op("Gather", x, self.net.ints(*np.repeat(np.arange(self.groups), share).tolist()), axis=1)
        if self.sharing == "expanded":
            five = self.op("Unsqueeze", x, self.net.ints(2))
            wide = self.op("Expand", five, self.net.ints(self.batch, self.groups, share, self.t, self.d))
            return self.op("Reshape", wide, self.net.ints(self.batch, self.h, self.t, self.d))
        return x

    def model(self) -> ModelProto:
        x = self.net.input(self.batch, self.t, self.h * self.d)
        q, k, v = (self.projected(x, n) for n in (self.h, self.groups, self.groups))
        q, k, v = (self.op("Transpose", a, perm=[0, 2, 1, 3]) for a in (q, k, v))
        if self.scale in ("q", "both"):
            q = self.op("Mul", q, self.number(0.5 if self.scale == "q" else 0.7))
        if self.scale in ("k", "both"):
            k = self.op("Div", k, self.number(2.0 if self.scale == "k" else 1.4))
        k, v = self.repeated(k), self.repeated(v)
        scores, order = self.scores(q, k)
        scores = self.scaled(scores)
        if order == "bhst":
            scores = self.op("Transpose", scores, perm=[0, 1, 3, 2])
        p, e = self.weights(self.masked(scores))
        y = self.product(p, v)
        if e:
            y = self.op("Div", y, self.op("ReduceSum", e, self.net.ints(3), keepdims=1))
        y = self.op("Reshape", self.op("Transpose", y, perm=[0, 2, 1, 3]), self.net.ints(self.batch, self.t, -1))
        return self.net.model(y)

    def scores(self, q: str, k: str) -> tuple[str, str]:
        if self.first == "einsum":
            return self.op("Einsum", k, q, equation="bhsd,bhtd->bhst"), "bhst"
        if self.first == "transposed":
            return self.op("MatMul", k, self.op("Transpose", q, perm=[0, 1, 3, 2])), "bhst"
        return self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2])), "bhts"

    def scaled(self, scores: str) -> str:
        if self.scale == "scores":
            return self.op("Mul", scores, self.number(0.5))
        return self.op("Div", scores, self.number(2.0)) if self.scale == "divided" else scores

    def masked(self, scores: str) -> str:
        t, net = self.t, self.net
        later, tail = np.triu(np.ones((t, t), bool), 1), np.arange(t) >= t - 2
        if self.mask in ("causal", "given_and_own"):
            scores = self.op("Add", scores, net.const(np.where(later, -1e9, 0), F))
        if self.mask == "filled":
            scores = self.op("Where", net.const(later), self.number(float(np.finfo(F).min)), scores)
        if self.mask == "padding":
            scores = self.op("Add", net.const(np.where(tail, -1e4, 0).reshape(1, 1, 1, t), F), scores)
        if self.mask == "heads":
            scores = self.op("Sub", scores, net.const(np.linspace(-1, 1, self.h * t * t).reshape(self.h, t, t), F))
        if self.mask == "multiplied":
            kept = net.const(~later, F)
            away = self.op("Mul", self.op("Sub", self.number(1.0), kept), self.number(1e4))
            scores = self.op("Sub", self.op("Mul", scores, kept), away)
        if self.mask in ("given", "given_and_own"):
            scores = self.op("Add", scores, net.input(self.batch, 1, t, t, name="mask"))
        if self.mask == "given_bool":
            kept = self.op("Cast", net.input(self.batch, 1, 1, t, name="mask"), to=TensorProto.BOOL)
            scores = self.op("Where", kept, scores, self.number(-np.inf))
        if self.mask == "lengths":
            places = net.const(np.arange(t).reshape(1, 1, 1, t), F)
            scores = self.op("Where", self.op("Less", places, net.input(self.batch, 1, 1, 1, name="mask")), scores, self.number(-1e9))
        if self.mask == "bert":
            outside = self.op("Sub", self.number(1.0), net.input(self.batch, 1, 1, t, name="mask"))
            scores = self.op("Add", scores, self.op("Mul", outside, self.number(-1e4)))
        return self.op("Mul", scores, self.number(0.5)) if self.scale == "softmaxed" else scores

    def weights(self, scores: str) -> tuple[str, str]:
        """Their softmax; or exponentials, that are divided later, twice."""
        if self.softmax == "operator":
            return self.op("Softmax", scores, axis=-1), ""
        scores = self.op("Sub", scores, self.op("ReduceMax", scores, axes=[3], keepdims=1))
        if self.softmax == "shifted":
            return self.op("Softmax", scores, axis=-1), ""
        e = self.op("Exp", scores)
        return (e, e) if self.softmax == "late" else (self.op("Div", e, self.op("ReduceSum", e, self.net.ints(3), keepdims=1)), "")

    def product(self, p: str, v: str) -> str:
        if self.second == "einsum":
            return self.op("Einsum", v, p, equation="bhse,bhts->bhte")
        if self.second == "transposed":
            made = self.op("MatMul", self.op("Transpose", v, perm=[0, 1, 3, 2]), self.op("Transpose", p, perm=[0, 1, 3, 2]))
            return self.op("Transpose", made, perm=[0, 1, 3, 2])
        return self.op("MatMul", p, v)


def random_spelling(rng: np.random.Generator) -> Spelling:
    def one(words: tuple[str, ...]) -> str:
        return str(words[rng.integers(len(words))])

    sharing, softmax = one(SHARING), one(SOFTMAX)
    first, second = (PRODUCTS[rng.integers(2 if sharing == "broadcast" else 3)] for _ in range(2))
    second = "matmul" if softmax == "late" else second
    return Spelling(one(SCALES), one(MASKS), sharing, first, second, softmax, int(rng.integers(1, 3)))
