"""Masks before a softmax: -1e9, -3.4e38 or minus infinity become a number that int8 and half precision can stand.

What only a softmax reads loses nothing by it: e to the -1e4 is 0 as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import Graph, Tensor, TensorType
from edgeq.ops.add import Add
from edgeq.ops.mul import Mul
from edgeq.ops.softmax import Softmax

MASKED = -1e4  # far below all scores, and a half


def soften(graph: Graph) -> Graph:
    """Raise constants below `MASKED` that only softmaxes read, through sums, products with truth values and moves."""
    consumers = graph.consumers()

    def to_softmax(name: str, depth: int = 0) -> bool:
        readers = consumers[name]
        through = (Add, Mul)
        return bool(readers) and name not in graph.outputs and depth < 50 and all(
            isinstance(n.op, Softmax) or ((isinstance(n.op, through) or n.op.traits.moves) and to_softmax(n.outputs[0], depth + 1))
            for n in readers
        )  # fmt: skip

    changed: dict[str, Tensor] = {}
    for name, tensor in graph.tensors.items():
        data = tensor.data
        if data is None or data.dtype != np.float32 or not (data < MASKED).any() or (np.abs(data[data >= MASKED]) > -MASKED).any():
            continue
        if all(isinstance(n.op, (Add, Mul)) for n in consumers[name]) and to_softmax(name):
            raised = np.maximum(data, np.float32(MASKED))
            changed[name] = replace(tensor, data=raised, type=TensorType(raised.shape))
    return graph.with_nodes(graph.nodes, changed.values()) if changed else graph
