"""Rounding of weights to integers."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq import matrices
from edgeq.quantize import weight_scales
from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.rounding import ROUNDINGS, second_order
from edgeq.traits import View


def test_columns_in_blocks_round_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    matrix = rng.normal(0, 1, (2, 9, 75))
    seen = rng.normal(0, 1, (2, 300, 75)) @ rng.normal(0, 1, (75, 75))
    h = seen.transpose(0, 2, 1) @ seen / 300 + 0.1 * np.eye(75)
    scales = weight_scales.widest(matrix, (-127, 127))
    found, u = [], matrices.inverse_root(h)
    for columns in (1, 32, 75):
        monkeypatch.setattr(second_order, "COLUMNS", columns)
        columns_first = second_order._brain_quantize(matrix, scales, u, lambda v: np.clip(np.rint(v), -127, 127))
        found.append(np.moveaxis(columns_first, 0, 2))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])

    def error(q: np.ndarray) -> float:
        d = q * scales[..., None] - matrix
        return float(np.einsum("gok,gkl,gol->", d, h, d))

    assert error(found[1]) < 0.5 * error(weight_scales.within(np.rint(matrix / scales[..., None]), (-127, 127)))


def test_the_transpose_of_a_product_has_its_bits() -> None:
    rng = np.random.default_rng(6)
    for spread in (1.0, 2.0**20):  # of one part, and of two
        a, b = (rng.normal(0, 1, shape) * spread ** rng.uniform(-1, 0, shape) for shape in ((2, 30, 700), (2, 700, 20)))
        assert np.array_equal(matrices.turned(a, b).swapaxes(1, 2), matrices.matmul(a, b))


def wide(columns: int, rows: int = 16, count: int = 300) -> LayerProblem:
    rng = np.random.default_rng(8)
    x = (rng.normal(0, 1, (count, 24)) @ rng.normal(0, 1, (24, columns)) + 0.1 * rng.normal(0, 1, (count, columns))).astype(np.float32)
    matrix = rng.normal(0, 1, (1, rows, columns))
    view = View(lambda a: a.reshape(1, -1, columns), lambda m: m[None], lambda m: m[0], (1,), columns)
    return LayerProblem(matrix, weight_scales.widest(matrix, (-7, 7)), (-7, 7), view, x, x)


def test_blocks_of_a_wide_matrix_make_up_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = wide(600)
    whole, near = ROUNDINGS["second-order"](problem)[0], ROUNDINGS["nearest"](problem)[0]
    monkeypatch.setattr(second_order, "WIDE", 100)
    monkeypatch.setattr(second_order, "BLOCK", 100)
    blocks = ROUNDINGS["second-order"](problem)[0]
    least = -float(((problem.matrix @ problem.moments.cross) * problem.matrix).sum())
    error = {name: problem.loss(q) - least for name, q in (("whole", whole), ("blocks", blocks), ("nearest", near))}
    assert error["blocks"] < 0.1 * error["nearest"] and np.abs(blocks).max() <= 7 and np.array_equal(blocks, np.rint(blocks))
