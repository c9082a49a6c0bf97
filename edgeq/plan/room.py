"""Scratch that a plan has room for: calls that are faster with more of it get what lies unused in the arena while they run.

A convolution reads its weights once for every few pixels. The more pixels' inputs it keeps expanded, the less often it reads them, and
where weights wait for flash it may copy two rows of them to scratch before all of these pixels meet them (docs/timing.md). A depthwise
convolution computes all lines of a channel at a time where it keeps all lines of its input. The arena does not grow for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edgeq.board import load as load_board
from edgeq.ir import Params
from edgeq.plan.arena import MemoryPlan, plan
from edgeq.program import Call, Program
from edgeq.target import Target
from edgeq.timing import timing

WEIGHTS_IN = ("auto", "flash", "ram")  # where an inference reads weights; auto: flash, with copies of rows where these save time
BLOCK = 32  # bytes that a kernel copies at a time: eight words by one LDM and one STM
WORTH = 8  # an arena smaller by a part of so many is worth calls that are slower for it
CONSTANTS = 2  # lines of the cache that a channel's constants take


@dataclass(frozen=True)
class Flash:
    """What reading weights from flash costs, by a board's [estimate] and its core's [timing].

    Attributes:
        line, lines: bytes of a line and lines of the cache for data.
        wait: cycles of a line that is not in the cache.
        copies: whether rows may be copied to scratch.
        copying: cycles of a block of `BLOCK` bytes to scratch, without the wait.
    """

    line: int
    lines: int
    wait: float
    copying: float
    copies: bool = True

    def cycles(self, row: int, triples: int, copied: int) -> float:
        """Of two rows of weights, `row` bytes, that `triples` times three pixels meet."""
        waits = row / self.line * self.wait
        if copied:
            return waits + row / BLOCK * self.copying
        return waits * (1 if row <= (self.lines - CONSTANTS) * self.line else triples)


def _flash(target: Target, weights: str) -> Flash:
    """A target's; without a model of its core, or a cache before its flash, nothing waits, nor where weights lie in RAM."""
    model = timing(target, place := load_board(target)) if target.data.get("timing") and weights != "ram" else None
    if model is None or not place.estimate.flash_lines:
        return Flash(BLOCK, 0, 0, 0, weights == "auto")
    words = BLOCK // 4 * (model.cost("load_words") + model.cost("store_words"))
    copying = 4 * model.cost("instruction") + words + model.cost("taken")  # LDM, STM, SUBS and the branch
    return Flash(place.estimate.flash_line, place.estimate.flash_lines, model.cost("data_miss"), copying, weights == "auto")


def _taken(program: Program, plan: MemoryPlan, index: int) -> Iterator[tuple[int, int]]:
    """(offset, end) of what lives in the arena while a call runs, its own scratch apart."""
    for name, (first, last) in plan.lifetimes.items():
        if first <= index <= last:
            size, lines, at = program.room(name), program.lines.get(name), plan.offsets[name]
            used = lines.at(index) if lines else size
            yield (at + size - used, at + size) if name in plan.behind else (at, at + used)
    for band in program.bands:
        if band.first <= index <= band.last and band.parts[-1].gathers:  # sums, from turn to turn
            yield plan.scratch[band.last], plan.scratch[band.last] + program.calls[band.last].scratch
        if band.first <= index <= band.last and plan.counters is not None and band.counters:
            yield plan.counters, plan.counters + 4 * band.counters


def gaps(program: Program, plan: MemoryPlan, index: int) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of the arena where nothing else lives while a call runs."""
    at = 0
    for start, end in [*sorted(_taken(program, plan, index)), (plan.arena_bytes, plan.arena_bytes)]:
        aligned = -(-at // plan.alignment) * plan.alignment
        if start > aligned:
            yield aligned, start - aligned
        at = max(at, end)


def _with(params: Params, scalars: Mapping[str, int]) -> Params:
    made = replace(params, scalars={**params.scalars, **scalars})
    made._derived.update(params._derived)
    return made


def _grown(call: Call, room: int, flash: Flash) -> dict[str, int]:
    """What makes a call the fastest whose scratch is `room` bytes at most: scalars of its constants."""
    p = call.params

    def scratch(**scalars: int) -> int:
        return call.kernel.scratch_bytes(_with(p, scalars))

    if call.kernel.scratch_names("all_lines"):
        return {"all_lines": 1} if scratch(all_lines=1) <= room else {}
    most = max(1, p.out_h * p.out_w // 3)

    one, two = scratch(triples=1, copied=0), scratch(triples=2, copied=0)
    row = scratch(triples=1, copied=1) - one
    found = []
    for copied in (0, 1) if flash.copies and row % BLOCK == 0 else (0,):
        triples = min(most, 1 + max(0, room - one - copied * row) // (two - one))
        if copied and triples == 1:
            continue
        cycles = flash.cycles(row, triples, copied) / triples  # for three pixels and two channels
        found.append(({"triples": triples, "copied": copied}, cycles))
    return min(found, key=lambda f: f[1])[0]


def filled(program: Program, plan: MemoryPlan, weights: str = "auto") -> tuple[Program, MemoryPlan]:
    """Give calls what their kernels can use of the gaps of the arena. Where tables are copied to it there is none.

    Args:
        weights: of `WEIGHTS_IN`.
    """
    if plan.buffers:
        return program, plan
    flash = _flash(program.target, weights)
    calls, places, parts = list(program.calls), dict(plan.scratch), program.parts
    for i, call in enumerate(program.calls):
        if call.staged or call.tiled is not None or call.shares or not call.kernel.takes_room(call.params):
            continue
        offset, room = max(gaps(program, plan, i), key=lambda g: (g[1], -g[0]))
        scalars = _grown(call, room, flash)
        kinds = {t: _with(p, scalars) for t, p in parts[i].variants.items()} if i in parts else {}
        params = _with(call.params, scalars)
        scratch = max(call.kernel.scratch_bytes(p) for p in (params, *kinds.values()))
        if call.scratch < scratch <= room:
            calls[i] = replace(call, params=params, scratch=scratch)
            places[i] = offset
            if kinds:
                parts[i] = replace(parts[i], variants=kinds)
    bands = tuple(replace(b, parts=tuple(parts[b.first + k] for k in range(len(b.parts)))) for b in program.bands)
    return replace(program, calls=tuple(calls), bands=bands), replace(plan, scratch=places)


def roomiest(program: Program) -> MemoryPlan:
    """The plan without a limit: results that trail what is read leave less scratch, which has to be worth it."""
    close = plan(program)
    if not close.trails or not any(c.kernel.takes_room(c.params) for c in program.calls):
        return close
    apart = plan(program, trailing=False)
    scratch = [sum(c.scratch for c in filled(program, memory)[0].calls) for memory in (close, apart)]
    return apart if scratch[0] < scratch[1] and close.arena_bytes * WORTH > apart.arena_bytes * (WORTH - 1) else close
