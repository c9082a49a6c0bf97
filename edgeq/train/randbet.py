"""The training loop: SGD with bit errors in the loop, resumable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeq.errors import EdgeqError
from edgeq.train.layers import Range
from edgeq.train.robust import Options, Robust

DECAYS = (2 / 5, 3 / 5, 4 / 5)  # of the steps: the learning rate falls to a tenth
SCHEDULES = ("steps", "cosine")
EVERY = 100  # steps between checkpoints
Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Progress = Callable[[int, int, float, float | None], None]


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    Attributes:
        network: the module that was given, trained, in evaluation mode.
        steps: how many were taken now; fewer than asked for where a checkpoint was found.
        onset: the step at which bit errors began, None where they never did.
        loss: clean and perturbed loss of the last batch.
    """

    network: nn.Module
    steps: int
    onset: int | None
    loss: tuple[float, float | None]


@dataclass(frozen=True)
class Descent:
    """How the weights are learned: SGD (Nesterov).

    Attributes:
        loss: of (outputs, targets).
        rate: of learning at the start.
        schedule: of the rate: ``steps`` (a tenth after 2/5, 3/5 and 4/5 of the steps) or ``cosine``.
        decay: draws norm scales to one, and ranges are free of it.
        seed: of the bit errors.
    """

    loss: Loss = nn.functional.cross_entropy
    rate: float = 0.05
    schedule: str = "steps"
    momentum: float = 0.9
    decay: float = 5e-4
    seed: int = 0

    def at(self, part: float) -> float:
        """The rate when that part of the steps is done."""
        if self.schedule == "cosine":
            return self.rate * (0.5 + 0.5 * math.cos(math.pi * part))
        return self.rate * float(0.1 ** sum(part >= d for d in DECAYS))


def randbet(
    network: nn.Module,
    batches: Iterable[Batch] | Callable[[int], Batch],
    *,
    steps: int,
    options: Options | None = None,
    descent: Descent | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Train a network, fresh or trained, so that it tolerates bit errors in its stored weights.

    Every batch makes a clean pass, its weights and activations rounded as they will be stored, and, once the clean loss is low
    enough, a pass with fresh bit errors in the stored weights and biases (see `Robust`). With ``Options(p=0)`` this is training
    with clipped, quantized weights alone.

    Args:
        network: changed in place. Its module must be reusable: no layer may be called twice in a pass with the same weights.
        batches: pairs (inputs, targets): a DataLoader (gone through again and again), or a function of the step, which makes an
            interrupted training equal to one that was not.
        steps: in all.
        options: of the bit errors and of what is stored; descent: of learning.
        checkpoint: a file that is written as training goes on, and gone on from where it exists.
        progress: called with (steps done, steps in all, clean loss, perturbed loss or None).

    Raises:
        EdgeqError: there is nothing to train, the loss is not finite, or the checkpoint is another training's.
    """
    learning = descent or Descent()
    if steps < 1 or learning.schedule not in SCHEDULES:
        raise EdgeqError(
            f"{steps} steps with schedule '{learning.schedule}'", fix=f"give one step or more, and one of {', '.join(SCHEDULES)}"
        )
    robust = Robust(network, options)
    ranges = [p for m in robust.modules() if isinstance(m, Range) for p in m.parameters()]
    weights = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        [{"params": weights, "weight_decay": learning.decay}, *([{"params": ranges, "weight_decay": 0.0}] if ranges else [])],
        lr=learning.rate, momentum=learning.momentum, nesterov=learning.momentum > 0,
    )  # fmt: skip
    run = _Run(robust, optimizer, str(checkpoint or ""))
    try:
        run.resume()
        taken = run.train(source(batches), steps, learning, progress)
    finally:
        robust.finish()
    return Outcome(network.eval(), taken, run.onset, run.loss)


def source(batches: Iterable[Batch] | Callable[[int], Batch]) -> Callable[[int], Batch]:
    """Batches as a function of the step; a DataLoader is gone through again and again."""
    if callable(batches):
        return batches
    kept: list[Iterator[Batch]] = [iter(())]

    def draw(step: int) -> Batch:
        for _ in range(2):
            found = next(kept[0], None)
            if found is not None:
                return found
            kept[0] = iter(batches)
        raise EdgeqError("there are no batches", fix="give a DataLoader that can be gone through again, or a function of the step")

    return draw


@dataclass
class _Run:
    """A training under way."""

    robust: Robust
    optimizer: torch.optim.SGD
    place: str
    done: int = 0
    onset: int | None = None
    loss: tuple[float, float | None] = (math.nan, None)

    def resume(self) -> None:
        path = Path(self.place)
        if not self.place or not path.is_file():
            return
        try:
            kept: dict[str, Any] = torch.load(path, weights_only=True)
            self.robust.load_state_dict(kept["robust"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.done, self.onset = int(kept["done"]), kept["onset"]
        except Exception as e:  # whatever a damaged or foreign file makes the loader raise
            why = str(e).splitlines()[0][:120] if str(e) else type(e).__name__
            raise EdgeqError("this is no checkpoint of such a training", where=self.place, why=why, fix="delete it to start again") from e

    def save(self) -> None:
        """Written beside and moved, so that an interrupt leaves the old one."""
        if self.place:
            new = Path(self.place + ".new")
            state = {"robust": self.robust.state_dict(), "optimizer": self.optimizer.state_dict(), "done": self.done, "onset": self.onset}
            torch.save(state, new)
            new.replace(self.place)

    def train(self, draw: Callable[[int], Batch], steps: int, learning: Descent, progress: Progress | None) -> int:
        network, first = self.robust.network, self.done
        network.train()
        for step in range(first, steps):
            x, y = draw(step)
            for group in self.optimizer.param_groups:
                group["lr"] = learning.at(step / steps)
            seed = learning.seed * 2**32 + step
            self.loss = self.robust.backward(lambda x=x, y=y: learning.loss(network(x), y), seed)  # type: ignore[misc]
            if not math.isfinite(self.loss[0]):
                raise EdgeqError(f"the loss of step {step} is {self.loss[0]}", fix="lower the learning rate, or look at the data")
            if self.onset is None and self.loss[1] is not None:
                self.onset = step
            self.optimizer.step()
            self.robust.project()
            self.done = step + 1
            if self.done % EVERY == 0 or self.done == steps:
                self.save()
            if progress:
                progress(self.done, steps, *self.loss)
        return max(0, steps - first)
