"""Quantized graph -> program: a kernel and its constants for every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from edgeq import half, kernels
from edgeq.chains import chains
from edgeq.errors import EdgeqError
from edgeq.formats.format import Packed
from edgeq.ir import DType, Graph, Node, Params, Tensor
from edgeq.kernels import Kernel, Signature
from edgeq.kernels.layouts import applied
from edgeq.ops.add import Add
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.reshape import Reshape
from edgeq.ops.weights import table_formats
from edgeq.plan.order import Step, best_order
from edgeq.plan.stage import TILES, decoded_formats, stage, storable
from edgeq.program import Call, Program
from edgeq.target import Target

PORTABLE = "c"
UNBOUNDED: dict[str, int | str] = {"pairs": 0, "twos": 0, "tap_twos": 0, "group": 1, "stretch": 0, "has_least": 1}  # of any weights
RARE = 1 / 100  # of all multiply-accumulates: a kernel for less is not worth its code where another one computes the same

SUMS = {half.SUMS: "f16", half.LAW: "f32"}  # what the laws of halves sum products up in


def signature(graph: Graph, node: Node, law: str) -> Signature:
    """What a kernel must compute of a node under a law, by the operator's traits and the types of the graph."""
    first, output = graph.type((operands(graph, node) or node.outputs)[0]).dtype, graph.type(node.outputs[0]).dtype
    weights = [_stored(graph.tensors[node.inputs[i]]) for i in node.op.traits.weights]
    accumulate = SUMS.get(law, "s64" if first is DType.INT16 else "s32")
    w, r = (*weights, "", "")[:2]
    return Signature(node.op.kernel_op(), first.value, output.value, w, r, accumulate if weights else "")


def _stored(weights: Tensor) -> str:
    """The type of weights in signatures."""
    own: str = weights.type.dtype.value
    if weights.type.dtype is not DType.INT8:
        return own
    return f"{own}z" if weights.type.zero_point else weights.format.type or own


def bind(graph: Graph, node: Node) -> Params:
    """The node's constants under the graph's law, as their storage formats keep them."""
    inputs = graph.node_inputs(node)
    params = node.op.bound(graph.law, node.name, inputs, graph.type(node.outputs[0]))
    formats = table_formats(node, inputs, params)
    if not formats:
        return params
    scalars = {**params.scalars, **(UNBOUNDED if any(f.faulty for f in formats.values()) else {})}
    settled = {n: formats[n].settled(t) if n in formats else t for n, t in params.tables.items()}
    return replace(params, scalars=scalars, tables=settled)


def operands(graph: Graph, node: Node) -> tuple[str, ...]:
    """The inputs that a kernel receives as pointers."""
    return tuple(n for i, n in enumerate(node.inputs) if i not in node.op.parameters)


def request(graph: Graph, node: Node) -> tuple[Signature, Params]:
    """What a kernel is selected by."""
    params = bind(graph, node)
    return signature(graph, node, params.law), params


def _allowed(graph: Graph, node: Node, params: Params) -> Callable[[Kernel], bool] | None:
    """Which kernels can have their tables in the formats of the graph; None: all."""
    formats = table_formats(node, graph.node_inputs(node), params)
    return (lambda kernel: storable(kernel, params, decoded_formats(kernel, formats))) if formats else None


def candidates(graph: Graph, node: Node, isa: tuple[str, ...], core: str = "") -> list[Kernel]:
    """The kernels that can compute a node, preferred first (see `kernels.candidates`)."""
    wanted, params = request(graph, node)
    allowed = _allowed(graph, node, params)
    return [k for k in kernels.candidates(wanted, params, isa, core) if allowed is None or allowed(k)]


def portable_only(program: Program) -> dict[str, list[str]]:
    """Format of weights -> the layers that have portable kernels for it alone, where the target has others for such weights in int8."""
    found: dict[str, list[str]] = {}
    for call in program.calls:
        for form in {str(f) for f in call.formats.values() if isinstance(f, Packed)}:
            own = signature(program.graph, call.node, call.params.law)
            best = kernels.candidates(own, call.params, program.target.isa, program.target.core)[0]
            if call.kernel.isa == PORTABLE != best.isa:
                found.setdefault(form, []).append(call.node.name)
    return found


def lower(graph: Graph, target: Target, choices: Mapping[str, str] | None = None, decode: str = TILES) -> Program:
    """Choose a kernel for every node of a quantized graph.

    A reshape costs nothing: its output is a view, unless both ends are the caller's own buffers. An addition is folded into
    the convolution that computes one of its operands, where the convolution's kernel has such a variant.
    Nodes that compute a function of one int8 tensor are one call (see `chains`).
    The calls may run in another order than the nodes, if that needs less memory.

    Weights in a storage format get kernels whose tables can be decoded from it, and are decoded by tiles (see `stage`).

    Args:
        choices: kernels to take instead of the preferred ones, see `kernels.select`.
        decode: when weights in a storage format are decoded, see `stage`.

    Raises:
        EdgeqError: the graph is not quantized, or no kernel applies to a node.
    """
    calls: list[Call] = []
    views: dict[str, str] = {}
    owners = {n: n for n in graph.inputs}  # storage -> the graph input or output that it belongs to
    folded = folded_additions(graph)
    joined = chains(graph, {n.name for n in folded.values()})
    waiting: dict[str, Call] = {}
    for node in graph.nodes:
        if node.name in joined.inside:
            continue
        node, chosen = (joined.nodes[node.name], None) if node.name in joined.nodes else (node, choices)
        output = node.outputs[0]
        if isinstance(node.op, Reshape):
            source = node.inputs[0]
            root = source
            while root in views:
                root = views[root]
            external = root in owners or graph.tensors[root].is_constant
            if not (output in graph.outputs and external):
                views[output] = source
                if output in graph.outputs:
                    owners[root] = output
                continue
        owners |= {n: n for n in node.outputs if n in graph.outputs}
        if node.name in waiting:
            calls.append(waiting.pop(node.name))
            continue
        wanted, params = request(graph, node)
        names = operands(graph, node)
        follower = folded.get(node.name)
        then = (follower.op.kernel_op(),) if follower else ()
        kernel = kernels.select(node.name, wanted, params, target, chosen, then, _allowed(graph, node, params))
        macs = node.op.macs(*(t.type for t in graph.node_inputs(node)))
        variant = kernels.fused(kernel, then)
        if follower and variant:
            waiting[follower.name] = _call(graph, node, variant, *_with_addition(graph, node, follower, params, names), macs, (follower,))
        else:
            calls.append(_call(graph, node, kernel, params, names, node.outputs, macs))
    if choices is None:
        calls = _without_rare_kernels(graph, calls)
    return stage(_ordered(Program(graph, target, tuple(calls), views)), decode)


def _without_rare_kernels(graph: Graph, calls: list[Call]) -> list[Call]:
    """The calls, without the code of a kernel that computes next to nothing where another one of its template, which is there anyway,
    suits all of its calls and saves as much memory."""
    every = sum(c.macs for c in calls)
    by_kernel: dict[str, list[Call]] = {}
    for call in calls:
        by_kernel.setdefault(call.kernel.name, []).append(call)
    rare = {n for n, of in by_kernel.items() if 0 < sum(c.macs for c in of) < RARE * every}
    instead: dict[str, Kernel] = {}
    for name in rare:
        first = by_kernel[name][0].kernel
        for other in (of[0].kernel for n, of in by_kernel.items() if n not in rare):
            alike = (other.path, other.signature, other.isa) == (first.path, first.signature, first.isa)
            if alike and all(_suits(graph, c, other) for c in by_kernel[name]):
                instead[name] = other
    return [
        _call(graph, c.node, instead[c.kernel.name], c.params, c.operands, c.outputs, c.macs, c.epilogue) if c.kernel.name in instead else c
        for c in calls
    ]  # fmt: skip


def _suits(graph: Graph, call: Call, other: Kernel) -> bool:
    """Whether another kernel may compute a call, and saves as much memory."""
    allowed = _allowed(graph, call.node, call.params)
    return other.applies(call.params) and other.overwrites(call.params) == call.inplace and (allowed is None or allowed(other))


def _call(
    graph: Graph, node: Node, kernel: Kernel, params: Params, names: tuple[str, ...], outputs: tuple[str, ...], macs: int,
    epilogue: tuple[Node, ...] = (),
) -> Call:  # fmt: skip
    try:
        packed = {n: applied(layout, n, params.tables) for n, layout in kernel.pack.items() if layout}
    except KeyError as error:
        raise EdgeqError(f"`pack` names an unknown table or layout {error}", where=kernel.path) from None
    tables = {n: packed.get(n, table) for n, table in params.tables.items() if kernel.reads(n, params)}
    formats = decoded_formats(kernel, table_formats(node, graph.node_inputs(node), params))
    scratch, inplace = kernel.scratch_bytes(params), kernel.overwrites(params)
    return Call(node, kernel, params, names, outputs, scratch, tables, macs, inplace, epilogue, formats)


def folded_additions(graph: Graph) -> dict[str, Node]:
    """Convolution -> the addition that may be folded into it: the only reader of its result, with another operand of that shape.

    Where both operands come from convolutions it is the later one.
    """
    producers, consumers = graph.producers(), graph.consumers()
    place = {node.name: i for i, node in enumerate(graph.nodes)}
    found: dict[str, Node] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Add) or node.inputs[0] == node.inputs[1]:
            continue
        shapes = {graph.type(n).shape for n in (*node.inputs, *node.outputs)}
        sources = [producers[n] for n in node.inputs if n in producers and consumers[n] == [node] and n not in graph.outputs]
        takers = [s for s in sources if isinstance(s.op, Conv2d) and (node.op.sign > 0 or s.outputs[0] == node.inputs[0])]
        if takers and len(shapes) == 1:
            found[max(takers, key=lambda n: place[n.name]).name] = node
    return found


def _with_addition(
    graph: Graph, node: Node, follower: Node, params: Params, names: tuple[str, ...]
) -> tuple[Params, tuple[str, ...], tuple[str, ...]]:
    """Params, operands and outputs of a convolution with an addition; of the latter's constants `a` is the convolution's side."""
    own, output = node.outputs[0], follower.outputs[0]
    other = next(n for n in follower.inputs if n != own)
    assert isinstance(follower.op, Add)
    constants = follower.op.constants(graph.law, follower.name, graph.type(own), graph.type(other), graph.type(output))
    scalars = {**params.scalars, **{f"add_{name}": value for name, value in constants.scalars.items()}}
    return Params(params.law, scalars, params.tables), (*names, other), follower.outputs


def _ordered(program: Program) -> Program:
    """The calls in the order with the smallest peak of live bytes; as they are where none is better."""
    graph, storage = program.graph, program.storage
    sizes = {n: graph.type(n).bytes for n in graph.given}
    steps = []
    for call in program.calls:
        sizes |= {n: 0 if n in program.renewed else graph.type(n).bytes for n in call.outputs}
        roots = [storage(n) for n in call.operands]
        read = tuple(dict.fromkeys(r for r in roots if r not in program.outside or r in program.renewed))
        fixed = {r for i, r in enumerate(roots) if i not in call.inplace}
        steps.append(Step(read, call.outputs, call.scratch, tuple(r for r in read if r not in fixed)))
    order = best_order(steps, sizes, frozenset(storage(n) for n in graph.outputs))
    return replace(program, calls=tuple(program.calls[i] for i in order))
