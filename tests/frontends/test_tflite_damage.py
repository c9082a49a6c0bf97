"""Damaged files of the rarer sorts (variables, signatures, sparse weights, LSTM, SVDF), and bombs: one EdgeqError, soon and small."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import test_tflite_converters
import test_tflite_recurrent
import test_tflite_variables
import test_tflite_words
from tflite_models import TfliteModel

from edgeq.errors import EdgeqError
from edgeq.frontends import load
from edgeq.ir import Array
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.target import load as load_target

SEEDS: dict[str, Callable[[], bytes]] = {
    "variables": test_tflite_variables.streaming,
    "signatures": test_tflite_variables.two_signatures,
    "sparse": lambda: test_tflite_converters.sparse_model(test_tflite_converters.sparse_weights(), (2, 4), through=True),
    "dilation": lambda: test_tflite_converters.dilated((9, 8), (2, 3), depthwise=False),
    "lstm": lambda: test_tflite_recurrent.model(3, 4, 3, 2, batch=2, cellClip=1.0),
    "svdf": lambda: test_tflite_words.svdf(3, 2, 4, 7),
}
SECONDS, BYTES = 2.0, 500 * 2**20


def survives(content: bytes, folder: Path) -> str:
    path = folder / "damaged.tflite"
    path.write_bytes(content)
    start = time.process_time()
    try:
        graph = load(path)
        if sum(t.type.size for t in graph.tensors.values()) < 10**5 and graph.law == "tflm":
            lower(normalise(graph), load_target("host"))
    except EdgeqError as e:
        assert "\n" not in str(e)
        return str(e)
    finally:
        assert time.process_time() - start < SECONDS
    return ""


@pytest.mark.parametrize("seed", SEEDS)
def test_random_bytes_changed(seed: str, tmp_path: Path) -> None:
    model, rng = SEEDS[seed](), np.random.default_rng(len(seed))
    refused = 0
    for _ in range(150):
        content = np.frombuffer(model, np.uint8).copy()
        places = rng.integers(8, len(content), rng.integers(1, 8))
        content[places] = rng.integers(0, 256, len(places)) if rng.random() < 0.7 else content[places] ^ (1 << rng.integers(0, 8))
        refused += bool(survives(content.tobytes(), tmp_path))
    assert refused > 20


def bomb(kind: str, *numbers: object, options: tuple[str, dict[str, object]] | None = None) -> bytes:
    m = TfliteModel()
    x, y = m.input("x", (1, 4, 4, 2)), m.tensor("y", (1, 4, 4, 2))
    m.operator(kind, [x, *(m.constant(f"c{i}", np.array(n, np.int32)) for i, n in enumerate(numbers))], [y], options)
    return m.finish(y)


def constant_bomb(kind: str, *numbers: Array) -> bytes:
    m = TfliteModel()
    x, y, z = m.input("x", (1, 4)), m.tensor("y", (1, 4)), m.tensor("z", (2**13, 2**13))
    m.operator(kind, [m.constant(f"c{i}", n) for i, n in enumerate(numbers)], [z])
    m.operator("ADD", [x, z], [y], ("AddOptions", {}))
    return m.finish(y)


HUGE = 2**30
BOMBS: dict[str, Callable[[], bytes]] = {
    "tile": lambda: bomb("TILE", [1, HUGE, 1, 1], options=("TileOptions", {})),
    "tile_all": lambda: bomb("TILE", [60000, 60000, 60000, 60000], options=("TileOptions", {})),
    "broadcast": lambda: bomb("BROADCAST_TO", [HUGE, 4, 4, 2]),
    "pad": lambda: bomb("PAD", [[0, HUGE], [0, 0], [0, 0], [0, 0]], options=("PadOptions", {})),
    "mirror": lambda: bomb("MIRROR_PAD", [[0, 0], [HUGE, 0], [0, 0], [0, 0]], options=("MirrorPadOptions", {"mode": 1})),
    "resize": lambda: bomb("RESIZE_BILINEAR", [2**14, 2**14], options=("ResizeBilinearOptions", {})),
    "spread": lambda: bomb("SPACE_TO_BATCH_ND", [2, 2], [[HUGE, 0], [0, 0]], options=("SpaceToBatchNDOptions", {})),
    "gather": lambda: bomb("GATHER", np.zeros((2**12, 2**11), int), options=("GatherOptions", {"axis": 1})),
    "fill": lambda: constant_bomb("FILL", np.array([2**13, 2**13, 9], np.int32), np.array(1, np.float32)),
    "range": lambda: constant_bomb("RANGE", np.array(0, np.int32), np.array(2**31 - 1, np.int32), np.array(1, np.int32)),
    "broadcast_constant": lambda: constant_bomb("BROADCAST_TO", np.zeros(1, np.float32), np.array([2**13, 2**13, 9], np.int32)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused(kind: str, tmp_path: Path) -> None:
    content = BOMBS[kind]()
    tracemalloc.start()
    try:
        assert survives(content, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()
