"""PyTorch modules and torch.export archives; archives as hostile input."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import close, kinds, real_outputs

from edgeq import frontends
from edgeq.errors import EdgeqError
from edgeq.frontends import torch as frontend
from edgeq.frontends.torch_archive import screened
from edgeq.passes import normalise

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
nn, functional = torch.nn, torch.nn.functional


class Mobile(nn.Module):  # type: ignore[misc,name-defined]
    """Batch norm, depthwise, squeeze-and-excite, spelled-out activations, resizing, adaptive pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.depthwise, self.swish, self.slopes = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.Hardswish(), nn.PReLU(8)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Hardsigmoid())
        self.head, self.gelu = nn.Linear(8 * 16, 10), nn.GELU()

    def forward(self, image: Any) -> Any:
        x = functional.relu6(self.norm(self.stem(image)))
        x = self.swish(self.depthwise(x))
        x = functional.silu(self.slopes(x * self.gate(x)))
        x = functional.max_pool2d(x, 2) + functional.avg_pool2d(x, 2)
        x = functional.adaptive_avg_pool2d(functional.interpolate(x, scale_factor=2, mode="bilinear"), (4, 4))
        return functional.softmax(self.gelu(self.head(torch.flatten(x, 1))), -1)


class Keywords(nn.Module):  # type: ignore[misc,name-defined]
    """One-dimensional convolutions; two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(10, 16, 3, padding=1), nn.Conv1d(16, 8, 5, stride=2)
        self.state = nn.Linear(8 + 4, 4)

    def forward(self, features: Any, state: Any) -> Any:
        x = torch.relu(self.second(torch.relu(self.first(features)))).mean(2)
        new = torch.tanh(self.state(torch.cat([x, state], 1)))
        return new.sum(1, keepdim=True), new


def with_statistics(module: Any) -> Any:
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -1, 1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return module


def example(*shapes: tuple[int, ...]) -> tuple[Any, ...]:
    return tuple(torch.randn(*s, generator=torch.Generator().manual_seed(3)) for s in shapes)


MODULES: dict[str, tuple[Callable[[], Any], tuple[tuple[int, ...], ...]]] = {
    "mobile": (Mobile, ((1, 3, 16, 16),)),
    "keywords": (Keywords, ((1, 10, 20), (1, 4))),
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("archives")
    found = {}
    for name, (build, shapes) in MODULES.items():
        found[name] = folder / f"{name}.pt2"
        torch.export.save(torch.export.export(with_statistics(build()).eval(), example(*shapes)), found[name])
    return found


@pytest.mark.parametrize("name", MODULES)
def test_module_equals_pytorch(name: str) -> None:
    build, shapes = MODULES[name]
    module, inputs = with_statistics(build()), example(*shapes)
    module.train()
    graph = frontend.from_module(module, inputs if len(inputs) > 1 else inputs[0], name)
    assert module.training and all(m.training for m in module.modules()) and graph.name == name
    with torch.no_grad():
        wanted = module.eval()(*inputs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for form in (graph, normalise(graph)):
        actual = real_outputs(form, {n: x.numpy()[None] for n, x in zip(graph.inputs, inputs, strict=True)})
        close(actual, {n: w.numpy()[None] for n, w in zip(graph.outputs, wanted, strict=True)})


def test_names_and_layout() -> None:
    graph = normalise(frontend.from_module(with_statistics(Mobile()), example((1, 3, 16, 16))))
    assert graph.inputs == ("image",) and kinds(graph).count("transpose") == 1
    assert {"hard_swish", "silu", "gelu", "prelu", "resize_bilinear"} <= set(kinds(graph)) and "sigmoid" not in kinds(graph)


def test_nodes_and_tensors_have_the_names_of_modules() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.norm(self.conv(x))) + x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.blocks, self.gru = nn.Conv2d(1, 4, 1), nn.Sequential(Block(), Block()), nn.GRU(32, 8, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            y = self.blocks(torch.relu(self.stem(x))).permute(0, 2, 1, 3).flatten(2)
            return torch.softmax(self.head(self.head.weight.new_zeros(1, 8) + self.gru(y)[0][:, -1]), -1)

    graph = normalise(frontend.from_module(Net(), example((1, 1, 8, 8))))
    layers = [n.name for n in graph.nodes if n.op.traits.products]
    assert layers == ["stem", "blocks.0.conv", "blocks.1.conv", "gru", "head"]
    assert graph.outputs == ("softmax",) and {"head", "blocks.0/relu_1", "blocks.1/add_1"} <= set(graph.tensors)
    assert not [n for n in (*graph.tensors, *(node.name for node in graph.nodes)) if "getitem" in n or "node_" in n]


@pytest.mark.parametrize("name", MODULES)
def test_archive_equals_module(name: str, archives: dict[str, Path]) -> None:
    graph = frontends.load(archives[name])
    assert graph.name == name
    inputs = example(*MODULES[name][1])
    with torch.no_grad():
        wanted = with_statistics(torch.export.load(archives[name]).module())(*inputs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    actual = real_outputs(graph, {n: x.numpy()[None] for n, x in zip(graph.inputs, inputs, strict=True)})
    close(actual, {n: w.numpy()[None] for n, w in zip(graph.outputs, wanted, strict=True)})


def test_unsupported_operators_are_listed() -> None:
    class Unusual(nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            return torch.det(torch.bitwise_not(x.to(torch.int32)).to(torch.float32))

    with pytest.raises(EdgeqError) as caught:
        frontend.from_module(Unusual(), example((1, 6, 6)), "unusual")
    assert "BitwiseNot is not supported" in str(caught.value) and "Det is not supported" in str(caught.value)


def test_module_that_cannot_be_traced() -> None:
    class Deciding(nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(EdgeqError, match="PyTorch cannot export this model") as caught:
        frontend.from_module(Deciding(), example((1, 6)))
    assert "\n" not in str(caught.value)
    with pytest.raises(EdgeqError, match=r"no torch\.nn\.Module"):
        frontend.from_module(lambda x: x, example((1, 6)))


def test_pytorch_missing(monkeypatch: pytest.MonkeyPatch, archives: dict[str, Path]) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EdgeqError, match=r"pip install edgeq\[torch\]"):
        frontends.load(archives["keywords"])


# Archives that want to be more than weights


class Evil:
    def __reduce__(self) -> Any:
        return (Path.write_text, (Path("owned"), "owned"))


def refused(path: Path) -> str:
    with pytest.raises(EdgeqError) as caught:
        screened(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(source) as archive:
        members = {i.filename: archive.read(i) for i in archive.infolist()}
    change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def edited(member: str, edit: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        name = next(n for n in members if n.endswith(member))
        value = json.loads(members[name])
        edit(value)
        members[name] = json.dumps(value).encode()

    return change


def graph_of(model: Any) -> Any:
    return model["graph_module"]["graph"]


def weight(**fields: Any) -> Callable[[Any], None]:
    """Changes the first weight's entry; what belongs to its tensor_meta goes there."""

    def edit(config: Any) -> None:
        entry = next(iter(config["config"].values()))
        for key, value in fields.items():
            (entry if key in entry else entry["tensor_meta"])[key] = value

    return edit


EXPRESSION = {"s": {"as_expr": {"expr_str": "__import__('os').getcwd()", "hint": None}}}
CONFIG, GRAPH = "model_weights_config.json", "models/model.json"
HOSTILE: dict[str, Callable[[dict[str, bytes]], None]] = {
    "pickled weight": edited(CONFIG, weight(use_pickle=True)),
    "larger than its bytes": edited(CONFIG, weight(sizes=[{"as_int": 2**40}])),
    "before its bytes": edited(CONFIG, weight(storage_offset={"as_int": -8})),
    "elsewhere": edited(CONFIG, weight(path_name="../../x")),
    "operator": edited(GRAPH, lambda m: graph_of(m)["nodes"][0].update(target="torch.hub.load")),
    "os": edited(GRAPH, lambda m: graph_of(m)["nodes"][0].update(target="torch.os.system")),
    "file": edited(GRAPH, lambda m: graph_of(m)["nodes"][0].update(target="torch.ops.aten.from_file.default")),
    "code in a name": edited(GRAPH, lambda m: graph_of(m)["nodes"][0].update(name="x = print('owned')\n")),
    "code in a key": edited(GRAPH, lambda m: graph_of(m)["tensor_values"].update({"__import__('os')": {}})),
    "expression": edited(GRAPH, lambda m: graph_of(m).update(sym_int_values=EXPRESSION)),
    "native code": lambda members: members.update({"model/data/aotinductor/model/lib.so": b"\x7fELF"}),
    "object": lambda members: members.update({"model/data/constants/custom_obj_0": pickle.dumps(Evil())}),
    "no graph": lambda members: members.update({n: b"[]" for n in members if n.endswith("models/model.json")}),
    "deep": lambda members: members.update({n: b"[" * 100000 for n in members if n.endswith("models/model.json")}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(name: str, archives: dict[str, Path], tmp_path: Path) -> None:
    refused(changed(archives["keywords"], tmp_path / "hostile.pt2", HOSTILE[name]))


def test_what_need_not_be_read_is_dropped(archives: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickled sample inputs and compiled guards do not reach PyTorch."""
    monkeypatch.chdir(tmp_path)

    def poison(members: dict[str, bytes]) -> None:
        edited("models/model.json", lambda m: m.update(guards_code=["print('owned')"]))(members)
        for name in members:
            if "sample_inputs" in name:
                buffer = io.BytesIO()
                torch.save((Evil(),), buffer)
                members[name] = buffer.getvalue()

    graph = frontend.load(changed(archives["keywords"], tmp_path / "poisoned.pt2", poison))
    assert graph.nodes and not (tmp_path / "owned").exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_pickles_are_refused(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"model{suffix}"
    torch.save({"weights": Evil()}, path)
    message = refused(path)
    assert "pickled Python objects" in message and "torch.export.save" in message and not (tmp_path / "owned").exists()
    with pytest.raises(EdgeqError, match="pickled Python objects"):
        frontends.load(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(EdgeqError, match=r"not a readable torch\.export archive"):
        frontends.load(path)
    assert not (tmp_path / "owned").exists()


def test_damaged_archives(archives: dict[str, Path], tmp_path: Path) -> None:
    data = archives["keywords"].read_bytes()
    path = tmp_path / "damaged.pt2"
    for end in (4, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        refused(path)
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed_bytes = bytearray(data)
        for at in rng.integers(0, len(data), 8):
            changed_bytes[at] = rng.integers(0, 256)
        path.write_bytes(changed_bytes)
        try:
            screened(path)
        except EdgeqError as e:
            assert "\n" not in str(e)
