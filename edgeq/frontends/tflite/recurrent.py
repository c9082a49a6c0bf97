"""Translator of the fused LSTM. Its state variables are zero at the beginning of every inference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.attributes import number, of_rank, reads
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import FileOperator
from edgeq.ir import DType, QParams, Tensor, TensorType
from edgeq.ops.lstm import Lstm
from edgeq.ops.reshape import Reshape

GATES = range(4)  # input, forget, cell, output: the order of Lstm
INPUTS, RECURRENT, PEEPHOLES, BIASES, PROJECTION, CELL, NORMS = 1, 5, (9, 10, 11), 12, (16, 17), 19, (20, 21, 22, 23)


@reads("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(b: Builder, op: FileOperator) -> None:
    for positions, what in ((PEEPHOLES, "peepholes"), (PROJECTION, "a projection"), (NORMS, "layer normalization")):
        if any(b.index(op, p) >= 0 for p in positions):
            raise EdgeqError(f"{op.kind} with {what} is not supported")
    clip = number(op, "CellClip")
    if int(op.option("FusedActivationFunction", 4)) != 4 or clip < 0:
        raise EdgeqError(f"{op.kind} with another activation than tanh, or with a negative clip, is not supported")
    if b.index(op, INPUTS) < 0:
        raise EdgeqError(f"{op.kind} with coupled input and forget gates is not supported")
    x, name = b.operand(op, 0), b.tensor_name(op.outputs[0])
    first, second, inputs = of_rank(op, x, 3)
    steps, batch = (first, second) if op.option("TimeMajor", False) else (second, first)
    if batch != 1:
        raise EdgeqError(f"{op.kind} of a batch of {batch} is not supported", fix="use a batch of 1")
    w, r = (_stacked(b, op, start, x, f"{name}/{what}") for start, what in ((INPUTS, "weights"), (RECURRENT, "recurrent")))
    units = r.type.shape[-1]
    quantized = x.type.dtype is DType.INT8
    biases = [b.bias(op, BIASES + g, units, x) for g in GATES]
    bias = b.new_constant(f"{name}/bias", np.concatenate([t.data for t in biases if t.data is not None]), biases[0].type)
    output = b.activation_type(b.file.tensors[op.outputs[0]], (steps, units))
    h, c = _zero(b, f"{name}/h", output, units), _zero(b, f"{name}/c", _cell_type(b, op) if quantized else output, units)
    sequence = b.reshaped(x, (steps, inputs), f"{name}/steps")
    y = b.insert_all(Lstm(cell_clip=clip), [sequence, w, r, bias, h, c], [f"{name}/{n}" for n in ("rows", "cell")], (output, c.type))[0]
    b.emit(Reshape((first, second, units)), [y], op.outputs[0])


def _stacked(b: Builder, op: FileOperator, start: int, x: Tensor, name: str) -> Tensor:
    """The weights of the four gates, one below the other, with a scale per row."""
    gates = [b.weights(op, start + g, 0, x) for g in GATES]
    data = np.concatenate([t.data for t in gates if t.data is not None])
    if gates[0].type.q is None:
        return b.new_constant(name, data)
    scales = [s for t in gates if t.type.q for s in np.broadcast_to(t.type.q.scale, t.type.shape[0]).tolist()]
    return b.new_constant(name, data, replace(gates[0].type, q=QParams(tuple(scales), 0, 0)))


def _cell_type(b: Builder, op: FileOperator) -> TensorType:
    stored = b.stored(op, CELL)
    if stored.kind != "INT16" or stored.quantization is None:
        raise EdgeqError(f"the cell state of {op.kind} is {stored.kind}", why="beside int8 activations int16 with a scale is supported")
    return TensorType((), DType.INT16, QParams(stored.quantization.scales[:1]))


def _zero(b: Builder, name: str, like: TensorType, units: int) -> Tensor:
    return b.new_constant(name, np.full((1, units), like.zero_point, like.dtype.numpy), like)
