"""Data beside the model, as PyTorch's default export writes them: read from the model's own folder, and from nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import NETWORKS, close, feeds, onnxruntime_outputs, real_outputs

from edgeq import frontends
from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import from_model, parse


def saved(folder: Path, **entries: Any) -> Path:
    """An MLP whose weights lie in ``m.onnx.data``; `entries` replace those of every tensor, None removes one."""
    model = NETWORKS["mlp"]()
    path = folder / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        kept = {e.key: e.value for e in tensor.external_data if e.key not in entries}
        kept.update({k: v for k, v in entries.items() if v is not None})
        del tensor.external_data[:]
        for key, value in kept.items():
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(EdgeqError) as caught:
        frontends.load(path)
    assert "\n" not in str(caught.value) and "save the model as one file" in str(caught.value)
    return str(caught.value)


def test_data_beside_the_model(tmp_path: Path) -> None:
    model = NETWORKS["mlp"]()
    arrays = feeds(model, 3)
    for length in ({}, {"length": None}):
        close(real_outputs(frontends.load(saved(tmp_path, **length)), arrays), onnxruntime_outputs(model, arrays))


def test_data_in_a_folder_below(tmp_path: Path) -> None:
    path = saved(tmp_path, location="weights/w.bin")
    (tmp_path / "weights").mkdir()
    (tmp_path / "m.onnx.data").rename(tmp_path / "weights/w.bin")
    assert frontends.load(path).outputs


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret", "C:secret", "", "a\0b", "no such", "."])
def test_locations_outside(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(100_000))
    folder = tmp_path / "model"
    folder.mkdir()
    message = refusal(saved(folder, location=location))
    assert "inside the model's folder" in message or "cannot be opened" in message or "no regular file" in message


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe"])
def test_links_and_pipes_are_not_opened(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = saved(folder, location="d/data")
    (folder / "m.onnx.data").rename(tmp_path / "data")
    if kind == "folder link":
        (folder / "d").symlink_to(tmp_path)
    else:
        (folder / "d").mkdir()
        if kind == "link":
            (folder / "d/data").symlink_to(tmp_path / "data")
        else:
            os.mkfifo(folder / "d/data")
    assert "through a link" in refusal(path) or "no regular file" in refusal(path)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"offset": "99999999"}, "has"), ({"length": str(2**40)}, "its shape needs"), ({"length": "4"}, "its shape needs"),
        ({"offset": "-8"}, "no number"), ({"offset": "1" * 30}, "no number"), ({"length": "two"}, "no number"),
    ],
)  # fmt: skip
def test_offsets_and_lengths(tmp_path: Path, entries: dict[str, str], text: str) -> None:
    assert text in refusal(saved(tmp_path, **entries))


def test_a_shape_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    path = saved(tmp_path, length=None)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].dims[0] = 2**40
    path.write_bytes(model.SerializeToString())
    assert "too large" in refusal(path)


def test_bytes_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match="lies in another file"):
        parse(saved(tmp_path).read_bytes(), "m.onnx")


def test_default_export_of_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    module, x = torch.nn.Sequential(torch.nn.Linear(400, 300), torch.nn.ReLU(), torch.nn.Linear(300, 4)).eval(), torch.randn(1, 400)
    torch.onnx.export(module, (x,), tmp_path / "m.onnx", dynamo=True, verbose=False)
    assert (tmp_path / "m.onnx.data").exists()
    graph = frontends.load(tmp_path / "m.onnx")
    found = real_outputs(graph, {graph.inputs[0]: x[None].numpy()})
    np.testing.assert_allclose(next(iter(found.values()))[0], module(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert from_model(parse((tmp_path / "m.onnx").read_bytes(), "m", tmp_path), "m").nodes
