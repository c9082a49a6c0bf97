"""edgeq.train.lsq: learned scales, what arrives in the chip's network, hard budgets of bits, and scales in conflict."""

from __future__ import annotations

import numpy as np
import pytest

import edgeq
from edgeq import EdgeqError
from edgeq.quantize.plan import Options

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from test_train import batch, small, threads  # noqa: E402, F401
from torch import nn  # noqa: E402

from edgeq.train import Learning, cgmq, gaqat, lsq  # noqa: E402
from edgeq.train.learned import LearnedInput, LearnedWeight  # noqa: E402
from edgeq.train.lsq import FewBits  # noqa: E402
from edgeq.train.noise import NoisyWeight  # noqa: E402

STEPS = 40


def right(network: nn.Module) -> float:
    x, y = batch(1000)
    with torch.no_grad():
        return float((network(x).argmax(1) == y).float().mean())


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    torch.set_num_threads(1)  # the fixture of each test comes later
    network = small().train()
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for step in range(60):
        x, y = batch(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network.eval()


def copied(network: nn.Module) -> nn.Module:
    other = small()
    other.load_state_dict(network.state_dict())
    return other.eval()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_start_at_the_scales_of_least_error(bits: int) -> None:
    w = torch.randn(6, 50, generator=torch.Generator().manual_seed(bits))
    quantizer = LearnedWeight(w, bits)
    integers = (quantizer(w) / quantizer.scales(w)).detach()
    assert float((integers - integers.round()).abs().max()) < 1e-3 and float(integers.abs().max()) < 2 ** (bits - 1) - 0.99
    error = (quantizer(w) - w).square().sum(1).detach()
    for factor in (0.8, 0.9, 1.1, 1.3):
        other = LearnedWeight(w, bits)
        other.log_scale.data += np.log(factor)
        assert bool(((other(w) - w).square().sum(1) >= error * 0.9).all()), factor


def test_gradients_of_scales_are_those_of_the_paper() -> None:
    """LSQ: round(v) - v within the range, the limit beyond; LSQ+: the offset has a gradient beyond the range alone."""
    w = torch.tensor([[0.3, -0.8, 5.0, -5.0]])
    quantizer = LearnedWeight(w, 3)
    quantizer.log_scale.data.fill_(0.0)
    quantizer(w).sum().backward()
    assert float(quantizer.log_scale.grad) == pytest.approx((0 - 0.3) + (-1 + 0.8) + 3 - 3, abs=1e-6)
    x, activation = torch.tensor([0.4, 2.0, 9.0, -3.0]), LearnedInput(2)
    activation.known.fill_(True)
    activation.offset.data.fill_(-1.0)
    y = activation(x)
    assert y.tolist() == [0.0, 2.0, 2.0, -1.0]
    y.sum().backward()
    assert float(activation.offset.grad) == pytest.approx(2.0) and float(activation.log_scale.grad) == pytest.approx(-0.4 + 3)


def test_the_chips_network_is_the_one_that_was_trained(trained: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    network = lsq(copied(trained), batch, steps=STEPS, learning=Learning(weights=2, activations=4, rate=0.01))
    assert right(network) > 0.9
    x = batch(1000)[0].numpy()
    graph = edgeq.load(network, (torch.zeros(1, 2, 8, 8),))
    found = edgeq.quantize(graph, x, options=Options(weights="int2"))
    products = [n for n in found.graph.nodes if n.op.traits.products]
    assert [str(found.graph.tensors[n.inputs[1]].format) for n in products] == ["plain", "int2", "plain"], "both ends have 8 bits"
    assert "2 layers keep more bits than int2" in caplog.text
    for node, layer in zip(products, (network[0][1], network[3][1], network[7][1]), strict=True):
        stored, w = found.graph.tensors[node.inputs[1]], layer.weight.detach().numpy()
        integers = np.moveaxis(stored.data, -1, 1) if stored.data.ndim == 4 else stored.data
        rows = np.abs(w).reshape(len(w), -1).max(1) / np.abs(integers.reshape(len(w), -1)).max(1)
        assert np.abs(integers * rows.reshape(-1, *[1] * (w.ndim - 1)) - w).max() < 1e-3 * np.abs(w).max(), node.name
    with torch.no_grad():
        real = network(torch.from_numpy(x)).numpy()
    error = found.predict(x).reshape(real.shape) - real
    assert 10 * np.log10((real**2).sum() / (error**2).sum()) > 25


def test_a_budget_of_bits_is_kept(trained: nn.Module) -> None:
    network = copied(trained)
    sizes = [network[i].weight.numel() for i in (0, 3, 7)]
    budget = cgmq.Budget(3.5)
    network = lsq(network, batch, steps=STEPS, learning=Learning(weights=8, ends=None, rate=0.01), controls=[budget])
    bits = [int(budget.gates[n]) for n in ("0", "3", "7")]
    assert 2 <= sum(b * s for b, s in zip(bits, sizes, strict=True)) / sum(sizes) <= 3.5 and max(bits) > 2 and right(network) > 0.8
    for i, b in zip((0, 3, 7), bits, strict=True):
        rows = network[i][1].weight.detach().reshape(len(network[i][1].weight), -1)
        assert max(len(row.unique()) for row in rows) <= 2**b - 1, (i, b)
    with pytest.raises(EdgeqError, match="a budget of 1"):
        cgmq.Budget(1)


def test_bits_go_where_they_matter() -> None:
    few = FewBits(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), Learning(weights=8, ends=None))
    budget = cgmq.Budget(5)
    for step in range(100):
        for i, x in enumerate(few.layers):
            x.real.grad = torch.full_like(x.real, 1.0 + 9 * i)
            x.real.data.fill_(0.5)
        budget(few.layers, (), step, 100)
    assert few.layers[1].weight.bits > few.layers[0].weight.bits and sum(x.weight.bits for x in few.layers) <= 10


def test_scales_in_conflict_stand_still() -> None:
    """Two parts pull the first layer's weights apart and the second's the same way."""
    few = FewBits(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), Learning(weights=4, ends=None))
    first, second = (x.weight.log_scale for x in few.layers)
    conflicts = gaqat.Conflicts()
    for step in range(gaqat.WINDOW + 1):
        parts = [first.sum() + second.sum(), -2 * first.sum() + second.sum()]
        torch.stack(parts).sum().backward(retain_graph=True)
        conflicts(few.layers, parts, step, 100)
        assert (first.grad is None) == (step == gaqat.WINDOW) and second.grad is not None
    assert conflicts.frozen == {("0", "weights")}


def test_conflicts_steer_a_training_and_need_two_parts(trained: nn.Module) -> None:
    network = lsq(copied(trained), batch, steps=10, learning=Learning(rate=0.01), controls=[gaqat.Conflicts(limit=0.0)])
    assert right(network) > 0.8
    with pytest.raises(EdgeqError, match="no conflicts"):
        lsq(copied(trained), batch, steps=1, learning=Learning(distil=0.0), controls=[gaqat.Conflicts()])


def test_what_cannot_be_trained_is_told(trained: nn.Module) -> None:
    for keywords in ({"weights": 1}, {"activations": 9}, {"ends": 16}, {"distil": 2.0}):
        with pytest.raises(EdgeqError, match=r" bits|of the loss"):
            Learning(**keywords)
    with pytest.raises(EdgeqError, match="0 steps"):
        lsq(copied(trained), batch, steps=0)
    with pytest.raises(EdgeqError, match="has no Conv1d"):
        lsq(nn.ReLU(), batch, steps=1)
    with pytest.raises(EdgeqError, match="the loss of step"):
        lsq(copied(trained), batch, steps=1, learning=Learning(loss=lambda a, b: a.sum() * torch.nan))


def test_noise_stands_for_rounding_at_first(trained: nn.Module) -> None:
    w = torch.linspace(-1, 1, 400).reshape(2, 200)
    noisy = NoisyWeight(w, 4)
    step, found = float(noisy.scales(w)[0].detach()), (noisy(w) - w).detach()
    inside = w.abs() < 6 * step
    assert 0.4 * step < float(found[inside].abs().max()) <= 0.5 * step + 1e-6 and not torch.equal(noisy(w), noisy(w))
    assert float(noisy(w).detach().abs().max()) <= 7 * step + 1e-6
    assert torch.equal(noisy.eval()(w), LearnedWeight(w, 4)(w))
    network = lsq(copied(trained), batch, steps=STEPS, learning=Learning(weights=3, rate=0.01, noise=0.5))
    assert max(len(row.unique()) for row in network[3][1].weight.detach().reshape(8, -1)) <= 7 and right(network) > 0.8


def test_what_stays_float_is_named(caplog: pytest.LogCaptureFixture) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.cell(x)[0][:, -1])

    draw = lambda _: (torch.randn(4, 5, 3), torch.randn(4, 2))  # noqa: E731
    lsq(Recurrent(), draw, steps=1, learning=Learning(loss=nn.functional.mse_loss, taught=nn.functional.mse_loss))
    assert "no Conv1d, Conv2d or Linear: cell" in caplog.text
    with pytest.raises(EdgeqError, match="returns a tuple"):
        lsq(nn.Sequential(nn.Linear(3, 3), nn.GRU(3, 4)), draw, steps=1)


def test_a_single_layer_is_a_network() -> None:
    network = lsq(nn.Linear(4, 2), lambda _: (torch.randn(8, 4), torch.zeros(8, dtype=torch.long)), steps=2)
    assert network(torch.zeros(1, 4)).shape == (1, 2)
