"""Hand-made TFLite files, and the run times that say what they mean: LiteRT for float, TensorFlow Lite Micro for int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
import pytest

from edgeq.evaluate import follow
from edgeq.ir import Array, Graph

Options = tuple[str, Mapping[str, Any]]
Quantization = tuple[Sequence[float] | float, Sequence[int] | int, int]  # scales, zero points, axis

KINDS = {"float32": "FLOAT32", "float16": "FLOAT16", "int8": "INT8", "uint8": "UINT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
         "bool": "BOOL"}  # fmt: skip


class TfliteModel:
    """A .tflite file in the making; the methods return tensor numbers."""

    def __init__(self) -> None:
        self.schema = schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.operatorCodes, self.model.buffers = [], [schema.BufferT()]
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []

    def tensor(
        self, name: str, shape: Sequence[int], kind: str = "FLOAT32", q: Quantization | None = None,
        data: bytes | None = None, signature: Sequence[int] | None = None,
    ) -> int:  # fmt: skip
        tensor, buffer = self.schema.TensorT(), self.schema.BufferT()
        tensor.name, tensor.shape, tensor.hasRank = name, [int(n) for n in shape], True
        tensor.type = getattr(self.schema.TensorType, kind)
        tensor.shapeSignature = None if signature is None else list(signature)
        if data is not None:
            buffer.data = np.frombuffer(data, np.uint8)
        if q is not None:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = np.atleast_1d(np.array(q[0], np.float32))
            tensor.quantization.zeroPoint = np.atleast_1d(np.array(q[1], np.int64))
            tensor.quantization.quantizedDimension = q[2]
        tensor.buffer = len(self.model.buffers)
        self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def input(self, name: str, shape: Sequence[int], kind: str = "FLOAT32", q: Quantization | None = None, **more: Any) -> int:
        index = self.tensor(name, shape, kind, q, **more)
        self.graph.inputs.append(index)
        return index

    def constant(self, name: str, array: Array, q: Quantization | None = None) -> int:
        array = np.asarray(array)
        return self.tensor(name, array.shape, KINDS[array.dtype.name], q, np.ascontiguousarray(array).tobytes())

    def operator(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options: Options | None = None, custom: str = "") -> None:
        schema, op, code = self.schema, self.schema.OperatorT(), self.schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.customCode = min(code.builtinCode, 127), custom or None
        code.version = {"BROADCAST_TO": 2}.get(kind, 1)
        op.opcodeIndex, op.inputs, op.outputs = len(self.model.operatorCodes), list(inputs), list(outputs)
        self.model.operatorCodes.append(code)
        if options is not None:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
            op.builtinOptions = getattr(schema, options[0] + "T")()
            for name, value in options[1].items():
                assert hasattr(op.builtinOptions, name), name
                setattr(op.builtinOptions, name, value)
        self.graph.operators.append(op)

    def subgraph(self) -> int:
        """Begin another subgraph, which further tensors and operators go to."""
        self.graph = self.schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
        self.model.subgraphs.append(self.graph)
        return len(self.model.subgraphs) - 1

    def signature(self, key: str, subgraph: int) -> None:
        entry, graph = self.schema.SignatureDefT(), self.model.subgraphs[subgraph]
        entry.signatureKey, entry.subgraphIndex, entry.inputs, entry.outputs = key, subgraph, [], []
        for numbers, maps in ((graph.inputs, entry.inputs), (graph.outputs, entry.outputs)):
            for number in numbers:
                maps.append(self.schema.TensorMapT())
                maps[-1].name, maps[-1].tensorIndex = graph.tensors[number].name, number
        self.model.signatureDefs = [*(self.model.signatureDefs or []), entry]

    def finish(self, *outputs: int) -> bytes:
        self.model.subgraphs[0].outputs = list(outputs) or self.model.subgraphs[0].outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def dequantized(model: bytes) -> bytes:
    """A hybrid file with its int8 weights replaced by the float32 values that they stand for."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    content = schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
    for tensor in content.subgraphs[0].tensors:
        buffer, q = content.buffers[tensor.buffer], tensor.quantization
        if tensor.type == schema.TensorType.INT8 and buffer.data is not None:
            along = [-1 if i == q.quantizedDimension and len(q.scale) > 1 else 1 for i in range(len(tensor.shape))]
            values = np.asarray(buffer.data).view(np.int8).reshape(tensor.shape) - np.asarray(q.zeroPoint).reshape(along)
            buffer.data = np.frombuffer((values.astype(np.float32) * np.asarray(q.scale, np.float32).reshape(along)).tobytes(), np.uint8)
            tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    builder = flatbuffers.Builder(1024)
    builder.Finish(content.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def unsigned(model: bytes) -> bytes:
    """An int8 file in uint8: zero points and values plus 128. Weights take one scale and a zero point other than 128."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    content = schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
    for tensor in content.subgraphs[0].tensors:
        buffer, q = content.buffers[tensor.buffer], tensor.quantization
        if tensor.name.startswith(b"b"):
            q.scale, q.zeroPoint = np.asarray(q.scale)[:1], np.asarray(q.zeroPoint)[:1]
        if tensor.type != schema.TensorType.INT8:
            continue
        shift = 128
        tensor.type = schema.TensorType.UINT8
        if buffer.data is not None:
            values = np.asarray(buffer.data).view(np.int8).astype(np.int64)
            if tensor.name.startswith(b"w") and not any(q.zeroPoint):
                shift, q.scale = 150, np.asarray(q.scale)[:1]
            buffer.data = np.clip(values + shift, 0, 255).astype(np.uint8)
        q.zeroPoint = np.asarray(q.zeroPoint)[: len(q.scale)] + shift
    builder = flatbuffers.Builder(1024)
    builder.Finish(content.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def words(model: bytes) -> bytes:
    """An int8 file in the converter's 16x8 mode: activations int16 without zero point, weights int8, biases int64."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    content = schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
    codes = [c.builtinCode for c in content.operatorCodes]
    layers = {getattr(schema.BuiltinOperator, k) for k in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")}
    weights = {o.inputs[1] for o in content.subgraphs[0].operators if codes[o.opcodeIndex] in layers}
    natural = {getattr(schema.BuiltinOperator, k) for k in ("SOFTMAX", "LOGISTIC", "TANH")}
    curves = {o.outputs[0] for o in content.subgraphs[0].operators if codes[o.opcodeIndex] in natural}
    for i, tensor in enumerate(content.subgraphs[0].tensors):
        buffer, q = content.buffers[tensor.buffer], tensor.quantization
        if tensor.name.startswith(b"b"):
            tensor.type, q.scale = schema.TensorType.INT64, np.asarray(q.scale) / 256
            values = np.frombuffer(np.asarray(buffer.data).tobytes(), np.int32).astype(np.int64) * 256
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        if tensor.type == schema.TensorType.INT8 and i not in weights:
            if buffer.data is not None:
                values = 256 * (np.asarray(buffer.data).view(np.int8).astype(np.int64) - q.zeroPoint[0])
                buffer.data = np.frombuffer(np.clip(values, -32768, 32767).astype(np.int16).tobytes(), np.uint8)
            scale = np.float32(2.0**-15) if i in curves else np.asarray(q.scale) / 256
            tensor.type, q.scale, q.zeroPoint = schema.TensorType.INT16, np.atleast_1d(scale), np.zeros(1, np.int64)
    builder = flatbuffers.Builder(1024)
    builder.Finish(content.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def litert(model: bytes, arrays: Sequence[Array], *, reference: bool = False) -> list[Array]:
    """LiteRT on vectors: per input ``[V, *shape]``; per output ``[V, *shape]``. `reference`: by its portable kernels."""
    module = pytest.importorskip("ai_edge_litert.interpreter")
    resolvers = module.OpResolverType
    resolver = resolvers.BUILTIN_REF if reference else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = module.Interpreter(model_content=model, experimental_op_resolver_type=resolver)
    details = interpreter.get_input_details()
    for d, a in zip(details, arrays, strict=True):
        interpreter.resize_tensor_input(d["index"], a.shape[1:])
    interpreter.allocate_tensors()
    results = []
    for vector in zip(*arrays, strict=True):
        for d, value in zip(details, vector, strict=True):
            interpreter.set_tensor(d["index"], value)
        interpreter.invoke()
        results.append([interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()])
    return [np.stack(r) for r in zip(*results, strict=True)]


def tflm(model: bytes, arrays: Sequence[Array], *, outputs: int = 1, steps: Sequence[int] = (), arena: int = 2**21) -> list[Array]:
    """TensorFlow Lite Micro on vectors: the outputs, then the tensors numbered in `steps`, each ``[V, *shape]``."""
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    keep = runtime.InterpreterConfig.kPreserveAllTensors if steps else runtime.InterpreterConfig.kAllocationRecording
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena, intrepreter_config=keep)
    results = []
    for vector in zip(*arrays, strict=True):
        for i, value in enumerate(vector):
            interpreter.set_input(np.ascontiguousarray(value), i)
        interpreter.invoke()
        found = [interpreter.get_output(i) for i in range(outputs)] + [interpreter.GetTensor(i, 0)["tensor_data"] for i in steps]
        results.append([np.array(a) for a in found])
    return [np.stack(r) for r in zip(*results, strict=True)]


def real(graph: Graph, arrays: Mapping[str, Array]) -> list[Array]:
    """The float meaning of a float graph: per output ``[V, *shape]``; the vectors of one with states follow each other."""
    parts = list(follow(graph, arrays, lambda node, x: node.op.real_all(*x)))
    return [np.concatenate([p[n] for p in parts]) for n in graph.results]
