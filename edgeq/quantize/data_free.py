"""Calibration samples out of the network itself, where there are no data: inputs that it takes for one of its own classes.

From smooth noise, whose size makes the first layer's sums vary by about 1, as a batch-norm would have had them, each input is moved by
the gradient of the cross entropy with a class (DeepInversion, Yin et al., CVPR 2020). Gradients are smoothed over neighbouring places, so
that inputs stay natural, and an input that the network is sure of stops moving.

Where the file still has batch norms, sums of layers are to have the means and deviations of training as well (ZeroQ, Cai et al., CVPR 2020:
`norms`), which also serves networks that are no classifiers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edgeq import reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, ancestors
from edgeq.ops.linear import NO_CLAMP
from edgeq.quantize import norms
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.gradients import backward

LOG = logging.getLogger("edgeq")
SAMPLES, STEPS = 64, 40
FIRST, LAST = 0.2, 0.05  # of the noise's size, the length of the first and the last step
SURE = 0.95  # of a class: an input stops there
LONG = 8  # places along an axis that has neighbours
LEVELS = 512  # steps of the largest value that samples are rounded to: no computer's last bits are in them
Progress = Callable[[int, int], None]


def samples(
    graph: Graph, count: int = SAMPLES, limits: tuple[float, float] | None = None, progress: Progress | None = None
) -> dict[str, Array]:
    """Calibration samples of a float classifier, or of a network with batch norms, ``[count, *shape]`` float32 by input.

    Args:
        limits: the least and the largest value that an input can have, where they are known.
        progress: called with (steps done, in all).

    Raises:
        EdgeqError: it has states, several inputs or outputs, gives no classes and has no batch norms, or an operator has no gradient.
    """
    whole, known = norms.bared(graph)
    name, logits, classifies = _ends(graph, bool(known))
    inner = _until(whole, logits)
    known = {n: norm for n, norm in known.items() if any(n in m.outputs for m in inner.nodes)}
    shape, classes = graph.type(name).shape, graph.type(logits).size
    rng = np.random.default_rng(0)
    x = _noise(rng, (count, *shape))
    size = _size(graph, name, x)
    x = x * size + (0.0 if limits is None else (limits[0] + limits[1]) / 2)
    labels = np.arange(count) % classes
    for step in range(STEPS):
        x = x if limits is None else np.clip(x, *limits)
        values = evaluate_float(inner, {name: x.astype(np.float32)}, steps=True)
        sure = _softmax(values[logits].reshape(count, -1).astype(np.float64))
        missing = 1 - sure[np.arange(count), labels] if classifies else np.zeros(count)
        wrong = sure.copy()
        wrong[np.arange(count), labels] -= 1
        unlike, more = norms.gradients(values, known)
        gradient = backward(inner, values, logits, classifies * wrong.reshape(values[logits].shape), more=more)[name]
        way = _smoothed(gradient)
        length = np.sqrt((way.reshape(count, -1) ** 2).mean(1))
        left = np.maximum(missing - (1 - SURE), min(1.0, unlike))
        factor = np.where(length > 0, left / np.maximum(length, 1e-300), 0.0)
        reach = FIRST + (LAST - FIRST) * step / STEPS
        x = x - (reach * size * factor).reshape(-1, *[1] * len(shape)) * way
        if progress:
            progress(step + 1, STEPS)
    x = x if limits is None else np.clip(x, *limits)
    unit = max(float(np.abs(x).max()), 1e-30) / LEVELS
    said = f"which is {100 * float(1 - missing.mean()):.0f} % sure of them" if classifies else "by its batch norms"
    LOG.warning(
        "calibrated without data: %d inputs made by the network itself, %s. Fix: calibrate with real inputs if there are some", count, said
    )
    return {name: (np.rint(x / unit) * unit).astype(np.float32)}


def _ends(graph: Graph, normed: bool = False) -> tuple[str, str, bool]:
    """The input, the tensor of a value per class (before a softmax, if there is one), and whether it is that; of a network with batch norms
    that is no classifier its output."""
    why = ""
    if graph.states:
        why = "it has states"
    elif len(graph.given) != 1 or len(graph.results) != 1:
        why = f"it has {len(graph.given)} inputs and {len(graph.results)} outputs"
    elif graph.type(graph.results[0]).size < 2:
        why = "its output is one number"
    elif graph.type(graph.results[0]).size != max(graph.type(graph.results[0]).shape):
        why = f"its output has the shape {list(graph.type(graph.results[0]).shape)}"
    elif graph.type(graph.results[0]).size == graph.type(graph.given[0]).size:
        why = "its output has the size of its input, which it reconstructs"
    if why and normed and not graph.states and len(graph.given) == len(graph.results) == 1:
        return graph.given[0], graph.results[0], False
    if why:
        raise EdgeqError("calibration without data is for classifiers", where=graph.name, why=why, fix="give --calib real inputs")
    makers, name = graph.producers(), graph.results[0]
    while (node := makers.get(name)) is not None and (node.op.traits.view or node.op.traits.near is not None):
        name = node.inputs[0]
        if node.op.traits.near is not None:
            break
    return graph.given[0], name, True


def _until(graph: Graph, output: str) -> Graph:
    """The part of a graph that computes a tensor."""
    wanted = ancestors(graph, [output])
    return replace(graph, nodes=tuple(n for n in graph.nodes if not wanted.isdisjoint(n.outputs)), outputs=(output,))


def _softmax(z: Array) -> Array:
    e = reals.exp(z - z.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def _axes(shape: tuple[int, ...]) -> list[int]:
    """Axes of ``[V, *shape]`` along which neighbours resemble each other."""
    return [i + 1 for i, n in enumerate(shape) if n >= LONG]


def _spans(shape: tuple[int, ...]) -> list[int]:
    """Powers of two up to the longest axis that has neighbours."""
    longest = max([1, *(shape[i - 1] for i in _axes(shape))])
    return [2**k for k in range(longest.bit_length() + 1)]


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Noise of mean square 1, as much of it in every octave, as natural images and spectra have it."""
    total = np.zeros(shape)
    for span in _spans(shape[1:]):
        grid = [-(-n // span) if i in _axes(shape[1:]) else n for i, n in enumerate(shape)]
        part = rng.standard_normal(grid)
        for i in _axes(shape[1:]):
            part = part.repeat(span, i).take(np.arange(shape[i]), i)
        total += part
    return np.asarray(total / np.sqrt((total**2).mean()))


def _smoothed(a: Array) -> Array:
    """The sum of means over blocks of every span: a gradient as inputs of such noise would feel it."""
    total: Array = np.zeros_like(a)
    for span in _spans(a.shape[1:]):
        part = a
        for i in _axes(a.shape[1:]):
            starts = np.arange(0, a.shape[i], span)
            counts = np.diff([*starts, a.shape[i]])
            sums = np.add.reduceat(part, starts, axis=i)
            part = (sums / counts.reshape([-1 if k == i else 1 for k in range(a.ndim)])).repeat(counts, i)
        total += part
    return total


def _size(graph: Graph, name: str, x: Array) -> float:
    """The size of noise at which the sums of the first layer vary by 1, the median over its channels; 1 where there is no layer."""
    node = next((n for n in graph.nodes if n.op.traits.linear is not None), None)
    if node is None or name not in ancestors(graph, [node.inputs[0]]):
        return 1.0
    layer: Any = node.op
    bare = replace(node, op=replace(layer, clamp=NO_CLAMP))
    inner = _until(replace(graph, nodes=tuple(bare if n is node else n for n in graph.nodes)), node.outputs[0])
    y = evaluate_float(inner, {name: x.astype(np.float32)})[node.outputs[0]].astype(np.float64)
    spread = np.sqrt(((y - y.mean(tuple(range(y.ndim - 1)), keepdims=True)) ** 2).mean(tuple(range(y.ndim - 1))))
    living = spread[spread > 1e-6 * max(float(spread.max()), 1e-30)]
    return float(1 / np.median(living)) if len(living) else 1.0
