"""The one intermediate representation: typed tensors, operators, nodes and graphs.

Layout is a law: activations NHWC, convolution weights OHWI. A graph is "quantized" when its
activation types carry scales. All values are frozen; passes build new graphs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.formats import PLAIN, Format
from edgeq.traits import Traits

Array = NDArray[Any]


class DType(Enum):
    """Storage types; the value is the suffix used in C symbols. C holds the bits of a float16."""

    INT8 = "s8"
    INT16 = "s16"
    INT32 = "s32"
    FLOAT16 = "f16"
    FLOAT32 = "f32"

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(_NUMPY[self])

    @property
    def c(self) -> str:
        """The C type."""
        return _C[self]

    @property
    def bytes(self) -> int:
        return int(self.numpy.itemsize)


_NUMPY = {DType.INT8: np.int8, DType.INT16: np.int16, DType.INT32: np.int32, DType.FLOAT16: np.float16, DType.FLOAT32: np.float32}
_C = {DType.INT8: "int8_t", DType.INT16: "int16_t", DType.INT32: "int32_t", DType.FLOAT16: "uint16_t", DType.FLOAT32: "float"}


@dataclass(frozen=True)
class QParams:
    """``real = scale * (q - zero_point)``; several scales run along `axis`, with one zero point."""

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None

    def __post_init__(self) -> None:
        if not self.scale or not all(math.isfinite(s) and s > 0 for s in self.scale):
            raise EdgeqError("a quantization scale is not a positive finite number", why=f"scales {self.scale[:4]}")


@dataclass(frozen=True)
class TensorType:
    shape: tuple[int, ...]
    dtype: DType = DType.FLOAT32
    q: QParams | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * self.dtype.bytes

    @property
    def scale(self) -> float:
        """The single scale of a per-tensor quantized type."""
        assert self.q is not None and len(self.q.scale) == 1, self
        return self.q.scale[0]

    @property
    def zero_point(self) -> int:
        return self.q.zero_point if self.q else 0

    def __str__(self) -> str:
        return f"{self.dtype.value}[{'x'.join(map(str, self.shape))}]"


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named value.

    Attributes:
        data: of a constant, of the type's shape and dtype.
        format: how integers of it are stored.
        norm: of a bias that a batch norm is in: mean and deviation per channel ``[2, C]`` that training saw of what it is added to.
    """

    name: str
    type: TensorType
    data: Array | None = None
    format: Format = PLAIN
    norm: Array | None = None

    @property
    def is_constant(self) -> bool:
        return self.data is not None


@dataclass(frozen=True)
class Params:
    """What a kernel needs beside its tensors, computed once and read by simulator and C alike.

    `scalars` become struct members (int32_t, or literals where a kernel is specialised on them; a word is
    always a literal); `tables` become constant arrays in flash. Members read as attributes: ``params.bias``.
    """

    law: str
    scalars: Mapping[str, int | str] = field(default_factory=dict)
    tables: Mapping[str, Array] = field(default_factory=dict)
    _derived: dict[Hashable, Array] = field(default_factory=dict, init=False, repr=False, compare=False)

    def derived(self, key: Hashable, make: Callable[[], Array]) -> Array:
        """What is made of the tables once, for the simulator's speed."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def __getattr__(self, name: str) -> Any:
        for part in (self.__dict__["scalars"], self.__dict__["tables"]):
            if name in part:
                return part[name]
        raise AttributeError(name)


@dataclass(frozen=True)
class Op:
    """An operator; the instance holds its attributes.

    Arrays given to `real` and `reference` have one extra leading axis V (vectors) on activations;
    constants come without it. Several inputs of an elementwise operator have equal rank.
    `parameters` are the input positions that `bind` absorbs (weights, biases): a kernel does not
    receive them as operands. Other constant inputs reach the kernel as pointers into flash. `traits` are what others may know of it.

    An operator with several outputs overrides the plural methods; the singular ones speak of the first output.
    """

    parameters: ClassVar[tuple[int, ...]] = ()
    traits: ClassVar[Traits] = Traits()

    @classmethod
    def kind(cls) -> str:
        """snake_case name, used in C symbols, template names and reports."""
        return "".join(("_" if c.isupper() and i else "") + c.lower() for i, c in enumerate(cls.__name__))

    def kernel_op(self) -> str:
        """The kind whose kernels compute this operator: its own, unless several share them."""
        return self.kind()

    def infer(self, *types: TensorType) -> TensorType:
        """The output's type (shape; dtype and q as the first input's).

        Raises:
            EdgeqError: the shapes do not fit the operator.
        """
        raise NotImplementedError

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        """The types of all outputs."""
        return (self.infer(*types),)

    def real(self, *x: Array) -> Array:
        """The float meaning: float32 arrays in, float32 out."""
        raise NotImplementedError

    def real_all(self, *x: Array) -> tuple[Array, ...]:
        """The float meaning of all outputs."""
        return (self.real(*x),)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        """The constants of the quantized operator.

        Args:
            law: ``single`` or ``tflm``.
            where: the node's name, for errors.
            inputs: types of all inputs, data of the constant ones.
            output: the output's type.

        Raises:
            EdgeqError: the accumulator bound does not hold, or the types do not fit.
        """
        raise NotImplementedError

    def reference(self, params: Params, *x: Array) -> Array:
        """The meaning bit for bit, on the inputs that are not `parameters`; the output's dtype."""
        raise NotImplementedError

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        """The meaning of all outputs bit for bit."""
        return (self.reference(params, *x),)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        """The constants of the operator on halves, under a law of `half`; arguments as for `bind`.

        Raises:
            EdgeqError: it has no such meaning, or the types do not fit.
        """
        raise EdgeqError(f"{self.kind()} is not computed in half precision", where=where, fix="keep it in int8 or float32")

    def reference_half(self, params: Params, *x: Array) -> Array:
        """The meaning on halves bit for bit: float16 in and out."""
        raise NotImplementedError

    def reference_half_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        """The meaning of all outputs on halves."""
        return (self.reference_half(params, *x),)

    def bound(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        """`bind_half` where output and operands are halves, indices and whole numbers aside, else `bind`."""
        operands = [t.type.dtype for i, t in enumerate(inputs) if i not in (*self.parameters, *self.traits.indices)]
        results = () if self.traits.counts_whole else (output.dtype,)
        if all(d is DType.FLOAT16 for d in (*operands, *results)):
            return self.bind_half(where, inputs, output)
        return self.bind(law, where, inputs, output)

    def compute(self, params: Params, *x: Array) -> tuple[Array, ...]:
        """The meaning of all outputs bit for bit under the law of the parameters."""
        return self.reference_half_all(params, *x) if params.law in half.LAWS else self.reference_all(params, *x)

    def of_rows(self, rows: int) -> Op:
        """The operator that computes so many rows of its output alone, of one that `traits.rows` says can."""
        return self

    def macs(self, *types: TensorType) -> int:
        """Multiply-accumulates of one inference."""
        return 0


@dataclass(frozen=True)
class Node:
    name: str
    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order over named tensors.

    `law` is the requantization law of a quantized graph. `states` are pairs of a graph input and the graph output that is its
    value at the next inference: they belong to the stream, not to the vectors that a caller gives and gets.
    """

    name: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    law: str = "single"
    states: tuple[tuple[str, str], ...] = ()

    @property
    def given(self) -> tuple[str, ...]:
        """The inputs that are no state: what a caller gives."""
        kept = {a for a, _ in self.states}
        return tuple(n for n in self.inputs if n not in kept)

    @property
    def results(self) -> tuple[str, ...]:
        """The outputs that are no state: what a caller gets."""
        kept = {b for _, b in self.states}
        return tuple(n for n in self.outputs if n not in kept)

    def type(self, name: str) -> TensorType:
        return self.tensors[name].type

    def node_inputs(self, node: Node) -> tuple[Tensor, ...]:
        return tuple(self.tensors[n] for n in node.inputs)

    def producers(self) -> dict[str, Node]:
        return {o: n for n in self.nodes for o in n.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        result: dict[str, list[Node]] = {n: [] for n in self.tensors}
        for node in self.nodes:
            for i in dict.fromkeys(node.inputs):
                result[i].append(node)
        return result

    def with_nodes(self, nodes: Iterable[Node], tensors: Iterable[Tensor] = ()) -> Graph:
        """A copy with other nodes and added or replaced tensors; unused tensors are dropped."""
        nodes = tuple(nodes)
        table = {**self.tensors, **{t.name: t for t in tensors}}
        used = dict.fromkeys([*self.inputs, *(x for n in nodes for x in (*n.inputs, *n.outputs)), *self.outputs])
        return replace(self, nodes=nodes, tensors={n: table[n] for n in used})

    @property
    def formats(self) -> tuple[Format, ...]:
        """How constants are stored that are not `PLAIN`, each format once, in the order of the tensors."""
        return tuple(dict.fromkeys(t.format for t in self.tensors.values() if t.format != PLAIN))

    def macs(self) -> int:
        return sum(n.op.macs(*(t.type for t in self.node_inputs(n))) for n in self.nodes)


def ancestors(graph: Graph, names: Sequence[str]) -> set[str]:
    """The tensors that some are computed from, themselves included."""
    needed = set(names)
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
    return needed


def sources(graph: Graph, names: Sequence[str]) -> set[str]:
    """Likewise, in this inference or an earlier one: what a state was computed from belongs to it."""
    needed = ancestors(graph, names)
    while more := [b for a, b in graph.states if a in needed and b not in needed]:
        needed |= ancestors(graph, more)
    return needed


def check(graph: Graph, stage: str) -> Graph:
    """Verify a graph between stages and return it.

    Raises:
        EdgeqError: a tensor is undefined, defined twice or of the wrong type; the message names
            the stage, which is edgeq's own fault unless the stage is a frontend.
    """

    def fail(what: str, where: str) -> EdgeqError:
        return EdgeqError(what, where=where, why=f"found after stage '{stage}'")

    defined = set(graph.inputs) | {n for n, t in graph.tensors.items() if t.is_constant}
    for name, tensor in graph.tensors.items():
        if name != tensor.name:
            raise fail(f"tensor is filed under '{name}'", tensor.name)
        if any(not isinstance(d, int) or d <= 0 for d in tensor.type.shape):
            raise fail(f"shape {list(tensor.type.shape)} has a zero-size or unknown dimension", name)
        if tensor.data is not None:
            if tensor.data.shape != tensor.type.shape or tensor.data.dtype != tensor.type.dtype.numpy:
                raise fail(f"constant data is {tensor.data.dtype}{list(tensor.data.shape)}, its type {tensor.type}", name)
            if tensor.data.dtype.kind == "f" and not np.isfinite(tensor.data).all():
                raise fail("constant holds NaN or infinity", name)
    for node in graph.nodes:
        for name in node.inputs:
            if name not in defined:
                raise fail(f"input '{name}' is used before it is computed", node.name)
        for name in node.outputs:
            if name in defined:
                raise fail(f"output '{name}' is defined twice", node.name)
            defined.add(name)
        types = node.op.infer_all(*(graph.type(n) for n in node.inputs))
        if len(types) != len(node.outputs):
            raise fail(f"the node has {len(node.outputs)} outputs, the operator {len(types)}", node.name)
        for name, inferred in zip(node.outputs, types, strict=True):
            if inferred.shape != graph.type(name).shape:
                raise fail(f"output is {graph.type(name)}, the operator gives {inferred}", node.name)
    for name in graph.outputs:
        if name not in defined:
            raise fail("graph output is never computed", name)
    if len(set(graph.outputs)) != len(graph.outputs):
        raise fail("graph output is listed twice", graph.name)
    for a, b in graph.states:
        if a not in graph.inputs or b not in graph.outputs or graph.type(a) != graph.type(b):
            raise fail(f"state '{a}' and its next value '{b}' are no input and output of one type", graph.name)
    return graph
