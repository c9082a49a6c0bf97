"""The GPU runner: a lowered program by hand-written Triton kernels, all vectors and all fault patterns at once.

It runs the program, not the emitted C: the same constants, the same law, the same bytes as the simulator's. Every operator that has no
kernel is refused by name; nothing is computed elsewhere. Without a GPU the same kernels run in Triton's interpreter (device
``interpreter``), for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node
from edgeq.lower import bind, signature
from edgeq.ops.weights import has_weights
from edgeq.program import Program
from edgeq.run.gpu.device import ELEMENTS, NAMES, Device, find, recorder
from edgeq.run.gpu.step import Step, Value, unsupported
from edgeq.simulate import Run

Tables = Mapping[str, Mapping[str, Array]]
Progress = Callable[[int, int], None]

__all__ = ["NAMES", "Device", "find", "nodes", "recorder", "run", "run_patterns"]


def run(
    program: Program,
    inputs: Mapping[str, Array],
    *,
    device: str | Device = "gpu",
    steps: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Run every vector.

    Args:
        inputs: per given input of the graph ``[V, *shape]`` in the stored dtype; of a graph with states consecutive vectors.
        device: ``gpu`` or ``interpreter`` (see `device.find`).
        steps: keep every tensor that a node computes.
        progress: called with (vectors done, vectors in all).

    Raises:
        EdgeqError: there is no such device, or an operator has no kernel.
    """
    place = find(device) if isinstance(device, str) else device
    tensors = _run(program, inputs, {}, place, steps, progress)
    alone = {n: a[0] for n, a in tensors.items()}
    return Run(place.kind, {n: alone[n] for n in program.graph.results}, alone if steps else {})


def run_patterns(
    programs: Sequence[Program],
    inputs: Mapping[str, Array],
    *,
    device: str | Device = "gpu",
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Run every vector under every fault pattern, all at once.

    Args:
        programs: one per pattern, the same but for weights and biases (`faults.apply`).
        inputs: as for `run`.
        device: as for `run`.

    Returns:
        per output ``[patterns, V, *shape]``.

    Raises:
        EdgeqError: as for `run`; or the programs differ in more than weights and biases.
    """
    place = find(device) if isinstance(device, str) else device
    found = _run(programs[0], inputs, _differing(programs), place, False, progress)
    shapes = {n: (len(programs), *found[n].shape[1:]) for n in programs[0].graph.results}
    return {n: np.ascontiguousarray(np.broadcast_to(found[n], shape)) for n, shape in shapes.items()}


def nodes(program: Program) -> list[Node]:
    """The nodes in the order of their computation: the program's, an addition that a kernel folds in after its convolution.

    Reshapes that the program makes views stay where the graph has them, for they compute nothing.
    """
    ordered = [n for call in program.calls for n in call.nodes]
    waiting = [n for n in program.graph.nodes if n.outputs[0] in program.views]
    known = {n for n, t in program.graph.tensors.items() if t.is_constant} | set(program.graph.inputs)
    found: list[Node] = []
    for node in ordered:
        while not known.issuperset(node.inputs):
            view = next(n for n in waiting if known.issuperset(n.inputs))
            waiting.remove(view)
            found.append(view)
            known.update(view.outputs)
        found.append(node)
        known.update(node.outputs)
    return [*found, *waiting]


def _differing(programs: Sequence[Program]) -> Tables:
    """Node -> table -> ``[patterns, *shape]``, of those tables that are not one array in all programs.

    Raises:
        EdgeqError: a kernel does not take that table pattern by pattern.
    """
    first, found = programs[0], dict[str, dict[str, Array]]()
    if any(p.graph is not first.graph for p in programs):
        raise EdgeqError("the patterns belong to different graphs", where=first.graph.name)
    for calls in zip(*(p.calls for p in programs), strict=True):
        node = calls[0].node
        for name, table in calls[0].params.tables.items():
            own = [c.params.tables[name] for c in calls]
            if all(t is table for t in own):
                continue
            if not has_weights(calls[0].params) or not name.endswith(("weights", "bias")):
                raise unsupported(node, f"with a table '{name}' per pattern")
            found.setdefault(node.name, {})[name] = np.stack(own)
    return found


class _Walk:
    """A program's nodes with their constants, on a device."""

    def __init__(self, program: Program, tables: Tables, device: Device) -> None:
        from edgeq.run.gpu.kernels import launchers

        self.graph, self.device, self.tables = program.graph, device, tables
        self.nodes, known = nodes(program), launchers()
        own = {call.node.name: call.params for call in program.calls}
        self.params = {n.name: own.get(n.name) or bind(self.graph, n) for n in self.nodes}
        self.launchers = {}
        for node in self.nodes:
            dtype = signature(self.graph, node, self.params[node.name].law).decoded.types
            if (node.op.kernel_op(), dtype) not in known:
                raise unsupported(node, f"on {dtype}")
            self.launchers[node.name] = known[node.op.kernel_op(), dtype]
        self.sent: dict[str, dict[str, Any]] = {n.name: {} for n in self.nodes}
        self.last = {name: i for i, node in enumerate(self.nodes) for name in node.inputs}
        operands = {n for node in self.nodes for i, n in enumerate(node.inputs) if i not in node.op.parameters}
        data = {n: self.graph.tensors[n].data for n in (*operands, *self.graph.outputs)}
        self.constants = {n: device.send(a.reshape(1, 1, -1)) for n, a in data.items() if a is not None}

    def __call__(self, inputs: Mapping[str, Value], wanted: set[str]) -> dict[str, Value]:
        """The wanted tensors of one batch; others are freed after their last use."""
        values = {n: Value(a) for n, a in self.constants.items()} | dict(inputs)
        for i, node in enumerate(self.nodes):
            operands = tuple(values[n] for j, n in enumerate(node.inputs) if j not in node.op.parameters)
            step = Step(
                self.device, self.graph, node, self.params[node.name], operands, self.tables.get(node.name, {}), self.sent[node.name]
            )
            values |= zip(node.outputs, self.launchers[node.name](step), strict=True)
            for name in set(node.inputs):
                if self.last[name] == i and name not in wanted and name not in self.constants:
                    values.pop(name, None)
        return {n: values[n] for n in wanted}


def _run(
    program: Program, inputs: Mapping[str, Array], tables: Tables, device: Device, steps: bool, progress: Progress | None
) -> dict[str, Array]:
    """Tensors ``[P or 1, V, *shape]``: the outputs, or all that nodes compute."""
    graph = program.graph
    walk = _Walk(program, tables, device)
    wanted = {n for node in walk.nodes for n in node.outputs} | set(graph.outputs) if steps else set(graph.outputs)
    total = len(next(iter(inputs.values())))
    patterns = max([len(a) for own in tables.values() for a in own.values()], default=1)
    chunk = 1 if graph.states else _chunk(graph, total, patterns, device)
    states = {a: np.full((1, 1, graph.type(a).size), graph.type(a).zero_point, graph.type(a).dtype.numpy) for a, _ in graph.states}
    carried = {n: Value(device.send(a)) for n, a in states.items()}
    parts: dict[str, list[Array]] = {n: [] for n in wanted}
    for start in range(0, total, chunk):
        given = {n: a[start : start + chunk] for n, a in inputs.items()}
        values = walk({n: Value(device.send(a.reshape(1, len(a), -1))) for n, a in given.items()} | carried, wanted)
        carried = {a: values[b] for a, b in graph.states}
        vectors = min(chunk, total - start)
        for name in wanted:
            parts[name].append(_fetch(graph, name, values[name], vectors))
        if progress:
            progress(start + vectors, total)
    return {n: np.concatenate(p, axis=1) for n, p in parts.items()}


def _fetch(graph: Graph, name: str, value: Value, vectors: int) -> Array:
    """An array ``[P, vectors, *shape]`` on this side."""
    array: Array = value.data.cpu().numpy()
    shape = (len(array), vectors, *graph.type(name).shape)
    return np.broadcast_to(array, (len(array), vectors, array.shape[2])).reshape(shape)


def _chunk(graph: Graph, vectors: int, patterns: int, device: Device) -> int:
    """Vectors at once, so that the largest tensor of all patterns stays small."""
    largest = max(t.type.size for t in graph.tensors.values() if not t.is_constant)
    return max(1, min(vectors, ELEMENTS[device.kind] // (largest * patterns)))
