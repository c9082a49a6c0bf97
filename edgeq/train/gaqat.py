"""Scales whose gradients conflict are frozen for a while: after GAQAT (Jiang et al., 2024), which freezes by disorder.

The parts of a loss, by the labels and by the teacher, may pull a scale in opposite directions; its steps are noise then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgeq.errors import EdgeqError
from edgeq.train.lsq import Layer

WINDOW = 20  # steps over which disorder is measured, and for which a scale is then frozen


@dataclass(eq=False)
class Conflicts:
    """A control of `lsq`: freezes the scales that the parts of the loss disagree about.

    Attributes:
        limit: of disorder, the share of (step, channel) in which two parts pull apart; a scale beyond it is frozen for `WINDOW` steps.
        disorder: of every scale in the window, summed up: by the layer's name and what it is the scale of.
        frozen: those that are frozen now.
    """

    limit: float = 0.5
    disorder: dict[tuple[str, str], float] = field(default_factory=dict)
    frozen: frozenset[tuple[str, str]] = frozenset()

    def __call__(self, layers: Sequence[Layer], parts: Sequence[Tensor], step: int, steps: int) -> None:
        """See `edgeq.train.lsq.Control`.

        Raises:
            EdgeqError: the loss has one part.
        """
        if len(parts) < 2:
            raise EdgeqError("a loss of one part has no conflicts", fix="give Learning(distil=0.5), or leave gaqat.Conflicts out")
        scales = {(x.name, what): q.log_scale for x in layers for what, q in (("weights", x.weight), ("input", x.input))}
        pulls = [torch.autograd.grad(p, list(scales.values()), retain_graph=True, allow_unused=True) for p in parts]
        for i, key in enumerate(scales):
            self.disorder[key] = self.disorder.get(key, 0.0) + _apart([pull[i] for pull in pulls])
        for key in self.frozen:
            _still(scales[key])
        if (step + 1) % WINDOW == 0:
            self.frozen = frozenset(key for key, found in self.disorder.items() if found > self.limit * WINDOW)
            self.disorder.clear()


def _apart(pulls: Sequence[Tensor | None]) -> float:
    """The share of channels in which the first part pulls against the others."""
    known = [p for p in pulls if p is not None]
    if len(known) < 2:
        return 0.0
    return float((known[0].sign() * torch.stack(known[1:]).sum(0).sign() < 0).float().mean())


def _still(scale: Tensor) -> None:
    """Without a gradient the optimizer leaves a parameter as it is."""
    scale.grad = None
