"""Translators of resource variables: what a model keeps between inferences, and what it begins with."""

from __future__ import annotations

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.attributes import reads
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import FileOperator

SILENT = {"CALL_ONCE", "ASSIGN_VARIABLE"}  # compute no tensor


def _name(op: FileOperator) -> str:
    container, name = str(op.option("Container", "")), str(op.option("SharedName", ""))
    return "/".join(part for part in (container, name) if part not in ("", "unnamed")) or "variable"


def _variable(b: Builder, op: FileOperator) -> str:
    """The variable that an operator's first input names."""
    index = b.index(op, 0)
    if index not in b.resources:
        raise EdgeqError(f"{op.kind} of a variable without VAR_HANDLE", why="the file is damaged")
    return b.resources[index]


@reads("VAR_HANDLE")
def handle(b: Builder, op: FileOperator) -> None:
    b.resources[op.outputs[0]] = _name(op)


@reads("CALL_ONCE")
def begin(b: Builder, op: FileOperator) -> None:
    """The subgraph that runs before the first inference: variables are set to constants there."""
    graph = b.file.called[int(op.option("InitSubgraphIndex"))]
    names: dict[int, str] = {}
    for step in graph.operators:
        if step.kind == "VAR_HANDLE" and step.outputs:
            names[step.outputs[0]] = _name(step)
        elif step.kind == "ASSIGN_VARIABLE" and len(step.inputs) == 2 and step.inputs[0] in names and step.inputs[1] >= 0:
            data = graph.tensors[step.inputs[1]].constant()
            b.spend(data)
            b.initial[names[step.inputs[0]]] = data
        else:
            raise EdgeqError(f"{step.kind} before the first inference is not supported", fix="let variables begin with constants")


@reads("READ_VARIABLE")
def read(b: Builder, op: FileOperator) -> None:
    index = op.outputs[0]
    stored, name = b.file.tensors[index], _variable(b, op)
    b.alias(index, b.variable(name, b.activation_type(stored, stored.shape)))


@reads("ASSIGN_VARIABLE")
def assign(b: Builder, op: FileOperator) -> None:
    b.assign(_variable(b, op), b.operand(op, 1))
