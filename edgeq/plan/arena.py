"""Memory planner: one arena, an offset for every tensor by its lifetime, in place where a kernel allows it.

A *block* is what gets one offset: a storage tensor, a chain of storage tensors that overwrite one another
in place, or a call's scratch. Its size may change from step to step (a chain shrinks as it goes), so two
blocks need to be apart only by what each occupies in the steps that they share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, pairwise

from edgeq.plan.place import Block, place, turned
from edgeq.plan.trails import distances, need
from edgeq.program import Program


@dataclass(frozen=True)
class MemoryPlan:
    """Where everything lies in the arena.

    Attributes:
        arena_bytes: size of the arena, inputs and outputs included.
        alignment: of the arena and every offset, in bytes.
        offsets: storage tensor -> byte offset. Graph inputs and outputs have one too: the caller may
            place its buffers there instead of beside the arena.
        lifetimes: storage tensor -> (first, last) step, inclusive; an input is born at step 0.
        scratch: call index -> offset of its scratch.
        lower_bound: largest sum of bytes live at one step: no plan can be smaller.
        method: how the offsets were found: ``greedy``, ``milp optimal`` or ``milp time limit``.
        inplace: storage tensor -> the storage tensor that it overwrites (both at one offset).
        step_bytes: bytes live at each step, scratch included; the largest is `lower_bound`.
        counters: offset of what a band keeps whose input comes row by row, None without.
        buffers: call index -> offsets of the buffers that its tables are copied to, one or two.
        behind: buffers of rows whose kept rows lie at their end.
        trails: calls whose result is stored over what they have read of an operand, at another address.
    """

    arena_bytes: int
    alignment: int
    offsets: Mapping[str, int]
    lifetimes: Mapping[str, tuple[int, int]]
    scratch: Mapping[int, int]
    lower_bound: int
    method: str
    inplace: Mapping[str, str]
    step_bytes: tuple[int, ...]
    counters: int | None = None
    buffers: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    behind: frozenset[str] = frozenset()
    trails: frozenset[int] = frozenset()


def lifetimes(program: Program) -> dict[str, tuple[int, int]]:
    """First and last step of every storage tensor that lives in the arena: constants and states lie elsewhere."""
    graph, last_step = program.graph, max(0, len(program.calls) - 1)
    spans: dict[str, list[int]] = {n: [0, 0] for n in graph.given}
    for i, call in enumerate(program.calls):
        for name in (*call.operands, *call.outputs):
            storage = program.storage(name)
            if storage not in program.outside:
                spans.setdefault(storage, [i, i])[1] = i
    for name in graph.outputs:
        if name not in program.renewed:
            spans.setdefault(program.storage(name), [0, 0])[1] = last_step
    for band in program.bands:
        calls = program.calls[band.first : band.last + 1]
        for storage in dict.fromkeys(program.storage(n) for c in calls for n in (*c.operands, *c.outputs)):
            if storage not in spans:
                continue
            lines = band.lines.get(storage)
            a, b = spans.pop(storage)
            if lines is None:
                spans[storage] = [min(a, band.first), max(b, band.last)]
            elif lines.bytes:
                spans[storage] = [lines.first, lines.last]
    return {n: (a, b) for n, (a, b) in spans.items()}


def overwritable(program: Program, index: int, spans: Mapping[str, tuple[int, int]]) -> list[str]:
    """Storage tensors that call `index` may overwrite with its output, preferred first.

    The kernel lists the operand, this is its last use, it is no constant and no graph output, and it
    has at least as many bytes as the output. A graph input qualifies: a caller that keeps its input
    outside the arena has it read there and never written.
    """
    call, graph = program.calls[index], program.graph
    band = next((b for b in program.bands if b.first <= index <= b.last), None)
    kept = {program.storage(n) for n in graph.outputs}
    found = []
    for position in band.overwrites(call) if band else call.inplace:
        if position >= len(call.operands):
            continue
        storage = program.storage(call.operands[position])
        if storage in kept or storage in program.outside or spans[storage][1] != index or storage in found:
            continue
        elsewhere = any(program.storage(n) == storage for i, n in enumerate(call.operands) if i not in call.inplace)
        if not elsewhere and graph.type(storage).bytes >= graph.type(call.output).bytes:
            found.append(storage)
    return found


def _chains(program: Program, spans: Mapping[str, tuple[int, int]], choices: Mapping[str, Sequence[str]], pick: int) -> list[list[str]]:
    """Storage tensors grouped by overwriting; `pick` chooses among several candidates of one call (0 first, -1 last)."""
    chain: dict[str, list[str]] = {}
    for name in spans:  # in order of birth: a tensor's own chain is known before another overwrites it
        old = choices.get(name, ())
        chain[name] = chain[old[pick]] if old else []
        chain[name].append(name)
    return list({id(c): c for c in chain.values()}.values())


def _block(members: Sequence[tuple[int, int, int]]) -> Block:
    """Members (size, first, last) at one offset -> sizes over their steps."""
    first, last = min(a for _, a, _ in members), max(b for _, _, b in members)
    return Block(first, tuple(max((s for s, a, b in members if a <= t <= b), default=0) for t in range(first, last + 1)))


def _members(program: Program, spans: Mapping[str, tuple[int, int]], chain: Sequence[str]) -> list[tuple[int, int, int]]:
    """(bytes, first, last) of the tensors of a chain; a buffer of rows has several."""
    lines = program.lines
    return [m for n in chain for m in (lines[n].spans if n in lines else ((program.room(n), *spans[n]),))]


def _either(program: Program, chains: Sequence[Sequence[str]], alignment: int) -> list[int]:
    """The chains that are a buffer whose kept rows may lie at its end."""
    buffers = ((i, program.lines[c[0]]) for i, c in enumerate(chains) if len(c) == 1 and c[0] in program.lines)
    return [i for i, lines in buffers if lines.either and lines.bytes % alignment == 0]


Followed = Mapping[int, Mapping[str, int]]  # call -> an operand that its result may be stored over, and how far before it it must begin


def _followed(program: Program, spans: Mapping[str, tuple[int, int]], candidates: Mapping[str, Sequence[str]]) -> dict[int, dict[str, int]]:
    """All calls whose results may be stored over operands, but those that are computed in place."""
    banded = {i for b in program.bands for i in range(b.first, b.last + 1)}
    alone = [i for i, c in enumerate(program.calls) if i not in banded and not candidates[c.output]]
    return {i: found for i in alone if (found := distances(program, i, spans))}


def _together(program: Program, result: str, operands: Mapping[str, int], unit: int) -> int:
    """Units that a result saves which is stored over operands."""

    def units(size: int) -> int:
        return -(-size // unit)

    sizes, whole = {n: units(program.room(n)) for n in operands}, units(program.room(result))
    return whole + sum(sizes.values()) - need(whole, [(units(d), sizes[n]) for n, d in operands.items()])


def _needed(program: Program, totals: Sequence[int], followed: Followed, unit: int) -> tuple[list[int], Followed]:
    """Units that each step takes at least, of so many without anything that trails, and the calls whose results have to: elsewhere a
    result may as well lie apart."""
    totals = list(totals)
    for band in program.bands:
        for (y, x), distance in band.overlaps.items():
            saved = _together(program, y, {x: max(distance, 0)}, unit)
            totals[band.first : band.last + 1] = [t - saved for t in totals[band.first : band.last + 1]]
    least = [t - _together(program, program.calls[i].output, followed.get(i, {}), unit) for i, t in enumerate(totals[: len(program.calls)])]
    most = max(least, default=0)
    needed = {i: operands for i, operands in followed.items() if totals[i] > most}
    return [least[i] if i in needed else t for i, t in enumerate(totals)], needed


def _trails(program: Program, chains: Sequence[Sequence[str]], alignment: int, followed: Followed) -> dict[tuple[int, int], int]:
    """Pairs of chains of which the first may follow what is read of the second, and by how many units it begins below."""
    chain = {n: i for i, c in enumerate(chains) for n in c}
    pairs = [(chain[y], chain[x], distance) for b in program.bands for (y, x), distance in b.overlaps.items()]
    pairs += [(chain[program.calls[i].output], chain[x], d) for i, operands in followed.items() for x, d in operands.items()]
    return {(y, x): -(-distance // alignment) for y, x, distance in pairs}


@dataclass(frozen=True)
class _Ring:
    """Buffers for copies of tables: one, or two in turn, of the tiles of a call, or of several calls that follow each other.

    Attributes:
        calls: their numbers, each with whether its first tile is in the second buffer.
        spans: of each buffer the first and the last step, and its bytes.
    """

    calls: tuple[tuple[int, bool], ...]
    spans: tuple[tuple[int, int, int], ...]


def _rings(program: Program) -> list[_Ring]:
    """Tiles of one call follow those of the call before: its first one comes to the buffer that the other's last one leaves free."""
    found = list[_Ring]()
    fetches = [(i, a, c) for i, a in program.fetches.items() if (c := program.calls[i].fetched)]
    for tiled, group in groupby(fetches, lambda f: f[2].tiles > 1):
        for run in [list(group)] if tiled else [[f] for f in group]:
            starts = [0, *accumulate(c.tiles for _, _, c in run)]
            calls = tuple((i, bool(n % 2)) for (i, _, _), n in zip(run, starts, strict=False))
            last, size = run[-1][0], max(c.bytes for _, _, c in run)
            found.append(_Ring(calls, tuple((first, last, size) for first in (run[0][1], run[0][0])[: 1 + tiled])))
    return found


def live(program: Program) -> list[int]:
    """Bytes that each step needs at least, its scratch included; a plan comes near the largest of them."""
    spans = lifetimes(program)
    spans = dict(sorted(spans.items(), key=lambda item: item[1][0]))
    candidates = {c.output: overwritable(program, i, spans) for i, c in enumerate(program.calls)}
    blocks = [_block(_members(program, spans, c)) for c in _chains(program, spans, candidates, 0)]
    followed = _followed(program, spans, candidates)
    saved = [_together(program, c.output, followed.get(i, {}), 1) for i, c in enumerate(program.calls)]
    return [sum(b.at(i) for b in blocks) + c.scratch - saved[i] for i, c in enumerate(program.calls)]


def _other_blocks(
    program: Program, scratch: Sequence[tuple[int, int]], copies: Sequence[tuple[int, int, int]], units: Callable[[int], int]
) -> list[Block]:
    """The blocks that are no tensors: calls' scratch, buffers of copies, and the counters of bands, in this order."""
    kept = {b.last: b.first for b in program.bands if b.parts[-1].gathers}  # sums, from turn to turn
    found = [Block(kept.get(i, i), (s,) * (i + 1 - kept.get(i, i))) for i, s in scratch]
    found += [Block(first, (size,) * (last + 1 - first)) for first, last, size in copies]
    return found + [Block(b.first, (units(4 * b.counters),) * len(b.parts)) for b in program.bands if b.counters]


def plan(program: Program, alignment: int = 4, trailing: bool = True) -> MemoryPlan:
    """Place every tensor and every call's scratch in one arena.

    Args:
        alignment: of every offset, in bytes.
        trailing: whether results outside of bands may be stored over what is read, see `edgeq.plan.trails`.

    The result depends on the program alone: the solver is bounded by nodes of its search, and a run
    that hits the wall-clock guard all the same gives the heuristic's offsets.
    """
    spans = lifetimes(program)
    spans = dict(sorted(spans.items(), key=lambda item: item[1][0]))
    steps = max(1, len(program.calls))

    def units(size: int) -> int:
        return -(-size // alignment)

    sizes = {n: units(program.room(n)) for n in spans}
    scratch = [(i, units(c.scratch)) for i, c in enumerate(program.calls) if c.scratch]
    rings = _rings(program)
    inside = _other_blocks(program, scratch, [(first, last, units(size)) for ring in rings for first, last, size in ring.spans], units)

    def blocks(chains: Sequence[Sequence[str]]) -> list[Block]:
        members = ([(units(size), a, b) for size, a, b in _members(program, spans, c)] for c in chains)
        return [_block(m) for m in members] + inside

    candidates = {c.output: overwritable(program, i, spans) for i, c in enumerate(program.calls)}
    usual = blocks(_chains(program, spans, candidates, 0))
    followed = _followed(program, spans, candidates) if trailing else {}
    totals, needed = _needed(program, [sum(b.at(t) for b in usual) for t in range(steps)], followed, alignment)
    bound = max(totals)
    apart = {n: c for n, c in candidates.items() if all(n not in operands for operands in needed.values())}
    ways = [(candidates, 0), (candidates, -1), *([(apart, 0)] if apart != candidates else [])]
    layouts = [chains for chains, _ in groupby(_chains(program, spans, choices, pick) for choices, pick in ways)]
    problems = [blocks(chains) for chains in layouts]
    if any(lines.busy for lines in program.lines.values()):  # simpler shapes are sometimes placed lower
        problems += [[_block([(sizes[n], *spans[n]) for n in c]) for c in chains] + inside for chains in layouts]
    trails = [_trails(program, chains, alignment, needed) for chains in layouts] * (len(problems) // len(layouts))
    problems[: len(layouts)] = [
        turned(p, _either(program, c, alignment), bound, t) for p, c, t in zip(problems, layouts, trails, strict=False)
    ]
    best, arena, method, offsets = place(problems, bound, trails)
    chains = layouts[best % len(layouts)]
    copied = iter(o * alignment for o in offsets[len(chains) + len(scratch) :])
    rooms = [[next(copied) for _ in ring.spans] for ring in rings]
    buffers = {i: tuple(own[::-1] if second else own) for ring, own in zip(rings, rooms, strict=True) for i, second in ring.calls}
    places = {n: o * alignment for c, o in zip(chains, offsets, strict=False) for n in c}
    return MemoryPlan(
        arena_bytes=arena * alignment,
        alignment=alignment,
        offsets=places,
        lifetimes=spans,
        scratch={i: o * alignment for (i, _), o in zip(scratch, offsets[len(chains) :], strict=False)},
        lower_bound=bound * alignment,
        method=method,
        inplace={new: old for c in chains for old, new in pairwise(c)},
        step_bytes=tuple(t * alignment for t in totals),
        counters=offsets[-1] * alignment if any(b.counters for b in program.bands) else None,
        buffers=buffers,
        behind=frozenset(n for c, b in zip(chains, problems[best], strict=False) if b.behind for n in c),
        trails=frozenset(i for i, operands in needed.items() for x in operands if _meet(program, places, program.calls[i].output, x)),
    )


def _meet(program: Program, places: Mapping[str, int], a: str, b: str) -> bool:
    """Whether two tensors share bytes."""
    return places[a] < places[b] + program.room(b) and places[b] < places[a] + program.room(a)
