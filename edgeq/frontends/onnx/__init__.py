"""ONNX files -> Graph: float models, and models quantized with QuantizeLinear/DequantizeLinear or QLinear operators.

Activations are transposed to NHWC around the operators that want it, exactly; the passes remove what cancels.
The model's own inputs and outputs keep their names and layout. Quantized models become int8 graphs of law
``single`` with the scales of the file; uint8 values are stored as int8, moved down by 128.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx import ModelProto

from edgeq.frontends.onnx.file import parse, read
from edgeq.frontends.onnx.integers import absorb
from edgeq.frontends.onnx.reader import Reader
from edgeq.ir import Graph, check

__all__ = ["from_model", "load", "parse"]


def load(path: Path, *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """Read an ONNX file.

    Args:
        path: of the file; operator sets 7 to the newest. Nothing else is opened: external data is refused.
        shapes: per input name, shapes of inputs whose dimensions the file leaves open (an open batch is 1).

    Raises:
        EdgeqError: the file is damaged, an input's shape stays open, or nodes are not supported; all of them are listed.
    """
    return from_model(read(Path(path)), Path(path).stem, shapes=shapes, where=str(path))


def from_model(model: ModelProto, name: str, *, shapes: Mapping[str, tuple[int, ...]] | None = None, where: str = "") -> Graph:
    """Read a model that `parse` has checked; see `load`."""
    reader = Reader(model, name, where)
    graph = reader.read(shapes or {})
    return check(absorb(graph, reader.builder.stored, where), "load")
