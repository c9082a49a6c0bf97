"""The emitted C on this computer with its tables in writable memory: compiled once, run under any number of fault maps."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from edgeq import system
from edgeq.build import build_library, toolchain
from edgeq.emit import emit
from edgeq.errors import EdgeqError
from edgeq.faults import Bytes, flipped, hardened
from edgeq.files import temporary_folder
from edgeq.formats import PLAIN
from edgeq.ir import Array
from edgeq.kernels.layouts import applied
from edgeq.ops.weights import with_formats
from edgeq.plan import plan
from edgeq.program import Call, Program
from edgeq.run.host import memory
from edgeq.run.layout import Layout
from edgeq.tables import Constants
from edgeq.target import load

NAME = "m"
AHEAD = 4  # patterns per worker that are drawn before their turn
Flips = Mapping[str, Bytes]  # table's symbol -> what to xor to its bytes
Tables = Mapping[str, Bytes]  # table's symbol -> its bytes


class Repacked:
    """A hardened program computed by the kernels for this computer's vectors: faults hit the tables as they are stored, which are then
    decoded and packed as these kernels read them.

    Attributes:
        program: what is compiled.
    """

    def __init__(self, studied: Program) -> None:
        self.studied = studied
        native = load("native")
        plain = hardened(with_formats(studied.graph, PLAIN), native, native.isa)
        own = {c.node.name: c.params.tables for c in studied.calls}
        self.program = replace(plain, calls=tuple(_with_tables(c, own.get(c.node.name, {})) for c in plain.calls))
        self._steps = {c.node.name: i for i, c in enumerate(self.program.calls)}
        self._constants = Constants(self.program)
        self._before = [c.params.tables for c in studied.calls]

    @property
    def possible(self) -> bool:
        """Whether no two layers share a table here that are stored apart in the studied program."""
        stored = Constants(self.studied)
        steps = {c.node.name: i for i, c in enumerate(self.studied.calls)}

        def places(users: Iterable[tuple[int, str]]) -> set[str]:
            return {stored.symbol(steps[self.program.calls[i].node.name], name) for i, name in users if i >= 0}

        try:
            return all(len(places(c.users)) <= 1 for c in self._constants.tables if len(c.users) > 1)
        except KeyError:
            return False

    def changed(self, flips: Flips) -> Tables:
        """The tables that some flips of the studied program's change."""
        found: dict[str, Bytes] = {}
        for call, before in zip(flipped(self.studied, flips).calls, self._before, strict=True):
            if call.params.tables is not before:
                step = self._steps[call.node.name]
                for name, table in _with_tables(self.program.calls[step], call.params.tables).tables.items():
                    little = table.astype(table.dtype.newbyteorder("<"), copy=False)
                    found[self._constants.symbol(step, name)] = np.frombuffer(little.tobytes(), np.uint8)
        return found


def _with_tables(call: Call, tables: Mapping[str, Array]) -> Call:
    """A call whose operator binds other tables, where `tables` are of its names."""
    if call.params.tables.keys() != tables.keys():
        return call
    layouts = {n: call.kernel.pack.get(n, "") for n in call.tables}
    packed = {n: np.asarray(applied(layout, n, tables) if layout else tables[n]) for n, layout in layouts.items()}
    return replace(call, params=replace(call.params, tables=tables), tables=packed)


class _Copy:
    """One loaded library with tables of its own."""

    def __init__(self, path: Path, arena_bytes: int, tables: Mapping[str, Bytes]) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.eq_host_run.restype = None
        self.arena = np.zeros(arena_bytes + 16, np.uint8)
        self.original = tables
        self.memory = {s: memory(self.library, f"{NAME}_{s}", len(data)) for s, data in tables.items()}

    def run(self, tables: Tables, packed: Array, out: Array) -> None:
        """Change tables, run every vector, restore."""
        for symbol, data in tables.items():
            self.memory[symbol][:] = data
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (self.arena, packed, out)]
        self.library.eq_host_run(ctypes.c_int32(len(packed)), *pointers, ctypes.c_void_p(None))
        for symbol in tables:
            self.memory[symbol][:] = self.original[symbol]


class Patched:
    """A compiled program and its workers; made by `patched`."""

    def __init__(self, layout: Layout, copies: Iterable[_Copy], changed: Callable[[Flips], Tables]) -> None:
        self.layout, self.changed = layout, changed
        self._idle: SimpleQueue[_Copy] = SimpleQueue()
        self.workers = 0
        for copy in copies:
            self._idle.put(copy)
            self.workers += 1

    def _outputs(self, flips: Flips, packed: Array) -> dict[str, Array]:
        copy = self._idle.get()
        try:
            out = np.zeros((len(packed), self.layout.output_bytes), np.uint8)
            copy.run(self.changed(flips), packed, out)
            return self.layout.unpack_outputs(out)
        finally:
            self._idle.put(copy)

    def run(self, inputs: Mapping[str, Array], patterns: Iterable[Flips]) -> Iterator[dict[str, Array]]:
        """Per pattern, in order, the outputs ``[V, *shape]`` of all vectors; several patterns at a time.

        Args:
            inputs: per input ``[V, *shape]`` in the stored dtype.
        """
        _, packed = self.layout.pack(inputs)
        waiting: deque[Future[dict[str, Array]]] = deque()
        left = iter(patterns)
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                while True:
                    more = itertools.islice(left, AHEAD * self.workers - len(waiting))
                    waiting.extend(pool.submit(self._outputs, flips, packed) for flips in more)
                    if not waiting:
                        return
                    yield waiting.popleft().result()
            finally:
                for job in waiting:
                    job.cancel()


@contextmanager
def patched(program: Program, chain: str = "zig", workers: int | None = None, *, vectors: bool = False) -> Iterator[Patched]:
    """Emit and compile a hardened program (see `faults.hardened`) for this computer.

    Args:
        chain: tool chain name.
        workers: how many patterns are run at a time; None: one per core.
        vectors: take the kernels for this computer's vectors (`Repacked`) where that is possible.

    Raises:
        EdgeqError: it does not compile.
    """
    target, changed = load("native"), _xored(program)
    if vectors and (repacked := Repacked(program)).possible:
        program, changed = repacked.program, repacked.changed
    artifact = emit(program, plan(program), NAME)
    tables = {c.symbol: c.data for c in Constants(program).tables}
    with temporary_folder() as work:
        folder = Path(work)
        for file, content in artifact.files.items():
            (folder / file).write_bytes(content)
        library = build_library(folder, folder / "model.so", target, toolchain(target, chain), "-O3", hook=False, weights="ram")
        layout = Layout(artifact.manifest)
        copies = list(_load(folder, library, layout, tables, workers or os.cpu_count() or 1))
        try:
            yield Patched(layout, copies, changed)
        finally:
            for copy in copies:
                system.free(copy.library)


def _xored(program: Program) -> Callable[[Flips], Tables]:
    """What flips make of a program's own tables."""
    tables = {c.symbol: c.data for c in Constants(program).tables}
    return lambda flips: {symbol: tables[symbol] ^ xor for symbol, xor in flips.items()}


def _load(folder: Path, library: Path, layout: Layout, tables: Mapping[str, Bytes], workers: int) -> Iterator[_Copy]:
    for i in range(workers):
        copy = folder / f"model{i}.so"  # another file is another library, with other tables
        try:
            shutil.copyfile(library, copy)
            yield _Copy(copy, layout.arena_bytes, tables)
        except OSError as e:
            raise EdgeqError("cannot load the compiled model", where=str(copy), why=str(e)) from e
