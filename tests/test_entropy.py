"""edgeq.train.entropy: what queries and keys in few bits lose of their entropy, as a part of the loss."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from edgeq.errors import EdgeqError  # noqa: E402
from edgeq.train import Learning, lsq  # noqa: E402
from edgeq.train.entropy import Guide, entropy  # noqa: E402


class Scores(nn.Module):
    """Scores of queries and keys, and classes of what they choose."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):  # type: ignore[no-untyped-def]
        weights = (self.q(x) @ self.k(x).mT / 2).softmax(-1)
        return self.out((weights @ self.v(x)).mean(1))


def batch(step: int):  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(step % 8)
    x = torch.randn(16, 5, 6, generator=generator)
    return x, (x[:, :, 0].mean(1) > 0).long()


def test_entropy_is_a_normal_distributions() -> None:
    x = np.random.default_rng(0).normal(0, [0.5, 3.0], (20_000, 2))
    want = [0.5 * math.log(2 * math.pi * math.e * s * s) for s in (0.5, 3.0)]
    np.testing.assert_allclose(entropy(torch.from_numpy(x).float()).numpy(), want, atol=0.02)


def test_what_is_lost_and_what_is_gained() -> None:
    """Half the deviation loses log 2 per channel; more than the teacher's counts nothing."""
    torch.manual_seed(0)
    network, teacher = Scores(), Scores()
    teacher.load_state_dict(network.state_dict())
    with torch.no_grad():
        network.q.weight *= 0.5
        network.k.weight *= 3
    guide = Guide(network, teacher, ("q", "k"))
    x, _ = batch(0)
    teacher(x)
    network(x)
    assert float(guide.lost().detach()) == pytest.approx(math.log(2) / 2, abs=1e-4)
    guide.close()
    network.q.weight.data.zero_()
    network(x)
    assert float(guide.lost().detach()) == pytest.approx(math.log(2) / 2, abs=1e-4)


def test_training_keeps_entropy() -> None:
    """In two bits queries and keys lose less with the part than without it."""
    torch.manual_seed(1)
    trained = Scores()
    lost = {}
    for weight in (0.0, 2.0):
        network, teacher = Scores(), Scores()
        network.load_state_dict(trained.state_dict())
        teacher.load_state_dict(trained.state_dict())
        given = {"entropy": weight, "entropic": ("q", "k")} if weight else {}
        network = lsq(network, batch, steps=60, learning=Learning(weights=2, activations=4, ends=None, rate=0.02, **given))
        found = []
        for step in range(8):
            x, _ = batch(step)
            with torch.no_grad():
                found.append(sum(float((entropy(a(x)) - entropy(b(x))).clamp(min=0).mean())
                                 for a, b in ((teacher.q, network.q), (teacher.k, network.k))))  # fmt: skip
        lost[weight] = float(np.mean(found))
    assert lost[2.0] < 0.8 * lost[0.0], lost


@pytest.mark.parametrize("given", [{"entropy": 0.1}, {"entropic": ("q",)}, {"entropy": -1.0, "entropic": ("q",)},
                                   {"entropy": 0.1, "entropic": ("q",), "distil": 0.0}])  # fmt: skip
def test_half_a_wish_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(EdgeqError, match="entropy of"):
        Learning(**given)  # type: ignore[arg-type]


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(EdgeqError, match="no module 'query'"):
        lsq(Scores(), batch, steps=1, learning=Learning(entropy=0.1, entropic=("query",)))
