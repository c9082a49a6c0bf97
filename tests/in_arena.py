"""A runner for tests whose inputs and outputs lie in the arena at their offsets: all memory that the model has, nothing beside it.

And a placer: all results that may lie over what is read do, each as near its operand as it may."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgeq.build import COMMON_FLAGS, sources
from edgeq.ir import Array
from edgeq.plan import arena as planner
from edgeq.plan.place import Block, Trails, height
from edgeq.process import run_tool
from edgeq.record import manifest
from edgeq.run.layout import Layout
from edgeq.simulate import Run

LOOP = """
#include <string.h>
#include "eq_step.h"
#include "%(model)s.h"

static unsigned char *steps_out;

void eq_step(int32_t index, const void *output, int32_t bytes)
{
    (void)index;
    memcpy(steps_out, output, (size_t)bytes);
    steps_out += (bytes + 3) / 4 * 4;
}

void run_in_arena(int32_t vectors, unsigned char *arena, const unsigned char *in, unsigned char *out, unsigned char *steps)
{
    steps_out = steps;
    for (int32_t i = 0; i < vectors; i++) {
        memset(arena, 0x55 + i, %(arena)d);
%(load)s
        %(model)s_invoke(arena, %(arguments)s);
%(store)s
    }
}
"""


def run(folder: Path, inputs: Mapping[str, Array], optimize: str = "-O1") -> Run:
    """Compile an emitted folder with GCC and run every vector with its buffers inside a poisoned arena; all steps kept."""
    data = manifest(folder)
    layout = Layout(data)
    vectors, packed = layout.pack(inputs)
    copies: dict[str, list[str]] = {"in": [], "out": []}
    for side, entries in (("in", layout.inputs), ("out", layout.outputs)):
        for x in entries:
            place = f"arena + {x.offset}"
            to, source = (place, "in") if side == "in" else ("out", place)
            copies[side].append(f"        memcpy({to}, {source}, {x.bytes}); {side} += {(x.bytes + 3) // 4 * 4};")
    text = LOOP % {
        "model": data.model, "arena": data.arena_bytes, "load": "\n".join(copies["in"]), "store": "\n".join(copies["out"]),
        "arguments": ", ".join(f"(void *)(arena + {x.offset})" for x in (*layout.inputs, *layout.outputs)),
    }  # fmt: skip
    (folder / "in_arena.c").write_text(text)
    library = folder / "in_arena.so"
    flags = [f for f in COMMON_FLAGS if f != "-Wconversion"]
    files = [*sources(folder, data), str(folder / "in_arena.c")]
    run_tool(["gcc", *flags, optimize, "-shared", "-fPIC", "-DEQ_HOOK", *files, "-o", str(library)], "test")
    arena = np.zeros(layout.arena_bytes + 16, np.uint8)
    start = -arena.ctypes.data % 16
    out = np.zeros((vectors, layout.output_bytes), np.uint8)
    steps = np.zeros((vectors, layout.step_bytes), np.uint8)
    pointers = [ctypes.c_void_p(p) for p in (arena.ctypes.data + start, packed.ctypes.data, out.ctypes.data, steps.ctypes.data)]
    ctypes.CDLL(str(library)).run_in_arena(ctypes.c_int32(vectors), *pointers)
    return Run("host in arena", layout.unpack_outputs(out), layout.unpack_steps(steps))


def closest(problems: Sequence[Sequence[Block]], bound: int, trails: Sequence[Trails] | None = None) -> tuple[int, int, str, list[int]]:
    """Every result begins as near its operand as it may, and nothing else shares a byte."""
    assert trails is not None
    offsets, top = [-1] * len(problems[0]), 0
    for (y, x), distance in trails[0].items():
        assert offsets[x] < 0
        if offsets[y] < 0:
            offsets[y] = top - min(distance, 0)
            offsets[x] = top + max(distance, 0)
            top = max(offsets[y] + problems[0][y].largest, offsets[x] + problems[0][x].largest)
    for i, block in enumerate(problems[0]):
        if offsets[i] < 0:
            offsets[i], top = top, top + block.largest
    return 0, height(problems[0], offsets), "by hand", offsets


def bring_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans place like this until the test ends."""
    monkeypatch.setattr(planner, "_needed", lambda program, totals, followed, unit: (list(totals), followed))
    monkeypatch.setattr(planner, "place", closest)
