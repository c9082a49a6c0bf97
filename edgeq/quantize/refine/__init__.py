"""What is tuned again after every layer has been rounded: one method, one file, found by scan.

A method is a module with ``refined(work)``: the quantized graph of a `Work` with other scales of weights and other biases, or with other
integers that their formats hold. Types of activations, nodes and formats stay, so that flash, RAM and instructions do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph, Node, Tensor
from edgeq.quantize.grid import BIAS
from edgeq.quantize.methods import Methods
from edgeq.simulate import real_array, simulate

NONE = "none"
REACH = 2.0  # a gain changes by at most this factor


@dataclass(frozen=True, eq=False)
class Work:
    """A float graph and what became of it, node by node under the same names.

    Attributes:
        real: float.
        graph: quantized.
        samples: by input ``[V, *shape]``, float32, consecutive ones where there are states.
    """

    real: Graph
    graph: Graph
    samples: Mapping[str, Array]

    def tunable(self) -> list[Node]:
        """The layers on int8 whose scales and biases can be tuned, quantized, in the graph's order."""
        found = []
        for node in self.graph.nodes:
            if node.op.traits.linear is not None and len(node.inputs) > 2:
                x, w, b = (self.graph.type(n) for n in node.inputs[:3])
                alone = all(sum(n in m.inputs for m in self.graph.nodes) == 1 for n in node.inputs[1:3])
                per_channel = w.q is not None and len(w.q.scale) == b.size and w.q.zero_point == 0
                if alone and per_channel and b.dtype is DType.INT32 and x.dtype in (DType.INT8, DType.INT16):
                    found.append(node)
        return found

    def loss(self, graph: Graph, wanted: Mapping[str, Array]) -> float:
        """The square error of a quantized graph's outputs over their power, the mean over outputs.

        Args:
            wanted: the float graph's, ``[V, *shape]``.
        """
        outputs = simulate(graph, {n: self.samples[n] for n in graph.given}).outputs
        lost = []
        for name, real in wanted.items():
            found = real_array(outputs[name], graph.type(name)).astype(np.float64)
            lost.append(float(((found - real) ** 2).sum()) / max(float((real.astype(np.float64) ** 2).sum()), 1e-30))
        return sum(lost) / len(lost)


def check_gradients(work: Work, method: str, least: int, advice: str) -> int:
    """The number of samples, of a method that follows gradients of one output.

    Args:
        least: samples that it needs.
        advice: how many to calibrate with.

    Raises:
        EdgeqError: the graph has states or several outputs, or there are too few samples.
    """
    count = len(next(iter(work.samples.values())))
    if work.graph.states or len(work.graph.results) != 1:
        what = "states" if work.graph.states else f"{len(work.graph.results)} outputs"
        raise EdgeqError(f"{method} is for networks with one output and no states, this one has {what}", fix="choose another --refine")
    if count < least:
        raise EdgeqError(f"{method} needs samples", why=f"there are {count}", fix=f"calibrate with {advice}, or choose another --refine")
    return count


def changed(graph: Graph, node: Node, gain: Array, shift: Array) -> Graph:
    """The graph with a layer's real weights times `gain` and its real bias times it and plus `shift`, per output channel ``[O]``."""
    x, w, b = (graph.tensors[n] for n in node.inputs[:3])
    assert w.type.q is not None and b.data is not None
    before = np.asarray(w.type.q.scale, np.float64)
    after = (before * np.clip(gain, 1 / REACH, REACH)).astype(np.float32).astype(np.float64)
    bias = b.data * (before * x.type.scale) * (after / before) + shift
    integers = np.clip(np.rint(bias / (after * x.type.scale)), -BIAS, BIAS).astype(np.int32)
    scaled = replace(w, type=replace(w.type, q=replace(w.type.q, scale=tuple(after.tolist()))))
    tensors: dict[str, Tensor] = {**graph.tensors, w.name: scaled, b.name: replace(b, data=integers)}
    return replace(graph, tensors=tensors)


REFINEMENTS: Mapping[str, Callable[[Work], Graph]] = Methods(__name__, __path__, "refined")
