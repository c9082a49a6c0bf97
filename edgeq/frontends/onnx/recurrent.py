"""LSTM and GRU: one direction or both, sequences and single steps, with and without initial states."""

from __future__ import annotations

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.values import Constant, Value
from edgeq.ir import Array, Tensor
from edgeq.ops.concat import Concat
from edgeq.ops.gru import Gru
from edgeq.ops.lstm import Lstm
from edgeq.ops.slice import Slice

DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}  # of the file's gates (i o f c; z r h) to those of Lstm (i f g o) and Gru (r z n)
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
PEEPHOLES = 7


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
        raise EdgeqError(f"{call.kind} of a batch of {batch} is not supported", fix="use a batch of 1")
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
            raise EdgeqError("LSTM with coupled input and forget gates is not supported")
        peepholes = call.data(PEEPHOLES, "peepholes")
        if peepholes is not None and peepholes.any():
            raise EdgeqError("LSTM with peepholes is not supported")


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
