"""Rounding of weights to integers."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq.quantize import weight_scales
from edgeq.quantize.rounding import second_order


def test_columns_in_blocks_round_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    matrix = rng.normal(0, 1, (2, 9, 75))
    seen = rng.normal(0, 1, (2, 300, 75)) @ rng.normal(0, 1, (75, 75))
    h = seen.transpose(0, 2, 1) @ seen / 300 + 0.1 * np.eye(75)
    scales = weight_scales.widest(matrix, (-127, 127))
    found = []
    for columns in (1, 32, 75):
        monkeypatch.setattr(second_order, "COLUMNS", columns)
        found.append(second_order._brain_quantize(matrix, scales, h, (-127, 127)))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])

    def error(q: np.ndarray) -> float:
        d = q * scales[..., None] - matrix
        return float(np.einsum("gok,gkl,gol->", d, h, d))

    assert error(found[1]) < 0.5 * error(weight_scales.within(np.rint(matrix / scales[..., None]), (-127, 127)))
