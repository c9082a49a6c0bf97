"""TensorFlow Lite Micro as an oracle: one-operator TFLite models, built by hand and run by the pip package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
import pytest

from edgeq.ir import Array, DType, Tensor, TensorType

_TYPES = {DType.FLOAT32: "FLOAT32", DType.INT8: "INT8", DType.INT16: "INT16", DType.INT32: "INT32"}


def tflite_model(builtin: str, options: tuple[str, Mapping[str, Any]] | None, inputs: Sequence[Tensor], output: TensorType) -> bytes:
    """A TFLite file with one operator.

    Args:
        builtin: name in `BuiltinOperator`, like "ADD".
        options: name of the options table and its fields, like ("AddOptions", {"fusedActivationFunction": 1}).
        inputs: those with data become constants, the others the model's inputs.
    """
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model, graph, code, op = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [code], [schema.BufferT()]
    code.builtinCode = getattr(schema.BuiltinOperator, builtin)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    graph.tensors = []
    for t in (*inputs, Tensor("output", output)):
        tensor, buffer = schema.TensorT(), schema.BufferT()
        tensor.name, tensor.shape, tensor.type = t.name, list(t.type.shape), getattr(schema.TensorType, _TYPES[t.type.dtype])
        tensor.buffer = len(model.buffers)
        if t.data is not None:
            buffer.data = np.frombuffer(np.ascontiguousarray(t.data).tobytes(), np.uint8)
        if t.type.q is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array(t.type.q.scale, np.float32)
            tensor.quantization.zeroPoint = np.full(len(t.type.q.scale), t.type.q.zero_point, np.int64)
            tensor.quantization.quantizedDimension = t.type.q.axis or 0
        model.buffers.append(buffer)
        graph.tensors.append(tensor)
    op.opcodeIndex, op.inputs, op.outputs = 0, list(range(len(inputs))), [len(inputs)]
    if options is not None:
        op.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
        op.builtinOptions = getattr(schema, options[0] + "T")()
        for name, value in options[1].items():
            assert hasattr(op.builtinOptions, name), name
            setattr(op.builtinOptions, name, value)
    graph.operators = [op]
    graph.inputs = [i for i, t in enumerate(inputs) if t.data is None]
    graph.outputs = [len(inputs)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def tflm(model: bytes, arrays: Sequence[Array]) -> Array:
    """Run a model on vectors: per input ``[V, *shape]``; returns ``[V, *shape]`` of the first output."""
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=2**20)
    results = []
    for vector in zip(*arrays, strict=True):
        for i, value in enumerate(vector):
            interpreter.set_input(value, i)
        interpreter.invoke()
        results.append(np.array(interpreter.get_output(0)))
    return np.stack(results)
