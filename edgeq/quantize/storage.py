"""What every node is computed in.

``int8``; ``float16``: half precision; ``w8a16``: halves with int8 weights; ``w8r16``: a recurrent layer on halves with int8 weights
of x alone; ``int16``: int16 with int8 weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from edgeq.components import Groups
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, Op
from edgeq.ops.linear import NO_CLAMP
from edgeq.quantize.constraints import bears_scale, demanded, given_scales, is_recurrent

INT8, HALF, WEIGHTS, INPUTS, INT16 = "int8", "float16", "w8a16", "w8r16", "int16"
STORAGES = (INT8, HALF, WEIGHTS, INPUTS, INT16)
SUMS = "float16-sums"  # as it is written in precision.toml: HALF, and sums of products in half precision, too
INTEGERS = (INT8, INT16)
Storage = Mapping[str, str]  # node -> one of STORAGES
SUFFIX = {INT8: "s8", HALF: "f16", INT16: "s16"}


def moves(node: Node) -> bool:
    """Whether a node computes nothing of its own: its output has its first input's type."""
    return node.op.traits.keeps_scale("single")


def possible(node: Node) -> tuple[str, ...]:
    """The storages that an operator has a meaning in."""
    found: tuple[str, ...] = (INT8,) if type(node.op).bind is not Op.bind and not node.op.traits.word_scales else ()
    if type(node.op).bind_half is not Op.bind_half:
        found += (HALF, WEIGHTS) if node.op.traits.narrow else (HALF,)
        found += (INPUTS,) if is_recurrent(node) and node.op.traits.narrow else ()
    found += (INT16,) if node.op.traits.words else ()
    return found


@dataclass(frozen=True)
class Unit:
    """Nodes that take one storage: one that computes, or recurrent layers that share states, and what only moves their results.

    Attributes:
        nodes: in the graph's order.
        choices: what they can take.
    """

    nodes: tuple[Node, ...]
    choices: tuple[str, ...]

    @property
    def computing(self) -> tuple[Node, ...]:
        """The nodes that do more than move; none in what moves graph inputs."""
        return tuple(n for n in self.nodes if not moves(n))

    @property
    def name(self) -> str:
        return (self.computing or self.nodes)[0].name


def units(graph: Graph) -> list[Unit]:
    """The units of a float graph, in its order."""
    tied = Groups(n.name for n in graph.nodes)
    nodes = {n.name: n for n in graph.nodes}
    maker = {t: n.name for n in graph.nodes for t in n.outputs}
    for names in demanded(graph, "single").members():
        makers = [maker[t] for t in names if t in maker]
        for other in makers[1:]:
            tied.join(makers[0], other)
    return [_unit(tuple(nodes[n] for n in names)) for names in tied.members()]


def _unit(nodes: tuple[Node, ...]) -> Unit:
    unit = Unit(nodes, ())
    if not unit.computing:
        return replace(unit, choices=(HALF,))
    common = [s for s in STORAGES if all(s in possible(n) for n in unit.computing)]
    if any(moves(n) and not n.op.traits.words for n in nodes):
        common = [s for s in common if s != INT16]
    if not common:
        kinds = ", ".join(sorted({n.op.kind() for n in unit.computing}))
        raise EdgeqError(f"{kinds} is computed neither in int8 nor in half precision", where=unit.name)
    return replace(unit, choices=tuple(common))


def with_sums(graph: Graph, storage: Storage, sums: str | None) -> tuple[Graph, dict[str, str]]:
    """The graph whose layers say in what they sum up, and a storage of `STORAGES`.

    Args:
        storage: may hold `SUMS`.
        sums: ``f16``: all layers in half precision that can sum up in halves do so.

    Raises:
        EdgeqError: an operator with `SUMS` cannot.
    """
    wanted = {n for n, s in storage.items() if s == SUMS or (s == HALF and sums == "f16")}
    nodes = []
    for node in graph.nodes:
        able = hasattr(node.op, "accumulate")
        if storage.get(node.name) == SUMS and not able:
            raise EdgeqError(f"{node.op.kind()} is not summed up in half precision", where=node.name, fix=f"write {HALF}")
        nodes.append(replace(node, op=replace(node.op, accumulate="f16")) if able and node.name in wanted else node)  # type: ignore[call-arg]
    return replace(graph, nodes=tuple(nodes)), {n: HALF if s == SUMS else s for n, s in storage.items()}


def written(node: Node, storage: str) -> str:
    """A node's storage as precision.toml has it: with `SUMS` told from `HALF`."""
    return SUMS if storage == HALF and getattr(node.op, "accumulate", "f32") == "f16" else storage


def spread(found: Iterable[Unit], chosen: Mapping[str, str]) -> dict[str, str]:
    """Node -> storage, from unit -> storage."""
    return {n.name: chosen[u.name] for u in found for n in u.nodes}


def uniform(graph: Graph, wanted: str) -> dict[str, str]:
    """One storage for all nodes that have it, half precision (or else what there is) for the others."""
    found = units(graph)
    return spread(found, {u.name: _first(u, wanted, HALF) for u in found})


def mixed(graph: Graph) -> dict[str, str]:
    """The recipe ``mixed``: recurrent layers and what the model's file gives scales in int8, everything else in half precision.

    The factors of recurrent layers are int16 with int8 weights.
    """
    found = units(graph)
    given, words = _given(graph, found), _gated(graph, found)

    def wanted(u: Unit) -> str:
        return INT16 if u.name in words else INT8 if u.name in given or any(map(is_recurrent, u.nodes)) else HALF

    return spread(found, {u.name: _first(u, wanted(u)) for u in found})


def _gated(graph: Graph, found: list[Unit]) -> set[str]:
    """The units of recurrent gates that no integers but int16 know, and of the products without limits that only those read."""
    words = {u.name for u in found if any(n.op.traits.word_scales for n in u.nodes)}
    unit = {n.name: u.name for u in found for n in u.nodes}
    consumers = graph.consumers()
    before = set[str]()
    while words != before:
        before = set(words)
        for u in found:
            linear = all(n.op.traits.linear is not None and getattr(n.op, "clamp", NO_CLAMP) == NO_CLAMP for n in u.computing)
            readers = {unit[c.name] for n in u.nodes for t in n.outputs for c in consumers[t]} - {u.name}
            read = any(t in graph.outputs for n in u.nodes for t in n.outputs)
            if linear and u.computing and INT16 in u.choices and not read and readers and readers <= words:
                words.add(u.name)
    return words


def _given(graph: Graph, found: list[Unit]) -> set[str]:
    """The units between scales of the model's file: what they read was rounded to one, what they give is rounded at once."""
    if not given_scales(graph):
        return set()
    unit = {t: u for u in found for n in u.nodes for t in n.outputs}
    bearing = {u.name for u in found if any(bears_scale(n.op) for n in u.nodes)}
    consumers = graph.consumers()

    def rounded(u: Unit) -> bool:
        inside = {n.name for n in u.nodes}
        reads = [t for n in u.nodes for t in n.inputs if not graph.tensors[t].is_constant and (t not in unit or unit[t] is not u)]
        gives = [(t, c) for n in u.nodes for t in n.outputs for c in consumers[t] if c.name not in inside]
        last = any(t in graph.outputs for n in u.nodes for t in n.outputs)
        return not last and all(t in unit and unit[t].name in bearing for t in reads) and all(bears_scale(c.op) for _, c in gives)

    return bearing | {u.name for u in found if rounded(u)}


def _first(unit: Unit, *wanted: str) -> str:
    return next((s for s in wanted if s in unit.choices), unit.choices[0])


def complete(graph: Graph, written: Storage, base: Storage | None = None) -> dict[str, str]:
    """A storage for all nodes from one for some: the others as in `base`, int8 where they can be without one.

    Raises:
        EdgeqError: nodes that belong together differ, or an operator does not have the storage.
    """
    result = dict(uniform(graph, INT8) if base is None else base)
    for unit in units(graph):
        found = {written[n.name]: n.name for n in unit.nodes if n.name in written}
        if len(found) > 1:
            both = ", ".join(f"{n} {s}" for s, n in found.items())
            raise EdgeqError("nodes that belong together differ in storage", where=unit.name, why=both)
        for wanted, name in found.items():
            if wanted not in unit.choices:
                raise EdgeqError(f"it is not computed in {wanted}", where=name, fix=f"choose one of {', '.join(unit.choices)}")
            result |= {n.name: wanted for n in unit.nodes}
    return result


def covers(graph: Graph, written: Storage) -> bool:
    """Whether every unit that computes has a storage there."""
    return bool(written) and all(any(n.name in written for n in u.nodes) for u in units(graph) if u.computing)


def roles(node: Node, storage: str, cell: DType | None = None) -> str:
    """The dtypes of what a node reads and holds, by role: ``x s8, h s8, c s16, W s8, R s8, gates s16``.

    Args:
        cell: of an LSTM's cell state in integers; int32 beside int16 and int16 beside int8 where it is not known.
    """
    value, weight = SUFFIX.get(storage, "f16"), ("f16" if storage == HALF else "s8")
    if not is_recurrent(node):
        return f"x {value}" + (f", W {weight}" if node.op.parameters else "")
    usual = {INT8: DType.INT16, INT16: DType.INT32}
    kept = (cell or usual[storage]).value if storage in INTEGERS else "f16"
    c = f", c {kept}" if any(after for _, after in node.op.traits.states) else ""
    gates = f"gates {'s16' if storage in INTEGERS else 'f32'}"
    if not node.op.traits.products:
        return f"x {value}, h {value}{c}, {gates}"
    state = "f16" if storage == INPUTS else weight
    return f"x {value}, h {value}{c}, W {weight}, R {state}, {gates}"
