"""The emitted C on this computer with its tables in writable memory: compiled once, run under any number of fault maps."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from edgeq.build import build_library, toolchain
from edgeq.emit import emit
from edgeq.errors import EdgeqError
from edgeq.faults import Bytes
from edgeq.files import temporary_folder
from edgeq.ir import Array
from edgeq.plan import plan
from edgeq.program import Program
from edgeq.run.host import memory
from edgeq.run.layout import Layout
from edgeq.tables import Constants
from edgeq.target import load

NAME = "m"
Flips = Mapping[str, Bytes]  # table's symbol -> what to xor to its bytes


class _Copy:
    """One loaded library with tables of its own."""

    def __init__(self, path: Path, arena_bytes: int, tables: Mapping[str, Bytes]) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.eq_host_run.restype = None
        self.arena = np.zeros(arena_bytes + 16, np.uint8)
        self.original = tables
        self.memory = {s: memory(self.library, f"{NAME}_{s}", len(data)) for s, data in tables.items()}

    def run(self, flips: Flips, packed: Array, out: Array) -> None:
        """Flip, run every vector, mend."""
        for symbol, xor in flips.items():
            self.memory[symbol][:] = self.original[symbol] ^ xor
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (self.arena, packed, out)]
        self.library.eq_host_run(ctypes.c_int32(len(packed)), *pointers, ctypes.c_void_p(None))
        for symbol in flips:
            self.memory[symbol][:] = self.original[symbol]


class Patched:
    """A compiled program and its workers; made by `patched`."""

    def __init__(self, layout: Layout, copies: Iterable[_Copy]) -> None:
        self.layout = layout
        self._idle: SimpleQueue[_Copy] = SimpleQueue()
        self.workers = 0
        for copy in copies:
            self._idle.put(copy)
            self.workers += 1

    def _outputs(self, flips: Flips, packed: Array) -> dict[str, Array]:
        copy = self._idle.get()
        try:
            out = np.zeros((len(packed), self.layout.output_bytes), np.uint8)
            copy.run(flips, packed, out)
            return self.layout.unpack_outputs(out)
        finally:
            self._idle.put(copy)

    def run(self, inputs: Mapping[str, Array], patterns: Iterable[Flips]) -> Iterator[dict[str, Array]]:
        """Per pattern, in order, the outputs ``[V, *shape]`` of all vectors; several patterns at a time.

        Args:
            inputs: per input ``[V, *shape]`` in the stored dtype.
        """
        _, packed = self.layout.pack(inputs)
        with ThreadPoolExecutor(self.workers) as pool:
            yield from pool.map(self._outputs, patterns, repeat(packed))


@contextmanager
def patched(program: Program, chain: str = "zig", workers: int | None = None) -> Iterator[Patched]:
    """Emit and compile a hardened program (see `faults.hardened`) for this computer.

    Args:
        chain: tool chain name. Zig makes vectors of the portable kernels, which run twice as fast as what gcc makes of them.
        workers: how many patterns are run at a time; None: one per core.

    Raises:
        EdgeqError: it does not compile.
    """
    host = load("host")
    tool = toolchain(host, chain)
    artifact = emit(program, plan(program), NAME)
    tables = {c.symbol: c.data for c in Constants(program).tables}
    with temporary_folder() as work:
        folder = Path(work)
        for file, content in artifact.files.items():
            (folder / file).write_bytes(content)
        native = ["-mcpu=native" if chain == "zig" else "-march=native", "-DEQ_VECTORIZE"]
        library = build_library(folder, folder / "model.so", host, tool, "-O3", hook=False, weights="ram", native=native)
        layout = Layout(artifact.manifest)
        yield Patched(layout, list(_load(folder, library, layout, tables, workers or os.cpu_count() or 1)))


def _load(folder: Path, library: Path, layout: Layout, tables: Mapping[str, Bytes], workers: int) -> Iterator[_Copy]:
    for i in range(workers):
        copy = folder / f"model{i}.so"  # another file is another library, with other tables
        try:
            shutil.copyfile(library, copy)
            yield _Copy(copy, layout.arena_bytes, tables)
        except OSError as e:
            raise EdgeqError("cannot load the compiled model", where=str(copy), why=str(e)) from e
