"""The small language model's parts: sampling in C and in Python, and the model that computes one token against the whole network."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from example_modules import load
from installed import need_programs

import edgeq
from edgeq.quantize import evaluate_float

EXAMPLE = Path(__file__).parent.parent / "examples" / "small_language_model"


def test_sampling_in_c_equals_python(tmp_path: Path) -> None:
    need_programs("gcc")
    (sampling,) = load("small_language_model", "sampling")
    source = tmp_path / "s.c"
    weights = sampling.chances(0.11, 0.8)
    text = sampling.header(weights) + '#include "sampling.h"\n'
    text = text.replace("/* Chances", "#include <stdint.h>\n/* Chances") + (
        "int32_t top(const int8_t *s, int32_t n, int32_t k, uint32_t *seed) { return sample_top(s, n, k, chances, seed); }\n"
        "int32_t best(const int8_t *s, int32_t n) { return sample_largest(s, n); }\n"
    )
    source.write_text(text)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", f"-I{EXAMPLE}"]
    subprocess.run(["gcc", *flags, str(source), "-o", str(tmp_path / "s.so")], check=True, timeout=60)
    library = ctypes.CDLL(str(tmp_path / "s.so"))
    rng, seed, kept = np.random.default_rng(4), 7, ctypes.c_uint32(7)
    drawn = []
    for turn in range(400):
        scores = rng.integers(-128, 128, 96).astype(np.int8) if turn % 3 else np.full(96, turn % 100 - 50, np.int8)
        k = 1 + turn % 9
        token, seed = sampling.top(scores, k, weights, seed)
        pointer = scores.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
        assert library.top(pointer, 96, k, ctypes.byref(kept)) == token and kept.value == seed
        assert library.best(pointer, 96) == sampling.largest(scores)
        assert (scores > scores[token]).sum() < k
        drawn.append(token)
    assert len(set(drawn)) > 50


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
    found = evaluate_float(graph, given)[graph.results[0]].reshape(len(tokens), -1)
    with torch.no_grad():
        want = network(torch.from_numpy(tokens)[None])[0].numpy()
    np.testing.assert_allclose(found, want, atol=1e-4)
    assert (want.argmax(1)[10:-1] == tokens[11:]).mean() > 0.4  # it has learned something
