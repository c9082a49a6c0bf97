"""What a kernel computes, and on which types."""

from __future__ import annotations

from dataclasses import dataclass, replace

OWN_WEIGHTS = {"f16": "f16"}  # the weights that go without saying with an output of a type; int8 with all others

NARROW = frozenset({"s4"})  # weights that kernels may multiply as they are stored


@dataclass(frozen=True)
class Signature:
    """An operator on types of C: ``s8``, ``s16``, ``s32``, ``f16``, ``f32``; of weights also ``s8z``, int8 with a zero point other
    than 0, and ``s4``: four bits, multiplied as they are stored.

    Attributes:
        op: by `Op.kernel_op`.
        x, y: the first operand and the first result.
        w, r: constant weights, and of a recurrent layer those of its state; nothing where there are none.
        sum: what products are summed up in.
    """

    op: str
    x: str
    y: str
    w: str = ""
    r: str = ""
    sum: str = ""

    @property
    def decoded(self) -> Signature:
        """The signature of kernels that read weights of fewer bits as int8."""
        w, r = ("s8" if t in NARROW else t for t in (self.w, self.r))
        return replace(self, w=w, r=r)

    @property
    def types(self) -> str:
        """The part of names that says on what: ``s8``, ``f32_s8``, ``f16_w8`` (docs/kernel-names.md)."""
        parts = [self.y] if self.x == self.y else [self.x, self.y]
        if self.sum == "f16":
            parts.append("a16")
        if self.w.endswith("z"):
            parts.append("wz")
        elif self.w and self.w != OWN_WEIGHTS.get(self.y, "s8"):
            parts.append(f"w{self.w[1:]}")
        if self.r != self.w and self.r:
            parts.append(f"r{self.r[1:]}")
        return "_".join(parts)
