"""Training in few bits with learned scales: weights in 2 to 8 bits, activations in 2 to 8, the float network as the teacher."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgeq.errors import EdgeqError
from edgeq.train.entropy import Guide
from edgeq.train.layers import WEIGHTED
from edgeq.train.learned import FixedInput, LearnedInput, LearnedWeight
from edgeq.train.noise import NoisyWeight
from edgeq.train.randbet import Batch, Loss, Progress, source

LOG = logging.getLogger("edgeq")
BITS = range(2, 9)


@dataclass(frozen=True)
class Learning:
    """How a network in few bits is trained: Adam, its rate falling as a cosine.

    Attributes:
        weights, activations: bits of each, 2 to 8.
        ends: bits of the weights and the inputs of the first and the last layer, as usual in the literature; None: those of the others.
        loss: of (outputs, targets).
        distil: the part of the loss that the float network's outputs make, 0 to 1.
        taught: the loss of (outputs, the float network's) in that part; None: the Kullback-Leibler divergence of classes.
        temperature: of both outputs in that divergence.
        rate: of learning for the weights at the start; scales learn at a tenth of it.
        noise: weights have noise added instead of being rounded, for this part of the steps, from the start; see `noise.NoisyWeight`.
        entropy: the weight of what the outputs of the layers `entropic`, queries and keys, lose of the float network's entropy; see
            `entropy.Guide`.
    """

    weights: int = 4
    activations: int = 8
    ends: int | None = 8
    loss: Loss = nn.functional.cross_entropy
    distil: float = 0.5
    taught: Loss | None = None
    temperature: float = 2.0
    rate: float = 1e-3
    noise: float = 0.0
    entropy: float = 0.0
    entropic: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, bits in (("weights", self.weights), ("activations", self.activations), ("first and last layers", self.ends)):
            if bits is not None and bits not in BITS:
                raise EdgeqError(f"{what} in {bits} bits", fix=f"give {BITS[0]} to {BITS[-1]}")
        for what, part in (("of the loss from the teacher", self.distil), ("of the steps with noise", self.noise)):
            if not 0 <= part <= 1:
                raise EdgeqError(f"{part} {what}", fix="give 0 to 1")
        if bool(self.entropy) != bool(self.entropic) or not 0 <= self.entropy < math.inf or (self.entropy and not self.distil):
            what = f"entropy of {len(self.entropic)} layers with a weight of {self.entropy}"
            raise EdgeqError(what, fix="give entropy=0.1 and the names of layers as entropic, beside a teacher (distil above 0)")


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer in training: the module, its weight's quantizer and its input's."""

    name: str
    module: Any
    weight: LearnedWeight
    input: LearnedInput

    @property
    def real(self) -> Tensor:
        """The weight that is learned."""
        found: Tensor = self.module.parametrizations["weight"].original
        return found


class Control(Protocol):
    """Something that steers a training: called with gradients in place, before the optimizer's step."""

    def __call__(self, layers: Sequence[Layer], parts: Sequence[Tensor], step: int, steps: int) -> None:
        """`parts`: the parts of the loss, each still differentiable."""
        ...


class FewBits:
    """A network between `FewBits(network, learning)` and `finish()`: its weights and the inputs of its layers are quantized.

    Convolutions (1d, 2d) and linear layers are found by their type.

    Raises:
        EdgeqError: there is no layer with weights, or one is parametrized already.
    """

    def __init__(self, network: nn.Module, learning: Learning) -> None:
        self.network = network
        found = [(n, m) for n, m in network.named_modules() if isinstance(m, WEIGHTED)]
        if not found:
            raise EdgeqError("the network has no Conv1d, Conv2d or Linear", where=type(network).__name__)
        if any(parametrize.is_parametrized(m) for m in network.modules()):
            raise EdgeqError("the network's weights are parametrized already", where=type(network).__name__, fix="finish() it first")
        left = [n for n, m in network.named_modules() if _left(m)]
        if left:
            LOG.warning("not trained in few bits, as they are no Conv1d, Conv2d or Linear: %s", ", ".join(left))
        self.layers = []
        for i, (name, module) in enumerate(found):
            at_end = learning.ends is not None and i in (0, len(found) - 1)
            bits, wide = (learning.ends, learning.ends) if at_end else (learning.weights, learning.activations)
            assert bits is not None and wide is not None
            weight = NoisyWeight(module.weight, bits, i) if learning.noise else LearnedWeight(module.weight, bits)
            layer = Layer(name, module, weight, LearnedInput(wide))
            parametrize.register_parametrization(module, "weight", layer.weight)
            self.layers.append(layer)
        self._hooks = [x.module.register_forward_pre_hook(lambda _, args, q=x.input: (q(args[0]), *args[1:])) for x in self.layers]

    def rounded(self) -> None:
        """From now on weights are rounded in training, too."""
        for x in self.layers:
            x.weight.eval()

    def parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """What is learned: the network's own, and scales and offsets."""
        scales = [p for x in self.layers for p in (*x.weight.parameters(), *x.input.parameters())]
        known = {id(p) for p in scales}
        return [p for p in self.network.parameters() if p.requires_grad and id(p) not in known], scales

    def finish(self) -> nn.Module:
        """The network: weights are multiples of their scales, and a fake quantizer stands before every layer that was trained.

        `edgeq.load` reads both; `edgeq.quantize` with ``Options(weights="int2")`` stores each layer in the fewest bits from there on that
        hold its weights as they are.
        """
        for hook in self._hooks:
            hook.remove()
        self.rounded()
        for x in self.layers:
            parametrize.remove_parametrizations(x.module, "weight", leave_parametrized=True)
        for x in self.layers:
            owner, _, name = x.name.rpartition(".")
            if bool(x.input.known):
                setattr(self.network.get_submodule(owner), name, nn.Sequential(FixedInput(x.input), x.module))
        self.network.zero_grad()
        return self.network.eval()


def _left(module: nn.Module) -> bool:
    """Whether a module has matrices of weights that stay as they are."""
    return not isinstance(module, WEIGHTED) and any(p.dim() > 1 for p in module.parameters(recurse=False))


def lsq(
    network: nn.Module, batches: Iterable[Batch] | Callable[[int], Batch], *, steps: int, learning: Learning | None = None,
    controls: Sequence[Control] = (), progress: Progress | None = None,
) -> nn.Module:  # fmt: skip
    """Train a network, best a trained one, with weights and activations in few bits and their scales learned (LSQ+).

    Args:
        network: changed in place.
        batches: pairs (inputs ``[B, ...]``, targets as `Learning.loss` takes them): a DataLoader, repeated as often as needed, or a
            function of the step.
        steps: in all.
        controls: what steers the training: `cgmq.Budget`, `gaqat.Conflicts`.
        progress: called with (steps done, steps in all, loss, None).

    Returns:
        The network, in evaluation mode, ready for `edgeq.load`; where it is itself a layer, that layer behind its fake quantizer.

    Raises:
        EdgeqError: there is nothing to train, or the loss is not finite.
    """
    if steps < 1:
        raise EdgeqError(f"{steps} steps", fix="give one step or more")
    chosen = learning or Learning()
    teacher = copy.deepcopy(network).eval() if chosen.distil else None
    if isinstance(network, WEIGHTED):
        network = nn.Sequential(network)
    few, draw = FewBits(network, chosen), source(batches)
    own, scales = few.parameters()
    guide = Guide(network, teacher, chosen.entropic) if teacher is not None and chosen.entropy else None
    optimizer = torch.optim.Adam([{"params": own, "part": 1.0}, {"params": scales, "part": 0.1}], lr=chosen.rate)
    network.train()
    for step in range(steps):
        if step >= chosen.noise * steps:
            few.rounded()
        x, y = draw(step)
        falling = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        for group in optimizer.param_groups:
            group["lr"] = chosen.rate * group["part"] * falling
        outputs = network(x)
        if not isinstance(outputs, Tensor):
            fix = "wrap the network in a module that returns the tensor to learn by"
            raise EdgeqError(f"the network returns a {type(outputs).__name__}, not a tensor", where=type(network).__name__, fix=fix)
        parts = _losses(outputs, x, y, teacher, chosen)
        if guide is not None:
            parts.append(chosen.entropy * guide.lost())
        loss = torch.stack(parts).sum()
        if not bool(loss.isfinite()):
            raise EdgeqError(f"the loss of step {step} is {float(loss.detach())}", fix="lower the learning rate, or look at the data")
        optimizer.zero_grad()
        loss.backward(retain_graph=bool(controls))  # type: ignore[no-untyped-call]
        for control in controls:
            control(few.layers, parts, step, steps)
        optimizer.step()
        if progress:
            progress(step + 1, steps, float(loss.detach()), None)
    if guide is not None:
        guide.close()
    return few.finish()


def _losses(outputs: Tensor, x: Tensor, y: Tensor, teacher: nn.Module | None, learning: Learning) -> list[Tensor]:
    """The parts of the loss: of the targets, and of the teacher's outputs."""
    if teacher is None:
        return [learning.loss(outputs, y)]
    with torch.no_grad():
        wanted = teacher(x)
    taught = _divergence(outputs, wanted, learning.temperature) if learning.taught is None else learning.taught(outputs, wanted)
    own = [(1 - learning.distil) * learning.loss(outputs, y)] if learning.distil < 1 else []
    return [*own, learning.distil * taught]


def _divergence(outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Of classes ``[B, n]``, from the teacher's, in units that do not change with the temperature."""
    found, aim = (outputs / temperature).log_softmax(-1), (wanted / temperature).softmax(-1)
    return nn.functional.kl_div(found, aim, reduction="batchmean") * temperature**2
