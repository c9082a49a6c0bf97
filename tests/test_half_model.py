"""A whole model in half precision: accuracy, and the same bytes from every compiler and on every chip."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from installed import need, uncounted

from edgeq import api, target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, Tensor, TensorType
from edgeq.lower import lower
from edgeq.ops.clamp import Clamp
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.mul import Mul
from edgeq.plan import plan
from edgeq.quantize import check_range, to_half
from edgeq.run import host, unicorn
from edgeq.simulate import fit_inputs, simulate

EXAMPLE = Path(__file__).parent.parent / "examples" / "digits"
sys.path.append(str(EXAMPLE))


@pytest.fixture(scope="module")
def digits() -> Graph:
    return to_half(api.load(EXAMPLE / "digits.onnx"))


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    from data import load

    _, _, x, y = load()
    return x, y


def test_everything_is_half(digits: Graph) -> None:
    kinds = {t.type.dtype for t in digits.tensors.values() if not t.is_constant}
    weights = {digits.type(n.inputs[1]).dtype for n in digits.nodes if n.op.parameters}
    assert kinds == weights == {DType.FLOAT16}


def test_accuracy_equals_the_float_models(images: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = images
    scored = api.accuracy(EXAMPLE / "digits.onnx", {"x": x, "y": y}, recipe="fp16")
    assert scored.real is not None and scored.simulator is not None and abs(scored.real - scored.simulator) <= 1


@pytest.mark.parametrize("chain", ["gcc", "clang", "zig"])
def test_every_compiler_gives_the_same_bytes(chain: str, digits: Graph, images: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    need("host", chain)
    inputs = fit_inputs(digits, {"image": images[0][:256]})
    program = lower(digits, target.load("host"))
    write(emit(program, plan(program), "digits"), tmp_path / "model")
    truth = simulate(digits, inputs, steps=True)
    for level in ("-O2", "-O3"):
        result = compare(truth, host.run(tmp_path / "model", inputs, steps=True, chain=chain, optimize=level))
        assert result.bit_exact, f"{level}: {result.difference}"


@pytest.mark.parametrize("chip", ["cortex-m0", "cortex-m4", "riscv", "riscv-f"])
def test_chips_give_the_same_bytes(chip: str, digits: Graph, images: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    inputs = fit_inputs(digits, {"image": images[0][:4]})
    program = lower(digits, target.load(chip))
    write(emit(program, plan(program), "digits"), tmp_path / "model")
    result = compare(simulate(digits, inputs, steps=True), unicorn.run(tmp_path / "model", uncounted(chip), inputs, steps=True))
    assert result.bit_exact, result.difference


def layer(weight: float, factor: float) -> Graph:
    """x -> x times a weight, then times a factor."""
    tensors = {
        "x": TensorType((1, 2)), "w": np.full((2, 2), weight, np.float32), "b": np.zeros(2, np.float32), "y": TensorType((1, 2)),
        "f": np.full((1, 2), factor, np.float32), "z": TensorType((1, 2)),
    }  # fmt: skip
    made = {n: Tensor(n, t) if isinstance(t, TensorType) else Tensor(n, TensorType(t.shape), t) for n, t in tensors.items()}
    nodes = (Node("layer", FullyConnected(), ("x", "w", "b"), ("y",)), Node("scale", Mul(), ("y", "f"), ("z",)))
    return Graph("small", nodes, made, ("x",), ("z",))


def test_overflow_is_named() -> None:
    with pytest.raises(EdgeqError, match="constant 'w' reaches 70000") as e:
        to_half(layer(70000, 1))
    assert e.value.where == "layer"
    with pytest.raises(EdgeqError, match="tensor 'z' reaches 400000"):
        check_range(layer(1000, 100), {"x": np.full((1, 2), 2, np.float32)})
    with pytest.raises(EdgeqError, match="values that f16 cannot"):
        fit_inputs(to_half(layer(1, 1)), {"x": np.full((1, 2), 1e6, np.float32)})


def test_clamps_are_limits_of_halves() -> None:
    x = np.array([[-np.inf, -7, -0.0, 2.999, 6.001, np.inf]], np.float16)
    t = TensorType((6,), DType.FLOAT16)
    for low, high in ((0, 6), (0, np.inf), (-np.inf, 1)):
        op, want = Clamp((low, high)), np.clip(x[0], low, high)
        assert np.array_equal(op.compute(op.bound("single", "here", (Tensor("x", t),), t), x)[0], np.array([want], np.float16))
