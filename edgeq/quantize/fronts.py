"""A front end inside a float model: what spectra are made of is computed in float32, or on integers, however the rest is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgeq.ir import Array, DType, Graph, Node, Op, Tensor, TensorType, check, sources
from edgeq.ops.cast import Cast
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.ops.reshape import Reshape
from edgeq.passes.rewrite import Names
from edgeq.quantize.floating import evaluate_float


@dataclass(frozen=True, eq=False)
class Front:
    """A float graph in two.

    Attributes:
        graph: from inputs to what the rest reads, and to outputs of its own.
        rest: what is quantized; None where nothing else computes. Its inputs are those of the whole that it reads itself, and
            outputs of `graph`.
        whole: both.
    """

    graph: Graph
    rest: Graph | None
    whole: Graph

    def samples(self, samples: Mapping[str, Array]) -> dict[str, Array]:
        """Samples of the whole as samples of the rest."""
        assert self.rest is not None
        given = evaluate_float(self.graph, {n: samples[n] for n in self.graph.given})
        return {n: given[n] if n in given else samples[n] for n in self.rest.given}


def divided(graph: Graph) -> Front | None:
    """The front end of a float graph and the rest; None where no operator is kept in float32, or others come before one."""
    kept = [n for n in graph.nodes if n.op.traits.float32 == "kept"]
    needed = sources(graph, [o for n in kept for o in n.outputs])
    front = [n for n in graph.nodes if not needed.isdisjoint(n.outputs)]
    if not front or not all(n.op.traits.float32 for n in front):
        return None
    if all(n.op.traits.float32 for n in graph.nodes):
        return Front(graph, None, graph)
    graph = _own_states(graph, needed)
    own = {o for n in front for o in n.outputs} | {a for a, b in graph.states if a in needed}
    behind = [n for n in graph.nodes if n not in front]
    used = {i for n in behind for i in n.inputs}
    results = tuple(n for n in graph.outputs if n in own)
    read = tuple(n for n in graph.tensors if n in own & used)
    given = tuple(n for n in graph.inputs if n in needed)
    first = _part(graph, front, given, tuple(dict.fromkeys((*read, *results))))
    others = tuple(n for n in graph.inputs if n not in own and (n not in needed or n in used))
    rest = _part(graph, behind, (*others, *read), tuple(n for n in graph.outputs if n not in own))
    return Front(check(first, "divide"), check(rest, "divide"), graph)


def _own_states(graph: Graph, needed: set[str]) -> Graph:
    """The graph in which what the rest keeps of the front end's results is a copy, computed by the rest."""
    nodes, outputs, states, names = list(graph.nodes), list(graph.outputs), list[tuple[str, str]](), Names(graph)
    made: list[Tensor] = []
    for a, b in graph.states:
        if b in needed and a not in needed:
            copy = names.fresh(f"{b}.kept")
            made.append(Tensor(copy, graph.type(b)))
            nodes.append(Node(copy, Reshape(graph.type(b).shape), (b,), (copy,)))
            outputs[outputs.index(b)], b = copy, copy
        states.append((a, b))
    return replace(graph, outputs=tuple(outputs), states=tuple(states)).with_nodes(nodes, made) if made else graph


def _part(graph: Graph, nodes: Sequence[Node], inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Graph:
    """Some nodes of a graph, with the states of which the next values are among their outputs."""
    states = tuple((a, b) for a, b in graph.states if a in inputs and b in outputs)
    return replace(graph, nodes=(), inputs=inputs, outputs=outputs, states=states).with_nodes(nodes)


def joined(front: Front, rest: Graph) -> Graph:
    """The front end and a quantized rest as one graph, with the casts between them: ``x.s8`` is what the rest has for ``x``."""
    tensors, casts, stored = dict(front.graph.tensors), list[Node](), dict[str, str]()
    for name, tensor in rest.tensors.items():
        own = tensors.get(name, tensor).type
        if own == tensor.type or tensor.is_constant:
            tensors[name] = tensor
            continue
        stored[name] = f"{name}.{tensor.type.dtype.value}"
        tensors[stored[name]] = replace(tensor, name=stored[name])
        source = name
        if own.dtype is DType.INT16 and tensor.type.dtype is not DType.FLOAT16:
            source = f"{name}.f32"
            tensors[source] = Tensor(source, TensorType(own.shape))
            casts.append(Node(f"{name}/real", Dequantize(), (name,), (source,)))
        casts.append(Node(f"{name}/stored", _cast(tensors[source].type, tensor.type), (source,), (stored[name],)))
    behind = [replace(n, inputs=tuple(stored.get(i, i) for i in n.inputs)) for n in rest.nodes]
    states = (*front.graph.states, *rest.states)
    inputs = _ordered(front.whole.inputs, {*front.graph.inputs, *rest.inputs} - set(front.graph.outputs), [a for a, _ in states])
    outputs = _ordered(front.whole.outputs, {*front.graph.outputs, *rest.outputs}, [b for _, b in states])
    made = replace(front.whole, nodes=(), inputs=inputs, outputs=outputs, states=states, tensors=tensors, law=rest.law)
    return check(made.with_nodes([*front.graph.nodes, *casts, *behind]), "join")


def _ordered(before: Sequence[str], names: set[str], states: Sequence[str]) -> tuple[str, ...]:
    """Those of some names that are still there, and states, which may have become others."""
    return tuple(dict.fromkeys([*(n for n in before if n in names), *states]))


def _cast(source: TensorType, stored: TensorType) -> Op:
    if source.dtype is DType.INT16:
        return Dequantize()
    return Cast() if stored.dtype is DType.FLOAT16 else Quantize()
