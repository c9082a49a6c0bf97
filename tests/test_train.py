"""edgeq.train: storage codes with errors, projection, the gradient rule, onset, statistics, resumption, and the example's scripts."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgeq
from edgeq import EdgeqError
from edgeq.formats.code import Code
from edgeq.quantize.floating import evaluate_float

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from edgeq.train import Descent, Options, Outcome, Robust, randbet  # noqa: E402
from edgeq.train.codes import Grid, faulty_biases, flips  # noqa: E402
from edgeq.train.layers import FAULTY, Range  # noqa: E402

loop = importlib.import_module("edgeq.train.randbet")
EXAMPLE = Path(__file__).parent.parent / "examples" / "robust_vision"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(EXAMPLE.parent.parent)}
FLOATS = Options(w_max=None, activations="float")


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes: brighter above, brighter below, neither."""
    rng = np.random.default_rng(step)
    y = rng.integers(0, 3, 32)
    x = rng.normal(0, 0.3, (32, 2, 8, 8))
    x[y == 0, :, :4] += 1
    x[y == 1, :, 4:] += 1
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def loss_of(network: nn.Module, step: int = 0):
    x, y = batch(step)
    return lambda: nn.functional.cross_entropy(network(x), y)


# --- codes


@pytest.mark.parametrize("code", [Code(), Code(4), Code(2, offset=True), Code(8, check="triple"), Code(5, check="parity")], ids=str)
@pytest.mark.parametrize("per_tensor", [False, True])
def test_weights_become_the_codes_integers(code: Code, per_tensor: bool) -> None:
    w = torch.randn(5, 4, 3, 3)
    integers, scale = Grid(code, per_tensor=per_tensor).encode(w)
    assert scale.shape == (5, 1, 1, 1) and float(integers.abs().max()) == code.limit
    assert float((integers * scale - w).abs().max()) <= float(scale.max()) / 2 + 1e-6
    truncated, _ = Grid(code, truncate=True, per_tensor=per_tensor).encode(w)
    assert torch.equal(truncated, (w / scale).trunc().clamp(-code.limit, code.limit))
    assert torch.equal(Grid(code).faulty(integers, 0.0, np.random.default_rng(0)), integers)


def test_each_stored_bit_flips_at_the_rate() -> None:
    words = flips((20000,), 10, 0.03, np.random.default_rng(1))
    shares = (words[:, None] >> np.arange(10) & 1).mean(0)
    assert words.max() < 1024 and np.abs(shares - 0.03).max() < 4 * np.sqrt(0.03 * 0.97 / 20000)
    integers = torch.from_numpy(np.random.default_rng(2).integers(-127, 128, 20000).astype(np.float32))
    error = (Grid(Code()).faulty(integers, 0.01, np.random.default_rng(3)) - integers).numpy()
    assert np.mean(error**2) == pytest.approx(Code().errors(integers.numpy(), 0.01, 0.01).mean(), rel=0.1)
    thrice = (Grid(Code(small=20000)).faulty(integers, 0.05, np.random.default_rng(3)) - integers).numpy()
    assert np.mean(thrice**2) == pytest.approx(Code(small=20000).errors(integers.numpy(), 0.05, 0.05).mean(), rel=0.1)


def test_votes_bear_what_plain_biases_do_not() -> None:
    biases = np.random.default_rng(0).integers(-40000, 40000, 4000).astype(np.int32)
    voted, plain = (faulty_biases(biases, votes, 0.001, np.random.default_rng(1)) for votes in (True, False))
    assert np.abs(voted - biases).max() <= 2 * 65536 and (np.abs(voted - biases) > 100).mean() < 0.001
    assert (np.abs(plain.astype(np.int64) - biases) > 2**20).mean() > 0.005


# --- one step


def test_projection_holds_whatever_the_optimizer_does() -> None:
    network = small()
    robust = Robust(network, Options(p=0, w_max={"": 0.1, "7": 0.3}))
    optimizer = torch.optim.SGD(robust.parameters(), lr=5.0)
    for step in range(3):
        robust.backward(loss_of(network, step), step)
        optimizer.step()
        robust.project()
    robust.finish()
    limits = {0: 0.1, 3: 0.1, 7: 0.3}
    for i, limit in limits.items():
        assert float(network[i].weight.detach().abs().max()) == pytest.approx(limit)
    assert 0 < float((network[1].weight.detach() - 1).abs().max()) <= 0.1 + 1e-6, "norm scales are 1 + a"
    assert type(network[0]) is nn.Conv2d and not any("parametrizations" in k for k in network.state_dict())


def test_instrumenting_changes_nothing_but_what_is_clipped() -> None:
    network = small()
    network[1].weight.data.uniform_(0.5, 2)
    x, before = batch(0)[0], {k: v.clone() for k, v in network.state_dict().items()}
    y = network.eval()(x)
    robust = Robust(network, Options(w_max=None))
    assert torch.allclose(network(x), y, atol=1e-5)
    robust.finish()
    assert torch.equal(network(x), y)
    assert all(torch.allclose(v, before[k]) for k, v in network.state_dict().items())


def test_the_gradient_is_half_clean_and_half_clamped() -> None:
    def gradients(p: float, limit: float) -> tuple[list[torch.Tensor], tuple[float, float | None]]:
        network = small()
        robust = Robust(network, Options(p=p, w_max=None, onset=99.0, limit=limit))
        losses = robust.backward(loss_of(network), 5)
        return [q.grad for q in network.parameters()], losses

    clean, losses = gradients(0.0, 1.0)
    assert losses[1] is None
    free, losses = gradients(0.05, 1e9)
    assert losses[1] is not None and losses[1] != losses[0]
    bound, _ = gradients(0.05, 0.01)
    clamped = 0
    for g, f, b in zip(clean, free, bound, strict=True):
        faulty = 2 * f - g
        assert torch.allclose(b, (g + faulty.clamp(-0.01, 0.01)) / 2, atol=1e-6)
        clamped += int((faulty.abs() > 0.01).sum())
    assert clamped > 10


def test_the_perturbed_gradient_does_not_scale_what_a_norm_follows() -> None:
    """Where statistics stand still, larger weights seem to help; that they follow is in the gradient. p is so small that no bit flips."""

    def radial(p: float) -> float:
        network = small()
        robust = Robust(network, Options(p=p, w_max=None, onset=99.0, limit=1e9))
        for seed in (4, 5):
            robust.backward(loss_of(network, 3), seed)
        weight = robust.layers[0].parametrizations["weight"].original
        return float(nn.functional.cosine_similarity(weight.grad.flatten(1), weight.detach().flatten(1)).abs().max())

    assert radial(0.0) < 0.01 and radial(1e-9) < 0.01


def test_errors_are_fresh_and_follow_from_the_seed() -> None:
    network = small()
    robust = Robust(network, Options(p=0.02, onset=99.0))
    robust.backward(loss_of(network), 0)
    found = [robust.backward(loss_of(network), seed)[1] for seed in (7, 8)]
    assert found[0] != found[1]
    again = Robust(small(), Options(p=0.02, onset=99.0))
    again.backward(loss_of(again.network), 0)
    assert again.backward(loss_of(again.network), 7)[1] == found[0]


def test_norm_statistics_and_ranges_are_of_the_clean_pass_alone() -> None:
    def state(p: float) -> dict[str, torch.Tensor]:
        network = small()
        robust = Robust(network, Options(p=p, onset=99.0))
        robust.backward(loss_of(network), 1)
        return {k: v.clone() for k, v in robust.state_dict().items() if k != "on"}

    clean, faulty = state(0.0), state(0.2)
    assert clean.keys() == faulty.keys() and any("running_mean" in k for k in clean)
    assert all(torch.equal(clean[k], faulty[k]) for k in clean)
    assert float(clean["network.1.num_batches_tracked"]) == 1


def test_the_perturbed_pass_computes_what_faulty_memory_does() -> None:
    """A layer with a norm, errors in its weights: equal to the quantized model with those integers and the clean zero-point share."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4))
    x = batch(3)[0]
    robust = Robust(network, Options(p=0.0, code=Code(), zero="affine", w_max=None))
    robust.backward(lambda: network(x).square().mean(), 0)
    robust.weights[0].p = 0.05  # biases are without errors
    network.eval()
    robust.mode = robust.weights[0].mode = FAULTY
    with torch.no_grad():
        got = network(x)
    clean, scale = robust.weights[0].integers.clone(), robust.weights[0].scale
    step, zero = robust.inputs[0].steps()
    stored = (x / step + zero).round().clamp(-128, 127)
    errors = (robust.weights[0].change / scale.reshape(-1)).round()
    assert errors.abs().sum() > 0
    read = Grid(Code()).faulty(clean, 0.05, np.random.default_rng([0, 0]))
    sums = nn.functional.conv2d(stored, read) - (zero * clean.reshape(4, -1).sum(1)).reshape(-1, 1, 1)  # raw integers, folded bias
    norm = network[1]
    expected = norm(sums * step * scale.reshape(-1, 1, 1))
    low, high = robust.outputs[0].low, robust.outputs[0].high
    assert torch.allclose(got, expected.clamp(float(low), float(high)), atol=1e-4)


@pytest.mark.parametrize("zero", ["centre", "symmetric", "affine"])
def test_ranges_hold_int8(zero: str) -> None:
    x = torch.relu(torch.randn(1000))
    for learned in (False, True):
        seen = Range(learned, zero)
        seen.observe(x)
        y, scale, offset = (t.detach() for t in (seen(x), *seen.steps()))
        steps = y / scale + offset
        assert torch.allclose(steps, steps.round(), atol=1e-3) and float(steps.min()) >= -128.01 and float(steps.max()) <= 127.01
        assert float((y - x).abs().max()) <= 0.51 * float(scale)
        if learned:
            (seen(2 * x).sum()).backward()
            assert seen.high.grad is not None and float(seen.high.grad) > 0
        wide = (2 * x).requires_grad_()
        seen(wide).sum().backward()
        saturated = 2 * x > 1.01 * y.max()
        assert wide.grad is not None and saturated.any() and not wide.grad[saturated].any(), "the gradient ends where int8 does"
        assert torch.equal(wide.grad[(x > 0) & (2 * x < 0.99 * y.max())].unique(), torch.ones(1))
    assert abs(float(offset) - {"centre": -float(x.mean() / scale), "symmetric": 0, "affine": -128}[zero]) <= 1


# --- trainings


def test_errors_begin_once_the_clean_loss_is_low() -> None:
    seen: list[tuple[float, float | None]] = []

    def progress(done: int, steps: int, *losses: float) -> None:
        seen.append(losses)

    outcome = randbet(small(), batch, steps=60, options=Options(onset=0.8), descent=Descent(rate=0.1), progress=progress)
    first = next(i for i, (clean, _) in enumerate(seen) if clean < 0.8)
    assert outcome.onset == first > 0
    assert all((faulty is None) == (i < first) for i, (_, faulty) in enumerate(seen))


def accuracy(network: nn.Module) -> float:
    x, y = batch(10**6)
    with torch.no_grad():
        return float((network(x).argmax(1) == y).float().mean())


@pytest.mark.parametrize("options", [Options(), Options(code=Code(4, votes=True), activations="learned"), Options(activations="float")],
                         ids=["8 bit", "4 bit, learned ranges", "float activations"])  # fmt: skip
def test_a_network_learns(options: Options) -> None:
    outcome = randbet(small(), batch, steps=80, options=options, descent=Descent(rate=0.2))
    assert isinstance(outcome, Outcome) and not outcome.network.training
    assert accuracy(outcome.network) > 0.9 and outcome.onset is not None
    assert float(outcome.network[0].weight.detach().abs().max()) <= 0.1 + 1e-6


def test_an_interrupted_training_equals_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(onset=99.0)
    monkeypatch.setattr(loop, "EVERY", 10)
    whole = randbet(small(), batch, steps=16, options=options).network

    def stop(done: int, *_: object) -> None:
        if done == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        randbet(small(), batch, steps=16, options=options, checkpoint=tmp_path / "c.pt", progress=stop)
    again = randbet(small(), batch, steps=16, options=options, checkpoint=tmp_path / "c.pt")
    assert again.steps == 6
    for (name, a), b in zip(whole.state_dict().items(), again.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_batches_may_be_a_loader_that_is_shorter_than_the_training() -> None:
    drawn = [batch(i) for i in range(3)]
    assert randbet(small(), drawn, steps=7, descent=Descent(rate=0.01)).steps == 7
    with pytest.raises(EdgeqError, match="no batches"):
        randbet(small(), [], steps=1)


def test_the_exported_network_is_the_module() -> None:
    network = randbet(small(), batch, steps=30, options=Options(onset=99.0)).network
    x = batch(9)[0][:4]
    from edgeq.frontends.torch import from_module

    graph = from_module(network, x[:1])
    (name,) = graph.inputs
    layout = x.numpy() if graph.type(name).shape[1] == 2 else x.numpy().transpose(0, 2, 3, 1)
    (got,) = evaluate_float(graph, {name: layout}).values()
    with torch.no_grad():
        assert np.allclose(got.reshape(4, 3), network(x).numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Options(p=1.5), "rate of 1.5"),
        (lambda: Options(w_max=-1.0), "clipped at -1"),
        (lambda: Options(activations="int3"), "unknown activations"),
        (lambda: Options(zero="nine"), "unknown zero"),
        (lambda: Robust(nn.Sequential(nn.ReLU())), "no Conv1d"),
        (lambda: Robust(Robust(small()).network), "parametrized already"),
        (lambda: Robust(small(), Options(w_max={"nobody": 1.0})), "names 'nobody'"),
        (lambda: randbet(small(), batch, steps=0), "0 steps"),
        (lambda: randbet(small(), lambda step: (batch(0)[0] * float("nan"), batch(0)[1]), steps=1), "infinite or NaN"),
        (lambda: randbet(small(), batch, steps=40, descent=Descent(rate=1e9), options=FLOATS), "the loss of step"),
    ],
)
def test_mistakes_are_named(call, message: str) -> None:
    with pytest.raises(EdgeqError, match=message):
        call()


def test_a_foreign_checkpoint_is_refused_and_the_network_left_whole(tmp_path: Path) -> None:
    place, network = tmp_path / "c.pt", small()
    place.write_bytes(b"no checkpoint")
    with pytest.raises(EdgeqError, match="no checkpoint of such a training"):
        randbet(network, batch, steps=1, checkpoint=place)
    assert type(network[0]) is nn.Conv2d and place.read_bytes() == b"no checkpoint"


def test_the_verb_is_found_without_an_import_of_its_own() -> None:
    code = "import sys, edgeq; assert 'torch' not in sys.modules; edgeq.train.randbet"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(edgeq.__file__).parent.parent)


# --- the example


def picture(path: Path, label: int, rng: np.random.Generator) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = rng.integers(0, 60, (32, 32, 3))
    pixels[..., label] += 150
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(pixels.astype(np.uint8)).save(path)


def test_the_example_trains_goes_on_and_sweeps(tmp_path: Path) -> None:
    """On pictures of two colours: the three trainings, short, then a sweep on the networks that they wrote."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 145), ("test", 10)):
        for i in range(count):
            picture(tmp_path / "data" / split / ("red", "green")[i % 2] / f"{i}.png", i % 2, rng)
    common = ["--data", str(tmp_path / "data"), "--work", str(tmp_path / "work")]

    def script(*words: str) -> str:
        done = subprocess.run([sys.executable, *words, *common], cwd=EXAMPLE, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for kind in ("plain", "clipped", "randbet"):
        out = script("train.py", kind, "--epochs", "2", "--threads", "1", "--output", str(tmp_path / f"{kind}.onnx"))
        assert "77522 parameters, 2 steps" in out and "of the held-out images" in out
    wanted = ["--patterns", "2", "--images", "6", "--rates", "0.1%,1%", "--rows", "rounded,randbet4"]
    out = script("sweep.py", "--models", str(tmp_path), *wanted, "--plot", str(tmp_path / "sweep.svg"))
    assert "| RandBET, 4 bit |" in out and "| error, % | p = 0 | 0.1 % | 1 % |" in out and (tmp_path / "sweep.svg").stat().st_size > 1000


def test_the_example_holds_out_a_tenth_of_every_class(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    monkeypatch.syspath_prepend(EXAMPLE)
    images = importlib.import_module("images")
    everything = images.Images(np.arange(60), np.repeat([0, 1, 2], 20), ("a", "b", "c"))
    kept, held = everything.split()
    assert held.labels.tolist() == [0, 0, 1, 1, 2, 2] and np.bincount(kept.labels).tolist() == [18, 18, 18]
    assert sorted([*kept.pixels, *held.pixels]) == list(range(60))


def test_the_example_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "train.py", "plain", "--data", str(tmp_path)], cwd=EXAMPLE, capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 1 and "no images for 'train'" in done.stderr and "Traceback" not in done.stderr
