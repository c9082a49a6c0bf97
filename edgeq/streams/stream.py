"""Graph -> graph: rows that earlier frames gave lie in windows that slide, and only new rows are computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeq.errors import EdgeqError
from edgeq.ir import Graph, Node, Op, Tensor, check
from edgeq.ops.concat import Concat
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.slide import Slide
from edgeq.passes import normalise
from edgeq.passes.rewrite import Names
from edgeq.streams.timeline import Timeline, timeline

ANSWERS = ("window", "stream")


@dataclass(frozen=True, eq=False)
class Stream:
    """A graph of one step, and how it answers.

    Attributes:
        axes: input -> its axis along the stream.
        hop: new frames of a step.
        window: frames that the network looks at.
        needed: frames until all that an answer depends on has come.
        lag: how many frames later than that of the windowed network the same answer comes.
        padded: the nodes that pad along the stream, where that matters to an answer.
        exact: whether each answer is that of the windowed network on the last frames, byte for byte.
        macs: of a step, and of the windowed network.
    """

    graph: Graph
    axes: Mapping[str, int]
    hop: int
    window: int
    needed: int
    lag: int
    padded: tuple[str, ...]
    exact: bool
    macs: tuple[int, int]


def stream(graph: Graph, axes: Mapping[str, int], hop: int = 0, answer: str = "window") -> Stream:
    """One step per `hop` new frames of a network that looks at a window of them.

    Args:
        graph: float or quantized, without states.
        axes: input -> its axis along the stream; other inputs are given at each step.
        hop: frames of a step, a multiple of the network's own steps; 0 for those.
        answer: where the network pads along the stream: ``window``: what it says of the window, whose borders are computed again at
            each step; ``stream``: padding is left out, for there the stream has frames, so that the answer is another, and perhaps later.

    Raises:
        EdgeqError: an axis or the hop does not fit, or the graph has states.
    """
    _check(graph, axes, answer)
    graph = normalise(graph)  # what is the same for every window is found before there are states
    own = timeline(graph, axes)
    if hop % own.hop:
        why, fix = f"a result takes {own.hop} new frames", f"take {own.hop} or a multiple of it"
        raise EdgeqError(f"{hop} frames are no whole number of steps", where=graph.name, why=why, fix=fix)
    hop = hop or own.hop
    plan = _Plan(own, hop)
    padded = plan.padded()
    if padded and answer == "window":
        plan = _Plan(timeline(graph, axes, hop), hop)
    made = normalise(check(_Writer(plan).graph(), "stream"))
    window = max(own.frames(n) for n in axes)
    exact = not padded or answer == "window"
    return Stream(made, axes, hop, window, plan.needed(), plan.delay, padded, exact, (made.macs(), graph.macs()))


def _check(graph: Graph, axes: Mapping[str, int], answer: str) -> None:
    if graph.states:
        raise EdgeqError(
            "the network has states already", where=graph.name, why="it can run on a stream as it is", fix="leave --stream out"
        )
    if answer not in ANSWERS:
        raise EdgeqError(f"there is no answer '{answer}'", fix=f"take {' or '.join(ANSWERS)}")
    for name, axis in axes.items():
        if name not in graph.inputs:
            raise EdgeqError(f"'{name}' is no input", where=graph.name, why=f"inputs are {', '.join(graph.inputs)}")
        if not 0 <= axis < len(graph.type(name).shape) or graph.type(name).shape[axis] < 2:
            raise EdgeqError(f"{graph.type(name)} has no frames along axis {axis}", where=name, fix="name an axis that is longer than 1")


class _Plan:
    """Which rows of every tensor a step computes and which it keeps.

    Attributes:
        reads: tensor -> intervals of rows that are read of it at a step.
        lag: frames by which what is computed whole is behind.
    """

    def __init__(self, line: Timeline, hop: int) -> None:
        self.line, self.graph, self.tracks, self.hop = line, line.graph, line.tracks, hop
        self.reads: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.finals = [n for node in self.graph.nodes if node.name not in line.slidings for n in node.inputs if n in self.tracks]
        self.outputs = [n for n in self.graph.outputs if n in self.tracks]
        self.lag = 0 if line.borders else max((self.tracks[n].lag for n in self.finals), default=0)
        if any(self.lag % self.tracks[n].step for n in self.finals):
            self.lag = -(-self.lag // hop) * hop
        self._walk()

    def _walk(self) -> None:
        for name in self.outputs:
            self.reads[name].append(self.result(name))
        for node in reversed(self.graph.nodes):
            tracked = [n for n in node.inputs if n in self.tracks]
            if node.name not in self.line.slidings:
                for name in tracked:
                    self.reads[name].append(self.window(name))
            elif read := [rows for n in node.outputs for rows in self.reads.get(n, ())]:
                self.reads.update(dict.fromkeys(node.outputs, read))
                for name in tracked:
                    self.reads[name] += [part for part, _ in self.parts(node).values()]

    def window(self, name: str) -> tuple[int, int]:
        """The rows that what is computed whole takes for the window's."""
        t = self.tracks[name]
        end = t.rows - self.lag // t.step
        return end - t.rows, end

    def result(self, name: str) -> tuple[int, int]:
        """The rows of an output that a step gives."""
        t = self.tracks[name]
        end = t.rows if self.line.borders else t.newest + 1
        return end - min(max(self.hop // t.step, 1), t.rows), end

    def first(self, name: str) -> int:
        """The oldest of the stream's rows that is read."""
        t = self.tracks[name]
        low = t.low if self.line.borders else None
        return min((a if low is None else max(a, low) for a, b in self.reads[name] if low is None or b > low), default=t.newest + 1)

    def length(self, name: str) -> int:
        """How many of the stream's rows are read."""
        return max(self.tracks[name].newest + 1 - self.first(name), 0)

    def new(self, name: str) -> int:
        """How many rows of the stream a step computes, or is given."""
        t = self.tracks[name]
        return self.hop if name in self.graph.inputs else min(max(self.hop // t.step, 1), self.length(name))

    def parts(self, node: Node) -> dict[str, tuple[tuple[int, int], tuple[int, int, int]]]:
        """What a sliding node computes at a step: new rows, and the borders of the window with so many more rows that they read any.

        Returns:
            per part the rows that it reads, and how many rows it computes with how much padding before and behind.
        """
        name, s = node.outputs[0], self.line.slidings[node.name]
        t, new = self.tracks[name], self.new(name)
        (begin, end), (before, after) = self.line.reach(node), self.line.pads(node)
        found = {}
        if self.line.borders and any(a < t.low for a, _ in self.reads[name]):
            rows = max(t.low, -(-(1 + s.before - s.extent) // s.step) + 1)
            found["first"] = (begin + before, (rows - 1) * s.step - s.before + s.extent), (rows, before, 0)
        if new:
            found["new"] = ((t.newest + 1 - new) * s.step - s.before, t.newest * s.step - s.before + s.extent), (new, 0, 0)
        if self.line.borders and any(b > t.high for _, b in self.reads[name]):
            row = min(t.high, (end - after - 1 + s.before) // s.step)
            found["last"] = (row * s.step - s.before, end - after), (t.rows - row, 0, after)
        return found

    @property
    def delay(self) -> int:
        """How many frames later than in a window the last answer comes."""
        return 0 if self.line.borders else max(self.lag, *(self.tracks[n].lag for n in self.outputs), 0)

    def padded(self) -> tuple[str, ...]:
        """The nodes that pad along the stream, if an answer depends on it."""
        spans = [(self.tracks[n], self.result(n)) for n in self.outputs] + [(self.tracks[n], (0, self.tracks[n].rows)) for n in self.finals]
        if all(t.low <= a and t.high == t.rows for t, (a, _) in spans):
            return ()
        sliding = [n for n in self.graph.nodes if n.name in self.line.slidings and n.outputs[0] in self.reads]
        return tuple(n.name for n in sliding if any(self.line.pads(n)))

    def needed(self) -> int:
        """Frames that an answer depends on."""
        spans = [(n, self.result(n)[0]) for n in self.outputs] + [(n, self.window(n)[0]) for n in self.finals]
        oldest = [row * self.tracks[n].step - self.tracks[n].first for n, row in spans]
        window = max(t.rows for n, t in self.tracks.items() if n in self.graph.inputs)
        return window - min(max(o, 0) if self.line.borders else o for o in oldest)


class _Writer:
    """The graph of a step."""

    def __init__(self, plan: _Plan) -> None:
        self.plan, self.old, self.tracks = plan, plan.graph, plan.tracks
        self.names = Names(plan.graph)
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.states: list[tuple[str, str]] = []
        self.held: dict[tuple[str, str], str] = {}  # tensor of the window, part -> its rows
        self.cuts: dict[tuple[str, int, int], str] = {}

    def graph(self) -> Graph:
        """All of it."""
        given = [n for n in self.old.inputs if n in self.tracks]
        for name in given:
            self._new(name, name, self.plan.hop)
        for node in self.old.nodes:
            if node.name not in self.plan.line.slidings:
                inputs = tuple(self._rows(n, *self.plan.window(n)) if n in self.tracks else n for n in node.inputs)
                self.nodes.append(replace(node, inputs=inputs))
            elif node.outputs[0] in self.plan.reads:
                self._slide(node)
        for name in self.plan.outputs:
            rows = self._rows(name, *self.plan.result(name))
            self._emit(Reshape(self.tensors[rows].type.shape), (rows,), name, f"{name}/new")
        bare = replace(self.old, inputs=(*self.old.inputs, *(a for a, _ in self.states)), states=tuple(self.states))
        bare = replace(bare, outputs=(*self.old.outputs, *(b for _, b in self.states)))
        return bare.with_nodes(self.nodes, self.tensors.values())

    def _emit(self, op: Op, inputs: tuple[str, ...], name: str, node: str) -> str:
        """A node whose result has the type of its first input but for the shape."""
        table = {**self.old.tensors, **self.tensors}
        t = op.infer(*(table[n].type for n in inputs))
        self.tensors[name] = Tensor(name, replace(table[inputs[0]].type, shape=t.shape))
        self.nodes.append(Node(node, op, inputs, (name,)))
        return name

    def _slide(self, node: Node) -> None:
        """New rows of a node's outputs, and rows at the window's borders."""
        s = self.plan.line.slidings[node.name]
        for part, ((begin, end), how) in self.plan.parts(node).items():
            inputs = tuple(self._rows(n, begin, end) if n in self.tracks else n for n in node.inputs)
            made = tuple(self.names.fresh(f"{name}.{part}") for name in node.outputs)
            for name, rows in zip(node.outputs, made, strict=True):
                self.tensors[rows] = Tensor(rows, replace(self.old.type(name), shape=_long(self.old.type(name).shape, s.axis, how[0])))
            self.nodes.append(Node(node.name if part == "new" else f"{node.name}/{part}", s.of(*how), inputs, made))
            for name, rows in zip(node.outputs, made, strict=True):
                if part == "new":
                    self._new(name, rows, how[0])
                else:
                    self.held[name, part] = rows

    def _new(self, name: str, made: str, count: int) -> None:
        """Rows of the stream, kept in a window if older ones are read as well."""
        t, length = self.tracks[name], self.plan.length(name)
        type = self.old.type(name)
        self.tensors[made] = Tensor(made, replace(type, shape=_long(type.shape, t.axis, count)))
        if length > count:
            before, after = self.names.fresh(f"{name}.before"), self.names.fresh(f"{name}.window")
            self.tensors[before] = Tensor(before, replace(type, shape=_long(type.shape, t.axis, length)))
            made = self._emit(Slide(t.axis), (made, before), after, f"{name}/slide")
            self.states.append((before, after))
        self.held[name, "new"] = made

    def _rows(self, name: str, begin: int, end: int) -> str:
        """Rows of a tensor, counted as in the window."""
        key = name, begin, end
        if key not in self.cuts:
            t = self.tracks[name]
            low, high = (t.low, t.high) if self.plan.line.borders else (begin, end)
            parts = []
            if begin < low:
                parts.append(self._cut(name, "first", begin, min(end, low) - begin))
            if max(begin, low) < min(end, high):
                held = self.tensors[self.held[name, "new"]].type.shape[t.axis]
                first = max(begin, low)
                parts.append(self._cut(name, "new", first - (t.newest + 1 - held), min(end, high) - first))
            if end > high:
                first = max(begin, high)
                held = self.tensors[self.held[name, "last"]].type.shape[t.axis]
                parts.append(self._cut(name, "last", first - (t.rows - held), end - first))
            joined = len(parts) > 1
            fresh = self.names.fresh(f"{name}.rows")
            self.cuts[key] = self._emit(Concat(t.axis), tuple(parts), fresh, f"{fresh}/join") if joined else parts[0]
        return self.cuts[key]

    def _cut(self, name: str, part: str, begin: int, size: int) -> str:
        """Some rows of a part of a tensor."""
        held, axis = self.held[name, part], self.tracks[name].axis
        shape = self.tensors[held].type.shape
        if shape[axis] == size:
            return held
        starts = tuple(begin if i == axis else 0 for i in range(len(shape)))
        fresh = self.names.fresh(f"{name}.cut")
        return self._emit(Slice(starts, _long(shape, axis, size), (1,) * len(shape)), (held,), fresh, f"{fresh}/slice")


def _long(shape: tuple[int, ...], axis: int, rows: int) -> tuple[int, ...]:
    """A shape with so many rows along an axis."""
    return tuple(rows if i == axis else n for i, n in enumerate(shape))
