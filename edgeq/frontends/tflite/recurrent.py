"""Translators of the fused LSTM and of SVDF. Their states keep their values from one inference to the next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.attributes import number, of_rank, reads
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import FileOperator
from edgeq.ir import DType, QParams, Tensor, TensorType
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.lstm import Lstm
from edgeq.ops.reshape import Reshape
from edgeq.ops.svdf import Svdf

GATES = range(4)  # input, forget, cell, output: the order of Lstm
INPUTS, RECURRENT, PEEPHOLES, BIASES, PROJECTION, HIDDEN, CELL, NORMS = 1, 5, (9, 10, 11), 12, (16, 17), 18, 19, (20, 21, 22, 23)


@reads("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(b: Builder, op: FileOperator) -> None:
    for positions, what in ((PEEPHOLES, "peepholes"), (PROJECTION, "a projection"), (NORMS, "layer normalization")):
        if any(b.index(op, p) >= 0 for p in positions):
            raise EdgeqError(f"{op.kind} with {what} is not supported", fix="use a Keras LSTM layer, which has none, and convert again")
    clip = number(op, "CellClip")
    if int(op.option("FusedActivationFunction", 4)) != 4 or clip < 0:
        raise EdgeqError(f"{op.kind} with another activation than tanh, or with a negative clip, is not supported")
    if b.index(op, INPUTS) < 0:
        fix = "use a Keras LSTM layer, whose gates are apart, and convert again"
        raise EdgeqError(f"{op.kind} with coupled input and forget gates is not supported", fix=fix)
    x, name = b.operand(op, 0), b.tensor_name(op.outputs[0])
    first, second, inputs = of_rank(op, x, 3)
    major = bool(op.option("TimeMajor", False))
    steps, batch = (first, second) if major else (second, first)
    w, r = (_stacked(b, op, start, x, f"{name}/{what}") for start, what in ((INPUTS, "weights"), (RECURRENT, "recurrent")))
    units = r.type.shape[-1]
    biases = [b.bias(op, BIASES + g, units, x) for g in GATES]
    bias = b.new_constant(f"{name}/bias", np.concatenate([t.data for t in biases if t.data is not None]), biases[0].type)
    rows = b.activation_type(b.file.tensors[op.outputs[0]], (steps, units))
    cells = rows if x.type.dtype is DType.FLOAT32 else _cell_type(b, op)
    h, c = (b.state(op, at, replace(like, shape=(batch, units))) for at, like in ((HIDDEN, rows), (CELL, cells)))
    outputs: list[list[Tensor]] = []
    for i in range(batch):
        own = f"{name}/{i}" if batch > 1 else name
        part = b.sliced(x, 1 if major else 0, i, 1, f"{own}/sequence")
        sequence = b.reshaped(part, (steps, inputs), f"{own}/steps")
        before = [b.sliced(s, 0, i, 1, f"{own}/{n}") for s, n in ((h, "h"), (c, "c"))]
        likes = rows, replace(cells, shape=(1, units))
        y, cell = b.insert_all(Lstm(cell_clip=clip), [sequence, w, r, bias, *before], [f"{own}/rows", f"{own}/cell"], likes)
        outputs.append([y, b.sliced(y, 0, steps - 1, 1, f"{own}/last"), cell])
    whole, *states = ([o[k] for o in outputs] for k in range(3))
    if batch == 1:
        b.emit(Reshape((first, second, units)), whole, op.outputs[0])
    else:
        shape = (steps, 1, units) if major else (1, steps, units)
        b.emit(Concat(axis=1 if major else 0), [b.reshaped(y, shape, f"{name}/batch") for y in whole], op.outputs[0])
    for at, parts, what in ((HIDDEN, states[0], "h"), (CELL, states[1], "c")):
        b.keep_state(op, at, parts[0] if batch == 1 else b.insert(Concat(axis=0), parts, f"{name}/{what}_next"))


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
        raise EdgeqError(f"the cell state of {op.kind} is {stored.kind}", why="beside integers int16 with a scale is supported")
    return TensorType((), DType.INT16, QParams(stored.quantization.scales[:1]))


@reads("SVDF")
def svdf(b: Builder, op: FileOperator) -> None:
    """In float a fully connected layer and a convolution along time; frames stand in the order of time."""
    x, name, rank = b.operand(op, 0), b.tensor_name(op.outputs[0]), int(op.option("Rank", 1))
    batch, inputs = of_rank(op, x, 2)
    features = b.weights(op, 1, 0, x)
    filters = of_rank(op, features, 2)[0]
    quantized = x.type.dtype is DType.INT8
    time = _along_time(b, op) if quantized else b.weights(op, 2, 0, x)
    memory = of_rank(op, time, 2)[1]
    if rank < 1 or filters % rank or time.type.shape[0] != filters or features.type.shape[1] != inputs:
        raise EdgeqError(f"weights {features.type} and {time.type} of rank {rank} do not fit input {x.type}", why="the file is damaged")
    units = filters // rank
    bias, stored = b.bias(op, 3, units, x), b.stored(op, 4)
    if stored.size != batch * filters * memory:
        raise EdgeqError(f"state '{stored.name}' has shape {list(stored.shape)}", why=f"expected {[batch, filters * memory]}")
    if quantized:
        kept = b.activation_type(stored, (batch, memory, filters))
        output = b.activation_type(b.file.tensors[op.outputs[0]], (batch, units))
        parts = [x, features, time, bias, b.state(op, 4, kept)]
        result, after = b.insert_all(Svdf(rank), parts, [f"{name}/units", f"{name}/frames"], (output, kept))
        b.emit(Reshape((batch, units)), [result], op.outputs[0])
        b.keep_state(op, 4, after)
        return
    frames = b.state(op, 4, replace(x.type, shape=(batch, memory, 1, filters)))
    new = b.insert(FullyConnected(), [x, features, b.new_constant(f"{name}/none", np.zeros(filters, np.float32))], f"{name}/features")
    new = b.insert(Reshape((batch, 1, 1, filters)), [new], f"{name}/frame")
    if memory > 1:
        new = b.insert(Concat(axis=1), [b.sliced(frames, 1, 1, memory - 1, f"{name}/kept"), new], f"{name}/frames")
    b.keep_state(op, 4, new)
    assert time.data is not None
    w = b.new_constant(f"{name}/time", np.ascontiguousarray(time.data.reshape(units, rank, memory, 1).transpose(0, 2, 3, 1)))
    y = b.insert(Conv2d(groups=units, clamp=b.activation(op)), [new, w, bias], f"{name}/sum")
    b.emit(Reshape((batch, units)), [y], op.outputs[0])


def _along_time(b: Builder, op: FileOperator) -> Tensor:
    """The weights along time of an integer layer: int8, or int16 with a state of int16."""
    stored, data = b.stored(op, 2), b.array(op, 2, "the weights along time")
    q = stored.quantization
    if stored.kind not in ("INT8", "INT16") or q is None or len(q.scales) != 1 or any(q.zero_points):
        why = "expected int8 or int16 with one scale, zero point 0"
        raise EdgeqError(f"weights '{stored.name}' of {op.kind} are {stored.kind}", why=why)
    dtype = DType.INT8 if stored.kind == "INT8" else DType.INT16
    return b.keep(Tensor(b.tensor_name(b.index(op, 2)), TensorType(data.shape, dtype, QParams(q.scales)), data))
