"""LSTM, GRU and RNN: one direction or both, sequences and single steps, with and without initial states."""

from __future__ import annotations

import math

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.linear import dense
from edgeq.frontends.onnx.movement import part
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.values import Constant, Value
from edgeq.ir import Array, Op, Tensor
from edgeq.ops.activations import Sigmoid, Tanh
from edgeq.ops.add import Add
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.gru import Gru
from edgeq.ops.lstm import Lstm
from edgeq.ops.slice import Slice

DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}  # of the file's gates (i o f c; z r h) to those of Lstm (i f g o) and Gru (r z n)
ACTIVATIONS: dict[str, Op] = {"tanh": Tanh(), "relu": Clamp((0.0, math.inf)), "sigmoid": Sigmoid()}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
PEEPHOLES = 7
MOST = 64  # sequences of a batch
LONGEST = 1024  # steps that are computed one by one


@reads("RNN")
def plain(call: Call) -> tuple[Value, ...]:
    """h = f(W x + R h + b), step by step: a matrix product of all inputs, and one of each state."""
    directions = DIRECTIONS[call.choice("direction", "forward", tuple(DIRECTIONS))]
    names = [n.lower() for n in call.texts("activations")] or ["tanh"] * len(directions)
    if len(names) != len(directions) or not set(names) <= set(ACTIVATIONS) or call.has("clip") or len(call.numbers("activation_alpha")):
        raise EdgeqError(f"RNN with activations {', '.join(names)} or clip is not supported", why="tanh, relu and sigmoid are")
    x, batch_first = call.x(0), bool(call.integer("layout", 0))
    call.integer("hidden_size", 0)
    if batch_first:
        x = call.transpose(x, (1, 0, 2), "time_first")
    steps, batch, width = x.type.shape
    lengths = call.vector(4, "sequence_lens")
    if steps > LONGEST or (lengths is not None and any(n != steps for n in lengths)):
        raise EdgeqError(f"RNN of {steps} steps, or of shorter sequences, is not supported", why=f"at most {LONGEST} are")
    rows, last = [], []
    for d, (reverse, name) in enumerate(zip(directions, names, strict=True)):
        w, r = (_parameter(call, p, d, len(directions), 3) for p in (1, 2))
        b = np.zeros(2 * len(r), np.float32) if call.value(3) is None else _parameter(call, 3, d, len(directions), 2)
        bias = b[: len(r)] + b[len(r) :]
        flat = call.reshape(x, (steps * batch, width), f"rows{d}")
        inputs = dense(call, flat, Constant(f"{call.output}.w{d}", w), bias, f"{call.output}.bias{d}")
        h = _initial(call, d, len(directions), batch, len(r), batch_first)
        found: list[Tensor] = []
        for t in range(steps)[:: -1 if reverse else 1]:
            own = part(call, inputs, 0, t * batch, batch, f"input{d}_{t}")
            if h is not None:
                turned = dense(call, h, Constant(f"{call.output}.r{d}", r), None, f"{call.output}.none{d}")
                own = call.emit(Add(), own, turned, tag=f"sum{d}_{t}")
            h = call.emit(ACTIVATIONS[name], own, tag=f"state{d}_{t}")
            found.append(h)
        ordered = found[::-1] if reverse else found
        joined = ordered[0] if steps == 1 else call.emit(Concat(0), *ordered, tag=f"states{d}")
        rows.append(call.reshape(joined, (steps, 1, batch, len(r)), f"y{d}"))
        last.append(call.reshape(found[-1], (1, batch, len(r)), f"last{d}"))
    y = rows[0] if len(rows) == 1 else call.emit(Concat(1), *rows, tag="both")
    y_h = last[0] if len(last) == 1 else call.emit(Concat(0), *last, tag="both_h")
    if batch_first:
        return call.transpose(y, (2, 0, 1, 3), "batch_first"), call.transpose(y_h, (1, 0, 2), "batch_first_h")
    return y, y_h


def _initial(call: Call, at: int, count: int, batch: int, units: int, batch_first: bool) -> Tensor | None:
    """One direction's initial state ``[B, H]``; None for zeros."""
    value = call.value(5)
    if value is None or (isinstance(value, Constant) and not value.array.any()):
        return None
    h = call.tensor(value)
    if h.type.size != count * batch * units:
        raise EdgeqError(f"an initial state of RNN is {h.type}", why=f"expected {count * batch * units} values")
    return call.reshape(part(call, h, 1 if batch_first else 0, at, 1, f"initial{at}"), (batch, units), f"initial{at}_rows")


@reads("LSTM", "GRU")
def recurrent(call: Call) -> tuple[Value, ...]:
    directions = DIRECTIONS[call.choice("direction", "forward", tuple(DIRECTIONS))]
    _refuse_variants(call, len(directions))
    x = call.x(0)
    batch_first = bool(call.integer("layout", 0))
    if len(x.type.shape) != 3:
        raise EdgeqError(f"{call.kind} of an input of rank {len(x.type.shape)}", why="expected 3")
    steps, batch = x.type.shape[:2][:: -1 if batch_first else 1]
    if batch != 1:
        return _batch(call, x, batch, int(batch_first))
    lengths = call.vector(4, "sequence_lens")
    if lengths is not None and any(n != steps for n in lengths):
        raise EdgeqError(f"{call.kind} of sequences shorter than its input is not supported", why=f"sequence_lens are {list(lengths)}")
    rows = call.reshape(x, (steps, x.type.shape[2]), "steps")
    parts = [_direction(call, rows, d, len(directions), reverse) for d, reverse in enumerate(directions)]
    y = [p[0] for p in parts]
    last = [_row(call, p[0], 0 if reverse else steps - 1, f"last{d}") for d, (p, reverse) in enumerate(zip(parts, directions, strict=True))]
    count, units = len(parts), y[0].type.shape[1]
    whole = y[0] if count == 1 else call.emit(Concat(axis=1), *y, tag="both")
    found = [call.reshape(whole, (1, steps, count, units) if batch_first else (steps, count, 1, units), "y")]
    for states, name in ((last, "h"), ([s for p in parts for s in p[1:]], "c")):
        if states:
            joined = states[0] if count == 1 else call.emit(Concat(axis=0), *states, tag=f"both_{name}")
            found.append(call.reshape(joined, (1, count, units) if batch_first else (count, 1, units), name))
    return tuple(found)


def _batch(call: Call, x: Tensor, batch: int, axis: int) -> tuple[Value, ...]:
    """Each sequence of a batch by itself, the results side by side."""
    if batch > MOST:
        raise EdgeqError(f"{call.kind} of a batch of {batch} is not supported", why=f"at most {MOST} are")
    axis = 1 - axis
    lengths = call.vector(4, "sequence_lens")
    parts = []
    for b in range(batch):
        values: list[Value | None] = list(call.values)
        values[0] = part(call, x, axis, b, 1, f"sequence{b}")
        if lengths is not None:
            values[4] = Constant("", np.array(lengths[b : b + 1]))
        for position in (5, 6):
            value = call.value(position)
            if value is None:
                continue
            along = 1 if axis == 1 else 0
            if isinstance(value, Constant):
                values[position] = Constant(f"{value.name}.{b}", value.array.take([b], along))
            else:
                values[position] = part(call, value, along, b, 1, f"state{position}_{b}")
        parts.append(recurrent(call.with_values(values)))
    results = []
    for k, own in enumerate(zip(*parts, strict=True)):
        place = (axis if axis == 0 else 2) if k == 0 else (0 if axis == 0 else 1)
        results.append(call.emit(Concat(place), *(call.tensor(v) for v in own), tag=f"batch{k}"))
    return tuple(results)


def _refuse_variants(call: Call, directions: int) -> None:
    names = call.texts("activations")
    if [n.lower() for n in names] not in ([], [n.lower() for n in DEFAULTS[call.kind] * directions]):
        raise EdgeqError(f"{call.kind} with activations {', '.join(names)} is not supported", why="the default ones are")
    for name in ("activation_alpha", "activation_beta"):
        if call.numbers(name):
            raise EdgeqError(f"{call.kind} with {name} is not supported")
    if call.has("clip"):
        raise EdgeqError(f"{call.kind} with clip is not supported")
    if call.kind == "LSTM":
        if call.integer("input_forget", 0):
            raise EdgeqError("LSTM with coupled input and forget gates is not supported", fix="train with both gates")
        peepholes = call.data(PEEPHOLES, "peepholes")
        if peepholes is not None and peepholes.any():
            raise EdgeqError("LSTM with peepholes is not supported", fix="train without them")


def _direction(call: Call, x: Tensor, at: int, count: int, reverse: bool) -> tuple[Tensor, ...]:
    """One direction: y ``[T, H]``, and for LSTM c ``[1, H]``."""
    w, r = (_parameter(call, p, at, count, 3) for p in (1, 2))
    gates, units = len(ORDER[call.kind]), r.shape[1]
    if call.integer("hidden_size", units) != units or w.shape[0] != gates * units:
        raise EdgeqError(f"weights of {call.kind} do not fit hidden_size", why=f"W {list(w.shape)}, R {list(r.shape)}")
    b = np.zeros(2 * gates * units, np.float32) if call.value(3) is None else _parameter(call, 3, at, count, 2)
    w, r, b, c = (_ordered(call, a) for a in (w, r, *np.split(b, 2)))
    biases = [b + c] if call.kind == "LSTM" else [b, c]
    tag = "" if count == 1 else "reverse" if reverse else "forward"

    def constant(name: str, data: Array) -> Tensor:
        return call.builder.constant(call.builder.fresh(f"{call.output}.{tag or 'rnn'}.{name}"), data)

    parameters = [constant("w", w), constant("r", r), *(constant(f"bias{i}", a) for i, a in enumerate(biases))]
    h = _state(call, 5, at, count, units)
    if call.kind == "LSTM":
        c0 = _state(call, 6, at, count, units)
        return call.emit_all(Lstm(reverse), x, *parameters, h, c0, tag=tag, outputs=(f"rows{at}", f"cell{at}"))
    op = Gru(reverse, bool(call.integer("linear_before_reset", 0)))
    return call.emit_all(op, x, *parameters, h, tag=tag, outputs=(f"rows{at}",))


def _parameter(call: Call, position: int, at: int, count: int, rank: int) -> Array:
    """One direction's part of a constant ``[directions, ...]``."""
    data = call.data(position, "a parameter")
    if data is None:
        raise EdgeqError(f"input {position} of {call.kind} is missing", why="the file is damaged")
    if data.ndim != rank or len(data) != count or data.dtype.kind != "f":
        raise EdgeqError(f"input {position} of {call.kind} is {data.dtype}{list(data.shape)}", why=f"{count} direction(s)")
    return np.asarray(data[at], np.float32)


def _ordered(call: Call, rows: Array) -> Array:
    """Rows gate after gate in the order of edgeq's operators."""
    order = ORDER[call.kind]
    if len(rows) % len(order):
        raise EdgeqError(f"a parameter of {call.kind} has {len(rows)} rows", why=f"expected {len(order)} per unit")
    parts = np.split(rows, len(order))
    return np.concatenate([parts[k] for k in order])


def _state(call: Call, position: int, at: int, count: int, units: int) -> Tensor:
    """An initial state ``[1, H]``; zeros where it is left out."""
    value = call.value(position)
    if value is None:
        return call.builder.constant(f"{call.output}.zeros", np.zeros((1, units), np.float32))
    if isinstance(value, Constant):
        if value.array.size != count * units:
            raise EdgeqError(f"an initial state of {call.kind} has {value.array.size} values for {count * units}")
        row = value.array.reshape(count, units)[at : at + 1]
        return call.builder.constant(call.builder.fresh(f"{call.output}.state{position}.{at}"), row)
    if value.type.size != count * units:
        raise EdgeqError(f"an initial state of {call.kind} is {value.type}", why=f"expected {count * units} values")
    return _row(call, call.reshape(value, (count, units), f"state{position}"), at, f"state{position}_{at}")


def _row(call: Call, x: Tensor, at: int, tag: str) -> Tensor:
    """Row `at` of ``[N, H]`` as ``[1, H]``."""
    if x.type.shape[0] == 1:
        return x
    return call.emit(Slice(begin=(at, 0), size=(1, x.type.shape[1]), stride=(1, 1)), x, tag=tag)
