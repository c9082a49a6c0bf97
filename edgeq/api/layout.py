"""Layout: a quantized graph, lowered and planned as a build asks for it: bands, an input row by row, cores, copies of tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edgeq import faults
from edgeq import target as targets
from edgeq.errors import EdgeqError
from edgeq.ir import Graph
from edgeq.lower import lower
from edgeq.plan import MemoryPlan, plan, stage
from edgeq.plan.fit import fed, fitted
from edgeq.plan.room import WEIGHTS_IN, filled, roomiest
from edgeq.plan.shares import spread
from edgeq.program import Program
from edgeq.target import Target

MOST_CORES = 16
LEAST = 8  # of the memory for copies, this part is used at least
FEEDS = ("", "rows")
CALL = "call"
DECODES = (CALL, stage.START)


@dataclass(frozen=True)
class Spreads:
    """For how many cores calls are divided, and the bytes of fast memory for copies of their tables, 0 for none."""

    cores: int = 1
    fast: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.cores <= MOST_CORES or self.fast < 0:
            raise EdgeqError(f"{self.cores} cores, {self.fast} bytes for weights", fix=f"give 1 to {MOST_CORES} cores, and 0 bytes or more")

    def of(self, program: Program, memory: MemoryPlan) -> tuple[Program, MemoryPlan]:
        """A program in parts, and its plan; as it is where neither is wanted."""
        if self.cores == 1 and not self.fast:
            return program, memory
        made = spread(program, self.cores, self.fast)
        return made, plan(made)

    def within(self, program: Program, arena: int) -> tuple[Program, MemoryPlan]:
        """The same with less memory for copies, then with calls by bands of rows, where buffers and the scratch of all cores would else not
        leave enough room; 0 bytes are as few as there can be."""
        if self.cores > 1 or self.fast:
            alone = plan(program)
            made, memory = self._fitting(lambda own: own.of(program, alone), arena)
            if memory.arena_bytes <= arena:
                return made, memory
        return self._fitting(lambda own: own._banded(program, arena), arena)

    def _fitting(self, made: Callable[[Spreads], tuple[Program, MemoryPlan]], arena: int) -> tuple[Program, MemoryPlan]:
        """What is made with as much of the memory for copies as fits, an eighth at least.

        Each try has less by what the one before was over, or twice of what that one had less, and so little that the largest buffer is
        smaller.
        """
        fast, less, least = self.fast, 0, self.fast // LEAST
        while True:
            program, memory = made(replace(self, fast=fast))
            over = memory.arena_bytes - arena
            if over <= 0 or fast == least:
                return program, memory
            less = max(over, 2 * less)
            buffers = 2 * max((c.fetched.bytes for c in program.calls if c.fetched), default=0)
            fast = max(least, min(fast - less, buffers - 1))

    def _banded(self, program: Program, arena: int) -> tuple[Program, MemoryPlan]:
        """The program with as many bands as leave room for what shares and copies need beside them; it may need more all the same."""
        limit = arena
        while True:
            banded, alone = fitted(program, limit or None)
            made, memory = self.of(banded, alone)
            over = memory.arena_bytes - arena
            if not arena or over <= 0 or alone.arena_bytes > limit:  # in the last case it is the least that there is
                return made, memory
            limit = alone.arena_bytes - over
            if limit < arena // 2:
                return made, memory


@dataclass(frozen=True)
class Layout:
    """How a program is laid out.

    Attributes:
        choices: kernels by signature, of a tuning file; None: by what they are expected to cost.
        hardened: portable kernels, which compute the simulator's bytes whatever bit errors make of the weights.
        arena: bytes that it should stay within, by bands of rows where it needs them; 0 for as few as can be; None: as it comes.
        feed: ``rows`` for an input that comes row by row.
        spreads: cores, and memory for copies of tables; None: as the target has them. Hardened programs have neither.
        weights_in: where an inference reads weights, of `WEIGHTS_IN`; ``ram``: all are copied there when the program starts.
        decode: when weights in a storage format are decoded that no kernel reads as they are: ``call``, before each call; ``start``: once,
            into the state.
    """

    choices: Mapping[str, str] | None = None
    hardened: bool = False
    arena: int | None = None
    feed: str = ""
    spreads: Spreads | None = None
    weights_in: str = "auto"
    decode: str = CALL

    def __post_init__(self) -> None:
        if self.weights_in not in WEIGHTS_IN:
            raise EdgeqError(f"no weights in '{self.weights_in}'", fix=f"choose one of {', '.join(WEIGHTS_IN)}")
        if self.decode not in DECODES:
            raise EdgeqError(f"no decoding at '{self.decode[:40]}'", fix=f"choose one of {', '.join(DECODES)}")
        if self.decode == stage.START and self.feed:
            why = "an input row by row has no state, where decoded weights lie"
            raise EdgeqError("weights decoded at the start, and an input row by row", why=why, fix="leave --decode or --feed out")
        if self.feed not in FEEDS or (self.feed and self.hardened):
            kernels = " and hardened kernels" if self.hardened else ""
            raise EdgeqError(f"feed '{self.feed}'{kernels}", fix="give feed rows, or leave it out")

    def of(self, graph: Graph, target: Target) -> tuple[Program, MemoryPlan]:
        """A quantized graph, lowered and planned.

        Raises:
            EdgeqError: weights shall lie in RAM on a target without flash, or its kernels cannot do what is asked for.
        """
        if self.weights_in != "auto" and not target.bsp:
            why = "its programs have no flash"
            raise EdgeqError(
                f"weights in {self.weights_in} on target {target.name}", why=why, fix="choose a chip, or leave --weights-in out"
            )
        return filled(*self._planned(graph, target), self.weights_in)

    def decoded_bytes(self, graph: Graph, target: Target) -> int:
        """Of tables that are decoded at the start, as the state has them."""
        return 0 if self.decode == CALL else sum(self._lowered(graph, target).decoded.values())

    def _lowered(self, graph: Graph, target: Target) -> Program:
        if self.hardened:
            return faults.hardened(graph, target, decode=stage.START if self.decode == stage.START else stage.WHOLE)
        return lower(graph, target, self.choices, stage.START if self.decode == stage.START else stage.TILES)

    def _planned(self, graph: Graph, target: Target) -> tuple[Program, MemoryPlan]:
        """Before calls get the scratch that there is room for."""
        program = self._lowered(graph, target)
        wanted = Spreads() if self.hardened else self.spreads or Spreads(target.cores, target.fast)
        if self.feed:
            return wanted.of(*fed(program, math.inf if self.arena is None else self.arena or None))
        if self.hardened or self.arena is None:
            return wanted.of(program, roomiest(program))
        return wanted.within(program, self.arena)


def spreads_of(chip: Target, cores: int | None, weights_stream: str | int | None, hardened: bool) -> Spreads:
    """What a build asks for, else what the target has.

    Raises:
        EdgeqError: there is no such number, or it is for hardened kernels, which have neither.
    """
    if hardened and (weights_stream or (cores or 1) > 1):
        raise EdgeqError("hardened kernels with copies of weights or several cores", fix="give hardened alone")
    fast = chip.fast if weights_stream is None else targets.size(weights_stream)
    return Spreads(chip.cores if cores is None else cores, fast)
