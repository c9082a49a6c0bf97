"""The small language model: one token at a time against the whole network, and text that an emulated board writes over a serial line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_modules import load
from installed import need_emulator, need_programs

import edgeq
from edgeq.quantize import Options, evaluate_float, quantize

EXAMPLE = Path(__file__).parent.parent / "examples" / "small_language_model"


def test_one_token_at_a_time_equals_the_whole_network(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformer, export, text = load("small_language_model", "transformer", "export", "text")
    weights = {n: w.astype(np.float32) for n, w in np.load(EXAMPLE / "weights.npz").items()}
    network = transformer.Network()
    network.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()})
    export.write(EXAMPLE / "weights.npz", tmp_path / "model.onnx")
    graph = edgeq.load(tmp_path / "model.onnx")
    tokens = text.encode("The statement is executed; see section")
    assert text.decode(tokens).startswith("The statement")
    given = {"token": tokens.reshape(-1, 1, 1), "place": np.arange(len(tokens)).reshape(-1, 1)}
    given["number"] = given["place"]
    found = evaluate_float(graph, given)[graph.results[0]].reshape(len(tokens), -1)
    with torch.no_grad():
        want = network(torch.from_numpy(tokens)[None])[0].numpy()
    np.testing.assert_allclose(found, want, atol=1e-4)
    assert (want.argmax(1)[10:-1] == tokens[11:]).mean() > 0.4  # it has learned something


@pytest.mark.parametrize(("weights", "chip"), [("int4", "cortex-m4"), ("int8", "riscv")])
def test_a_board_writes_the_simulators_text(weights: str, chip: str, tmp_path: Path) -> None:
    """Token by token: what comes back is sent as the next one; every token and every score is the simulator's."""
    need_emulator(chip)
    deploy, export = load("small_language_model", "deploy", "export")
    need_programs("qemu-system-arm" if chip == "cortex-m4" else "qemu-system-riscv32")
    export.write(EXAMPLE / "weights.npz", tmp_path / "model.onnx")
    graph = edgeq.load(tmp_path / "model.onnx")
    samples, _ = deploy.windows(deploy.split()[0], 2)
    quantized = quantize(graph, samples, Options(weights=weights))
    tokens, scores = deploy.told(deploy.Writer(quantized), "def ", 12)
    found, values = deploy.on_board(quantized, chip, tmp_path / "board", 12, "def ")
    assert found == tokens and len(set(tokens)) > 4
    np.testing.assert_array_equal(values, scores)
