"""Loops whose number of turns is known are read turn by turn: Scan, and Loop with a constant count or condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, helper

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import DAMAGED
from edgeq.frontends.onnx.movement import part
from edgeq.frontends.onnx.values import Constant, Value, Whole, whole
from edgeq.ir import Tensor
from edgeq.ops.concat import Concat

Run = Callable[[Mapping[str, Value]], list[Value]]  # values of a body's inputs -> of its outputs


def unrolled(call: Call, run: Run) -> list[Value]:
    """The outputs of a Scan or a Loop.

    Args:
        run: reads the body once.

    Raises:
        EdgeqError: how often it turns is computed, or is too often.
    """
    attributes = {a.name: helper.get_attribute_value(a) for a in call.node.attribute}
    body = attributes.get("body")
    if not isinstance(body, GraphProto):
        raise EdgeqError(f"{call.kind} without a body", why=DAMAGED)
    return (_scan if call.kind == "Scan" else _loop)(call, body, attributes, run)


def _spend(call: Call, body: GraphProto, turns: int) -> None:
    """Count turns before they are read.

    Raises:
        EdgeqError: there is none, or all loops of the file together hold too many nodes.
    """
    if turns < 1:
        raise EdgeqError(f"{call.kind} with {turns} turns is not supported", why=DAMAGED)
    call.builder.spend_turns(turns * max(1, len(body.node)), call.kind)


def _scan(call: Call, body: GraphProto, attributes: Mapping[str, Any], run: Run) -> list[Value]:
    values, count = [call.required(i) for i in range(len(call.values))], int(attributes.get("num_scan_inputs", 0))
    if not 1 <= count <= len(values) or len(body.input) != len(values):
        raise EdgeqError("the inputs of Scan do not fit its body", why=DAMAGED)
    states, moving, outputs = values[:-count], values[-count:], len(body.output) - len(values) + count

    def listed(name: str, length: int) -> list[int]:
        return [int(v) for v in attributes.get(name) or (0,) * length]

    axes = [a % len(_shape(v)) for a, v in zip(listed("scan_input_axes", count), moving, strict=True)]
    turns = _shape(moving[0])[axes[0]]
    _spend(call, body, turns)
    if any(_shape(v)[a] != turns for v, a in zip(moving, axes, strict=True)):
        raise EdgeqError("the inputs of Scan have different lengths", why=DAMAGED)
    backward = listed("scan_input_directions", count)
    found: list[list[Value]] = [[] for _ in range(outputs)]
    for i in range(turns):
        places = [turns - 1 - i if b else i for b in backward]
        parts = [_taken(call, v, a, at, f"turn{i}_{k}") for k, (v, a, at) in enumerate(zip(moving, axes, places, strict=True))]
        results = run(dict(zip((n.name for n in body.input), (*states, *parts), strict=True)))
        states = results[: len(states)]
        for rows, value in zip(found, results[len(states) :], strict=True):
            rows.append(value)
    ways = zip(found, listed("scan_output_axes", outputs), listed("scan_output_directions", outputs), strict=True)
    return [*states, *(_stacked(call, rows[::-1] if back else rows, axis, f"stack{k}") for k, (rows, axis, back) in enumerate(ways))]


def _loop(call: Call, body: GraphProto, attributes: Mapping[str, Any], run: Run) -> list[Value]:
    del attributes
    limit, going, states = call.value(0), call.value(1), [call.required(i) for i in range(2, len(call.values))]
    if len(body.input) != len(states) + 2 or not all(v is None or isinstance(v, Constant) for v in (limit, going)):
        raise EdgeqError("Loop with a computed number of iterations is not supported", fix="export the model without control flow")
    most = int(limit.array.ravel()[0]) if isinstance(limit, Constant) else math.inf
    on = not isinstance(going, Constant) or bool(going.array.ravel()[0])
    found: list[list[Value]] = [[] for _ in range(len(body.output) - 1 - len(states))]
    turn = 0
    while on and turn < most:
        _spend(call, body, 1)
        given = (Constant("turn", np.array(turn, np.int64)), Constant("going", np.array(True)), *states)
        results = run(dict(zip((n.name for n in body.input), given, strict=True)))
        if not isinstance(results[0], Constant):
            raise EdgeqError("Loop that ends by a computed condition is not supported", fix="export the model without control flow")
        on, states, turn = bool(results[0].array.ravel()[0]), results[1 : 1 + len(states)], turn + 1
        for rows, value in zip(found, results[1 + len(states) :], strict=True):
            rows.append(value)
    if found and not turn:
        raise EdgeqError("Loop without iterations has no results", why=DAMAGED)
    return [*states, *(_stacked(call, rows, 0, f"stack{k}") for k, rows in enumerate(found))]


def _shape(value: Value) -> tuple[int, ...]:
    return value.array.shape if isinstance(value, Constant) else value.type.shape


def _taken(call: Call, value: Value, axis: int, i: int, tag: str) -> Value:
    """One element along an axis."""
    if isinstance(value, Constant):
        return Constant(value.name, np.take(value.array, i, axis))
    shape = value.type.shape
    found = call.reshape(part(call, value, axis, i, 1, tag), shape[:axis] + shape[axis + 1 :], f"{tag}_shape")
    return whole(found, value.logical) if isinstance(value, Whole) else found


def _stacked(call: Call, values: Sequence[Value], axis: int, tag: str) -> Value:
    """Elements in turn along a new axis."""
    axis %= len(_shape(values[0])) + 1
    arrays = [v.array for v in values if isinstance(v, Constant)]
    if len(arrays) == len(values):
        return Constant(call.output, np.stack(arrays, axis))
    tensors = [call.tensor(v) for v in values]
    if len({t.type.shape for t in tensors}) > 1:
        raise EdgeqError(f"{call.kind} gives different shapes turn by turn", fix="export the model without control flow")
    rows = [call.reshape(t, (*t.type.shape[:axis], 1, *t.type.shape[axis:]), f"{tag}_{i}") for i, t in enumerate(tensors)]
    found: Tensor = rows[0] if len(rows) == 1 else call.emit(Concat(axis), *rows, tag=tag)
    return whole(found) if all(isinstance(v, Whole) for v in values) else found
