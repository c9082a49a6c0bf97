"""Layouts of weights, unpacked again by what their kernels do, on rows that they cut at every place."""

import numpy as np
import pytest

from edgeq.kernels.layouts import layout


def weights(rows: int, length: int, seed: int) -> np.ndarray:
    """int8, in stretches of small and of large ones."""
    rng = np.random.default_rng(seed)
    most = np.repeat(rng.choice([0, 3, 30, 60, 127], 1 + length // 16), 16)[:length]
    return rng.integers(-most, most + 1, (rows, length)).astype(np.int8)


@pytest.mark.parametrize("rows, length", [(1, 1), (3, 2), (7, 9), (5, 700), (4, 4500)])
def test_runs_hold_every_weight_in_groups_that_fit(rows, length):
    given = weights(rows, length, length)
    if length == 4500:
        given[:] = 127  # more groups than a byte counts
        given[:, 3000:] = 1
    packed, at = layout("runs(3)")(given), 0
    for block in (given[o : o + 3] for o in range(0, rows, 3)):
        count, taken, size = int(packed[at].view(np.uint8)) + 256 * int(packed[at + 1]), [], 6
        at += 2
        while len(taken) < length or size != 6:  # a block ends behind groups of two
            run = int(packed[at])
            assert run >= 0
            for group in packed[at + 1 : at + 1 + run * size * len(block)].reshape(run, size, len(block)):
                assert size == 2 or np.abs(group.astype(int)).sum(0).max() < 256
                taken += list(group)
            at, size, count = at + 1 + run * size * len(block), {6: 4, 4: 2, 2: 6}[size], count - run
        assert count == 0 and np.array_equal(np.array(taken)[:length].T, block) and not np.any(taken[length:])
    assert at == len(packed)


@pytest.mark.parametrize("length", [2, 10, 640])
def test_stretches_hold_every_weight_and_fit(length):
    given = weights(32, length, length)
    packed, at = layout("lane_stretches(16)")(given), 0
    for block in (given[:16], given[16:]):
        place = 0
        while place < length:
            half = int(packed[at])
            rows = packed[at + 1 : at + 1 + 8 * half].view(np.uint8).reshape(half, 8, 2, 2).transpose(1, 2, 0, 3).reshape(16, 2 * half)
            part = rows.astype(int) - 128
            assert half == 1 or np.abs(part).sum(1).max() < 256
            assert np.array_equal(part, block[:, place : place + 2 * half])
            at, place = at + 1 + 8 * half, place + 2 * half
    assert at == len(packed)
