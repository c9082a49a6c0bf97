"""What PyTorch users write: groups of small modules, each group exported at once, equal PyTorch; what an exporter drops is seen."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from onnx_models import close, real_outputs

import edgeq
from edgeq.errors import EdgeqError

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
from torch_modules import GROUPS, Branches, flat  # noqa: E402 - needs PyTorch

from edgeq.frontends import torch as frontend  # noqa: E402 - needs PyTorch

nn = torch.nn


@pytest.mark.parametrize("group", GROUPS)
def test_modules_equal_pytorch(group: str) -> None:
    shape, table = GROUPS[group]
    torch.manual_seed(1)
    x = torch.randn(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = Branches(table).eval()
        with torch.no_grad():
            results = {name: flat(part(x)) for name, part in zip(table, module.parts, strict=True)}
    graph = edgeq.load(module, x)
    outputs = iter(real_outputs(graph, {graph.inputs[0]: x.numpy()[None]}).values())
    for name, wanted in results.items():
        for i, want in enumerate(wanted):
            close({f"{name} {i}": next(outputs)}, {f"{name} {i}": want.numpy()[None]})
    assert next(outputs, None) is None


def pooled() -> Any:
    return nn.Sequential(nn.AvgPool2d(3, 2, 1, divisor_override=5), nn.Flatten())


def test_archive_with_what_the_exporter_drops(tmp_path: Path) -> None:
    x = torch.randn(1, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    torch.export.save(torch.export.export(pooled(), (x,)), tmp_path / "pooled.pt2")
    graph = edgeq.load(tmp_path / "pooled.pt2")
    close(real_outputs(graph, {graph.inputs[0]: x.numpy()[None]}), {graph.outputs[0]: pooled()(x).numpy()[None]})


def test_a_graph_that_means_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontend, "taken_apart", lambda program: program)
    with pytest.raises(EdgeqError, match=r"means something else after PyTorch's export to ONNX.*differs from PyTorch's by 4\d"):
        edgeq.load(pooled(), torch.zeros(1, 3, 8, 9))


class Indices(nn.Module):  # type: ignore[misc,name-defined]
    def forward(self, x: Any) -> Any:
        values, indices = torch.nn.functional.adaptive_max_pool2d(x, (3, 4), return_indices=True)
        return values, indices.to(torch.float32)


def test_indices_of_adaptive_maxima_are_refused() -> None:
    with pytest.raises(EdgeqError, match="means something else"):
        edgeq.load(Indices(), torch.zeros(1, 3, 8, 9))


def test_inputs_of_other_types_are_compared() -> None:
    """Words, a flag and a constant among the inputs; an input that nothing reads."""

    class Mixed(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(20, 6)

        def forward(self, words: Any, x: Any, scale: float, unread: Any) -> Any:
            return self.words(words) * x * scale

    words, x = torch.tensor([[3, 19, 0]]), torch.ones(1, 3, 6)
    module = Mixed()
    graph = frontend.from_module(module, (words, x, 0.25, torch.ones(2)))
    given = {"words": words.float(), "x": x, "unread": torch.ones(2)}
    actual = real_outputs(graph, {n: t.numpy()[None] for n, t in given.items()})
    close(actual, {graph.outputs[0]: module(words, x, 0.25, None).detach().numpy()[None]})
