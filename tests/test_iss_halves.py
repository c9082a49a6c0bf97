"""Halves on the instruction-set simulator: two lanes in a register, conversions, and recurrent layers that a cluster divides by units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from iss_programs import LEAVE, ORIGIN, addi, branch, elf, i_type, lui, r_type, store
from test_cluster import cell, run

from edgeq import api, half
from edgeq import target as targets
from edgeq.board import Region, load
from edgeq.build import Program, build_programs, toolchain
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Tensor, TensorType
from edgeq.ops.gru import Gru
from edgeq.ops.lstm import Lstm
from edgeq.record import manifest
from edgeq.run.iss.machine import Machine
from edgeq.run.layout import Layout
from edgeq.simulate import simulate

MEMORY = {"ram": Region(ORIGIN, 1 << 20)}
COUNT, DATA = 400, 0x1000
SPECIAL = np.array([0, 0x8000, 1, 0x8001, 0x3FF, 0x400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x3C00, 0x1000], np.uint16)
Columns = tuple[np.ndarray, ...]


def operands() -> Columns:
    """Three columns of words of two halves: random bits, and all pairs of special ones."""
    rng = np.random.default_rng(16)
    found = [rng.integers(0, 1 << 32, COUNT, np.uint64).astype(np.uint32) for _ in range(3)]
    pairs = np.array([(a, b) for a in SPECIAL for b in SPECIAL], np.uint32)
    found[0][: len(pairs)], found[1][: len(pairs)] = pairs[:, 0] | pairs[:, 0] << 16, pairs[:, 1] | pairs[::-1, 1] << 16
    found[2][::2] = np.float32(found[2][::2] % 1000).view(np.uint32)  # sums in float32, and any bits
    return tuple(found)


def computed(path: Path, word: int, columns: Columns) -> np.ndarray:
    """What f3 holds after an instruction on f1 and f2, for each row of f1, f2 and f3 before."""
    begin: list[int | bytes] = [lui(9, (ORIGIN + DATA) >> 12), lui(11, 0x10000), addi(8, 0, COUNT)]
    loop = [i_type(0x07, 2, r, 9, 4 * r - 4) for r in (1, 2, 3)] + [word, addi(9, 9, 12), r_type(0x53, 0, 0x70, 5, 3, 0)]
    for _ in range(4):
        loop += [store(0, 5, 11, 0), i_type(0x13, 5, 5, 5, 8)]
    loop += [addi(8, 8, -1)]
    program = [*begin, *loop, branch(1, 8, 0, -4 * len(loop)), *LEAVE]
    data = np.stack(columns, axis=1).astype("<u4").tobytes()
    with Machine(elf(path / "p.elf", [*program, bytes(DATA - 4 * len(program)), data]), MEMORY) as m:
        assert m.run() == 0
        return np.frombuffer(bytes(m.sent), "<u4")


def lanes(words: np.ndarray) -> np.ndarray:
    """float64 ``[N, 2]``, the lower half first."""
    return np.ascontiguousarray(words).view(np.float16).reshape(-1, 2).astype(np.float64)


def packed(x: np.ndarray) -> np.ndarray:
    """Words of ``[N, 2]`` rounded to halves once, not-a-number 0x7e00."""
    with np.errstate(all="ignore"):
        h = x.astype(np.float16)
    h[np.isnan(h)] = np.float16(np.nan)
    return np.ascontiguousarray(h).view(np.uint32)[:, 0]


def dot(a: np.ndarray, b: np.ndarray, start: np.ndarray) -> np.ndarray:
    """float32, the first lane's product first."""
    x, w = (lanes(v).astype(np.float32) for v in (a, b))
    with np.errstate(all="ignore"):
        total = (start.view(np.float32) + x[:, 0] * w[:, 0]) + x[:, 1] * w[:, 1]
    return np.where(np.isnan(total), np.uint32(0x7FC00000), total.view(np.uint32))


INSTRUCTIONS: dict[str, tuple[int, int, Callable[..., np.ndarray]]] = {
    "vfadd.h": (0x41, 2, lambda a, b, c: packed(lanes(a) + lanes(b))),
    "vfsub.h": (0x42, 2, lambda a, b, c: packed(lanes(a) - lanes(b))),
    "vfmul.h": (0x43, 2, lambda a, b, c: packed(lanes(a) * lanes(b))),
    "vfmin.h": (0x45, 2, lambda a, b, c: packed(np.fmin(lanes(a), lanes(b)))),
    "vfmax.h": (0x46, 2, lambda a, b, c: packed(np.fmax(lanes(a), lanes(b)))),
    "vfmac.h": (0x48, 2, lambda a, b, c: packed(lanes(a) * lanes(b) + lanes(c))),
    "vfmac.r.h": (0x48, 6, lambda a, b, c: packed(lanes(a) * lanes(b)[:, :1] + lanes(c))),
    "vfdotpex.s.h": (0x4B, 2, dot),
    "vfcpka.h.s": (0x58, 2, lambda a, b, c: packed(np.stack([a, b], 1).view(np.float32))),
}


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_lanes_of_halves(tmp_path: Path, name: str) -> None:
    f7, f3, meaning = INSTRUCTIONS[name]
    columns = operands()
    if name in ("vfmin.h", "vfmax.h"):  # numpy does not say which zero it gives
        columns = (columns[0] | 1, columns[1] | 0x10001, columns[2])
    with np.errstate(all="ignore"):
        expected = meaning(*columns)
    np.testing.assert_array_equal(computed(tmp_path, r_type(0x33, f3, f7, 3, 1, 2), columns), expected)


def test_conversions_of_every_half(tmp_path: Path) -> None:
    """fcvt.s.h reads a half that is boxed, and fcvt.h.s boxes one; what is not boxed is not-a-number."""
    a, b, c = operands()
    boxed = a | 0xFFFF0000
    x = a.astype(np.uint16).view(np.float16).astype(np.float32)
    expected = np.where(np.isnan(x), np.uint32(0x7FC00000), x.view(np.uint32))
    np.testing.assert_array_equal(computed(tmp_path, r_type(0x53, 0, 0x20, 3, 1, 2), (boxed, b, c)), expected)
    np.testing.assert_array_equal(computed(tmp_path, r_type(0x53, 0, 0x20, 3, 1, 2), (a & 0xFFFF, b, c)), np.full(COUNT, 0x7FC00000))
    halves = half.from_float(c.view(np.float32)).view(np.uint16) | np.uint32(0xFFFF0000)
    np.testing.assert_array_equal(computed(tmp_path, r_type(0x53, 0, 0x22, 3, 1, 0), (c, b, c)), halves)


@pytest.mark.parametrize("word", [r_type(0x33, 0, 0x48, 3, 1, 2), r_type(0x33, 2, 0x44, 3, 1, 2), r_type(0x53, 0, 0x02, 3, 1, 2)])
def test_what_is_not_there_is_refused(tmp_path: Path, word: int) -> None:
    """Lanes of float32, quotients of lanes, additions of single halves."""
    with pytest.raises(EdgeqError, match="exception 2"):
        computed(tmp_path, word, operands())


def halved(graph: Graph, accumulate: str) -> Graph:
    """A layer of `cell` in half precision."""
    rng, made = np.random.default_rng(3), {}
    for name, t in graph.tensors.items():
        bias = t.type.dtype is DType.INT32
        dtype = DType.FLOAT32 if bias else DType.FLOAT16
        data = None if t.data is None else rng.normal(0, 0.2, t.type.shape).astype(np.float32 if bias else np.float16)
        made[name] = Tensor(name, TensorType(t.type.shape, dtype), data)
    (node,) = graph.nodes
    assert isinstance(node.op, Lstm | Gru)
    op = type(node.op)(accumulate="f16" if accumulate == "f16" else "f32")
    return replace(graph, tensors=made, nodes=(replace(node, op=op),))


@pytest.mark.parametrize("op", [Lstm(), Gru()], ids=["lstm", "gru"])
@pytest.mark.parametrize("sums", ["f32", "f16"])
@pytest.mark.parametrize("units, fast", [(37, "64K"), (64, "24K")])
def test_any_number_of_harts_computes_the_same_halves(tmp_path: Path, op: Lstm | Gru, sums: str, units: int, fast: str) -> None:
    """Units that fill no whole group, or run by tiles, and inputs that fill no whole word."""
    graph = halved(cell(op, units, 21), sums)
    built = api.build(graph, output=tmp_path / "m", target="pulp-cluster-half", name="m", vectors=0, check=False, weights_stream=fast)
    code = (built.folder / "m.c").read_text()
    assert "eq_fork(" in code and "eq_copy_start" in code and f"xfvec/{op.kind()}_f16.c.j2" in (built.folder / "m_kernels.c").read_text()
    target, program = targets.load("pulp-cluster-half"), Program("bench", hook=True)
    (tmp_path / "work").mkdir()
    made = build_programs(built.folder, target, toolchain(target), [program], tmp_path / "work")[program]
    rng = np.random.default_rng(1)
    inputs = {n: rng.normal(0, 1, (2, *graph.type(n).shape)).astype(np.float16) for n in graph.inputs}
    truth, layout, full = simulate(graph, inputs), Layout(manifest(built.folder)), load(target).cluster
    assert full is not None
    for harts in (2, 3, 5, 9):
        found, _ = run(made, built.folder, inputs, replace(full, harts=harts))
        for name, value in layout.unpack_outputs(found.outputs).items():
            np.testing.assert_array_equal(value, truth.outputs[name], name)
