"""How the tensors of a network that looks at a window of a stream lie in time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeq.ir import Graph, Node
from edgeq.ops.traits import Sliding, sliding


@dataclass(frozen=True)
class Track:
    """A tensor of rows along the stream.

    Rows are counted as in the window: row 0 is its oldest, negative ones lie before it.

    Attributes:
        axis: of the tensor, along the stream.
        step: frames of the input from one row to the next.
        rows: of the window.
        newest: the last row that can be computed when the window's last frame has come.
        first: row y depends on the frames from ``y * step - first`` on.
        low, high: rows from `low` up to `high` depend on no padding of the window; the others are not the stream's.
    """

    axis: int
    step: int
    rows: int
    newest: int
    first: int
    low: int
    high: int

    @property
    def lag(self) -> int:
        """How many frames the newest row comes later than in a window."""
        return (self.rows - 1 - self.newest) * self.step


@dataclass(frozen=True, eq=False)
class Timeline:
    """The tensors that have rows along the stream, and the nodes that compute some from others.

    A node that is not in `slidings` is computed whole at each step.

    Attributes:
        borders: whether rows that depend on padding are computed again at each step.
    """

    graph: Graph
    tracks: Mapping[str, Track]
    slidings: Mapping[str, Sliding]
    borders: bool

    @property
    def hop(self) -> int:
        """The fewest frames after which there is a new row of every tensor."""
        return math.lcm(*(t.step for t in self.tracks.values()))

    def frames(self, name: str) -> int:
        """Frames of an input's window."""
        return self.tracks[name].rows

    def reach(self, node: Node) -> tuple[int, int]:
        """The first row that the window's first row reads of a node's inputs, and the row behind the last one that its last row reads."""
        s, rows = self.slidings[node.name], self.tracks[node.outputs[0]].rows
        return -s.before, (rows - 1) * s.step - s.before + s.extent

    def pads(self, node: Node) -> tuple[int, int]:
        """Rows of padding before and behind what a sliding node reads of the window."""
        begin, end = self.reach(node)
        source = next(self.tracks[n].rows for n in node.inputs if n in self.tracks)
        return max(-begin, 0), max(end - source, 0)


def timeline(graph: Graph, axes: Mapping[str, int], hop: int = 0) -> Timeline:
    """Follow the frames of inputs through a graph.

    Args:
        axes: input -> its axis along the stream.
        hop: 0: padding is left out, and what the stream has lies there. Else rows that depend on padding are computed again at each step
            of so many frames, and the stream's newest row is the last one before them.
    """
    tracks = {n: Track(a, 1, rows := graph.type(n).shape[a], rows - 1, 0, 0, rows) for n, a in axes.items()}
    slidings: dict[str, Sliding] = {}
    for node in graph.nodes:
        found = _followed(graph, node, tracks)
        if found is None:
            continue
        s, track = found
        if hop:
            track = replace(track, newest=track.high - 1)
            if track.high - track.low < min(max(hop // track.step, 1), track.rows):
                continue  # a step takes more rows than lie between the borders
        slidings[node.name] = s
        tracks.update(dict.fromkeys(node.outputs, track))
    return Timeline(graph, tracks, slidings, bool(hop))


def _followed(graph: Graph, node: Node, tracks: Mapping[str, Track]) -> tuple[Sliding, Track] | None:
    """How a node computes rows of the stream from others, and where those lie; None where it does not."""
    moving = [n for n in node.inputs if not graph.tensors[n].is_constant]
    sources = [tracks[n] for n in moving if n in tracks]
    if not sources or len(sources) < len(moving) or len({(t.axis, t.step, t.rows) for t in sources}) > 1:
        return None
    axis, step = sources[0].axis, sources[0].step
    s = sliding(node.op, [graph.type(n).shape for n in node.inputs], axis)
    if s is None or s.step < 1 or _varies(graph, node, moving[0], axis):
        return None
    rows = graph.type(node.outputs[0]).shape[s.axis]
    if any(graph.type(n).shape[s.axis : s.axis + 1] != (rows,) for n in node.outputs):
        return None
    last = min((t.newest + s.before - s.extent + 1) // s.step for t in sources)
    low = max(0, *(-(-(t.low + s.before) // s.step) for t in sources))
    high = min(rows, *((t.high + s.before - s.extent) // s.step + 1 for t in sources))
    first = max(t.first for t in sources) + s.before * step
    return s, Track(s.axis, step * s.step, rows, min(last, rows - 1), first, low, high)


def _varies(graph: Graph, node: Node, x: str, axis: int) -> bool:
    """Whether a constant operand has rows of its own."""
    rank = len(graph.type(x).shape)
    constants = [graph.type(n).shape for i, n in enumerate(node.inputs) if graph.tensors[n].is_constant and i not in node.op.parameters]
    return any(axis - rank + len(s) >= 0 and s[axis - rank] > 1 for s in constants)
