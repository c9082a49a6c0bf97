"""Modules on their way through PyTorch's quantization: their fake quantizers as they stand, and what is said of those beyond it."""

from __future__ import annotations

import copy
from typing import Any

CONVERTED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")  # where modules are that hold packed integers
NEEDED = ("scale", "zero_point", "quant_min", "quant_max", "qscheme", "ch_axis")  # of fake quantizers; others stay as they are
TRACEABLE = "make the module traceable by torch.export, without control flow that depends on data"
BEFORE = "give the module as it was before torch.ao.quantization converted it: its fake quantizers or observers hold the scales"
SCRIPT = "give the module that it was scripted or traced from, or torch.onnx.export(module, inputs, 'model.onnx', dynamo=False)"


def frozen(module: Any) -> Any:
    """A copy of a module whose fake quantizers round by the scales that they have now; itself where it has none.

    Theirs watch what flows through them and move, several under one name where layers share one, which PyTorch's exporter refuses.
    """
    import torch
    from torch.ao.quantization import FakeQuantizeBase

    class Fixed(torch.nn.Module):
        """Rounds as a fake quantizer does at this moment."""

        scale: Any
        zero_point: Any

        def __init__(self, fake: Any) -> None:
            super().__init__()
            self.on, self.limits = bool(fake.fake_quant_enabled.all()), (int(fake.quant_min), int(fake.quant_max))
            self.axis = int(fake.ch_axis) if fake.qscheme in (torch.per_channel_affine, torch.per_channel_symmetric) else None
            point = fake.zero_point.detach().to(torch.float32).round().clamp(*self.limits)  # a learned one is no whole number
            self.register_buffer("scale", fake.scale.detach().clone())
            self.register_buffer("zero_point", point.to(torch.int32))

        def forward(self, x: Any) -> Any:
            if not self.on:
                return x
            if self.axis is None:
                return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, *self.limits)
            return torch.fake_quantize_per_channel_affine(x, self.scale, self.zero_point, self.axis, *self.limits)

    if not any(isinstance(m, FakeQuantizeBase) for m in module.modules()):
        return module
    result = copy.deepcopy(module)
    for parent in list(result.modules()):
        for name, part in list(parent._modules.items()):  # named_children leaves out the second name of a shared one
            if isinstance(part, FakeQuantizeBase) and all(hasattr(part, n) for n in NEEDED):
                setattr(parent, name, Fixed(part))
    return result


def advice(module: Any) -> str:
    """What to do about a module that PyTorch cannot export."""
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        return SCRIPT
    parts = module.modules() if isinstance(module, torch.nn.Module) else ()
    return BEFORE if any(type(m).__module__.startswith(CONVERTED) for m in parts) else TRACEABLE
