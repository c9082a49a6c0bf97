"""A graph rewritten with every chain of moves collapsed and every node in its chosen layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeq.ir import Array, Graph, Node, Op, QParams, Tensor
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.ops.transpose import Transpose
from edgeq.passes.moves import Move, Shape, label, view
from edgeq.passes.origins import Origins
from edgeq.passes.relabel import Layout, input_order, is_reduction, output_order, relabel, sink

MARK = ".nhwc"  # ends the name of a tensor whose own name is still taken by its form in the model's layout


def moving_inputs(node: Node) -> list[str]:
    """The inputs of a node that follow its layout: all but its parameters."""
    return [n for i, n in enumerate(node.inputs) if i not in node.op.parameters]


def rebuild(origins: Origins, chosen: Mapping[str, Layout]) -> Graph:
    """The graph with moves collapsed; the same object where nothing changes.

    Args:
        chosen: per node, by its output, the layout that it shall work in.
    """
    return _Rebuild(origins, chosen).run()


class _Rebuild:
    def __init__(self, origins: Origins, chosen: Mapping[str, Layout]) -> None:
        self.origins, self.old, self.chosen = origins, origins.graph, chosen
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.names = {n.name for n in self.old.nodes}
        self.made: set[str] = set()  # outputs of move nodes that are new
        constants = (n for n, t in self.old.tensors.items() if t.is_constant)
        self.live = {*self.old.inputs, *self.old.outputs, *constants, *origins.readers, *(o for n in origins.real for o in n.outputs)}
        self.place: dict[str, tuple[str, Move]] = {}  # old tensor -> the new one and the move from there to the old form
        self.moved: dict[tuple[str, Move], str] = {}

    def run(self) -> Graph:
        for name, tensor in self.old.tensors.items():
            if name in self.old.inputs or tensor.is_constant:
                self._set(name, tensor, view(tensor.type.shape, tensor.type.shape))
        for node in self.origins.real:
            self._node(node)
        renames = self._outputs()
        graph = self._graph(renames)
        return self.old if _same(self.old, graph) else graph

    # naming

    def _fresh(self, name: str) -> str:
        """A tensor name that nothing else has or gets."""
        while name in self.tensors or name in self.live:
            name += MARK
        return name

    def _set(self, old: str, tensor: Tensor, back: Move) -> None:
        self.tensors[tensor.name] = tensor
        self.place[old] = (tensor.name, back)

    # moves

    def _located(self, name: str) -> tuple[str, Move]:
        """The new tensor that an old one is a moved form of, with the move."""
        if name in self.place:
            return self.place[name]
        root, move = self.origins.origin(name)
        source, back = self._located(root)
        whole = back.then(move)
        if whole is None:
            source = self._emit(source, back, root)
            whole = move
        self.place[name] = (source, whole)
        return source, whole

    def _fetch(self, name: str, into: Move | None = None) -> str:
        """The new tensor that holds an old one, in another layout where `into` gives it."""
        source, move = self._located(name)
        if into is None or into.is_identity:
            return self._emit(source, move, name)
        whole = move.then(into)
        if whole is None:
            source, whole = self._emit(source, move, name), into
        return self._emit(source, whole, self._fresh(name + MARK))

    def _emit(self, source: str, move: Move, name: str) -> str:
        """Nodes for a move; the result is called `name` unless it exists already."""
        if move.is_identity:
            return source
        key = (source, move)
        if key not in self.moved:
            self.moved[key] = self._constant(source, move, name) or self._chain(source, move, name)
        return self.moved[key]

    def _constant(self, source: str, move: Move, name: str) -> str | None:
        tensor = self.tensors[source]
        if tensor.data is None or (tensor.type.q and tensor.type.q.axis is not None):
            return None
        name = name if name not in self.tensors else self._fresh(name)
        data = move.apply(tensor.data)
        norm = tensor.norm if np.array_equal(data.ravel(), tensor.data.ravel()) else None
        self.tensors[name] = Tensor(name, replace(tensor.type, shape=move.target), data, norm=norm)
        return name

    def _chain(self, source: str, move: Move, name: str) -> str:
        """Reshape, transpose, reshape, as few of them as the move needs."""
        steps = _steps(move)
        for i, (op, shape) in enumerate(steps):
            last = i == len(steps) - 1
            source = self._move_node(source, op, shape, name if last else self._fresh(f"{name}.{'split' if i == 0 else 'permuted'}"))
        return source

    def _move_node(self, source: str, op: Reshape | Transpose, shape: Shape, name: str) -> str:
        name = name if name not in self.tensors else self._fresh(name)
        present = self.origins.producers.get(name)
        if present and present.op == op and present.inputs == (source,):
            self.nodes.append(present)
        else:
            self.made.add(name)
            self.nodes.append(Node("", op, (source,), (name,)))
        self.tensors[name] = Tensor(name, replace(self.tensors[source].type, shape=shape))
        return name

    # nodes

    def _node(self, node: Node) -> None:
        layout = self.chosen.get(node.outputs[0])
        if layout:
            self._in_layout(node, layout)
        elif is_reduction(node.op) and self._reduction(node):
            return
        elif isinstance(node.op, FullyConnected):
            self._fully_connected(node)
        else:
            self._plain_node(node, tuple(self._fetch(n) for n in node.inputs))

    def _plain_node(self, node: Node, inputs: tuple[str, ...]) -> None:
        self.nodes.append(node if inputs == node.inputs else replace(node, inputs=inputs))
        for name in node.outputs:
            if name in self.tensors:  # a moved form took the name
                raise AssertionError(f"{name} is emitted twice")
            output = self.old.tensors[name]
            self._set(name, output, view(output.type.shape, output.type.shape))

    def _in_layout(self, node: Node, layout: Layout) -> None:
        output = self.old.tensors[node.outputs[0]]
        shapes = [self.origins.shape(n) for n in moving_inputs(node)]
        op = relabel(node.op, shapes, output.type.shape, layout)
        move = layout.move(output.type.shape)
        assert op is not None and move is not None
        kept = node.op.parameters
        inputs = tuple(self._fetch(n, None if i in kept else layout.move(self.origins.shape(n))) for i, n in enumerate(node.inputs))
        self._computed(node, op, inputs, move.target, move.inverse())

    def _computed(self, node: Node, op: Op, inputs: tuple[str, ...], shape: Shape, back: Move) -> None:
        """A node whose output lies otherwise than before."""
        output = self.old.tensors[node.outputs[0]]
        name = output.name if back.is_identity else self._fresh(output.name + MARK)
        self.nodes.append(replace(node, op=op, inputs=inputs, outputs=(name,)))
        self._set(output.name, Tensor(name, replace(output.type, shape=shape)), back)

    def _reduction(self, node: Node) -> bool:
        source, move = self._located(node.inputs[0])
        sunk = None if move.is_identity else sink(node.op, move.target, move)
        if sunk is None:
            return False
        op, shape, back = sunk
        self._computed(node, op, (source,), shape, back)
        return True

    def _fully_connected(self, node: Node) -> None:
        x, w, b = node.inputs[0], self._fetch(node.inputs[1]), self._fetch(node.inputs[2])
        source, move = self._located(x)
        columns = input_order(move) if not move.is_view and self._is_matrix(w) else None
        if columns is not None:
            w = self._permuted(w, columns, 1)
            x = self._emit(source, view(move.source, move.target), self._fresh(x + MARK))
        else:
            x = self._fetch(x)
        rows, back = self._row_order(node)
        if rows is not None:
            w, b = self._permuted(w, rows, 0), self._permuted(b, rows, 0)
        self._computed(node, node.op, (x, w, b), self.origins.shape(node.outputs[0]), back)

    def _is_matrix(self, *names: str) -> bool:
        return all(self.tensors[n].is_constant for n in names)

    def _row_order(self, node: Node) -> tuple[Array | None, Move]:
        """The order of output channels that turns the one move behind a fully connected layer into a view."""
        name = node.outputs[0]
        shape = self.origins.shape(name)
        still = view(shape, shape)
        leaves = self.origins.leaves.get(name, [])
        if self.chosen or name in self.old.outputs or len(leaves) != 1 or not self._is_matrix(*node.inputs[1:]):
            return None, still
        move = self.origins.origin(leaves[0])[1]
        rows = None if move.is_view or self.origins.is_free(leaves[0], move) else output_order(move)
        if rows is None:
            return None, still
        return rows, view(shape, move.target).then(move.inverse()) or still

    def _permuted(self, name: str, order: Array, axis: int) -> str:
        """A constant with ``order[k]`` as the old place (rows) or the new place (columns) of element k along an axis."""
        tensor = self.tensors[name]
        assert tensor.data is not None
        index = order if axis == 0 else np.argsort(order)
        q = tensor.type.q
        if q and q.axis == axis and len(q.scale) > 1:
            q = QParams(tuple(q.scale[i] for i in index), q.zero_point, axis)
        new = self._fresh(f"{name}.permuted")
        data = np.ascontiguousarray(np.take(tensor.data, index, axis))
        self.tensors[new] = Tensor(new, replace(tensor.type, q=q), data, tensor.format)
        return new

    # the whole

    def _outputs(self) -> dict[str, str]:
        """Make sure that the graph's outputs exist under their names; returns new name -> final name."""
        renames: dict[str, str] = {}
        for name in self.old.outputs:
            held = self._fetch(name)
            if held == name:
                continue
            external = held in self.old.inputs or held in self.old.outputs or held in renames or self.tensors[held].is_constant
            if external or name in self.tensors:
                shape = self.origins.shape(name)
                self._move_node(held, Reshape(shape), shape, name)
            else:
                renames[held] = name
        taken = set(self.tensors) - set(renames) | set(renames.values())
        for name in self.tensors:
            base = name.removesuffix(MARK)
            if base != name and base not in taken and name not in renames and name not in self.old.inputs and name not in self.old.outputs:
                renames[name] = base
                taken.add(base)
        return renames

    def _graph(self, renames: Mapping[str, str]) -> Graph:
        def final(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(renames.get(n, n) for n in names)

        taken = {n.name for n in self.nodes}
        nodes = []
        for node in self.nodes:
            name, outputs = node.name, final(node.outputs)
            if node.outputs[0] in self.made:
                name = f"{outputs[0]}/{node.op.kind()}"
                while name in taken:
                    name += "'"
                taken.add(name)
            nodes.append(replace(node, name=name, inputs=final(node.inputs), outputs=outputs))
        tensors = [replace(t, name=renames[t.name]) if t.name in renames else t for t in self.tensors.values()]
        return replace(self.old, nodes=(), tensors={}).with_nodes(nodes, tensors)


def _steps(move: Move) -> list[tuple[Reshape | Transpose, Shape]]:
    """The nodes for a move, with the shapes that they give."""
    if move.is_view:
        return [(Reshape(move.target), move.target)]
    front = _axis_order(move)
    if front:  # transpose the source's own axes
        shape = tuple(move.source[a] for a in front)
        first: list[tuple[Reshape | Transpose, Shape]] = [(Transpose(front), shape)]
        return first if shape == move.target else [*first, (Reshape(move.target), move.target)]
    back = _axis_order(move.inverse())
    if back:  # transpose into the target's own axes
        shape = tuple(move.target[a] for a in back)
        return [(Reshape(shape), shape), (Transpose(tuple(int(i) for i in np.argsort(back))), move.target)]
    permuted = tuple(move.split[i] for i in move.perm)
    return [(Reshape(move.split), move.split), (Transpose(move.perm), permuted), (Reshape(move.target), move.target)]


def _axis_order(move: Move) -> tuple[int, ...] | None:
    """The order of source axes that a move amounts to, up to a reshape of the result; None where it splits an axis."""
    order = label(move)
    if order and sorted(order.axes) == list(range(len(move.source))):
        return order.axes
    atoms = move.atoms()
    if atoms is None:
        return None
    owner = {group[0]: axis for axis, group in enumerate(atoms.source) if group}
    ones = [axis for axis, group in enumerate(atoms.source) if not group]
    flat = [a for group in atoms.target for a in group]
    axes = [owner[a] for a in flat if a in owner]
    return (*ones, *axes) if [a for axis in axes for a in atoms.source[axis]] == flat else None


def _same(a: Graph, b: Graph) -> bool:
    if a.nodes != b.nodes or a.tensors.keys() != b.tensors.keys():
        return False
    return all(t.type == b.tensors[n].type and t.data is b.tensors[n].data for n, t in a.tensors.items())
