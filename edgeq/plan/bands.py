"""Bands of rows: neighbouring calls run in turn, each on some more rows, over and over, so that tensors between them need not be whole.

Each call is the same kernel on a smaller problem. How many rows there are after a turn follows from the last call backwards: exactly
those that the calls behind need, so that nothing is computed twice. What a tensor keeps of its last rows for the next turn is moved to
the front of its buffer.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgeq import kernels
from edgeq.errors import EdgeqError
from edgeq.ir import Params, Tensor
from edgeq.kernels import Kernel, Signature, facts
from edgeq.kernels.layouts import applied
from edgeq.plan.lines import Memory, Trace, traces_of
from edgeq.plan.trails import decodes
from edgeq.program import Band, Call, Fed, Flow, Lines, Part, Program, Source
from edgeq.traits import Rows

GEOMETRY = ("in_h", "out_h", "pad_top")  # what a window's constants say of rows
BORDERS = ("inside", "pointwise", "direct", "tall", "few")  # facts that depend on them

Turn = tuple[int, int, int]  # rows, rows of the first operand, rows of padding above


class Whole(Exception):
    """Something cannot run by bands."""


def sources(program: Program, call: Call) -> tuple[Source, ...]:
    """How a call reads its operands by rows.

    Raises:
        Whole: it cannot run by bands.
    """
    graph, op = program.graph, call.node.op
    if gathers(program, call):
        t = graph.type(call.operands[0])
        return (Source(Rows(), t.shape[1], t.bytes // t.shape[1]),)
    output = graph.type(call.output)
    if len(call.outputs) != 1 or decodes(call) or call.tiled or len(output.shape) != 4 or output.shape[0] != 1:
        raise Whole
    own = [i for i in range(len(call.node.inputs)) if i not in op.parameters]
    shapes = [graph.type(n).shape for n in call.node.inputs]
    if op.traits.elementwise:
        rows: Rows | None = Rows()
    elif op.traits.rows is None:
        raise Whole
    else:
        rows = op.traits.rows(op, shapes)
        if rows is None:
            raise Whole
    found = []
    for i, name in enumerate(call.operands):
        t = graph.type(name)
        if len(t.shape) != 4 or t.shape[0] != 1:
            raise Whole
        reads: Rows | None = rows if i < len(own) else Rows()
        if (op.traits.elementwise or i >= len(own)) and t.shape[1] != output.shape[1]:
            reads = None
        found.append(Source(reads, t.shape[1], t.bytes // t.shape[1]))
    if not found or found[0].rows is None:
        raise Whole
    return tuple(found)


def gathers(program: Program, call: Call) -> bool:
    """Whether a call takes in rows one after the other, and gives one result of all."""
    x, op = program.graph.type(call.operands[0]).shape, call.node.op
    if op.traits.gathers is None or len(x) != 4 or x[0] != 1 or call.epilogue or x[1] == 1:
        return False
    return op.traits.gathers(op, x) and _of_rows(call.kernel.signature) in _signatures()


@functools.cache
def _signatures() -> frozenset[Signature]:
    return frozenset(k.signature for k in kernels.scan())


def _of_rows(signature: Signature) -> Signature:
    """Of the kernels that take in some rows at a time."""
    return replace(signature, op=f"{signature.op}_rows")


def _flows(program: Program, calls: Sequence[Call], reads: Sequence[tuple[Source, ...]], pace: Flow, fed: str = "") -> list[Flow]:
    """How the rows of each call grow, where those of the last one do at a pace: as late as those that read them allow, and evenly. Last
    come those of an input that is `fed` by rows; without one those of the first call again.

    Raises:
        Whole: something has no even rate.
    """
    need: dict[str, Flow] = {calls[-1].output: pace}
    made = {*(c.output for c in calls), *([fed] if fed else [])}
    found = []
    for call, own in zip(reversed(calls), reversed(reads), strict=True):
        if call.output not in need:
            raise Whole
        flow = need[call.output]
        up = own[0].rows.up if own[0].rows else 1
        groups = Flow(flow.rate, flow.offset + (up - 1) * flow.per, flow.per * up, flow.unit)  # of rows that are made of the same ones
        if flow.rate > flow.per and up > 1:
            flow = _reduced(groups.rate, groups.offset, groups.per, up)
        found.append(flow)
        for name, source in zip(call.operands, own, strict=True):
            if program.storage(name) not in made:
                continue
            r = source.rows
            if r is None or program.storage(name) != name or r.up != up:
                raise Whole
            more = (r.extent - r.before - r.step) * groups.per
            need[name] = _sooner(need.get(name), _reduced(groups.rate * r.step, groups.offset * r.step + more, groups.per, 1))
    if fed and fed not in need:
        raise Whole
    return [*found[::-1], need[fed] if fed else found[-1]]


def _reduced(rate: int, offset: int, per: int, unit: int) -> Flow:
    """The flow with the smallest numbers."""
    common = math.gcd(rate, per)
    return Flow(rate // common, offset // common, per // common, unit)


def _sooner(a: Flow | None, b: Flow) -> Flow:
    """The flow that is never behind either.

    Raises:
        Whole: their rates differ.
    """
    if a is None:
        return b
    if (a.rate, a.per) != (b.rate, b.per):
        raise Whole
    return a if a.offset >= b.offset else b


def _turns(trace: Trace) -> Counter[Turn]:
    """How often a call runs on each kind of rows.

    Raises:
        Whole: some rows lie in the padding alone.
    """
    assert trace.reads[0] is not None
    first, end = trace.reads[0]
    found = Counter(zip(*((a[trace.busy]).tolist() for a in (trace.after - trace.before, end - first, trace.padding)), strict=True))
    if any(rows < 1 for _, rows, _ in found):
        raise Whole
    return found


def variants(program: Program, call: Call, turns: Sequence[Turn]) -> dict[Turn, Params]:
    """The constants of a call on each kind of rows, the most frequent one first: those that depend on rows alone differ.

    Raises:
        Whole: others do too.
    """
    scalars = call.params.scalars
    if gathers(program, call):
        _, height, width, channels = program.graph.type(call.operands[0]).shape
        whole = {**scalars, "in_w": width, "channels": channels, "height": height}
        return {t: replace(call.params, scalars={**whole, "in_h": t[0], "row": t[2]}) for t in turns}
    if set(GEOMETRY) <= set(scalars):
        made = {t: replace(call.params, scalars={**scalars, "in_h": t[1], "out_h": t[0], "pad_top": t[2]}) for t in turns}
    else:
        made = {t: _rebound(program, call, t) for t in turns}
    forced = {}
    for fact in BORDERS if {"dilation_h", "kernel_h", "in_c"} <= set(scalars) else ():
        values = {t: facts.value(fact, p) for t, p in made.items()}
        if len(set(values.values())) > 1:
            forced[fact] = values[turns[0]] if fact == "tall" else min(values.values())
    return {t: replace(p, scalars={**p.scalars, **forced}) if forced else p for t, p in made.items()}


def _rebound(program: Program, call: Call, turn: Turn) -> Params:
    """Constants by the operator itself, on tensors of so many rows."""
    graph, node = program.graph, call.node
    rows, read, _ = turn

    def cut(tensor: Tensor, height: int, count: int) -> Tensor:
        shape = tensor.type.shape
        if len(shape) != 4 or shape[1] != height:
            return tensor
        data = None if tensor.data is None else tensor.data[:, :count]
        return replace(tensor, type=replace(tensor.type, shape=(shape[0], count, *shape[2:])), data=data)

    inputs = graph.node_inputs(node)
    height = inputs[0].type.shape[1]
    output = graph.tensors[node.outputs[0]]
    parts = [t if i in node.op.parameters else cut(t, height, read) for i, t in enumerate(inputs)]
    own, whole = (
        op.bound(graph.law, node.name, tuple(x), y.type)
        for op, x, y in ((node.op.of_rows(rows), parts, cut(output, output.type.shape[1], rows)), (node.op, inputs, output))
    )
    changed = {n: v for n, v in own.scalars.items() if v != whole.scalars.get(n)}
    moved = {n: t for n, t in own.tables.items() if not np.array_equal(t, whole.tables[n])}
    return replace(call.params, scalars={**call.params.scalars, **changed}, tables={**call.params.tables, **moved})


def expression(values: Mapping[Turn, int | str]) -> tuple[str, int] | None:
    """How a constant follows from a turn: ``("rows", k)`` k times its rows, ``("sources", k)`` its first operand's, ``("padding", 1)``;
    ``("", 0)``: it is one value. None where it is none of these."""
    if len(set(values.values())) == 1:
        return "", 0
    for i, kind in enumerate(("rows", "sources", "padding")):
        first = next(t for t in values if t[i] or kind != "padding") if any(t[i] for t in values) else None
        if first is None or isinstance(values[first], str) or int(values[first]) % first[i]:
            continue
        factor = int(values[first]) // first[i]
        if all(v == factor * t[i] for t, v in values.items()) and (kind != "padding" or factor == 1):
            return kind, factor
    return None


def _fits(kernel: Kernel, made: Mapping[Turn, Params]) -> bool:
    """Whether one function of a kernel computes all kinds of rows, and suits the first."""
    if not kernel.applies(next(iter(made.values()))) or not all(kernel.computes(p) for p in made.values()):
        return False
    literals = [{n: kernel.value(n, p) for n in kernel.specialize} for p in made.values()]
    first = next(iter(made.values()))
    if any(a != literals[0] for a in literals) or any(set(p.tables) != set(first.tables) for p in made.values()):
        return False
    if any(not np.array_equal(t, first.tables[n]) for p in made.values() for n, t in p.tables.items() if t is not first.tables[n]):
        return False
    return all(expression({t: p.scalars[n] for t, p in made.items()}) for n in first.scalars)


def _part_call(program: Program, call: Call, kinds: tuple[Turn, ...]) -> tuple[Call, dict[Turn, Params]]:
    """A call on rows: the kernel, scratch and what may be overwritten on all kinds of rows, of which the first is the most frequent: its
    constants are the call's.

    Raises:
        Whole: no kernel computes it.
    """
    made = variants(program, call, kinds)
    usual = made[kinds[0]]
    kernel = call.kernel
    wanted = _of_rows(kernel.signature) if gathers(program, call) else kernel.signature
    others = [] if call.formats else kernels.candidates(wanted, usual, program.target.isa, own=kernel.epilogue)
    better = [k for k in others[: others.index(kernel) if kernel in others else 0] if not k.applies(call.params)]  # on few rows
    found = next((k for k in better + ([kernel] if wanted == kernel.signature else []) + others if _fits(k, made)), None)
    if found is None:
        raise Whole
    same = found is kernel and all(np.array_equal(t, call.params.tables[n]) for n, t in usual.tables.items())
    tables = call.tables
    if call.formats and not same:  # its tables are stored for this kernel
        raise Whole
    if not same:
        try:
            packed = {n: applied(layout, n, usual.tables) for n, layout in found.pack.items() if layout}
        except KeyError as error:
            raise EdgeqError(f"`pack` names an unknown table or layout {error}", where=found.path) from None
        tables = {n: packed.get(n, t) for n, t in usual.tables.items() if found.reads(n, usual)}
        tables = {n: call.tables[n] if n in call.tables and np.array_equal(call.tables[n], t) else t for n, t in tables.items()}
    inplace = functools.reduce(lambda a, b: tuple(i for i in a if i in b), (found.overwrites(p) for p in made.values()))
    scratch = max(found.scratch_bytes(p) for p in made.values())
    return replace(call, kernel=found, params=usual, tables=tables, scratch=scratch, inplace=inplace), made


@dataclass(frozen=True, eq=False)
class Bander:
    """Makes bands of a program's calls; what many of them have in common is computed once."""

    program: Program
    fed: str = ""  # an input that comes row by row
    _sources: dict[int, tuple[Source, ...] | None] = field(default_factory=dict)
    _calls: dict[tuple[int, tuple[Turn, ...]], tuple[Call, dict[Turn, Params]] | None] = field(default_factory=dict)

    @functools.cached_property
    def _last_reader(self) -> dict[str, float]:
        """Tensor -> the last call that reads it."""
        storage = self.program.storage
        found: dict[str, float] = {storage(n): i for i, c in enumerate(self.program.calls) for n in c.operands}
        return found | {storage(n): math.inf for n in self.program.graph.outputs}

    def sources(self, i: int) -> tuple[Source, ...]:
        """How call `i` reads its operands by rows.

        Raises:
            Whole: it cannot run by bands.
        """
        if i not in self._sources:
            try:
                self._sources[i] = sources(self.program, self.program.calls[i])
            except Whole:
                self._sources[i] = None
        found = self._sources[i]
        if found is None:
            raise Whole
        return found

    def _call(self, i: int, turns: Mapping[Turn, int]) -> tuple[Call, dict[Turn, Params]]:
        most = max(sorted(turns), key=lambda t: turns[t])
        key = i, (most, *sorted(set(turns) - {most}))
        if key not in self._calls:
            try:
                self._calls[key] = _part_call(self.program, self.program.calls[i], key[1])
            except Whole:
                self._calls[key] = None
        found = self._calls[key]
        if found is None:
            raise Whole
        return found

    def endless(self, i: int) -> bool:
        """Whether no band can hold call `i`, or go on behind it."""
        return not self.fits(i) or gathers(self.program, self.program.calls[i])

    def fits(self, i: int) -> bool:
        """Whether a band can hold call `i`."""
        try:
            self.sources(i)
        except Whole:
            return False
        return True

    def steepest(self, first: int, last: int) -> int:
        """How many rows some call computes for a row of the last one, where that is more than one.

        Raises:
            Whole: they cannot run as a band.
        """
        reads = [self.sources(i) for i in range(first, last + 1)]
        flows = _flows(self.program, self.program.calls[first : last + 1], reads, Flow(1, 1), self.fed if first == 0 else "")
        return max(1, *(-(-f.rate * f.unit // f.per) for f in flows))

    def sketch(self, first: int, last: int, pace: Flow) -> tuple[Band, set[str]]:
        """Calls `first` to `last` as a band whose last one computes rows at a pace, as far as it follows from their rates, and the tensors
        of it that are whole: neither constants nor the bytes of lines are known.

        Raises:
            Whole: they cannot run so.
        """
        program, calls = self.program, list(self.program.calls[first : last + 1])
        reads = [self.sources(i) for i in range(first, last + 1)]
        fed = self.fed if first == 0 else ""
        *flows, feeding = _flows(program, calls, reads, pace, fed)
        if self.fed and self._last_reader.get(self.fed, math.inf) >= (first or last + 1):  # all that read it are in the first band
            raise Whole
        summing = [gathers(program, c) for c in calls]
        if any(summing[:-1]):
            raise Whole
        heights = [s[0].height if g else program.graph.type(c.output).shape[1] for c, g, s in zip(calls, summing, reads, strict=True)]
        start = min(f.turn(1) for f in (*flows, feeding))
        lasting = {c.output for c in calls if self._last_reader.get(c.output, math.inf) > last}
        end = max(f.turn(h) for c, h, f in zip(calls, heights, flows, strict=True) if c.output in lasting) + 1
        parts = [
            Part(f.delayed(-start), h, 0 if g else program.graph.type(c.output).bytes // h, own, {}, g)
            for c, h, g, own, f in zip(calls, heights, summing, reads, flows, strict=True)
        ]
        coming = None
        if fed:
            t = program.graph.type(fed)
            coming = Fed(fed, feeding.delayed(-start), t.shape[1], t.bytes // t.shape[1])
        lines = {c.output: Lines(0, first, last) for c in calls if c.output not in lasting}
        return Band(first, end - start, tuple(parts), lines, {}, coming), lasting

    def band(self, first: int, last: int, pace: Flow) -> tuple[Band, list[Call]]:
        """Calls `first` to `last` as a band whose last one computes rows at a pace, and the calls as they are then.

        Raises:
            Whole: they cannot run so.
        """
        sketch, lasting = self.sketch(first, last, pace)
        parts = list(sketch.parts)
        traces = traces_of(parts, sketch.turns + 1)  # one turn more: what is left then
        made: list[Call] = []
        for i, trace in enumerate(traces):
            found, own_variants = self._call(first + i, _turns(trace))
            made.append(found)
            parts[i] = replace(parts[i], variants=own_variants)
        lines, overlaps = Memory(self.program, first, made, parts, traces, lasting, sketch.fed).plan()
        band = replace(sketch, parts=tuple(parts), lines=lines, overlaps=overlaps)
        over = {self.program.storage(made[0].operands[i]) for i in band.overwrites(made[0])}  # at one offset, not behind
        return replace(band, overlaps={k: d for k, d in overlaps.items() if k[1] not in over}), made

    def combined(self, bands: Sequence[tuple[int, int, Flow]]) -> Program:
        """The program with some of its calls as bands, each (first call, last call, pace of the last one)."""
        calls, found = list(self.program.calls), []
        for first, last, pace in bands:
            made, own = self.band(first, last, pace)
            calls[first : last + 1] = own
            found.append(made)
        return replace(self.program, calls=tuple(calls), bands=tuple(found))
