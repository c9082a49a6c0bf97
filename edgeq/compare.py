"""Run x Run -> the first differing step, index and both values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.simulate import Run


@dataclass(frozen=True)
class Difference:
    """The first place where two runs differ."""

    tensor: str
    vector: int
    index: tuple[int, ...]
    expected: float
    actual: float
    count: int
    total: int

    def __str__(self) -> str:
        return (
            f"first difference: tensor '{self.tensor}', vector {self.vector}, index {list(self.index)}: "
            f"expected {self.expected:g}, got {self.actual:g} ({self.count} of {self.total} values of this tensor differ)"
        )


@dataclass(frozen=True)
class Comparison:
    """What was compared, and the first difference if there is one."""

    expected: str
    actual: str
    vectors: int
    tensors: int
    values: int
    difference: Difference | None

    @property
    def bit_exact(self) -> bool:
        return self.difference is None


def compare(expected: Run, actual: Run) -> Comparison:
    """Compare every tensor that both runs hold, in the order of `actual` (steps first, then outputs).

    The bytes are compared: two NaNs of one payload are equal, -0.0 and 0.0 are not.
    """
    pairs = {**{n: (expected.steps[n], a) for n, a in actual.steps.items() if n in expected.steps}}
    pairs |= {n: (expected.outputs[n], a) for n, a in actual.outputs.items()}
    values, first = 0, None
    for name, (want, got) in pairs.items():
        values += want.size
        if want.dtype != got.dtype or want.shape != got.shape:
            raise ValueError(f"{name}: {want.dtype}{want.shape} against {got.dtype}{got.shape}")
        bits = f"u{want.dtype.itemsize}"
        differs = np.ascontiguousarray(want).view(bits) != np.ascontiguousarray(got).view(bits)
        if first is None and differs.any():
            at = tuple(int(i) for i in np.argwhere(differs)[0])
            first = Difference(name, at[0], at[1:], float(want[at]), float(got[at]), int(differs.sum()), differs.size)
    vectors = len(next(iter(actual.outputs.values())))
    return Comparison(expected.runner, actual.runner, vectors, len(pairs), values, first)
