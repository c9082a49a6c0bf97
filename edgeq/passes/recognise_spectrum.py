"""Finds a Fourier transform that a model spells as layers, and the bands of its spectrum: front ends inside of networks.

Two sets of weights of cosines and sines (nnAudio, torchlibrosa, openWakeWord, matrices of tf.signal), or one with both (Silero), and
the sum of their squares: energies of a spectrum. The weights are compared with a windowed transform, names are not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgeq import reals
from edgeq.ir import Array, Graph, Node, Op, Tensor, TensorType, sources
from edgeq.ops.add import Add
from edgeq.ops.clamp import Clamp
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fourier import Rfft, is_computed
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.mathematics import Square
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.reshape import Reshape
from edgeq.ops.spectrum import ApplyWindow, BandLevels
from edgeq.passes.rewrite import Names, constant, repeated

MOST = 2**24  # results that float32 can number
NEAR = 2e-4  # of the window's largest weight: files hold float32, and some make their cosines in float32, too


class Frames(NamedTuple):
    """What a layer's rows of weights ``[O, N]`` are multiplied with: `number` frames of `source`, every `step` samples, 0: its rows.

    Attributes:
        pads: zeros before and behind the samples.
    """

    source: str
    rows: Array
    number: int
    step: int
    pads: tuple[int, int] = (0, 0)


class Transform(NamedTuple):
    """A windowed Fourier transform: bins from `first` on of `length` samples, of which those from `start` on have weights `window`."""

    window: Array
    start: int
    length: int
    first: int


@repeated
def recognise_spectrum(graph: Graph) -> Graph | None:
    """Replace every sum of squares that is the energies of a spectrum by operators for it; the layers die if nothing else reads them."""
    producers = graph.producers()
    for node in graph.nodes:
        found = _energies(graph, producers, node)
        if found is not None:
            return found
    return None


def _energies(graph: Graph, producers: dict[str, Node], node: Node) -> Graph | None:
    """The graph with a spectrum's energies in the place of a sum of squares; None where it is none."""
    if type(node.op) is not Add or graph.type(node.outputs[0]).q is not None:
        return None
    roots = [squared(producers.get(n)) for n in node.inputs]
    if roots[0] is None or roots[1] is None or roots[0] == roots[1]:
        return None
    left, right = _part(graph, producers, roots[0]), _part(graph, producers, roots[1])
    if left is None or right is None:
        return None
    (a, at), (b, other) = left, right
    if (a.source, *a[2:]) != (b.source, *b[2:]) or at.shape != other.shape:
        return None
    (rows, bins), (rows_too, bins_too) = (np.divmod(i, len(f.rows)) for i, f in ((at, a), (other, b)))
    if not np.array_equal(rows, rows_too) or at.shape[0] != a.number:
        return None
    if (bins != bins[:1]).any() or (bins_too != bins_too[:1]).any() or (rows != np.arange(a.number)[:, None]).any():
        return None
    found = _transform(a.rows[bins[0]], b.rows[bins_too[0]])
    if found is None or not _of_samples(graph, a.source):
        return None
    return _replaced(graph, node, a, at.shape[1], found)


def _of_samples(graph: Graph, name: str) -> bool:
    """Whether a tensor can stay in float32 as its spectrum does: it is of inputs, and states, that are at most moved and padded."""
    needed = sources(graph, [name])
    return all(n.op.traits.float32 for n in graph.nodes if not needed.isdisjoint(n.outputs))


def squared(node: Node | None) -> str | None:
    """Of what a node computes the square."""
    if node is None:
        return None
    if isinstance(node.op, Square):
        return node.inputs[0]
    twice = isinstance(node.op, Mul) and node.op.clamp == NO_CLAMP and node.inputs[0] == node.inputs[1]
    return node.inputs[0] if twice else None


def _part(graph: Graph, producers: dict[str, Node], name: str) -> tuple[Frames, Array] | None:
    """The layer that computes a tensor, and where each of its elements is among the layer's, ``[frames, bins]``."""
    moves: list[Node] = []
    node = producers.get(name)
    while node is not None and node.op.traits.moves and len([n for n in node.inputs if not graph.tensors[n].is_constant]) == 1:
        moves.append(node)
        node = producers.get(node.inputs[0])
    frames = None if node is None else _frames(graph, node)
    at = None if node is None or frames is None else places(graph, node, moves)
    return None if frames is None or at is None else (frames, at.reshape(-1, at.shape[-1]))


def places(graph: Graph, node: Node, moves: Sequence[Node]) -> Array | None:
    """Where each element behind some moves, the last one first, is among a node's results: int64; None where there are too many results."""
    shape = graph.type(node.outputs[0]).shape
    if math.prod(shape) >= MOST:
        return None
    at = np.arange(math.prod(shape), dtype=np.float32).reshape(1, *shape)
    for move in reversed(moves):
        constants = [graph.tensors[n].data for n in move.inputs[1:]]
        at = move.op.real(at, *(c for c in constants if c is not None))
    return np.asarray(at[0].astype(np.int64))


def _frames(graph: Graph, node: Node) -> Frames | None:
    """What a layer without bias and clamp multiplies with its weights, where those are rows of samples."""
    op = node.op
    if not isinstance(op, FullyConnected | Conv2d) or op.clamp != NO_CLAMP:
        return None
    w, bias = (graph.tensors[n].data for n in node.inputs[1:3])
    if w is None or bias is None or bias.any() or w.dtype != np.float32:
        return None
    x, y = graph.type(node.inputs[0]), graph.type(node.outputs[0])
    if isinstance(op, FullyConnected):
        return Frames(node.inputs[0], w, x.size // w.shape[1], 0)
    if op.groups != 1 or x.shape[0] != 1:
        return None
    if w.shape[1:3] == (1, 1) and op.stride == (1, 1) and not any(op.pads):
        return Frames(node.inputs[0], w.reshape(len(w), -1), x.size // w.shape[3], 0)
    along = 1 if w.shape[2] == 1 else 2
    pads, across = op.pads[along - 1 :: 2], op.pads[2 - along :: 2]
    if w.shape[3] != 1 or w.shape[3 - along] != 1 or x.shape[3 - along] != 1 or op.dilation[along - 1] != 1 or any(across):
        return None
    return Frames(node.inputs[0], w.reshape(len(w), -1), y.shape[along], op.stride[along - 1], (pads[0], pads[1]))


def _transform(real: Array, imaginary: Array) -> Transform | None:
    """The Fourier transform that two sets of weights ``[bins, N]`` are, each bin up to its phase; None where they are none."""
    bins, n = real.shape
    re, im = real.astype(np.float64), imaginary.astype(np.float64)
    size = np.sqrt(re * re + im * im)
    peak = float(size.max(initial=0.0))
    if bins < 2 or n < 4 or peak == 0 or np.abs(size - size[0]).max() > NEAR * peak:
        return None
    lengths = dict.fromkeys((2 * (bins - 1), n + n % 2, 2 ** (n - 1).bit_length()))
    spectra = (re + 1j * im, re - 1j * im)
    return next((t for length in lengths for z in spectra if (t := _of_length(z, size[0], length)) is not None), None)


def _of_length(z: Array, size: Array, length: int) -> Transform | None:
    """Likewise of one length, of weights of which the magnitudes are `size` in every bin, and which turn clockwise."""
    inside = np.flatnonzero(size > NEAR / 10 * size.max())
    start, end = int(inside[0]), int(inside[-1]) + 1
    if not 3 < end - start <= length or not is_computed(length):
        return None
    z, taps, bins = z[:, start:end], np.arange(end - start), np.arange(len(z))
    steps = -np.angle((z[:, :-1].conj() * z[:, 1:]).sum(1)) * length / (2 * math.pi)
    first = round(float(np.median(steps - bins)))
    if not 0 <= first <= length // 2 + 1 - len(z):
        return None
    angles = 2 * math.pi / length * ((bins + first)[:, None] * taps % length)
    turned = z * (reals.cos(angles) + 1j * reals.sin(angles))  # what is left is the window, and a phase for each bin
    largest = int(np.argmax(size[start:end]))
    turned = turned * (turned[:, largest : largest + 1].conj() / size[start + largest])
    window = np.where(turned[len(z) // 2].real < 0, -size[start:end], size[start:end])
    if np.abs(turned - window).max() > NEAR * size.max():
        return None
    return Transform(window.astype(np.float32), start, length, first)


def _replaced(graph: Graph, node: Node, frames: Frames, bins: int, t: Transform) -> Graph:
    """The graph with a spectrum's energies for `node`, whose result is theirs up to its shape."""
    name, length = node.outputs[0], frames.rows.shape[1]
    names, nodes, types = Names(graph), list[Node](), dict[str, TensorType]()

    def emit(op: Op, x: str, kind: str, *constants: Tensor) -> str:
        made = names.fresh(f"{name}/{kind}")
        types[made] = op.infer(types.get(x) or graph.type(x), *(c.type for c in constants))
        nodes.append(Node(made, op, (x, *(c.name for c in constants)), (made,)))
        return made

    def own(kind: str, data: Array) -> Tensor:
        return constant(names.fresh(f"{name}/{kind}"), data)

    window = own("window", t.window)
    bands = [
        own("starts", np.arange(t.first, t.first + bins, dtype=np.int16)), own("counts", np.ones(bins, np.int16)),
        own("weights", np.ones(bins, np.float32)),
    ]  # fmt: skip
    x = emit(Reshape((1, graph.type(frames.source).size)), frames.source, "samples")
    if any(frames.pads):
        x = emit(Pad(((0, 0), frames.pads)), x, "padded")
    x = emit(ApplyWindow(frames=frames.number, step=frames.step or length, start=t.start), x, "windowed", window)
    x = emit(Rfft(t.length), x, "spectrum")
    x = emit(BandLevels(power=2), x, "energies", *bands)
    clamp = getattr(node.op, "clamp", NO_CLAMP)
    x = emit(Clamp(clamp), x, "limited") if clamp != NO_CLAMP else x
    nodes.append(Node(node.name, Reshape(graph.type(name).shape), (x,), (name,)))
    made = [Tensor(n, t) for n, t in types.items()]
    return graph.with_nodes([m for n in graph.nodes for m in (nodes if n is node else (n,))], [window, *bands, *made])
