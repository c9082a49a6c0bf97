"""The casts where storages meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeq.errors import EdgeqError
from edgeq.ir import Graph, Node, Tensor, check
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.quantize.constraints import cells, demanded, indices, roots
from edgeq.quantize.storage import HALF, INTEGERS, SUFFIX, Storage


@dataclass(frozen=True, eq=False)
class Bordered:
    """A float graph with the casts that a storage asks for.

    Attributes:
        graph: with nodes Quantize and Dequantize, which do nothing to real numbers.
        origins: new tensor -> the one that it is a copy of.
        stored: tensor -> `HALF`, `INT8` or `INT16`.
    """

    graph: Graph
    origins: Mapping[str, str]
    stored: Mapping[str, str]

    def origin(self, name: str) -> str:
        return self.origins.get(name, name)


def bordered(graph: Graph, storage: Storage) -> Bordered:
    """Insert casts. Graph inputs and outputs are halves, indices int32, states what their layers compute in; cell states in integers
    stay integers, also as inputs and outputs.

    A tensor keeps its name in the storage that it is computed in; its copy is called ``x.s8`` or ``x.f16``. An output that is
    computed in int8 is called ``y.s8``, its copy in halves ``y``.

    Raises:
        EdgeqError: a cell state in integers is read by something else than its layer.
    """
    kinds = {n.name: storage[n.name] if storage[n.name] in INTEGERS else HALF for n in graph.nodes}
    home = {t: kinds[n.name] for n in graph.nodes for t in n.outputs}
    home |= dict.fromkeys(graph.given, HALF) | {a: home.get(b, HALF) for a, b in graph.states}
    tied, kept = demanded(graph, "single"), roots(graph, 1)
    home |= {t: home[c] for c in kept for t in tied.group(c) if t in graph.given}
    numbers = indices(graph, "single")
    wide = {t for t in cells(graph, "single") if home[t] in INTEGERS}
    cast_back = {t for t in graph.results if home.get(t) in INTEGERS and t not in wide | numbers}
    own = {t: f"{t}.{SUFFIX[kind]}" if t in cast_back else t for t, kind in home.items()}
    names = {(t, kind): own[t] for t, kind in home.items()}
    tensors = dict(graph.tensors)
    nodes: list[Node] = []

    def cast(t: str, wanted: str) -> str:
        """The name of a tensor in a storage."""
        if (t, wanted) not in names and t not in numbers:
            if t in wide or (wanted in INTEGERS and t in cells(graph, "single")):
                raise EdgeqError("a cell state is read in another storage than it is kept in", where=t, fix="give its readers one storage")
            source = cast(t, HALF) if wanted in INTEGERS and home[t] in INTEGERS else own[t]  # from integers to others by halves
            names[t, wanted] = t if own[t] != t and wanted == HALF else f"{t}.{SUFFIX[wanted]}"
            op = Quantize() if wanted in INTEGERS else Dequantize()
            nodes.append(Node(f"{t}/to_{SUFFIX[wanted]}", op, (source,), (names[t, wanted],)))
        return t if t in numbers else names[t, wanted]

    for node in graph.nodes:
        wanted = kinds[node.name]
        inputs = tuple(n if graph.tensors[n].is_constant else cast(n, wanted) for n in node.inputs)
        nodes.append(replace(node, inputs=inputs, outputs=tuple(own[n] for n in node.outputs)))
    for t in graph.results:
        if t in home and t not in wide:
            cast(t, HALF)
    for (t, _), name in names.items():
        tensors[name] = Tensor(name, graph.type(t))
    made = check(replace(graph, tensors=tensors, nodes=()).with_nodes(nodes), "borders")
    return Bordered(made, {name: t for (t, _), name in names.items() if name != t}, {name: kind for (_, kind), name in names.items()})
