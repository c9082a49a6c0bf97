"""Whether there are samples enough: ranges take in their extremes, rounding and bias correction fit a layer's weights to the rows of inputs
that calibration shows it."""

from __future__ import annotations

import logging
import math

from edgeq.ir import Graph
from edgeq.quantize.ranges import DEVIATIONS, FEW
from edgeq.text import first_of

LOG = logging.getLogger("edgeq")
ROWS = 0.5  # per weight of an output: fewer leave it open what most of them are for
LEAST = 128  # weights of an output: of fewer there is little to go wrong


def advise(graph: Graph, vectors: int) -> None:
    """Say in a line that ranges are widened, and in one which layers see too few rows of inputs for the weights that an output has, and how
    many samples would do.

    Args:
        graph: float.
        vectors: samples that calibrate.
    """
    if 2 <= vectors < FEW:
        LOG.warning(
            "%d samples are few: ranges are widened to the mean of the samples' peaks plus %d standard deviations. "
            "Fix: calibrate with %d or more",
            vectors, DEVIATIONS, FEW,
        )  # fmt: skip
    short = {}
    for node in graph.nodes:
        linear = node.op.traits.linear
        if linear is None or graph.tensors[node.inputs[1]].data is None:
            continue
        w, y = graph.type(node.inputs[1]), graph.type(node.outputs[0])
        outputs = w.shape[linear.axis]
        weights, rows = w.size // outputs, max(1, y.size // outputs)
        if weights >= LEAST and vectors * rows < ROWS * weights:
            short[node.name] = math.ceil(weights / rows)
    if short:
        worst = sorted(short, key=lambda n: -short[n])
        LOG.warning(
            "%d samples are few for %s: an output has more weights than it sees inputs. Fix: calibrate with %d or more",
            vectors, first_of([f"'{n}'" for n in worst]), max(short.values()),
        )  # fmt: skip
