"""Masks before a softmax: -1e9, -3.4e38 or minus infinity become a number that int8 and half precision can stand.

What only a softmax reads loses nothing by it: e to the -1e4 is 0 as well. A row that is masked as a whole by -1e9 loses its scores in
float32, as they are less than half of that number's last digit: all keys with the largest mask count alike.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import Array, Graph, Node, Tensor, TensorType
from edgeq.ops.add import Add, Sub
from edgeq.ops.attention import FAR
from edgeq.ops.logic import Step
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_max import ReduceMax
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.transpose import Transpose
from edgeq.passes.rewrite import Names, constant

ABSORBING = -(2.0**28)  # a mask that leaves nothing of scores below 16
DEEPEST = 50  # nodes between a mask and its softmax


def soften(graph: Graph) -> Graph:
    """Raise constants below `FAR` that only softmaxes, or questions whether a row is masked, read: through sums, products with truth values
    and moves.

    Those that are subtracted are lowered where they lie above ``-FAR``.
    """
    graph = _absorbed(graph)
    signs = _Signs(graph)
    changed: dict[str, Tensor] = {}
    for name, tensor in graph.tensors.items():
        data = tensor.data
        if data is None or data.dtype != np.float32 or not (np.abs(data) > -FAR).any():
            continue
        if all(isinstance(n.op, (Add, Mul)) for n in signs.consumers[name]) and (found := signs.of(name)) in ({1}, {-1}):
            (sign,) = found
            if (sign * data <= -FAR).all():
                raised = sign * np.maximum(sign * data, np.float32(FAR))
                changed[name] = replace(tensor, data=raised, type=TensorType(raised.shape))
    return graph.with_nodes(graph.nodes, changed.values()) if changed else graph


class _Signs:
    """With which signs tensors are added to what softmaxes read."""

    def __init__(self, graph: Graph) -> None:
        self.consumers, self._graph = graph.consumers(), graph

    def _compared(self, name: str) -> bool:
        """Whether the largest score of a row is only asked whether it is masked."""
        consumers = self.consumers
        tests = [n for n in consumers[name] if isinstance(n.op, Sub) and n.inputs[1] == name]
        return 0 < len(tests) == len(consumers[name]) and all(isinstance(n.op, Step) for t in tests for n in consumers[t.outputs[0]])

    def _keeps_rows(self, node: Node, name: str) -> bool:
        """Whether what lies along the last axis of an operand lies along that of the result, and nothing else."""
        before, after = self._graph.type(name).shape, self._graph.type(node.outputs[0]).shape
        turned = node.op.perm[-1] != len(before) - 1 if isinstance(node.op, Transpose) else not isinstance(node.op, (Add, Mul, Reshape))
        return not turned and before[-1:] == after[-1:]

    def of(self, name: str, rows: bool = False, depth: int = 0) -> set[int]:
        """1, -1, and 0 where something else reads it; `rows`: or a softmax along another axis than its last one."""
        if name in self._graph.outputs or depth >= DEEPEST or not self.consumers[name]:
            return {0}
        found: set[int] = set()
        for node in self.consumers[name]:
            if isinstance(node.op, Softmax) or (isinstance(node.op, ReduceMax) and self._compared(node.outputs[0])):
                found.add(1)
            elif not (isinstance(node.op, (Add, Mul)) or node.op.traits.moves) or (rows and not self._keeps_rows(node, name)):
                found.add(0)
            else:
                taken = isinstance(node.op, Sub) and node.inputs[1] == name
                found |= {-s if taken else s for s in self.of(node.outputs[0], rows, depth + 1)}
        return found


def _absorbed(graph: Graph) -> Graph:
    """Scores are multiplied by 0 in rows of a softmax that a constant masks as a whole, so that its largest values alone count there."""
    signs, names = _Signs(graph), Names(graph)
    nodes: list[Node] = []
    tensors: list[Tensor] = []
    for node in graph.nodes:
        found = _whole_rows(graph, node) if type(node.op) is Add else None
        if found is None or signs.of(node.outputs[0], rows=True) != {1}:
            nodes.append(node)
            continue
        scores, rows, mask = found
        base = node.outputs[0]
        keep, rest = constant(names.fresh(f"{base}.keep"), 1 - rows.astype(np.float32)), constant(names.fresh(f"{base}.mask"), mask)
        kept = Tensor(names.fresh(f"{base}.kept"), TensorType(Mul().infer(graph.type(scores), keep.type).shape))
        nodes += [Node(f"{node.name}/keep", Mul(), (scores, keep.name), (kept.name,)), replace(node, inputs=(kept.name, rest.name))]
        tensors += [keep, rest, kept]
    return graph.with_nodes(nodes, tensors) if tensors else graph


def _whole_rows(graph: Graph, node: Node) -> tuple[str, Array, Array] | None:
    """Of a sum with a mask that absorbs whole rows: the scores, which rows ``[..., 1]``, and the mask whose largest values there are 0."""
    for scores, name in (node.inputs, node.inputs[::-1]):
        data = graph.tensors[name].data
        if data is None or data.dtype != np.float32 or graph.tensors[scores].is_constant or data.ndim == 0:
            continue
        largest = data.max(-1, keepdims=True)
        rows = largest <= ABSORBING
        if rows.any() and data.shape[-1] == graph.type(node.outputs[0]).shape[-1]:
            inside = np.where(data == largest, np.float32(0), np.float32(FAR))
            return scores, rows, np.where(rows, inside, data)
    return None
