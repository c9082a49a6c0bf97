"""Modules that PyTorch has quantized, or is about to: quantization-aware training, fake quantization, and what PT2E converts to."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.frontends.torch_frozen import BEFORE, SCRIPT
from edgeq.ir import DType
from edgeq.ops.fake_quantize import FakeQuantize
from edgeq.quantize.precision_toml import read_precision

SHAPE = (1, 3, 8, 8)


def fake(x: Any, scale: float, zero: int, low: int = -128, high: int = 127) -> Any:
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, low, high)


class Trained(nn.Module):
    """A scale per channel of the weights, 4 bits in one layer, uint8 and int8 activations; the last layer has no scales."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Any) -> Any:
        w = self.first.weight
        scale = w.detach().abs().amax((1, 2, 3)) / 127
        w = torch.fake_quantize_per_channel_affine(w, scale, torch.zeros(6, dtype=torch.int32), 0, -127, 127)
        y = torch.relu(nn.functional.conv2d(fake(x, 0.03, 2), w, self.first.bias))
        y = fake(y, 0.01, 0, 0, 255)
        y = nn.functional.conv2d(y, fake(self.second.weight, 0.03, 0, -8, 7), self.second.bias)
        return self.last(fake(y, 0.012, 4).mean((2, 3)))


class Converted(nn.Module):
    """What convert_pt2e leaves: integers as weights, pairs of operators around everything."""

    def __init__(self) -> None:
        super().__init__()
        import torch.ao.quantization.fx._decomposed

        generator = torch.Generator().manual_seed(0)
        self.register_buffer("weight", torch.randint(-127, 128, (5, 3, 3, 3), generator=generator, dtype=torch.int8))
        self.register_buffer("scale", torch.linspace(0.001, 0.004, 5))
        self.register_buffer("zero", torch.zeros(5, dtype=torch.int64))
        self.bias = nn.Parameter(torch.linspace(-1, 1, 5))

    def forward(self, x: Any) -> Any:
        lib = torch.ops.quantized_decomposed

        def pair(a: Any, scale: float, zero: int) -> Any:
            q = lib.quantize_per_tensor(a, scale, zero, -128, 127, torch.int8)
            return lib.dequantize_per_tensor(q, scale, zero, -128, 127, torch.int8)

        w = lib.dequantize_per_channel(self.weight, self.scale, self.zero, 0, -127, 127, torch.int8)
        y = pair(torch.relu(nn.functional.conv2d(pair(x, 0.03, -3), w, self.bias)), 0.02, -128)
        return pair(y.mean((2, 3)), 0.01, -128)


def eager() -> Any:
    """nn modules with observers that still move, as prepare_qat makes them."""
    import torch.ao.quantization as quantization

    layers = (nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 4))
    module = nn.Sequential(quantization.QuantStub(), *layers, quantization.DeQuantStub()).train()
    module.qconfig = quantization.get_default_qat_qconfig("qnnpack")
    module = quantization.fuse_modules_qat(module, [["1", "2", "3"]])
    prepared = quantization.prepare_qat(module)
    for _ in range(4):
        prepared(torch.randn(4, *SHAPE[1:]))
    prepared.apply(quantization.disable_observer)
    return prepared.eval()


def traced(backend: str) -> Any:
    """What prepare_qat_fx makes: observers that still move, one of them shared by the layers around a pooling."""
    from torch.ao.quantization import get_default_qat_qconfig_mapping, quantize_fx

    layers = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 2, groups=6), nn.ReLU6(), nn.Flatten()
    module = nn.Sequential(*layers, nn.Linear(24, 4)).train()
    prepared = quantize_fx.prepare_qat_fx(module, get_default_qat_qconfig_mapping(backend), (torch.randn(SHAPE),))
    for _ in range(4):
        prepared(torch.randn(4, *SHAPE[1:]))
    prepared.apply(torch.ao.quantization.disable_observer)
    return prepared.eval()


MODULES = {
    "fake quantization": Trained, "pt2e": Converted, "eager": eager, "fx, int8": lambda: traced("qnnpack"),
    "fx, uint8 of 7 bits": lambda: traced("x86"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_scales_of_modules_stay(name: str) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = MODULES[name]().eval()
        graph = api.load(module, torch.randn(SHAPE))
    x = torch.randn(24, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = torch.stack([module(v) for v in x]).numpy().reshape(24, -1)
    shape = graph.type(graph.inputs[0]).shape
    arrays = {graph.inputs[0]: x.numpy().reshape(24, *shape)}
    whole = graph.type(graph.inputs[0]).dtype is DType.INT8
    assert whole == (name != "fake quantization")  # every tensor of the others has a scale
    if not whole:
        made = api.quantize(graph, arrays)
        assert "given" in {t.method for t in read_precision(made.files["precision.toml"].decode(), graph, "").tensors.values()}
    found = next(iter(api.simulate(graph if whole else made.graph, arrays).outputs(real=True).values())).reshape(24, -1)
    assert 10 * np.log10((wanted**2).mean() / ((wanted - found) ** 2).mean()) > 30


def test_an_archive_of_converted_modules_keeps_them_too(tmp_path: Path) -> None:
    module, x = Converted().eval(), torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    torch.export.save(torch.export.export(module, (x,)), tmp_path / "m.pt2")
    graph, alike = api.load(tmp_path / "m.pt2"), api.load(module, x)
    assert [n.op for n in graph.nodes] == [n.op for n in alike.nodes]
    arrays = [{g.inputs[0]: x.numpy().reshape(1, *g.type(g.inputs[0]).shape)} for g in (graph, alike)]
    found = [api.simulate(g, a).outputs() for g, a in zip((graph, alike), arrays, strict=True)]
    assert graph.type(graph.inputs[0]).dtype is DType.INT8
    np.testing.assert_array_equal(*(next(iter(f.values())) for f in found))


def test_modules_beyond_their_floats_are_refused_with_what_to_give_instead() -> None:
    from torch.ao.quantization import quantize_fx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = quantize_fx.convert_fx(traced("x86"))
        scripted = torch.jit.trace(nn.Conv2d(3, 2, 3).eval(), torch.randn(SHAPE))
    for module, fix in ((converted, BEFORE), (scripted, SCRIPT)):
        with pytest.raises(EdgeqError) as caught:
            api.load(module, torch.randn(SHAPE))
        assert caught.value.fix == fix


def test_a_module_keeps_its_own_fake_quantizers() -> None:
    module = traced("qnnpack")
    before = {n: type(m) for n, m in module.named_modules()}
    api.load(module, torch.randn(SHAPE))
    assert {n: type(m) for n, m in module.named_modules()} == before


def test_learned_scales_and_zero_points() -> None:
    """A fake quantizer that learns them keeps its zero point as a real number."""
    from torch.ao.quantization import MovingAverageMinMaxObserver
    from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize

    class Learned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q = _LearnableFakeQuantize(
                MovingAverageMinMaxObserver, quant_min=0, quant_max=255, scale=0.02, zero_point=127.6, dtype=torch.quint8,
                qscheme=torch.per_tensor_affine,
            )  # fmt: skip
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.layer(self.q(x))

    ops = [n.op for n in api.load(Learned(), torch.zeros(1, 4), normalise=False).nodes if isinstance(n.op, FakeQuantize)]
    assert [(round(op.scale, 6), op.zero_point) for op in ops] == [(0.02, 0)]
