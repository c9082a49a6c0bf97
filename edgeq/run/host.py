"""The host runner: the emitted C as a shared library, all vectors in one call."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edgeq import system
from edgeq.build import build_library, toolchain
from edgeq.faults import Bytes
from edgeq.files import temporary_folder
from edgeq.ir import Array
from edgeq.record import manifest
from edgeq.run.layout import Layout
from edgeq.simulate import Run
from edgeq.target import load, names


def memory(library: ctypes.CDLL, symbol: str, size: int) -> Bytes:
    """A table of a library that was built with its weights in RAM: uint8 ``[size]``."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).in_dll(library, symbol))


def run(
    folder: Path,
    inputs: Mapping[str, Array],
    *,
    steps: bool = False,
    chain: str | None = None,
    optimize: str = "-O2",
    threads: int = 1,
    flips: Mapping[str, Bytes] | None = None,
) -> Run:
    """Compile `folder` for this computer and run every vector.

    Args:
        inputs: per input ``[V, *shape]`` in the stored dtype.
        steps: keep every step's output.
        chain: tool chain name (zig, gcc, clang).
        threads: parts of the vectors that run at a time; vectors of a stream follow each other.
        flips: what to xor to tables first, by symbol (`faults.flips`); the folder's program must be `hardened`.
    """
    data = manifest(folder)
    own = load(data.target) if data.target in names() else load("host")
    target = own if own.runners[0] == "host" else load("host")
    layout, weights = Layout(data), "flash" if flips is None else "ram"
    vectors, packed = layout.pack(inputs)
    out = np.zeros((vectors, layout.output_bytes), np.uint8)
    kept = np.zeros((vectors, layout.step_bytes), np.uint8) if steps else None
    count = 1 if layout.streams else max(1, min(threads, vectors))
    arenas = np.zeros((count, layout.arena_bytes + 16), np.uint8)
    with temporary_folder() as work, ThreadPoolExecutor(count) as pool:
        file = build_library(folder, Path(work) / "model.so", target, toolchain(target, chain), optimize, weights=weights)
        library = ctypes.CDLL(str(file))
        library.eq_host_run.restype = None
        for symbol, xor in (flips or {}).items():
            memory(library, f"{data.model}_{symbol}", len(xor))[:] ^= xor

        def part(i: int) -> None:
            own = slice(vectors * i // count, vectors * (i + 1) // count)
            blocks = (arenas[i], packed[own], out[own], kept[own] if kept is not None else None)
            pointers = [ctypes.c_void_p(a.ctypes.data if a is not None else None) for a in blocks]
            library.eq_host_run(ctypes.c_int32(own.stop - own.start), *pointers)

        try:
            list(pool.map(part, range(count)))
        finally:
            system.free(library)
    return Run("host", layout.unpack_outputs(out), layout.unpack_steps(kept) if kept is not None else {})
