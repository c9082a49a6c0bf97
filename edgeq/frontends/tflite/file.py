"""The .tflite flatbuffer as plain values, every index and length checked: the file is hostile input.

The accessors of the `tflite` package follow offsets without looking; what they trip over
(struct.error, IndexError, ...) becomes one EdgeqError here, and a budget proportional to the
file's size bounds the work that overlapping vectors and strings can cause.
"""

from __future__ import annotations

import functools
import inspect
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.sparse import Level, Sparsity
from edgeq.ir import Array

MAX_ELEMENTS = 2**26  # of one tensor
MAX_RANK = 8
MAX_ITEMS = 2**16  # tensors, operators
MAX_NAME = 400
DAMAGE = (struct.error, KeyError, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError)
Option = int | float | bool | str | tuple[int, ...]

# What the constants of each type look like; other types occur in unsupported models only.
NUMPY: dict[str, np.dtype[Any]] = {
    "FLOAT32": np.dtype("<f4"), "FLOAT16": np.dtype("<f2"), "INT8": np.dtype("i1"), "UINT8": np.dtype("u1"), "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"), "UINT32": np.dtype("<u4"), "BOOL": np.dtype("?"),
}  # fmt: skip


@dataclass(frozen=True)
class FileQuantization:
    """Scales and zero points as stored; several of them run along `axis`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int


@dataclass(frozen=True, eq=False)
class FileTensor:
    """A tensor as stored.

    Attributes:
        name: printable, at most `MAX_NAME` characters, not empty; several may share one.
        shape: sizes, 1 where the file leaves a dimension open.
        unknown: the positions of open dimensions; None where even the rank is open.
        kind: the schema's type name, as ``FLOAT32``.
        data: the constant's bytes (uint8 view into the file), None for a computed tensor.
        relabelled: stored as uint8, read as int8: values and zero points less 128 (of bytes without a scale, scale 1).
    """

    name: str
    shape: tuple[int, ...]
    unknown: tuple[int, ...] | None
    kind: str
    quantization: FileQuantization | None
    data: Array | None
    is_variable: bool
    sparsity: Sparsity | None
    relabelled: bool = False

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    def constant(self) -> Array:
        """The constant's values in its own dtype and shape; INT4 is widened to int8.

        Raises:
            EdgeqError: the buffer does not hold as many bytes as the shape needs.
        """
        if self.data is None:
            raise EdgeqError("a constant is expected here", where=self.name)
        packed = self.kind == "INT4"
        if not packed and self.kind not in NUMPY:
            raise EdgeqError(f"constants of type {self.kind} are not supported", where=self.name)
        if self.sparsity is not None and not packed:
            return self._dense(self.sparsity)
        expected = (self.size + 1) // 2 if packed else self.size * NUMPY[self.kind].itemsize
        if self.data.size != expected:
            raise EdgeqError(
                "the file is truncated or damaged", where=self.name, why=f"{self.data.size} bytes of data for {self.kind}{list(self.shape)}"
            )
        if packed:
            nibbles = np.stack([self.data & 15, self.data >> 4], axis=1).ravel()[: self.size].astype(np.int8)
            return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8).reshape(self.shape)
        array: Array = self._values(self.data)
        return array.reshape(self.shape)

    def _values(self, data: Array) -> Array:
        array: Array = (data ^ 128 if self.relabelled else data).view(NUMPY[self.kind])
        return array.astype(array.dtype.newbyteorder("="))

    def _dense(self, sparsity: Sparsity) -> Array:
        assert self.data is not None
        try:
            return sparsity.dense(self._values(self.data), self.shape)
        except ValueError as e:
            raise EdgeqError("the file is truncated or damaged", where=self.name, why=f"sparse constant: {e}"[:120]) from e


@dataclass(frozen=True)
class FileOperator:
    """An operator: tensor indices are valid or -1 (left out); `options` by their schema names."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Option] = field(default_factory=dict)

    def option(self, name: str, default: Option | None = None) -> Any:
        """An option's value.

        Raises:
            EdgeqError: the operator carries no such option and there is no default.
        """
        if name in self.options:
            return self.options[name]
        if default is None:
            raise EdgeqError(f"{self.kind} has no option {name}", why="the file is damaged, or its options are missing")
        return default


@dataclass(frozen=True, eq=False)
class File:
    """A subgraph of a model; `called` are those that its CALL_ONCE and WHILE operators name, by number."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    bytes: int
    called: Mapping[int, File] = field(default_factory=dict)


def _enumeration(cls: type) -> dict[int, str]:
    return {value: name for name, value in vars(cls).items() if isinstance(value, int)}


CALLING = {"CALL_ONCE": ("InitSubgraphIndex",), "WHILE": ("CondSubgraphIndex", "BodySubgraphIndex")}
OPERATORS = _enumeration(tflite.BuiltinOperator)
TYPES = _enumeration(tflite.TensorType)
OPTIONS = _enumeration(tflite.BuiltinOptions)


def printable(raw: bytes | None) -> str:
    """A name on one line: UTF-8 decoded, control and unassigned characters replaced."""
    text = (raw or b"")[: 4 * MAX_NAME].decode("utf-8", "replace")[:MAX_NAME]
    return "".join(c if c.isprintable() else "_" for c in text) or "unnamed"


@functools.cache
def _option_names(cls: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The scalar and the vector options of an options table."""
    methods = {n for n, m in vars(cls).items() if inspect.isfunction(m) and n != "Init"}
    vectors = tuple(sorted(n for n in methods if f"{n}AsNumpy" in methods))
    derived = {f"{n}{end}" for n in methods for end in ("AsNumpy", "Length", "IsNone")}
    scalars = sorted(n for n in methods - derived - set(vectors) if len(inspect.signature(getattr(cls, n)).parameters) == 1)
    return tuple(scalars), vectors


class _Reader:
    """Walks the flatbuffer; any of `DAMAGE` may escape from it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.model = tflite.Model.GetRootAs(data, 0)
        self.left = 8 * len(data) + 2**16

    def spend(self, n: int) -> int:
        """Count `n` items read; more of them than a sound file of this size can hold is damage."""
        self.left -= n
        if n > len(self.data) or self.left < 0:
            raise ValueError("vectors or strings reach over the file's end")
        return n

    def count(self, n: int) -> range:
        """The numbers of `n` tables; one table may stand in many places of a vector, so their number has a limit of its own."""
        if self.spend(n) > MAX_ITEMS:
            raise ValueError(f"{n} tensors or operators, at most {MAX_ITEMS} are accepted")
        return range(n)

    def name(self, table: Any) -> str:
        raw = table.Name()
        self.spend(len(raw or b""))
        return printable(raw)

    def numbers(self, table: Any, field: str) -> list[Any]:
        """A vector of numbers."""
        return list(getattr(table, f"{field}AsNumpy")().tolist()) if self.spend(getattr(table, f"{field}Length")()) else []

    def buffer(self, index: int) -> Array | None:
        """The bytes of a buffer, None where it is empty."""
        if index >= self.model.BuffersLength():
            raise IndexError("buffer")
        buffer = self.model.Buffers(index)
        if buffer.Offset() > 1:
            start, size = buffer.Offset(), buffer.Size()
            if start + size > len(self.data):
                raise IndexError("buffer outside the file")
            return np.frombuffer(self.data, np.uint8, size, start)
        return buffer.DataAsNumpy() if buffer.DataLength() else None

    def quantization(self, tensor: Any) -> FileQuantization | None:
        q = tensor.Quantization()
        if q is None or q.ScaleLength() == 0:
            return None
        scales = tuple(float(s) for s in self.numbers(q, "Scale"))
        zero_points = tuple(int(z) for z in self.numbers(q, "ZeroPoint")) or (0,) * len(scales)
        if len(zero_points) not in (1, len(scales)):
            raise ValueError("zero points")
        return FileQuantization(scales, zero_points * (len(scales) // len(zero_points)), q.QuantizedDimension())

    def tensor(self, tensor: Any) -> FileTensor:
        name = self.name(tensor)
        shape = tuple(int(n) for n in self.numbers(tensor, "Shape"))
        signature = tuple(int(n) for n in self.numbers(tensor, "ShapeSignature"))
        data = self.buffer(tensor.Buffer())
        if signature and len(signature) != len(shape):
            raise ValueError("shape signature")
        negative = tuple(i for i, n in enumerate(signature or shape) if n < 0)
        shape = tuple(1 if i in negative and n < 1 else n for i, n in enumerate(shape))
        result = FileTensor(
            name, shape, None if not shape and data is None and not tensor.HasRank() else negative,
            TYPES.get(tensor.Type(), f"type {tensor.Type()}"), self.quantization(tensor), data,
            bool(tensor.IsVariable()), self.sparsity(tensor.Sparsity()),
        )  # fmt: skip
        if result.kind == "UINT8" and (result.quantization is not None or data is None):
            q = result.quantization or FileQuantization((1.0,), (0,), 0)
            q = replace(q, zero_points=tuple(z - 128 for z in q.zero_points))
            result = replace(result, kind="INT8", quantization=q, relabelled=True)
        if len(shape) > MAX_RANK:
            raise EdgeqError(f"tensors of rank {len(shape)} are not supported", where=name, why=f"at most {MAX_RANK}")
        if result.size > MAX_ELEMENTS:
            raise EdgeqError(f"shape {list(shape)} has {result.size} elements", where=name, why=f"at most {MAX_ELEMENTS} are accepted")
        return result

    def sparsity(self, table: Any) -> Sparsity | None:
        if table is None:
            return None
        levels = []
        for i in self.count(table.DimMetadataLength()):
            level = table.DimMetadata(i)
            if level.Format() == tflite.DimensionType.DENSE:
                levels.append(Level(int(level.DenseSize())))
                continue
            vectors = [self.indices(getattr(level, n)(), getattr(level, f"{n}Type")()) for n in ("ArraySegments", "ArrayIndices")]
            levels.append(Level(0, *vectors))
        order, blocks = (tuple(int(v) for v in self.numbers(table, n)) for n in ("TraversalOrder", "BlockMap"))
        return Sparsity(order, blocks, tuple(levels))

    def indices(self, union: Any, kind: int) -> Array:
        """A vector of one of the three types that sparse levels have."""
        cls = {1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector}[kind]
        table = cls()
        table.Init(union.Bytes, union.Pos)
        return np.array(self.numbers(table, "Values"), np.int64)

    def options(self, operator: Any) -> dict[str, Option]:
        if operator.CustomOptionsLength():
            return {"Custom": tuple(int(v) for v in self.numbers(operator, "CustomOptions"))}
        kind = OPTIONS.get(operator.BuiltinOptionsType(), "NONE")
        union = operator.BuiltinOptions()
        cls = getattr(tflite, kind, None)
        if kind == "NONE" or union is None or cls is None:
            return {}
        table = cls()
        table.Init(union.Bytes, union.Pos)
        scalars, vectors = _option_names(cls)
        values: dict[str, Option] = {}
        for name in scalars:
            value = getattr(table, name)()
            if isinstance(value, bytes):
                self.spend(len(value))
                value = printable(value)
            if isinstance(value, int | float | bool | str):
                values[name] = value
        for name in vectors:
            values[name] = tuple(int(v) for v in self.numbers(table, name))
        return values

    def code(self, index: int) -> str:
        if index >= self.model.OperatorCodesLength():
            raise IndexError("operator code")
        code = self.model.OperatorCodes(index)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if OPERATORS.get(number) == "CUSTOM":
            raw = code.CustomCode()
            self.spend(len(raw or b""))
            return f"CUSTOM {printable(raw)[:80]}"
        return OPERATORS.get(number, f"operator {number}")

    def file(self, signature: str | None) -> File:
        """The subgraph of a signature.

        Raises:
            EdgeqError: there is no such signature, or there are several subgraphs to choose from.
        """
        if self.model.Version() != 3:
            raise ValueError(f"schema version {self.model.Version()}")
        main = self.subgraph(self.chosen(signature))
        called: dict[int, File] = {}
        pending = [main]
        while pending:
            named = [int(o.option(n, -1)) for o in pending.pop().operators for n in CALLING.get(o.kind, ())]
            for i in (n for n in named if n not in called):
                called[i] = self.subgraph(i)
                pending.append(called[i])
        return replace(main, called=called)

    def chosen(self, signature: str | None) -> int:
        """The number of the signature's subgraph; the first where the file has no signatures."""
        entries: dict[str, int] = {}
        for i in self.count(self.model.SignatureDefsLength()):
            entry = self.model.SignatureDefs(i)
            entries[printable(entry.SignatureKey())] = int(entry.SubgraphIndex())
        if signature is not None and signature not in entries:
            raise EdgeqError(f"the model has no signature '{signature}'", fix=f"choose one of {', '.join(entries) or 'none'}")
        if signature is None and len(set(entries.values())) > 1:
            raise EdgeqError(f"the model has {len(entries)} signatures", why=", ".join(entries), fix="choose one by --signature")
        return entries[signature] if signature is not None else next(iter(entries.values()), 0)

    def subgraph(self, index: int) -> File:
        if not 0 <= index < self.model.SubgraphsLength():
            raise IndexError("subgraph")
        graph = self.model.Subgraphs(index)
        tensors = tuple(self.tensor(graph.Tensors(i)) for i in self.count(graph.TensorsLength()))

        def indices(table: Any, field: str, low: int) -> tuple[int, ...]:
            found = tuple(int(i) for i in self.numbers(table, field))
            if any(not low <= i < len(tensors) for i in found):
                raise IndexError("tensor")
            return found

        operators = []
        for i in self.count(graph.OperatorsLength()):
            operator = graph.Operators(i)
            ends = indices(operator, "Inputs", -1), indices(operator, "Outputs", 0)
            operators.append(FileOperator(self.code(operator.OpcodeIndex()), *ends, self.options(operator)))
        ends = indices(graph, "Inputs", 0), indices(graph, "Outputs", 0)
        _refuse_empty([tensors[i] for part in (*ends, *(e for o in operators for e in (o.inputs, o.outputs))) for i in part if i >= 0])
        return File(tensors, tuple(operators), *ends, len(self.data))


def _refuse_empty(tensors: Iterable[FileTensor]) -> None:
    """Refuse tensors without elements; an LSTM has such intermediates, which nothing reads."""
    for t in tensors:
        if min(t.shape, default=1) < 1 and t.kind in ("FLOAT32", "FLOAT16", "INT8", "UINT8"):
            raise EdgeqError(f"shape {list(t.shape)} has a zero-size dimension", where=t.name)


def read(path: Path, signature: str | None = None) -> File:
    """Read and check a .tflite file.

    Args:
        signature: which of the model's signatures, where it has several.

    Raises:
        EdgeqError: it cannot be read, is truncated or damaged, or is of another format.
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise EdgeqError("cannot read the model", where=str(path), why=e.strerror or type(e).__name__) from e
    fix = "export or download it again"
    if data[4:8] != b"TFL3":
        raise EdgeqError("not a TFLite model, or damaged", where=str(path), why="its identifier is missing", fix=fix)
    try:
        return _Reader(data).file(signature)
    except DAMAGE as e:
        raise EdgeqError("the file is truncated or damaged", where=str(path), why=f"{type(e).__name__}: {e}"[:120], fix=fix) from e
    except EdgeqError as e:
        raise EdgeqError(e.what, where=f"{path}: {e.where}" if e.where else str(path), why=e.why, fix=e.fix) from e
