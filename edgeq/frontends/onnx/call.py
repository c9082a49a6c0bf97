"""One ONNX node while it is read: its attributes and inputs under their meaning in any operator set version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, helper

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.builder import Builder
from edgeq.frontends.onnx.file import DAMAGED, array, printable
from edgeq.frontends.onnx.values import Constant, Value
from edgeq.ir import Array, Op, Tensor, TensorType
from edgeq.ops.reshape import Reshape
from edgeq.ops.transpose import Transpose
from edgeq.passes.rebuild import MARK

MAX_WHOLE = 2**24  # the largest integer that float32 counts to


def as_floats(array: Array, kind: str) -> Array:
    """Integers or truth values as float32.

    Raises:
        EdgeqError: one is not exact.
    """
    if array.size and array.dtype.kind in "iu" and max(abs(int(array.min())), abs(int(array.max()))) > MAX_WHOLE:
        raise EdgeqError(f"{kind} of integers beyond {MAX_WHOLE} is not supported")
    return array.astype(np.float32)


class Call:
    """A node with its inputs' values.

    Attributes:
        kind: the operator's name.
        version: of the operator set.
        values: per input position; None where it is left out.
        label: the node's name, or its first output's where it has none.
    """

    def __init__(self, builder: Builder, node: NodeProto, version: int, values: list[Value | None]) -> None:
        self.builder, self.node, self.version, self.values = builder, node, version, values
        self.kind = node.op_type
        self.output = next((o for o in node.output if o), "output")
        self.label = node.name or self.output
        self.created: list[Tensor] = []
        self._attributes = {a.name: a for a in node.attribute}
        self.read: set[str] = set()  # attributes that a reader has asked for

    def with_values(self, values: Sequence[Value | None], kind: str | None = None) -> Call:
        """The same node with other inputs, for the reader of another operator."""
        other = Call(self.builder, self.node, self.version, list(values))
        other.kind, other.label, other.output, other.created = kind or self.kind, self.label, self.output, self.created
        other.read = self.read
        return other

    # attributes

    def _attribute(self, name: str, kind: AttributeProto.AttributeType, default: Any) -> Any:
        self.read.add(name)
        attribute = self._attributes.get(name)
        if attribute is None:
            return default
        if attribute.type != kind:
            raise EdgeqError(f"attribute '{name}' of {self.kind} has the wrong type", why=DAMAGED)
        return helper.get_attribute_value(attribute)

    def has(self, name: str) -> bool:
        self.read.add(name)
        return name in self._attributes

    def integer(self, name: str, default: int) -> int:
        return int(self._attribute(name, AttributeProto.INT, default))

    def number(self, name: str, default: float) -> float:
        """A float attribute, finite."""
        value = float(self._attribute(name, AttributeProto.FLOAT, default))
        if not np.isfinite(value):
            raise EdgeqError(f"attribute '{name}' of {self.kind} is {value}")
        return float(np.float64(str(np.float32(value))))  # 0.1 as written, not as its float32 neighbour

    def is_nan(self, name: str) -> bool:
        """Whether a float attribute is there and is no number."""
        return self.has(name) and bool(np.isnan(self._attribute(name, AttributeProto.FLOAT, 0.0)))

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
        value = self._attribute(name, AttributeProto.INTS, default)
        return None if value is None else tuple(int(v) for v in value)

    def numbers(self, name: str) -> list[float]:
        """A list of floats; empty where it is left out."""
        return [float(v) for v in self._attribute(name, AttributeProto.FLOATS, ())]

    def text(self, name: str, default: str) -> str:
        value = self._attribute(name, AttributeProto.STRING, default)
        return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)

    def texts(self, name: str) -> list[str]:
        """A list of strings; empty where it is left out."""
        return [v.decode("ascii", "replace") for v in self._attribute(name, AttributeProto.STRINGS, ())]

    def tensor_attribute(self, name: str) -> Array | None:
        value = self._attribute(name, AttributeProto.TENSOR, None)
        return None if value is None else array(value)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """A string attribute out of `allowed`."""
        value = self.text(name, default)
        if value not in allowed:
            raise EdgeqError(f"{self.kind} with {name} '{printable(value)}' is not supported", why=f"{', '.join(allowed)} are")
        return value

    # inputs

    def value(self, position: int) -> Value | None:
        return self.values[position] if position < len(self.values) else None

    def required(self, position: int) -> Value:
        value = self.value(position)
        if value is None:
            raise EdgeqError(f"input {position} of {self.kind} is missing", why=DAMAGED)
        return value

    def x(self, position: int = 0) -> Tensor:
        """An input as a tensor that a node may read."""
        return self.tensor(self.required(position))

    def tensor(self, value: Value) -> Tensor:
        """A value as a tensor; constants become float32 tensors of the graph."""
        if isinstance(value, Tensor):
            return value
        if value.array.dtype.kind in "iub":
            return self.builder.constant(f"{value.name or self.output}.float", as_floats(value.array, self.kind))
        if value.array.dtype.kind != "f":
            raise EdgeqError(f"{self.kind} of {value.array.dtype} values is not supported", fix="compute it in float32")
        return self.builder.constant(value.name or f"{self.output}.constant", value.array, value.stored)

    def constant(self, position: int, what: str) -> Constant | None:
        """An input that must be known while reading; None where it is left out."""
        value = self.value(position)
        if isinstance(value, Tensor):
            raise EdgeqError(f"{what} of {self.kind} must be constant", fix="export the model with constant parameters and static shapes")
        return value

    def data(self, position: int, what: str) -> Array | None:
        found = self.constant(position, what)
        return None if found is None else found.array

    def vector(self, position: int, what: str) -> tuple[int, ...] | None:
        """A constant integer vector, or scalar; None where it is left out."""
        found = self.data(position, what)
        if found is None:
            return None
        if found.dtype.kind not in "iu" or found.ndim > 1:
            raise EdgeqError(f"{what} of {self.kind} must be integers", why=DAMAGED)
        return tuple(int(v) for v in found.ravel())

    def parameter(self, name: str, position: int) -> tuple[int, ...] | None:
        """An integer list that older versions keep as an attribute and newer ones as an input."""
        return self.vector(position, f"'{name}'") if self.value(position) is not None else self.integers(name)

    def axis(self, default: int, rank: int, name: str = "axis") -> int:
        return self.normal_axis(self.integer(name, default), rank)

    def normal_axis(self, axis: int, rank: int) -> int:
        if not -rank <= axis < rank:
            raise EdgeqError(f"axis {axis} of {self.kind} does not exist", why=f"the input has {rank}")
        return axis % rank

    # output

    def emit(self, op: Op, *inputs: Tensor, tag: str = "", like: TensorType | None = None) -> Tensor:
        """Add a node. The one without a tag has the ONNX node's own name, its output that of the node's output."""
        node = f"{self.label}/{tag}" if tag else self.label
        tensor = self.builder.emit(op, inputs, node, f"{self.output}.{tag}" if tag else f"{self.output}{MARK}", like)
        self.created.append(tensor)
        return tensor

    def emit_all(self, op: Op, *inputs: Tensor, tag: str, outputs: Sequence[str]) -> tuple[Tensor, ...]:
        """Add a node with several outputs, each named by a tag of its own."""
        tensors = self.builder.emit_all(op, inputs, f"{self.label}/{tag}" if tag else self.label, [f"{self.output}.{o}" for o in outputs])
        self.created += tensors
        return tensors

    def reshape(self, x: Tensor, shape: tuple[int, ...], tag: str = "reshape") -> Tensor:
        if x.type.shape == shape:
            return x
        if x.data is not None:
            held = self.builder.stored.get(x.name)
            stored = held.reshaped(shape) if held else None
            reshaped = self.builder.constant(f"{x.name}.{tag}", x.data.reshape(shape), stored)
            self.builder.infinite |= {reshaped.name} if x.name in self.builder.infinite else set()
            return reshaped
        return self.emit(Reshape(shape), x, tag=tag)

    def transpose(self, x: Tensor, perm: tuple[int, ...], tag: str = "transpose") -> Tensor:
        return x if perm == tuple(range(len(perm))) else self.emit(Transpose(perm), x, tag=tag)

    def with_axis_last(self, x: Tensor, axis: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """``compute`` applied with `axis` as the last one."""
        rank = len(x.type.shape)
        if axis == rank - 1:
            return compute(x)
        perm = (*(a for a in range(rank) if a != axis), axis)
        back = tuple(perm.index(a) for a in range(rank))
        return self.transpose(compute(self.transpose(x, perm, "axis_last")), back, "axis_back")

    def nhwc(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` or ``[N, C, L]`` as ``[N, H, W, C]`` or ``[N, 1, L, C]``."""
        shape = x.type.shape
        if len(shape) not in (3, 4):
            raise EdgeqError(f"{self.kind} with {len(shape) - 2} spatial axes is not supported", why="one or two are")
        if len(shape) == 3:
            x = self.reshape(x, (shape[0], shape[1], 1, shape[2]), "rows")
        perm, own = (0, 2, 3, 1), self.builder.final.get(x.name, x.name)
        tensor = self.builder.emit(Transpose(perm), (x,), f"{self.label}/nhwc", own if own.endswith(MARK) else own + MARK)
        self.created.append(tensor)
        return tensor

    def nchw(self, x: Tensor, rank: int) -> Tensor:
        """Back to the model's layout."""
        n, _, w, c = x.type.shape
        x = self.transpose(x, (0, 3, 1, 2), "nchw")
        return self.reshape(x, (n, c, w), "columns") if rank == 3 else x

    def same_rank(self, *tensors: Tensor) -> list[Tensor]:
        """Operands of an elementwise operator, leading axes of length 1 added to those of lower rank."""
        rank = max(len(t.type.shape) for t in tensors)
        return [self.reshape(t, (1,) * (rank - len(t.type.shape)) + t.type.shape, "broadcast") for t in tensors]
