"""A network over a sliding window as a network on a stream: which axis, and how its answers differ from the window's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from edgeq.api.models import Arrays, random_inputs
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.ops.pad import Pad
from edgeq.simulate import fit_inputs, real_array, simulate
from edgeq.streams import ANSWERS, Stream, stream

EXAMPLE = "write --stream time, --stream 1 (an axis), --stream INPUT=1, with ,hop=4 for a result every 4 frames, ,answer=stream"
FOUND = "time"
WINDOWS = 16  # windows of data, one after the other, on which answers are compared
FEW = 4  # of noise


@dataclass(frozen=True)
class Streaming:
    """What ``--stream`` asks for.

    Attributes:
        axes: input -> its axis along the stream; "" for the only input. Empty: found.
        hop: new frames of a step, 0 for the fewest.
        answer: see `edgeq.streams.stream`.
    """

    axes: Mapping[str, int] = field(default_factory=dict)
    hop: int = 0
    answer: str = "window"


@dataclass(frozen=True)
class Difference:
    """The stream's answers beside the windowed network's on the same frames.

    Attributes:
        answers: how many were compared.
        equal: how many have the same bytes.
        same_class: how many have the largest value at the same place.
        sqnr_db: signal over difference, of real values; None where there is no difference.
        data: whether on samples; else on noise.
    """

    answers: int
    equal: int
    same_class: int
    sqnr_db: float | None
    data: bool


def parse(text: str) -> Streaming:
    """``time``, ``1`` or ``INPUT=1``, then ``hop=4`` and ``answer=stream`` if wanted.

    Raises:
        EdgeqError: it is none of those.
    """
    axes: dict[str, int] = {}
    hop, answer = 0, "window"
    for i, part in enumerate(p.strip() for p in text.split(",")):
        key, equals, value = part.rpartition("=")
        if key == "answer" and value in ANSWERS:
            answer = value
        elif key == "hop" and value.isdecimal() and int(value):
            hop = int(value)
        elif key not in ("answer", "hop") and value.isdecimal() and (equals or i == 0):
            axes[key] = int(value)
        elif i or part != FOUND:
            raise EdgeqError(f"'{part}' says nothing about a stream", fix=EXAMPLE)
    return Streaming(axes, hop, answer)


def streamed(graph: Graph, how: Streaming) -> Stream:
    """One step per new frame of a network over a window.

    Raises:
        EdgeqError: see `edgeq.streams.stream`; or no axis is along a stream.
    """
    if how.axes:
        if "" in how.axes and len(graph.given) != 1:
            why = f"inputs are {', '.join(graph.given)}"
            raise EdgeqError("an axis of which input", where=graph.name, why=why, fix="write --stream INPUT=AXIS")
        return stream(graph, {n or graph.given[0]: a for n, a in how.axes.items()}, how.hop, how.answer)
    if len(graph.given) != 1:
        why = f"the model has the inputs {', '.join(graph.given)}"
        raise EdgeqError("no axis of time is found", where=graph.name, why=why, fix="write --stream INPUT=AXIS,INPUT=AXIS")
    (name,) = graph.given
    shape = graph.type(name).shape
    found, failed = [], None
    for axis in (i for i, n in enumerate(shape) if n > 1):
        try:
            made = stream(graph, {name: axis}, how.hop, how.answer)
            found.append((made.macs[0] / made.hop, axis, made))
        except EdgeqError as e:
            failed = e
    if failed is not None and not found:
        raise failed
    best = min(found, key=lambda f: f[:2], default=None)
    if best is None or best[2].macs[0] >= best[2].macs[1]:
        why, fix = f"along no axis of '{name}' {list(shape)} a new frame leaves anything to reuse", "name an axis: --stream 1"
        if (ends := next((n for n in graph.nodes if isinstance(n.op, Pad) and n.op.mode != "constant"), None)) is not None:
            why, fix = (
                f"{why}, as '{ends.name}' repeats the ends of a window, and a stream has none",
                "train without it (center=False), or pad with zeros",
            )
        raise EdgeqError("the network does not look at a sliding window", where=graph.name, why=why, fix=fix)
    return best[2]


def steps(made: Stream, arrays: Arrays) -> dict[str, Array]:
    """Windows ``[V, *shape]``, one after the other, as steps of the stream ``[S, *shape]``; what is no stream stays for its windows."""
    count = min(len(arrays[n]) * arrays[n].shape[a + 1] for n, a in made.axes.items()) // made.hop
    found = {}
    for name, a in arrays.items():
        if name in made.axes:
            frames = _frames(a, made.axes[name])
            rows = frames[: count * made.hop].reshape(count, made.hop, *frames.shape[1:])
            found[name] = np.moveaxis(rows, 1, 1 + made.axes[name])
        else:
            found[name] = a[np.arange(count) * len(a) // count]
    return found


def _frames(a: Array, axis: int) -> Array:
    """Windows as frames, one after the other: the axis comes first."""
    rows = np.moveaxis(a, axis + 1, 1)
    return rows.reshape(-1, *rows.shape[2:])


def difference(graph: Graph, made: Stream, samples: Arrays | None) -> Difference:
    """How the answers on a stream differ from the windowed network's on the same frames.

    Args:
        graph: the windowed network, quantized.
        samples: windows, which are taken one after the other; None for noise.

    Raises:
        EdgeqError: they differ although they should not (edgeq's own fault).
    """
    arrays = {n: a[:WINDOWS] for n, a in fit_inputs(graph, samples or random_inputs(graph, FEW)).items()}
    given = steps(made, arrays)
    count = len(next(iter(given.values())))
    ends = (np.arange(count) + 1) * made.hop
    kept = np.flatnonzero((ends >= made.needed) & (ends >= made.window + made.lag))
    windows = {}
    for name, a in arrays.items():
        if name in made.axes:
            frames, length = _frames(a, made.axes[name]), a.shape[made.axes[name] + 1]
            rows = np.stack([frames[e - length : e] for e in ends[kept] - made.lag])
            windows[name] = np.moveaxis(rows, 1, 1 + made.axes[name])
        else:
            windows[name] = given[name][kept]
    whole = simulate(graph, windows).outputs
    own = simulate(made.graph, given).outputs
    equal, same = np.ones(len(kept), bool), np.ones(len(kept), bool)
    signal = noise = 0.0
    for name in graph.results:
        a, b = _alike(whole[name], own[name][kept])
        equal &= (a == b).reshape(len(a), -1).all(1)
        same &= a.reshape(len(a), -1).argmax(1) == b.reshape(len(b), -1).argmax(1)
        real = real_array(a, graph.type(name)).astype(np.float64), real_array(b, graph.type(name)).astype(np.float64)
        signal += float((real[0] ** 2).sum())
        noise += float(((real[0] - real[1]) ** 2).sum())
    if made.exact and not equal.all():
        raise EdgeqError("the network on a stream does not compute what it computes on windows", where=graph.name, why="edgeq's own fault")
    level = round(10 * float(np.log10(max(signal, 1e-30) / noise)), 2) if noise else None
    return Difference(len(kept), int(equal.sum()), int(same.sum()), level, samples is not None)


def _alike(a: Array, b: Array) -> tuple[Array, Array]:
    """Of rows along the stream those that a step gives."""
    for axis, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)):
        if m != n:
            a = np.take(a, np.arange(m - n, m), axis)
    return a, b


def record(made: Stream, found: Difference) -> dict[str, object]:
    """What measurements.json says of it."""
    return {
        "axes": dict(made.axes), "hop": made.hop, "window": made.window, "needed": made.needed, "lag": made.lag, "exact": made.exact,
        "padded": list(made.padded), "macs": made.macs[0], "window_macs": made.macs[1], "difference": asdict(found),
    }  # fmt: skip
