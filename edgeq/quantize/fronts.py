"""A front end inside a float model: what spectra are made of is computed in float32, or on integers, however the rest is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeq.ir import Array, DType, Graph, Node, Op, Tensor, TensorType, check
from edgeq.ops.cast import Cast
from edgeq.ops.quantize import Dequantize, Quantize
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
        given = evaluate_float(self.graph, {n: samples[n] for n in self.graph.inputs})
        return {n: given[n] if n in given else samples[n] for n in self.rest.inputs}


def divided(graph: Graph) -> Front | None:
    """The front end of a float graph and the rest; None where no operator is kept in float32, or others come before one."""
    needed, front = set[str](), list[Node]()
    for node in reversed(graph.nodes):
        kept = node.op.traits.float32 == "kept"
        if kept or needed & set(node.outputs):
            if not node.op.traits.float32:
                return None
            needed |= {n for n in node.inputs if not graph.tensors[n].is_constant}
            front.append(node)
    if not front or graph.states:
        return None
    if all(n.op.traits.float32 for n in graph.nodes):
        return Front(graph, None, graph)
    own = {o for n in front for o in n.outputs}
    nodes = {n.name for n in front}
    behind = [n for n in graph.nodes if n.name not in nodes]
    results = tuple(n for n in graph.outputs if n in own)
    read = tuple(dict.fromkeys(i for n in behind for i in n.inputs if i in own))
    given = tuple(n for n in graph.inputs if n in needed)
    first = replace(graph, nodes=(), inputs=given, outputs=tuple(dict.fromkeys((*read, *results)))).with_nodes(front[::-1])
    others = tuple(n for n in graph.inputs if n not in needed or any(n in m.inputs for m in behind))
    outputs = tuple(n for n in graph.outputs if n not in own)
    rest = replace(graph, nodes=(), inputs=(*others, *read), outputs=outputs).with_nodes(behind)
    return Front(check(first, "divide"), check(rest, "divide"), graph)


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
    made = replace(front.whole, nodes=(), tensors=tensors, law=rest.law)
    return check(made.with_nodes([*front.graph.nodes, *casts, *behind]), "join")


def _cast(source: TensorType, stored: TensorType) -> Op:
    if source.dtype is DType.INT16:
        return Dequantize()
    return Cast() if stored.dtype is DType.FLOAT16 else Quantize()
