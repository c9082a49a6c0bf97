"""One network made ready for training with bit errors (Stutz et al., MLSys 2021, section 4): passes, gradients, projection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgeq.errors import EdgeqError
from edgeq.formats.code import Code
from edgeq.train.codes import Grid, faulty_biases
from edgeq.train.layers import (
    CLEAN,
    FAULTY,
    NORMS,
    PLAIN,
    SCALED,
    WEIGHTED,
    AboutOne,
    Range,
    StoredWeight,
    channelwise,
)  # fmt: skip

ACTIVATIONS = ("moving", "learned", "float")
VOTED = Code(votes=True)
ZEROS = ("centre", "symmetric", "affine")


@dataclass(frozen=True)
class Options:
    """The bit errors that a network is trained for.

    Attributes:
        p: the rate of bit errors in the perturbed pass; 0: no such pass (clipping alone).
        w_max: weights, and norm scales about one, are held within +- this; None: they are free. Or by the layer's or norm's name, with
            ``""`` for those without an entry.
        code: how weights and biases are stored. Biases that are not voted on fail first, and no training helps.
        truncate, per_tensor: how weights become integers, see `Grid`.
        activations: ranges of int8 activations: ``moving``, ``learned``; or ``float``: activations stay float.
        zero: what the integer 0 of an activation means: ``centre``, its mean (as recipe robust stores it); ``symmetric``, 0; or
            ``affine``, the middle of its range (as the other recipes do).
        limit: elements of the perturbed pass's gradient are clamped to this.
        onset: errors begin once the clean loss was below this.
    """

    p: float = 0.01
    w_max: float | Mapping[str, float | None] | None = 0.1
    code: Code = VOTED
    truncate: bool = False
    per_tensor: bool = False
    activations: str = "moving"
    zero: str = "centre"
    limit: float = 0.05
    onset: float = 1.75

    def __post_init__(self) -> None:
        if self.code.by_rows:
            raise EdgeqError(f"training for storage code '{self.code}'", fix="train for one without +asymmetric and +crc; store in either")
        if not 0 <= self.p < 1:
            raise EdgeqError(f"bit errors at a rate of {self.p}", fix="give 0 <= p < 1, such as 0.01")
        for limit in self.w_max.values() if isinstance(self.w_max, Mapping) else (self.w_max,):
            if limit is not None and not limit > 0:
                raise EdgeqError(f"weights clipped at {limit}", fix="give a positive w_max, such as 0.1")
        if self.activations not in ACTIVATIONS:
            raise EdgeqError(f"unknown activations '{self.activations}'", fix=f"choose one of {', '.join(ACTIVATIONS)}")
        if self.zero not in ZEROS:
            raise EdgeqError(f"unknown zero '{self.zero}'", fix=f"choose one of {', '.join(ZEROS)}")


class Robust(nn.Module):
    """A network between `Robust(network, options)` and `finish()`.

    Convolutions (1d, 2d), linear layers and norms are found by their type. A batch norm that reads a convolution's or linear
    layer's output is seen as folded into it, as in the deployed model: together they have one bias.

    Raises:
        EdgeqError: there is no layer with weights, or one is parametrized already.
    """

    on: Tensor

    def __init__(self, network: nn.Module, options: Options | None = None) -> None:
        super().__init__()
        self.network, self.options = network, options or Options()
        self.layers: list[Any] = [m for m in network.modules() if isinstance(m, WEIGHTED)]
        if not self.layers:
            raise EdgeqError("the network has no Conv1d, Conv2d or Linear", where=type(network).__name__)
        if any(parametrize.is_parametrized(m) for m in network.modules()):
            raise EdgeqError("the network's weights are parametrized already", where=type(network).__name__, fix="finish() it first")
        self.register_buffer("on", torch.tensor(False))
        self.mode = PLAIN
        grid = Grid(self.options.code, self.options.truncate, self.options.per_tensor)
        self.weights = [StoredWeight(grid, self.options.p) for _ in self.layers]
        self.norms: list[Any] = [m for m in network.modules() if isinstance(m, SCALED) and m.weight is not None]
        for layer, weight in zip(self.layers, self.weights, strict=True):
            parametrize.register_parametrization(layer, "weight", weight)
        for norm in self.norms:
            parametrize.register_parametrization(norm, "weight", AboutOne())
        learned, zero = self.options.activations == "learned", self.options.zero
        self.inputs, self.outputs = [Range(learned, zero) for _ in self.layers], [Range(False, zero) for _ in self.layers]
        self._ranges = nn.ModuleList([*self.inputs, *self.outputs])
        self.pairs: dict[nn.Module, nn.Module] = {}  # layer -> the batch norm that is folded into it
        self._seen: list[tuple[Tensor, nn.Module]] = []  # outputs of the current pass
        self._hooks = [self._hooked(i, layer) for i, layer in enumerate(self.layers)]
        self._hooks += [[m.register_forward_pre_hook(self._pair), m.register_forward_hook(self._after_norm)]
                        for m in network.modules() if isinstance(m, NORMS)]  # fmt: skip
        self._limits = list(self._clipped())
        self.project()

    def _clipped(self) -> Iterator[tuple[Any, float]]:
        """The layers and norms that are clipped, and where."""
        w_max, clipped = self.options.w_max, [*self.layers, *self.norms]
        names = {name: m for name, m in self.network.named_modules() if m in clipped}
        limits = w_max if isinstance(w_max, Mapping) else {"": w_max}
        unknown = [name for name in limits if name and name not in names]
        if unknown:
            raise EdgeqError(f"w_max names '{unknown[0]}'", fix=f"the layers and norms are {', '.join(names)}")
        for name, module in names.items():
            limit = limits.get(name, limits.get(""))
            if limit is not None:
                yield module, limit

    def _hooked(self, i: int, layer: Any) -> list[Any]:
        """Ranges before the layer, errors of its bias after it."""

        def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            x = args[0]
            if self.mode == PLAIN or self.options.activations == "float":
                return args
            seen = self.inputs[i]
            if self.mode == CLEAN and layer.training:
                seen.observe(x)
            return (seen(x) if seen.known else x, *args[1:])

        def after(_: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
            if self.mode == FAULTY:
                y = y + channelwise(self._offset(i, layer), layer)
            self._seen.append((y, layer))
            return y if layer in self.pairs else self._saturated(i, y)

        return [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]

    def _pair(self, norm: nn.Module, args: tuple[Any, ...]) -> None:
        """A norm reads what a layer gave: they belong together."""
        self.pairs |= {layer: norm for y, layer in self._seen if y is args[0]}

    def _after_norm(self, norm: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
        layer = next((layer for layer, other in self.pairs.items() if other is norm), None)
        if layer is None:
            return y
        if self.mode == FAULTY and not norm.training:
            y = _following(norm, args[0], y)
        self._seen.append((y, norm))
        return self._saturated(self.layers.index(layer), y)

    def _saturated(self, i: int, y: Tensor) -> Tensor:
        """A layer's output as int8 bounds it: errors cannot drive it further."""
        seen = self.outputs[i]
        return seen.saturated(y) if self.mode == FAULTY and seen.known else y

    def _observe(self) -> None:
        """Take in the layers' outputs of a clean pass, those of their norms where they have one."""
        given = {module: y for y, module in self._seen}
        for layer, seen in zip(self.layers, self.outputs, strict=True):
            if layer.training and layer in given and self.options.activations != "float":
                seen.observe(given[self.pairs.get(layer, layer)])

    @torch.no_grad()
    def _offset(self, i: int, layer: Any) -> Tensor:
        """What errors add to every output of a channel, beside the changed products: ``[O]``.

        Kernels multiply integers that still have their zero point, and take its share off the stored bias, which knows nothing of
        the errors in the weights. Then the bias's own errors. Float activations have neither.
        """
        weight = self.weights[i]
        if self.options.activations == "float":
            return torch.zeros(len(weight.change))
        step, zero = self.inputs[i].steps()
        total = weight.change * step * zero
        unit = (step * weight.scale.reshape(-1)).double()
        folded = _bias(layer, self.pairs.get(layer)) / unit - zero * weight.integers.reshape(len(unit), -1).sum(1)
        whole = folded.round().clamp(-(2.0**31), 2.0**31 - 1).to(torch.int32).numpy()
        read = faulty_biases(whole, self.options.code.votes, self.options.p, weight.rng)
        return total + (torch.from_numpy(read.astype(np.float64) - whole) * unit).float()

    def _pass(self, mode: str, loss: Callable[[], Tensor]) -> float:
        """One forward and backward pass; gradients are left in the parameters."""
        self.mode, self._seen = mode, []
        for weight in self.weights:
            weight.mode = mode
        try:
            value = loss()
            if mode == CLEAN:
                self._observe()
            torch.autograd.backward(value)
        finally:
            self.mode, self._seen = PLAIN, []
            for weight in self.weights:
                weight.mode = PLAIN
        return float(value.detach())

    def backward(self, loss: Callable[[], Tensor], seed: int) -> tuple[float, float | None]:
        """Gradients of a batch: of its clean loss, and once errors are on (g + clamp(g~, +-limit)) / 2.

        Args:
            loss: forward pass of `network` and loss; called once or twice.
            seed: of this batch's bit errors.

        Returns:
            The clean loss, the perturbed one or None.
        """
        for i, weight in enumerate(self.weights):
            weight.rng = np.random.default_rng([seed, i])
        self.zero_grad()
        clean = self._pass(CLEAN, loss)
        if clean < self.options.onset and self.options.p > 0:
            self.on.fill_(True)
        if not self.on:
            return clean, None
        kept = [p.grad for p in self.parameters()]
        self.zero_grad()
        norms = [m for m in self.network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
        for norm in norms:
            norm.training = False  # normalize by what clean passes saw, and learn nothing from this one
        try:
            faulty = self._pass(FAULTY, loss)
        finally:
            for norm in norms:
                norm.training = True
        for p, g in zip(self.parameters(), kept, strict=True):
            noisy = torch.zeros_like(p) if p.grad is None else p.grad.clamp(-self.options.limit, self.options.limit)
            p.grad = (noisy if g is None else g + noisy) / 2
        return clean, faulty

    @torch.no_grad()
    def project(self) -> None:
        """Weights and norm scales (about one) to +-w_max."""
        for module, limit in self._limits:
            module.parametrizations["weight"].original.clamp_(-limit, limit)

    def finish(self) -> nn.Module:
        """The network itself, without what was put into it; its weights are real numbers, clipped."""
        for hooks in self._hooks:
            for hook in hooks:
                hook.remove()
        for module in (*self.layers, *self.norms):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        self.network.zero_grad()
        return self.network


def _following(norm: Any, x: Tensor, y: Tensor) -> Tensor:
    """A batch norm's output `y` of `x` by its running statistics, with the gradient that it has by those of the batch.

    Statistics that stand still would have larger weights, and shifted ones, seem to help; but they follow, and undo it.
    """
    own = nn.functional.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
    return own + (y - own).detach()


def _bias(layer: Any, norm: Any) -> Tensor:
    """A layer's bias as deployed, in units of the layer's own output: with the batch norm (or None) folded in. ``[O]``"""
    bias: Tensor = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
    if norm is None or norm.running_mean is None:
        return bias
    bias = bias - norm.running_mean
    gain = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
    return bias if norm.bias is None else bias + norm.bias / gain
