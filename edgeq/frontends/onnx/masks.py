"""Masks before a softmax: -1e9, -3.4e38 or minus infinity become a number that int8 and half precision can stand.

What only a softmax reads loses nothing by it: e to the -1e4 is 0 as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import Graph, Tensor, TensorType
from edgeq.ops.add import Add, Sub
from edgeq.ops.attention import FAR
from edgeq.ops.logic import Step
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_max import ReduceMax
from edgeq.ops.softmax import Softmax

DEEPEST = 50  # nodes between a mask and its softmax


def soften(graph: Graph) -> Graph:
    """Raise constants below `FAR` that only softmaxes, or questions whether a row is masked, read: through sums, products with truth values
    and moves.

    Those that are subtracted are lowered where they lie above ``-FAR``.
    """
    consumers = graph.consumers()

    def compared(name: str) -> bool:
        """Whether the largest score of a row is only asked whether it is masked."""
        tests = [n for n in consumers[name] if isinstance(n.op, Sub) and n.inputs[1] == name]
        return 0 < len(tests) == len(consumers[name]) and all(isinstance(n.op, Step) for t in tests for n in consumers[t.outputs[0]])

    def signs(name: str, depth: int = 0) -> set[int]:
        """With which signs it is added to what softmaxes read; 0 where something else reads it."""
        if name in graph.outputs or depth >= DEEPEST or not consumers[name]:
            return {0}
        found: set[int] = set()
        for node in consumers[name]:
            if isinstance(node.op, Softmax) or (isinstance(node.op, ReduceMax) and compared(node.outputs[0])):
                found.add(1)
            elif not (isinstance(node.op, (Add, Mul)) or node.op.traits.moves):
                found.add(0)
            else:
                taken = isinstance(node.op, Sub) and node.inputs[1] == name
                found |= {-s if taken else s for s in signs(node.outputs[0], depth + 1)}
        return found

    changed: dict[str, Tensor] = {}
    for name, tensor in graph.tensors.items():
        data = tensor.data
        if data is None or data.dtype != np.float32 or not (np.abs(data) > -FAR).any():
            continue
        if all(isinstance(n.op, (Add, Mul)) for n in consumers[name]) and (found := signs(name)) in ({1}, {-1}):
            (sign,) = found
            if (sign * data <= -FAR).all():
                raised = sign * np.maximum(sign * data, np.float32(FAR))
                changed[name] = replace(tensor, data=raised, type=TensorType(raised.shape))
    return graph.with_nodes(graph.nodes, changed.values()) if changed else graph
