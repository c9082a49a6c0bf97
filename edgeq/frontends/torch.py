"""PyTorch modules and torch.export archives -> Graph, through PyTorch's own ONNX exporter and the ONNX frontend.

See docs/decisions for why the exporter, and why archives are rewritten before PyTorch sees them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.frontends.torch_archive import screened
from edgeq.frontends.torch_check import compare
from edgeq.frontends.torch_frozen import advice, frozen
from edgeq.frontends.torch_parts import quantizing, taken_apart
from edgeq.ir import Graph

INSTALL = "pip install edgeq[torch]"
Shapes = Mapping[str, tuple[int, ...]]
Consts = Mapping[str, Any]


def load(path: Path, *, shapes: Shapes | None = None, const: Consts | None = None) -> Graph:
    """Read a torch.export archive (.pt2). Nothing in it is unpickled or executed but its operators, once the graph is read: see `compare`.

    Args:
        path: of the archive. Files of torch.save (.pt, .pth) are refused: they are pickles.
        shapes: per input name, shapes of inputs that were exported with dynamic dimensions.
        const: per input name, the value that the input is bound to.

    Raises:
        EdgeqError: no such archive, PyTorch is missing, or operators are not supported (all are listed).
    """
    path = Path(path)
    archive = screened(path)
    torch = _torch(str(path))
    with _quiet():
        quantizing()  # registers its operators
        try:
            program = torch.export.load(io.BytesIO(archive))
        except Exception as e:  # whatever the loader meets in a damaged graph
            raise EdgeqError("PyTorch cannot read this archive", where=str(path), why=_reason(e)) from e
    return _exported(program, (), path.stem, str(path), shapes, const)


def from_module(module: Any, example_inputs: Any, name: str = "model", *, shapes: Shapes | None = None) -> Graph:
    """Read a live ``nn.Module``.

    Args:
        module: traced in evaluation mode; its own modes are restored.
        example_inputs: a tensor, or a sequence of them, as `forward` takes them; they fix the shapes.
        name: of the graph.

    Raises:
        EdgeqError: PyTorch is missing, cannot trace the module, or operators are not supported (all are listed).
    """
    torch = _torch(name)
    if not isinstance(module, torch.nn.Module):
        raise EdgeqError(f"a {type(module).__name__} is no torch.nn.Module", where=name)
    inputs = tuple(example_inputs) if isinstance(example_inputs, Sequence) else (example_inputs,)
    modes = [(m, m.training) for m in module.modules()]
    try:
        with contextlib.suppress(NotImplementedError):  # what torch.export or PT2E gave is in one mode for good
            module.eval()
        return _exported(frozen(module), inputs, name, name, shapes)
    finally:
        for part, training in modes:
            part.training = training


def _torch(where: str) -> Any:
    try:
        import onnxscript  # noqa: F401
        import torch
    except ImportError as e:
        raise EdgeqError("reading PyTorch models needs PyTorch", where=where, why=str(e), fix=INSTALL) from e
    return torch


def _exported(program: Any, inputs: tuple[Any, ...], name: str, where: str, shapes: Shapes | None, const: Consts | None = None) -> Graph:
    """Export to ONNX in memory and read that."""
    torch = _torch(where)
    from edgeq.frontends import onnx

    with _quiet():
        try:
            if not isinstance(program, torch.export.ExportedProgram):
                program = _captured(program, inputs)
            exported = torch.onnx.export(taken_apart(program), (), dynamo=True, verbose=False, external_data=False)
            data = exported.model_proto.SerializeToString()
        except Exception as e:  # the exporter raises whatever the module's own code raises
            raise EdgeqError("PyTorch cannot export this model", where=where, why=_reason(e), fix=advice(program)) from e
    graph = onnx.from_model(onnx.parse(data, where), name, shapes=shapes, const=const, where=where)
    with _quiet():
        compare(program, graph, const or {}, where)
    return graph


def _captured(module: Any, inputs: tuple[Any, ...]) -> Any:
    """The torch.export program of a module: its code followed by Python, else by the compiler's own interpreter."""
    import torch

    try:
        return torch.export.export(module, inputs, strict=False)
    except Exception as first:  # whatever the module's own code raises
        try:
            return torch.export.export(module, inputs, strict=True)
        except Exception:
            raise first from None


def _reason(error: BaseException) -> str:
    """The first informative line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = next((s.strip() for s in str(error).splitlines() if s.strip()), "")
    return f"{type(error).__name__}: {line}"[:200]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress, warnings and log."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        sink = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
