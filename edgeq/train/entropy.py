"""What queries and keys in few bits lose of their entropy, as a part of the loss: after EdgeQAT (Shen et al., 2024).

EdgeQAT makes the entropy of quantized queries and keys large, as that of normal distributions: half the logarithm of their variance. Here
it is to be as large as the float network's, and no larger, so that the part ends at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from edgeq.errors import EdgeqError

LEAST = 1e-12  # of a variance: a channel that never varies has no entropy to lose


def entropy(x: Tensor) -> Tensor:
    """Of each channel (last axis) of x as a normal distribution, in nats: ``[C]``."""
    variance = x.reshape(-1, x.shape[-1]).var(0, unbiased=False).clamp(min=LEAST)
    return 0.5 * torch.log(2 * math.pi * math.e * variance)


class Guide:
    """The outputs of the layers of some names in a network and its teacher, as of the last forward pass of each.

    Args:
        names: of modules that give queries and keys, as `nn.Module.named_modules` has them.

    Raises:
        EdgeqError: there is no such module.
    """

    def __init__(self, network: nn.Module, teacher: nn.Module, names: Sequence[str]) -> None:
        self._seen: dict[tuple[bool, str], Tensor] = {}
        self._hooks = []
        for own, whole in ((True, network), (False, teacher)):
            modules = dict(whole.named_modules())
            for name in names:
                if name not in modules:
                    raise EdgeqError(f"there is no module '{name}'", where=type(network).__name__, fix="take a name of named_modules()")
                keep = self._keeping((own, name))
                self._hooks.append(modules[name].register_forward_hook(keep))
        self._names = tuple(names)

    def _keeping(self, key: tuple[bool, str]) -> Callable[[nn.Module, object, Tensor], None]:
        def keep(_: nn.Module, __: object, output: Tensor) -> None:
            self._seen[key] = output

        return keep

    def lost(self) -> Tensor:
        """The mean over the layers' channels of what the network's entropy lacks to the teacher's, in nats; 0 where it lacks nothing."""
        gaps = [entropy(self._seen[False, n]).detach() - entropy(self._seen[True, n]) for n in self._names]
        return torch.cat([gap.clamp(min=0) for gap in gaps]).mean()

    def close(self) -> None:
        """Look no longer."""
        for hook in self._hooks:
            hook.remove()
