"""ONNX files -> Graph: float models, and models quantized with QuantizeLinear/DequantizeLinear or QLinear operators.

Activations are transposed to NHWC around the operators that want it, exactly; the passes remove what cancels.
The model's own inputs and outputs keep their names and layout; nodes have the names of PyTorch's modules where its exporter
noted them. Quantized models become int8 graphs of law ``single`` with the scales of the file; uint8 values are stored as int8,
moved down by 128. Models of which only parts are quantized become float graphs that have the file's scales (`ops.fake_quantize`).
"""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto

from edgeq.frontends.onnx.file import parse, read
from edgeq.frontends.onnx.integers import absorb
from edgeq.frontends.onnx.masks import soften
from edgeq.frontends.onnx.module_names import rename
from edgeq.frontends.onnx.reader import Consts, Reader, Shapes
from edgeq.ir import Graph, check

__all__ = ["from_model", "load", "parse"]


def load(path: Path, *, shapes: Shapes | None = None, const: Consts | None = None) -> Graph:
    """Read an ONNX file.

    Args:
        path: of the file; operator sets 7 to the newest. Nothing else is opened but data that it keeps in its own folder.
        shapes: per input name, shapes of inputs whose dimensions the file leaves open (an open batch is 1).
        const: per input name, the value that the input is bound to; it is no input of the graph.

    Raises:
        EdgeqError: the file is damaged, an input's shape stays open, or nodes are not supported; all of them are listed.
    """
    return from_model(read(Path(path)), Path(path).stem, shapes=shapes, const=const, where=str(path))


def from_model(model: ModelProto, name: str, *, shapes: Shapes | None = None, const: Consts | None = None, where: str = "") -> Graph:
    """Read a model that `parse` has checked; see `load`."""
    rename(model)
    reader = Reader(model, name, where)
    graph = soften(reader.read(shapes or {}, const or {}))
    return check(absorb(graph, reader.builder.stored), "load")
