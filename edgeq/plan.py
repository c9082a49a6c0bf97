"""Memory planner: one arena, an offset for every tensor by its lifetime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeq.lower import Program


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
    """

    arena_bytes: int
    alignment: int
    offsets: Mapping[str, int]
    lifetimes: Mapping[str, tuple[int, int]]
    scratch: Mapping[int, int]
    lower_bound: int


def lifetimes(program: Program) -> dict[str, tuple[int, int]]:
    """First and last step of every storage tensor that lives in the arena."""
    graph, last_step = program.graph, max(0, len(program.calls) - 1)
    spans: dict[str, list[int]] = {n: [0, 0] for n in graph.inputs}
    for i, call in enumerate(program.calls):
        for name in (*call.operands, call.output):
            storage = program.storage(name)
            if not graph.tensors[storage].is_constant:
                spans.setdefault(storage, [i, i])[1] = i
    for name in graph.outputs:
        spans.setdefault(program.storage(name), [0, 0])[1] = last_step
    return {n: (a, b) for n, (a, b) in spans.items()}


def plan(program: Program, alignment: int = 4) -> MemoryPlan:
    """Place every tensor and every call's scratch."""
    spans = lifetimes(program)
    items: list[tuple[str | int, int, int, int]] = [(n, program.graph.type(n).bytes, a, b) for n, (a, b) in spans.items()]
    items += [(i, c.scratch, i, i) for i, c in enumerate(program.calls) if c.scratch]
    items = [(k, -(-size // alignment) * alignment, a, b) for k, size, a, b in items]
    steps = max(1, len(program.calls))
    bound = max(sum(s for _, s, a, b in items if a <= t <= b) for t in range(steps))
    placed: list[tuple[str | int, int, int, int, int]] = []
    for key, size, a, b in sorted(items, key=lambda item: (-item[1], item[2], str(item[0]))):
        offset = 0
        for _, other_size, c, d, other in sorted(placed, key=lambda q: q[4]):
            if a <= d and c <= b and offset < other + other_size and other < offset + size:
                offset = other + other_size
        placed.append((key, size, a, b, offset))
    return MemoryPlan(
        arena_bytes=max(o + s for _, s, _, _, o in placed),
        alignment=alignment,
        offsets={k: o for k, _, _, _, o in placed if isinstance(k, str)},
        lifetimes=spans,
        scratch={k: o for k, _, _, _, o in placed if isinstance(k, int)},
        lower_bound=bound,
    )
