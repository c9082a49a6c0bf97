"""Programs within a limit of memory: as few bands of rows as that takes, or the least memory that there is, and what each way costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeq.errors import EdgeqError
from edgeq.plan.arena import MemoryPlan, plan
from edgeq.plan.room import roomiest
from edgeq.plan.segments import Search, extra
from edgeq.program import Program

ATTEMPTS = 6
WIDER = (0.25, 0.5, 0.75)  # of what offsets take beyond the least need
SHARES = (0.5, 0.25, 0.1, 0.0)  # of what bands can save at most that a way leaves


def fitted(program: Program, limit: float | None) -> tuple[Program, MemoryPlan]:
    """The program with as few bands as it needs for an arena of `limit` bytes, and its plan; of the least arena where none fits.

    Args:
        limit: None for the least arena that there is.
    """
    if limit is not None and (roomy := roomiest(program)).arena_bytes <= limit:
        return program, roomy
    whole = plan(program)
    if (limit is not None and whole.arena_bytes <= limit) or not program.calls:
        return program, whole
    return _better(whole, Search(program), limit)


def _better(whole: MemoryPlan, search: Search, limit: float | None) -> tuple[Program, MemoryPlan]:
    """A program in bands, or as it is where that needs no more."""
    made, planned = _within(search, limit) or (search.program, whole)
    return (made, planned) if planned.arena_bytes < whole.arena_bytes else (search.program, whole)


def fed(program: Program, limit: float | None) -> tuple[Program, MemoryPlan]:
    """The program whose only input comes row by row, within a limit as of `fitted`.

    Raises:
        EdgeqError: the layers that read the input do not read rows.
    """
    graph = program.graph
    fix = "leave --feed out"
    if len(graph.given) != 1 or graph.states:
        raise EdgeqError("only a model with one input and no state can be fed by rows", where=graph.name, fix=fix)
    name = graph.given[0]
    found = _within(Search(program, name), limit) if len(graph.type(name).shape) == 4 and program.calls else None
    if found is None:
        why = f"{graph.type(name)}; rows are those of [1, H, W, C], read by convolutions, pools and elementwise layers"
        raise EdgeqError("the first layers do not read the input row by row", where=name, why=why, fix=fix)
    return found


def _within(search: Search, limit: float | None) -> tuple[Program, MemoryPlan] | None:
    """The program in bands within a limit or else with the least arena; None where that cannot be."""
    least = search.least
    if least == math.inf:
        return None
    search.most = max(least, -math.inf if limit is None else limit)
    aim, best = max(least, -math.inf if limit is None else limit), None
    for _ in range(ATTEMPTS):
        segments = search.cut(aim)
        if segments is None:
            break
        made, planned = search.planned(segments)
        if best is None or planned.arena_bytes < best[1].arena_bytes:
            best = made, planned
        if planned.arena_bytes <= aim or aim <= least:
            break
        aim = max(least, aim - (planned.arena_bytes - aim))
    if best is None or best[1].arena_bytes <= aim:
        return best
    search.most = best[1].arena_bytes
    wider = [search.cut(least + share * (best[1].arena_bytes - least)) for share in WIDER]  # what needs more than the least may lie closer
    slow = [(search.slowest(s.first, s.last) or s) if s.pace else s for s in search.cut(aim) or ()]  # so may fewer rows at a turn
    for segments in (*wider, slow):
        made, planned = search.planned(segments) if segments else best
        if planned.arena_bytes < best[1].arena_bytes:
            best = made, planned
    return best


@dataclass(frozen=True)
class Way:
    """A way to use memory: bytes of the arena; about how many instructions it takes more than whole tensors; how many bands; whether its
    input comes row by row."""

    name: str
    arena: int
    more: float
    bands: int
    fed: bool = False


def ways(program: Program) -> list[Way]:
    """Whole tensors; bands within less and less memory down to the least; the input fed by rows, where that can be."""
    whole = roomiest(program)
    found = [Way("whole tensors", whole.arena_bytes, 0.0, 0)]
    if not program.calls:
        return found
    search = Search(program)
    for share in SHARES:
        limit = search.least + share * (whole.arena_bytes - search.least)
        made, planned = _better(whole, search, limit if share else None)
        if made.bands and planned.arena_bytes < found[-1].arena:
            found.append(Way("bands" if share else "bands, least", planned.arena_bytes, _more(program, made), len(made.bands)))
    try:
        made, planned = fed(program, None)
        found.append(Way("bands, fed by rows", planned.arena_bytes, _more(program, made), len(made.bands), True))
    except EdgeqError:
        pass
    return found


def _more(program: Program, made: Program) -> float:
    """About how many instructions the bands of a program cost."""
    return sum(
        extra(program, part, whole, call, b)
        for b in made.bands
        for part, whole, call in zip(b.parts, program.calls[b.first : b.last + 1], made.calls[b.first : b.last + 1], strict=True)
    )
