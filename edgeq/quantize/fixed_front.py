"""The front end of a float model on integers: int16 samples, spectra with an exponent for each frame, levels of int16 or int8."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from edgeq import reals
from edgeq.components import Groups
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph, Node, Op, QParams, Tensor, TensorType, ancestors, check
from edgeq.ops.concat import Concat
from edgeq.ops.fourier import BLOCK_BITS, Rfft
from edgeq.ops.gather import Gather
from edgeq.ops.pad import Pad
from edgeq.ops.reshape import Reshape
from edgeq.ops.spectrum import ApplyWindow, BandLevels
from edgeq.quantize.fronts import Front

FULL = 2**15
FIX = "quantize with --spectrum float32"


class Spectrum(NamedTuple):
    """What is known of an int32 spectrum.

    Attributes:
        shifts: the tensor with the exponents of its frames.
        gain: its real values are those of samples of which 32768 is 1, times this.
        loudest: the largest magnitude that those can have.
    """

    shifts: str
    gain: float
    loudest: float


def fixed(front: Front, samples: Mapping[str, Array] | None, rest: Graph | None) -> Front:
    """A front end on int16 samples.

    Args:
        samples: of the whole graph, fitted: they say what a step of int16 is worth.
        rest: quantized: levels that it has in int8 are computed in its scale.

    Raises:
        EdgeqError: there are no samples, or there is more than windows, transforms and levels of bands.
    """
    if samples is None:
        raise EdgeqError("a spectrum on integers without samples", where=front.graph.name, fix=f"give --calib, or {FIX}")
    writer = _Writer(front.graph, _steps(front.graph, samples), rest)
    for node in front.graph.nodes:
        writer.write(node)
    if parts := next((n for n in front.graph.outputs if n in writer.spectra), None):
        why = "the model reads its real and imaginary parts, and integers have an exponent for each frame"
        raise EdgeqError("a spectrum on integers that is no levels is not supported", where=parts, why=why, fix=FIX)
    made = replace(front.graph, nodes=(), tensors=writer.tensors).with_nodes(writer.nodes)
    whole = replace(front.whole, tensors={**front.whole.tensors, **{n: made.tensors[n] for n in made.inputs}})
    return replace(front, graph=check(made, "fixed"), whole=whole)


def step(samples: Array) -> float:
    """What a step of int16 is worth: 1 for whole numbers, 1 / 32768 for 32768ths and what fills [-1, 1], else what holds the largest."""
    data = samples.astype(np.float64)
    peak = float(np.abs(data).max(initial=0.0)) or 1.0
    for scale in (1.0, 1 / FULL):
        if peak <= FULL * scale and np.array_equal(data / scale, np.rint(data / scale)):
            return scale
    return 1 / FULL if 1 / 8 < peak <= 1 else peak / (FULL - 1)


def _lengths(graph: Graph) -> dict[str, int]:
    """Of the transforms that tensors reach as they are, or moved."""
    found: dict[str, int] = {}
    for node in reversed(graph.nodes):
        if isinstance(node.op, Rfft):
            found[node.inputs[0]] = node.op.length
        elif node.op.traits.moves and node.outputs[0] in found:
            found[node.inputs[0]] = found[node.outputs[0]]
    return found


def _steps(graph: Graph, samples: Mapping[str, Array]) -> dict[str, float]:
    """The steps of a front end's inputs: those that are joined, or kept as a state, have that of the largest."""
    groups = Groups(graph.inputs)
    for names in [*(n.inputs for n in graph.nodes if isinstance(n.op, Concat)), *graph.states]:
        first, *others = (n for n in graph.inputs if n in ancestors(graph, names))
        for other in others:
            groups.join(first, other)
    found = {n: step(samples[n]) for n in graph.given}
    return {n: max(found[m] for m in groups.group(n) if m in found) for n in graph.inputs}


class _Writer:
    """Writes the nodes of a front end for integers, in their order."""

    def __init__(self, graph: Graph, scales: Mapping[str, float], rest: Graph | None) -> None:
        self.graph, self.nodes = graph, list[Node]()
        self.tensors = dict(graph.tensors)
        self.spectra: dict[str, Spectrum] = {}
        self.length = _lengths(graph)
        self.output = self._outputs(rest)
        for name, scale in scales.items():
            self._tensor(name, TensorType(graph.type(name).shape, DType.INT16, QParams((scale,))))

    def _outputs(self, rest: Graph | None) -> dict[str, TensorType]:
        """The types of levels that the rest has in int8, also where they are moved first."""
        found = {n: rest.type(n) for n in self.graph.outputs if n in rest.inputs} if rest else {}
        for node in reversed(self.graph.nodes):
            if node.op.traits.moves and node.outputs[0] in found:
                found[node.inputs[0]] = found[node.outputs[0]]
        return {n: t for n, t in found.items() if t.dtype is DType.INT8}

    def _tensor(self, name: str, type: TensorType) -> None:
        self.tensors[name] = Tensor(name, type)

    def _constant(self, name: str, data: Array) -> str:
        self.tensors[name] = Tensor(name, TensorType(data.shape), data.astype(np.float32))
        return name

    def write(self, node: Node) -> None:
        """One node.

        Raises:
            EdgeqError: it has no such meaning.
        """
        x, y, op = node.inputs[0], node.outputs[0], node.op
        kind, shape = self.tensors[x].type, self.graph.type(y).shape
        alike = isinstance(op, Concat) and all(self.tensors[n].type.q == kind.q for n in node.inputs)
        if x in self.spectra and op.traits.moves:
            self._moved(node)
        elif op.traits.moves or (kind.dtype is DType.INT16 and (alike or (isinstance(op, Pad) and not op.value))):
            self._tensor(y, replace(kind, shape=shape))
            self.nodes.append(node)
        elif isinstance(op, ApplyWindow) and y in self.length and kind.dtype is DType.INT16:
            self._window(node, op)
        elif isinstance(op, Rfft) and x in self.spectra:
            self._tensor(y, TensorType(shape, DType.INT32))
            self.nodes.append(replace(node, op=replace(op, block=True)))
            self.spectra[y] = self.spectra[x]
        elif isinstance(op, BandLevels) and x in self.spectra:
            self._levels(node, op)
        else:
            why = "windows, their transforms and levels of bands are computed on integers"
            raise EdgeqError(f"{op.kind()} of a spectrum on integers is not supported", where=node.name, why=why, fix=FIX)

    def _moved(self, node: Node) -> None:
        """Rows of frames or of bins under another shape, or some of them, with their exponents."""
        x, y, op = node.inputs[0], node.outputs[0], node.op
        before, after = self.graph.type(x).shape, self.graph.type(y).shape
        if isinstance(op, Gather) and op.axis < len(before) - 1:
            moved: Op = op
        elif isinstance(op, Reshape) and before[-1] == after[-1]:
            moved = Reshape(after[:-1])
        else:
            why = "frames are moved as a whole"
            raise EdgeqError(f"{op.kind()} of a spectrum on integers is not supported", where=node.name, why=why, fix=FIX)
        self._tensor(y, replace(self.tensors[x].type, shape=after))
        self.nodes.append(node)
        self.spectra[y] = self.spectra[x]
        if before[:-1] != after[:-1] or moved is op:
            shifts = f"{y}/shifts"
            self._tensor(shifts, TensorType(after[:-1], DType.INT32))
            self.nodes.append(Node(shifts, moved, (self.spectra[x].shifts,), (shifts,)))
            self.spectra[y] = self.spectra[x]._replace(shifts=shifts)

    def _window(self, node: Node, op: ApplyWindow) -> None:
        x, y = node.inputs[0], node.outputs[0]
        weights = self.graph.tensors[node.inputs[1]].data
        assert weights is not None
        peak, shape = float(np.abs(weights).max()), self.graph.type(y).shape
        window = self._constant(f"{y}/window_of_1", weights.astype(np.float64) / peak)
        self._tensor(y, TensorType(shape, DType.INT32))
        self._tensor(f"{y}/shifts", TensorType(shape[:-1], DType.INT32))
        made = replace(op, bits=BLOCK_BITS - (self.length[y] - 1).bit_length())
        self.nodes.append(replace(node, op=made, inputs=(x, window), outputs=(y, f"{y}/shifts")))
        loudest = math.fsum(np.abs(weights.astype(np.float64) / peak).tolist())
        self.spectra[y] = Spectrum(f"{y}/shifts", peak * self.tensors[x].type.scale * FULL, loudest)

    def _levels(self, node: Node, op: BandLevels) -> None:
        x, y, spectrum = node.inputs[0], node.outputs[0], self.spectra[node.inputs[0]]
        counts, weights = (self.graph.tensors[n].data for n in node.inputs[2:])
        assert counts is not None and weights is not None
        if op.mode == "linear" and op.power == 2:
            why = "energies without a logarithm span more than int16 holds"
            raise EdgeqError("energies of a spectrum on integers are not supported", where=node.name, why=why, fix=FIX)
        gained = self._constant(f"{y}/gained", weights.astype(np.float64) * spectrum.gain**op.power)
        sums = np.add.reduceat(weights.astype(np.float64), np.cumsum(counts.astype(np.int64)) - counts) * spectrum.gain**op.power
        most = float(sums.max()) * spectrum.loudest**op.power
        low, high = (0.0, most) if op.mode == "linear" else (self._level(op, op.floor), self._level(op, max(most, op.floor) + op.floor))
        own = QParams((max(abs(low), abs(high)) / (FULL - 1),))
        shape = self.graph.type(y).shape
        self._tensor(y, replace(self.output[y], shape=shape) if y in self.output else TensorType(shape, DType.INT16, own))
        self.nodes.append(replace(node, inputs=(x, *node.inputs[1:3], gained, spectrum.shifts)))

    def _level(self, op: BandLevels, value: float) -> float:
        return op.offset + op.factor * float(reals.log(value))
