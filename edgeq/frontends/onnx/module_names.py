"""Names by a PyTorch program's modules, where its exporter noted them: ``blocks.0.conv``, not ``node_Conv_81`` and ``getitem``."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from edgeq.text import unused

KEY = "pkg.torch.onnx.name_scopes"  # of a node: "['', 'blocks', 'blocks.0', 'blocks.0.conv', 'conv2d']", modules and then the operator
LONGEST = 1000  # letters of a note that is read
MOVES = frozenset("Cast Expand Flatten Identity Reshape Slice Squeeze Transpose Unsqueeze".split())


def rename(model: ModelProto) -> None:
    """Rename a model's nodes and what they compute, in place; its inputs, outputs and constants keep their names.

    A module of one operator gives its own path; where that operator became several nodes, the last that computes has it. A function
    that is called in a module gives ``path/function``.
    """
    graph = model.graph
    labels = _labels(list(graph.node))
    kept = {v.name for v in (*graph.input, *graph.output, *graph.initializer)}
    kept |= {o for n, label in zip(graph.node, labels, strict=True) if not label for o in n.output}
    names, tensors = {n.name for n, label in zip(graph.node, labels, strict=True) if not label}, set(kept)
    new: dict[str, str] = {}
    for node, label in zip(graph.node, labels, strict=True):
        if label:
            node.name = unused(label, names)
            fresh = [(i, o) for i, o in enumerate(node.output) if o and o not in kept]
            new |= {o: unused(node.name if i == 0 else f"{node.name}:{i}", tensors) for i, o in fresh}
    _apply(graph, new)


def _scopes(node: NodeProto) -> list[str]:
    """The modules that a node is in, outermost first, and its operator; empty where nobody noted them.

    The module of a layer that a batch normalization was folded into is that of the weights.
    """
    text = next((p.value for p in node.metadata_props if p.key == KEY), "")
    try:
        found = ast.literal_eval(text) if 0 < len(text) < LONGEST else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    good = isinstance(found, list) and all(isinstance(s, str) and s.isprintable() and len(s) < 200 for s in found)
    if not good or len(found) < 2 or not found[-1]:
        return []
    weights = [n.removesuffix(".weight") for n in node.input if n.endswith(".weight")]
    return [*found[:-2], weights[0], found[-1]] if len(weights) == 1 and found[-2] else found


def _labels(nodes: list[NodeProto]) -> list[str]:
    """A name for each node, empty where it keeps its own."""
    scopes = [_scopes(n) for n in nodes]
    called: dict[str, set[str]] = {}
    for found in scopes:
        if found:
            called.setdefault(found[-2], set()).add(found[-1])
    last: dict[str, int] = {}
    for i, (node, found) in enumerate(zip(nodes, scopes, strict=True)):
        if found and (found[-2] not in last or node.op_type not in MOVES):
            last[found[-2]] = i
    labels = []
    for i, (node, found) in enumerate(zip(nodes, scopes, strict=True)):
        path = found[-2] if found else ""
        if not found:
            labels.append("")
        elif not path or len(called[path]) > 1:
            labels.append(f"{path}/{found[-1]}".lstrip("/"))
        else:
            labels.append(path if last[path] == i else f"{path}/{node.op_type.lower()}")
    return labels


def _apply(graph: GraphProto, new: Mapping[str, str]) -> None:
    """Rename tensors in a graph and in the branches of its nodes."""
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name in new:
                    names[i] = new[name]
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _apply(attribute.g, new)
    for value in (*graph.value_info, *graph.output):
        value.name = new.get(value.name, value.name)
