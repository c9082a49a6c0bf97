"""What a file's tensors mean to edgeq: names, types, constants, and the inputs of an operator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.file import MAX_ELEMENTS, File, FileOperator, FileTensor
from edgeq.ir import Array, DType, QParams, Tensor, TensorType

INTEGERS = {"INT8": DType.INT8, "INT16": DType.INT16, "INT32": DType.INT32}
WHOLE = {**INTEGERS, "UINT32": DType.INT32, "BOOL": DType.INT8}  # numbers without a scale; unsigned ones as their bits
MAX_INTEGERS = 2**18  # of one shape or list of indices
ASYMMETRIC = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}  # may have a zero point of weights; TFLM ignores the convolutions' on int8


class Reading:
    """The tensors of a graph in the making. Indices are the file's tensor numbers.

    Attributes:
        values: index -> tensor of the graph, for inputs and for what was computed so far.
        folded: index -> constant that came out of operators on constants alone.
    """

    def __init__(self, file: File, name: str, shapes: Mapping[str, tuple[int, ...]] | None) -> None:
        self.file, self.name = file, name
        self.values: dict[int, Tensor] = {}
        self.folded: dict[int, Array] = {}
        self.tensors: dict[str, Tensor] = {}
        self.left = 16 * file.bytes + 2**26  # bytes of constants that may still be decoded
        self._taken = {t.name for t in file.tensors}
        self._names: dict[int, str] = {}
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}
        self.resized = False
        self.inputs = self._graph_inputs(dict(shapes or {}))

    # Names

    def tensor_name(self, index: int) -> str:
        """The tensor's own name, made distinct where the file uses it twice."""
        if index not in self._names:
            name = self.file.tensors[index].name
            self._names[index] = name if name not in self._used else self.fresh(name)
            self._used.add(self._names[index])
        return self._names[index]

    def fresh(self, base: str) -> str:
        """A name that no tensor has yet."""
        name, n = base, self._counts.get(base, 1)
        while name in self._taken or name in self._used:
            n += 1
            name = f"{base}_{n}"
        self._counts[base] = n
        self._used.add(name)
        return name

    # Inputs of the graph

    def _graph_inputs(self, shapes: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
        if len(set(self.file.inputs)) != len(self.file.inputs):
            raise EdgeqError("an input is listed twice", where=self.name)
        names = []
        for index in self.file.inputs:
            stored, name = self.file.tensors[index], self.tensor_name(index)
            shape = _input_shape(stored, name, shapes.pop(name, None))
            self.resized |= shape != stored.shape
            self.put(index, self.activation_type(stored, shape))
            names.append(name)
        if shapes:
            raise EdgeqError(f"the model has no input {sorted(shapes)}", where=self.name, fix=f"its inputs are {names}")
        if not names:
            raise EdgeqError("the model has no inputs", where=self.name)
        return tuple(names)

    # Types

    def activation_type(self, stored: FileTensor, shape: tuple[int, ...]) -> TensorType:
        """The type of a computed tensor. Integers without a scale are numbers themselves, which few operators compute with.

        Raises:
            EdgeqError: the stored type is neither float32 nor integers without a scale, or int8, int16 or int32 with one.
        """
        if stored.kind == "FLOAT32":
            return TensorType(shape)
        if stored.kind in WHOLE and stored.quantization is None:
            return TensorType(shape, WHOLE[stored.kind])
        if stored.kind not in INTEGERS:
            hints = {"FLOAT16": "export with float32 activations (float16 weights are read)"}
            raise EdgeqError(f"{stored.kind} activations are not supported", fix=hints.get(stored.kind, "use float32 or int8"))
        dtype, q = INTEGERS[stored.kind], stored.quantization
        assert q is not None
        if len(q.scales) != 1:
            raise EdgeqError("activations with one scale per channel are not supported")
        info = np.iinfo(dtype.numpy if dtype is not DType.INT32 else np.int16)
        if not info.min <= q.zero_points[0] <= info.max:
            raise EdgeqError(f"zero point {q.zero_points[0]} is outside {stored.kind.lower()}", why="the file is damaged")
        return TensorType(shape, dtype, QParams(q.scales, q.zero_points[0]))

    # Reading an operator's inputs

    def index(self, op: FileOperator, position: int) -> int:
        """The tensor number of an input, -1 where it is left out."""
        return op.inputs[position] if position < len(op.inputs) else -1

    def stored(self, op: FileOperator, position: int) -> FileTensor:
        index = self.index(op, position)
        if index < 0:
            raise EdgeqError(f"{op.kind} lacks input {position}", why="the file is damaged")
        return self.file.tensors[index]

    def is_constant(self, op: FileOperator, position: int) -> bool:
        index = self.index(op, position)
        return index >= 0 and index not in self.values and (index in self.folded or self.file.tensors[index].data is not None)

    def constant(self, index: int) -> Array:
        """A constant's values as stored or folded."""
        if index not in self.folded:
            stored = self.file.tensors[index]
            if stored.sparsity is not None and stored.size * 4 > self.left:
                raise EdgeqError(f"sparse constant of shape {list(stored.shape)} is too large", where=stored.name)
            array = stored.constant()
            self.spend(array)
            self.folded[index] = array
        return self.folded[index]

    def spend(self, array: Array) -> None:
        """Count a decoded constant against the budget."""
        self.left -= array.nbytes
        if self.left < 0:
            raise EdgeqError("constants take far more memory than the file", where=self.name, why="many tensors share few bytes")

    def array(self, op: FileOperator, position: int, what: str) -> Array:
        """A constant input as stored: a shape, axes, indices.

        Raises:
            EdgeqError: it is computed at run time.
        """
        self.stored(op, position)
        if not self.is_constant(op, position):
            raise EdgeqError(f"{what} of {op.kind} must be constant", fix="export the model with static shapes")
        return self.constant(self.index(op, position))

    def integers(self, op: FileOperator, position: int, what: str) -> tuple[int, ...]:
        """A constant integer vector (or scalar) as Python integers."""
        array = self.array(op, position, what)
        if array.dtype.kind != "i":
            raise EdgeqError(f"{what} of {op.kind} must be integers", why="the file is damaged")
        if array.size > MAX_INTEGERS:
            raise EdgeqError(f"{what} of {op.kind} are {array.size} integers", why=f"at most {MAX_INTEGERS} are accepted")
        return tuple(int(v) for v in array.ravel())

    def operand(self, op: FileOperator, position: int) -> Tensor:
        """An input that a kernel reads: computed, or a constant of its own type.

        Raises:
            EdgeqError: it is used before it is computed, or has a type that edgeq does not compute with.
        """
        stored, index = self.stored(op, position), self.index(op, position)
        if index in self.values:
            return self.values[index]
        if not self.is_constant(op, position):
            raise EdgeqError(f"input '{stored.name}' is used before it is computed", why="the file is damaged")
        data = self.constant(index)
        if data.dtype == np.float16:
            data = data.astype(np.float32)
        if data.dtype == np.float32:
            type = TensorType(data.shape)
        else:
            type = self.activation_type(stored, data.shape)
            data = data.view(np.int32) if data.dtype == np.uint32 else data
            if data.dtype != type.dtype.numpy or (type.q is not None and type.dtype not in (DType.INT8, DType.INT16)):
                raise EdgeqError(f"constant '{stored.name}' of type {stored.kind} cannot be computed with")
        return self.keep(Tensor(self.tensor_name(index), type, data))

    def operands(self, op: FileOperator, *positions: int) -> list[Tensor]:
        """Inputs of one type; int8 constants among float activations are dequantized."""
        computed = [self.values[i].type.dtype for i in (self.index(op, p) for p in positions) if i in self.values]
        beside_floats = bool(computed) and set(computed) == {DType.FLOAT32}
        found = [self._dequantized(op, p) if beside_floats and self.is_constant(op, p) else self.operand(op, p) for p in positions]
        if len({t.type.dtype for t in found}) > 1:
            raise EdgeqError(f"the inputs of {op.kind} have different types", why=", ".join(str(t.type) for t in found))
        return found

    def _dequantized(self, op: FileOperator, position: int) -> Tensor:
        """A constant input as float32."""
        data, stored = self.constant(self.index(op, position)), self.stored(op, position)
        name = self.tensor_name(self.index(op, position))
        if data.dtype == np.float32:
            return self.keep(Tensor(name, TensorType(data.shape), data))
        return self.new_constant(f"{name}/dequantized", self.dequantize(data, stored))

    def dequantize(self, data: Array, stored: FileTensor) -> Array:
        """``scale * (q - zero_point)`` in float32, per channel where the file says so."""
        if data.dtype.kind == "f":
            return data.astype(np.float32)
        q = stored.quantization
        if q is None:
            raise EdgeqError(f"constant '{stored.name}' of type {stored.kind} has no scale")
        scales, zeros = np.array(q.scales, np.float32), np.array(q.zero_points, np.int64)
        if len(scales) > 1:
            if not 0 <= q.axis < data.ndim or data.shape[q.axis] != len(scales):
                raise EdgeqError(f"{len(scales)} scales of '{stored.name}' do not fit shape {list(data.shape)}", why="the file is damaged")
            shape = [len(scales) if i == q.axis else 1 for i in range(data.ndim)]
            scales, zeros = scales.reshape(shape), zeros.reshape(shape)
        with np.errstate(over="ignore", invalid="ignore"):
            result: Array = ((data.astype(np.int64) - zeros).astype(np.float32) * scales).astype(np.float32)
        self.spend(result)
        return result

    def weights(self, op: FileOperator, position: int, axis: int, like: Tensor) -> Tensor:
        """A constant parameter: float32 beside float activations, int8 with its scales along `axis` beside int8 ones.

        Raises:
            EdgeqError: not constant, or quantized in a way that no kernel reads.
        """
        stored, index = self.stored(op, position), self.index(op, position)
        if not self.is_constant(op, position):
            raise EdgeqError(f"{op.kind} with computed weights is not supported", fix="make the weights constant")
        if like.type.dtype is DType.FLOAT32:
            return self._dequantized(op, position)
        data, name = self.constant(index), self.tensor_name(index)
        q = stored.quantization
        if data.dtype != np.int8 or q is None:
            raise EdgeqError(f"weights '{name}' are {stored.kind} beside int8 activations", fix="quantize weights to int8")
        offset = q.zero_points[0] if op.kind in ASYMMETRIC and (stored.relabelled or op.kind == "FULLY_CONNECTED") else 0
        if any(z != offset for z in q.zero_points) or (offset and len(q.scales) > 1) or not -128 <= offset <= 127:
            raise EdgeqError(f"weights '{name}' have a zero point other than 0", fix="quantize weights symmetrically")
        if len(q.scales) > 1 and (q.axis != axis or data.ndim <= axis or data.shape[axis] != len(q.scales)):
            why = f"expected one, or one per row of axis {axis}"
            raise EdgeqError(f"weights '{name}' have {len(q.scales)} scales along axis {q.axis}", why=why)
        scales = QParams(q.scales, offset, axis if len(q.scales) > 1 else None)
        return self.keep(Tensor(name, TensorType(data.shape, DType.INT8, scales), data))

    def bias(self, op: FileOperator, position: int, channels: int, like: Tensor) -> Tensor:
        """The bias ``[channels]``, zeros where the file has none: float32, or int32 beside integers (int64 in the file beside int16)."""
        quantized = like.type.dtype is not DType.FLOAT32
        dtype = DType.INT32 if quantized else DType.FLOAT32
        if self.index(op, position) < 0:
            name = self.fresh(f"{self.tensor_name(op.outputs[0])}/bias")
            return self.keep(Tensor(name, TensorType((channels,), dtype), np.zeros(channels, dtype.numpy)))
        stored, data = self.stored(op, position), self.array(op, position, "the bias")
        if not quantized:
            data = self.dequantize(data, stored)
        elif like.type.dtype is DType.INT16:
            if data.dtype != np.int64 or np.abs(data).max(initial=0) > 2**31 - 1:
                raise EdgeqError(f"bias '{stored.name}' beside int16 is {stored.kind}", why="expected int64 that fits 32 bits")
            data = data.astype(np.int32)
        if data.dtype != dtype.numpy or data.size != channels:
            raise EdgeqError(f"bias '{stored.name}' is {stored.kind}{list(data.shape)}", why=f"expected {dtype.value}[{channels}]")
        return self.keep(Tensor(self.tensor_name(self.index(op, position)), TensorType((channels,), dtype), data.reshape(channels)))

    # Keeping tensors

    def keep(self, tensor: Tensor) -> Tensor:
        """File a tensor under its name; a constant that several operators read stays one, unless they see it differently."""
        known = self.tensors.get(tensor.name)
        if known is not None and known.is_constant and tensor.is_constant:
            if known.type == tensor.type:
                return known
            tensor = replace(tensor, name=self.fresh(tensor.name))
        self.tensors[tensor.name] = tensor
        return tensor

    def new_constant(self, name: str, data: Array, like: TensorType | None = None) -> Tensor:
        """A constant of a new name: float32, or of the quantized type `like` (its shape apart)."""
        type = TensorType(data.shape) if like is None else replace(like, shape=data.shape)
        return self.keep(Tensor(self.fresh(name), type, data))

    def put(self, index: int, type: TensorType) -> Tensor:
        """Declare a computed tensor of the file."""
        if index in self.values or index in self.folded or self.file.tensors[index].data is not None:
            raise EdgeqError(f"tensor '{self.file.tensors[index].name}' is computed twice or is constant", why="the file is damaged")
        tensor = Tensor(self.tensor_name(index), type)
        self.values[index] = self.tensors[tensor.name] = tensor
        return tensor


def _input_shape(stored: FileTensor, name: str, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """The static shape of a graph input: open batch dimensions are 1, other open ones must be given."""
    unknown = range(len(stored.shape)) if stored.unknown is None else stored.unknown
    named = ["1" if i == 0 and i in unknown else f"N{i}" if i in unknown else str(n) for i, n in enumerate(stored.shape)]
    example = "x".join(named) or "1x2x3"
    if given is None:
        if stored.unknown is None or any(i > 0 for i in stored.unknown):
            sizes = ", ".join(n for n in named if n.startswith("N")) or "its axes"
            fix = f'give it, as --shape "{name}={example}" with sizes for {sizes}'
            raise EdgeqError("the input's shape is dynamic", where=name, fix=fix)
        return stored.shape
    if any(not isinstance(n, int) or n < 1 for n in given) or math.prod(given) > MAX_ELEMENTS:
        raise EdgeqError(f"shape {list(given)} is not one", where=name, fix=f'give positive sizes, as "{name}={example}"')
    fixed = {i: n for i, n in enumerate(stored.shape) if i not in unknown}
    if stored.unknown is not None and (len(given) != len(stored.shape) or any(given[i] != n for i, n in fixed.items())):
        wanted = "x".join(str(fixed.get(i, "?")) for i in range(len(stored.shape)))
        raise EdgeqError(f"shape {'x'.join(map(str, given))} does not fit", where=name, why=f"the model has {wanted}")
    return given
