"""Results that come behind what is read: a kernel that stores its results in order may store them over what no later one needs.

Which elements those are follows from the operator (its trait `firsts`), and how far its results run ahead of what it reads from the kernel
(`trails` of its front matter). Unlike in place, result and operand begin at different addresses, and may differ in size. The idea is known
as "diagonal memory optimisation" (Blacker et al., 2020).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from edgeq.ir import Array
from edgeq.program import Call, Program


def distances(program: Program, index: int, spans: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """How many bytes before an operand the result of call `index` must begin that is stored over it; fewer than 0: so far behind it may.

    Args:
        spans: storage tensor -> first and last call, of those in the arena.

    Returns:
        By storage: operands that are no constant and no result of the graph, and are read for the last time.
    """
    call, graph = program.calls[index], program.graph
    ahead, firsts = call.kernel.ahead(call.params), call.node.op.traits.firsts
    divided = call.tiled or call.shares or call.fetched or len(call.outputs) > 1
    if ahead is None or firsts is None or divided or decodes(call) or program.storage(call.output) in program.outside:
        return {}
    kept = {program.storage(n) for n in graph.outputs}
    reads = firsts(call.node.op, [graph.type(n).shape for n in call.node.inputs], graph.type(call.node.outputs[0]).shape)
    found: dict[str, int] = {}
    barred = set[str]()
    for position, name in enumerate(call.operands):
        storage, read = program.storage(name), reads[position] if position < len(reads) else None
        if read is None or storage in program.outside or storage in kept or spans[storage][1] != index:
            barred.add(storage)
        else:
            found[storage] = max(_distance(program, call, read, ahead, name), found.get(storage, -graph.type(name).bytes))
    return {n: d for n, d in found.items() if n not in barred}


def decodes(call: Call) -> bool:
    """Whether a table is decoded before each call: it is stored otherwise than the kernel reads it, and not decoded at the start."""
    stored = {n for n, f in call.formats.items() if not f.fitted(call.params.tables[n]).plain(call.params.tables[n].size)}
    return bool(stored - {n for n, s in call.staged.items() if s.offset < 0})


def _distance(program: Program, call: Call, read: Array, ahead: int, name: str) -> int:
    """Of one operand, of which each of ``len(read)`` runs of results and those behind it need what lies from ``read`` elements on."""
    result, operand = program.graph.type(call.output).bytes, program.graph.type(name)
    stored = np.minimum(np.arange(len(read)) + ahead, len(read)) * (result // len(read))
    return int((stored - read * operand.dtype.numpy.itemsize).max())


def need(result: int, operands: Iterable[tuple[int, int]]) -> int:
    """Bytes that a result takes together with operands, each (its distance, its size), that it may be stored over."""
    end = 0
    for distance, size in sorted(operands):
        end = max(end, distance) + size
    return max(result, end)
