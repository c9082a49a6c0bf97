"""The graph under construction: tensors, nodes, their names and the ledger of sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.file import MAX_ELEMENTS, printable
from edgeq.frontends.onnx.values import Constant, Stored
from edgeq.ir import Array, DType, Graph, Node, Op, QParams, Tensor, TensorType
from edgeq.ops.add import Add
from edgeq.ops.concat import Concat
from edgeq.ops.move import _Move
from edgeq.ops.mul import Mul
from edgeq.ops.reshape import Reshape

KEEPS_INFINITY = (Add, Mul, Concat, Reshape, _Move)  # a difference, a product with 0 or 1, the same elements
MAX_BYTES = 2**29  # of all constants that are computed while reading
MAX_TURNED = 2**13  # nodes that all turns of all loops may hold
# What contradictory attributes of a damaged file make an operator raise.
CONTRADICTIONS = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, AssertionError)


class Builder:
    """Collects the nodes and tensors of a graph.

    Attributes:
        name: of the graph.
        reserved: every name of the file; tensors that the file does not have keep away from them.
        stored: constant tensor -> the integers it was dequantized from.
        unsigned: int8 tensors that are uint8 in the file.
        words: names of what is quantized to int16 or uint16 in the file, and float here.
        dynamic: names of what the file quantizes at run time, and what is float here.
        infinite: tensors with elements that stand for infinity, which no output of the model may have.
        assumed: truth values that are taken for false because activations are finite numbers; no output of the model either.
    """

    def __init__(self, name: str, reserved: Iterable[str]) -> None:
        self.name = name
        self.reserved = set(reserved)
        self.node_names: set[str] = set()
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.stored: dict[str, Stored] = {}
        self.unsigned: set[str] = set()
        self.words: list[str] = []
        self.dynamic: list[str] = []
        self.infinite: set[str] = set()
        self.assumed: set[str] = set()
        self.inputs: list[str] = []
        self.final: dict[str, str] = {}  # tensor -> its name in the file
        self.left, self.turns_left = MAX_BYTES, MAX_TURNED
        self.tensor_counts: dict[str, int] = {}
        self.node_counts: dict[str, int] = {}

    def spend(self, size: int, what: str) -> None:
        """Count bytes of a computed constant before it is made.

        Raises:
            EdgeqError: the constants grow out of proportion.
        """
        self.left -= size
        if self.left < 0:
            raise EdgeqError(f"computing {what} takes too much memory", why=f"all constants together exceed {MAX_BYTES} bytes")

    def spend_turns(self, nodes: int, what: str) -> None:
        """Count nodes of loops' bodies before they are read.

        Raises:
            EdgeqError: they are too many.
        """
        self.turns_left -= nodes
        if self.turns_left < 0:
            raise EdgeqError(
                f"{what} with too many iterations is not supported", why=f"unrolled, all loops have more than {MAX_TURNED} nodes"
            )

    def fresh(self, name: str) -> str:
        """A tensor name that is not taken yet."""
        return self._free(name, self.tensor_counts, lambda n: n in self.tensors or n in self.reserved)

    def node_name(self, name: str) -> str:
        candidate = self._free(name, self.node_counts, self.node_names.__contains__)
        self.node_names.add(candidate)
        return candidate

    @staticmethod
    def _free(name: str, counts: dict[str, int], taken: Callable[[str], bool]) -> str:
        """The name, or with the least number behind it that makes it free. `counts` holds where each name's search goes on."""
        count = counts.get(name, 1)
        while taken(candidate := name if count == 1 else f"{name}.{count}"):
            count += 1
        counts[name] = count
        return candidate

    def add_input(self, name: str, type: TensorType, unsigned: bool) -> Tensor:
        tensor = Tensor(name, type)
        self.tensors[name] = tensor
        self.inputs.append(name)
        if unsigned:
            self.unsigned.add(name)
        return tensor

    def constant(self, name: str, data: Array, stored: Stored | None = None) -> Tensor:
        """A float32 constant; the same values under the same name are kept once.

        Raises:
            EdgeqError: NaN, infinity or no elements.
        """
        with np.errstate(over="ignore"):
            data = np.asarray(data, np.float32, order="C")
        if data.size == 0:
            raise EdgeqError(f"constant '{printable(name)}' has no elements", why=f"shape {list(data.shape)}")
        if not np.isfinite(data).all():
            raise EdgeqError(f"constant '{printable(name)}' holds NaN or infinity", fix="train or export the model again")
        present = self.tensors.get(name)
        alike = present is not None and present.type.dtype is DType.FLOAT32 and (name in self.stored) == bool(stored)
        if present is not None and present.data is not None and alike and np.array_equal(present.data, data):
            return present
        self.spend(data.nbytes, "constants")
        tensor = Tensor(name if name not in self.tensors else self.fresh(name), TensorType(data.shape), data)
        self.tensors[tensor.name] = tensor
        if stored:
            self.stored[tensor.name] = stored
        return tensor

    def emit(self, op: Op, inputs: Sequence[Tensor], node: str, output: str, like: TensorType | None = None) -> Tensor:
        """`emit_all` for an operator with one output."""
        return self.emit_all(op, inputs, node, (output,), like)[0]

    def emit_all(
        self, op: Op, inputs: Sequence[Tensor], node: str, outputs: Sequence[str], like: TensorType | None = None
    ) -> tuple[Tensor, ...]:
        """Add a node; its outputs have the inferred shapes and the first computed input's dtype and scale, or those of `like`.

        Raises:
            EdgeqError: the operator refuses the shapes, or a result would be too large.
        """
        try:
            inferred = op.infer_all(*(t.type for t in inputs))
        except EdgeqError:
            raise
        except CONTRADICTIONS as e:
            raise EdgeqError("attributes and shapes contradict each other", why=f"{type(e).__name__}: {e}"[:120]) from e
        results = []
        for name, t in zip(outputs, inferred, strict=True):
            if any(n < 1 for n in t.shape) or math.prod(t.shape) > MAX_ELEMENTS:
                raise EdgeqError(f"its output would have shape {list(t.shape)}", why="a dimension is zero, or the tensor too large")
            computed = like or next((i.type for i in inputs if not i.is_constant), t)
            tensor = Tensor(self.fresh(name), replace(computed, shape=t.shape))
            self.tensors[tensor.name] = tensor
            results.append(tensor)
            if isinstance(op, KEEPS_INFINITY) and any(i.name in self.infinite for i in inputs):
                self.infinite.add(tensor.name)
            if any(i.name in self.unsigned for i in inputs):
                self.unsigned.add(tensor.name)
        self.nodes.append(Node(self.node_name(node), op, tuple(t.name for t in inputs), tuple(t.name for t in results)))
        return tuple(results)

    def retype(self, tensor: Tensor, q: QParams) -> Tensor:
        """Give an int8 graph input its scale."""
        changed = replace(tensor, type=replace(tensor.type, q=q))
        self.tensors[tensor.name] = changed
        return changed

    def finish(self, outputs: Sequence[tuple[str, Tensor | Constant]]) -> Graph:
        """The graph, tensors under their names in the file.

        Args:
            outputs: names in the file, and what they hold.

        Raises:
            EdgeqError: an output is of integers that float32 does not hold, has infinite elements, or asks for them.
        """
        names = []
        for name, value in outputs:
            if value.name in self.assumed:
                why = "edgeq's activations are finite numbers"
                raise EdgeqError("an output says which activations are NaN or infinite", where=printable(name), why=why, fix="remove it")
            if isinstance(value, Constant):
                value = self.constant(self.fresh(f"{name}/value"), value.array)
            if value.name in self.infinite:
                raise EdgeqError("an output holds infinity", where=printable(name), fix="remove the output, or mask with a finite number")
            if value.is_constant:
                value = self.emit(Reshape(value.type.shape), [value], f"{name}/copy", f"{name}/copy")
            bound = self.final.get(value.name, value.name)
            taken = value.name in self.inputs or any(n == bound for n, v in outputs if v is value and n != name) or bound in names
            if bound != name and not taken and all(n != bound for n, _ in outputs):
                self.final[value.name] = name
            elif bound != name:
                copy = self.emit(Reshape(value.type.shape), [value], f"{name}/copy", f"{name}/copy")
                self.final[copy.name] = name
            names.append(name)
        return self._renamed(names)

    def _renamed(self, outputs: list[str]) -> Graph:
        final = self.final
        self.stored = {final.get(n, n): s for n, s in self.stored.items()}

        def named(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(final.get(n, n) for n in names)

        nodes = [replace(n, inputs=named(n.inputs), outputs=named(n.outputs)) for n in self.nodes]
        tensors = {final.get(n, n): replace(t, name=final.get(n, n)) for n, t in self.tensors.items()}
        used = dict.fromkeys([*self.inputs, *(x for n in nodes for x in (*n.inputs, *n.outputs)), *outputs])
        return Graph(self.name, tuple(nodes), {n: tensors[n] for n in used}, tuple(self.inputs), tuple(outputs))
