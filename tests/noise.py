"""The device link under noise: ``python tests/noise.py --trials 40`` prints a table.

A trial is a session over a line that spoils what goes through it, of one kind and one seed: a host writes inputs, has them inferred,
reads every step, and flips one byte of the weights three times, which shows as once where no request was executed twice. A trial
may end with right bytes or with one line that says what is wrong; it may not hang, compute something else, or execute a request twice.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import link_host
import numpy as np
from link_host import Noise, Process, noise
from random_graphs import Builder

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import Array
from edgeq.record import manifest
from edgeq.run import serial
from edgeq.run.device import Fault
from edgeq.run.layout import Layout
from edgeq.run.link import HEADER, VERSION, Command, Link, encode
from edgeq.run.ports import Port
from edgeq.simulate import Run, simulate

TIMEOUT = 1.0  # seconds of silence after which a host gives up
LIMIT = 60.0  # seconds, far more than a session takes: a trial that needs longer hangs
OUTCOMES = ("right", "told", "hung", "not once", "wrong")


class Served(NamedTuple):
    """A small network, its board as a program, and what it computes."""

    folder: Path
    program: Path
    inputs: dict[str, Array]
    expected: Run


def served(work: Path) -> Served:
    """Compile it."""
    b = Builder(3, "single")
    graph = b.graph(b.dense(b.pool(b.conv(b.input(1, 5, 5, 3), 4, 3)), 4))
    folder = api.build(graph, output=work / "m", target="host", name="m", vectors=0, check=False).folder
    inputs = api.random_inputs(graph, 2)
    return Served(folder, link_host.build(folder, work), inputs, simulate(graph, inputs, steps=True))


class Frames:
    """Noise that knows where frames end: what `change` makes of each whole one."""

    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        self.change, self.open = change, b""

    def __call__(self, data: bytes) -> bytes:
        *whole, self.open = (self.open + data).split(b"\0")
        return b"".join(self.change(frame + b"\0") for frame in whole)


def between(rng: random.Random) -> Noise:
    """Random bytes before and between frames."""
    return Frames(lambda frame: (rng.randbytes(rng.randrange(1, 40)) + b"\0") * (rng.random() < 0.3) + frame)


def doubled(rng: random.Random) -> Noise:
    """Frames come twice."""
    return Frames(lambda frame: frame * (1 + (rng.random() < 0.3)))


def reordered(rng: random.Random) -> Noise:
    """A frame waits until the next has passed."""
    held = [b""]

    def change(frame: bytes) -> bytes:
        if not held[0] and rng.random() < 0.1:
            held[0] = frame
            return b""
        out, held[0] = frame + held[0], b""
        return out

    return Frames(change)


def replayed(rng: random.Random) -> Noise:
    """Frames of before come again, of this session and of earlier ones."""
    past: list[bytes] = []

    def change(frame: bytes) -> bytes:
        past.append(frame)
        return frame + (rng.choice(past) if rng.random() < 0.2 else b"")

    return Frames(change)


def wrapping(rng: random.Random) -> Noise:
    """Old requests come again when their number is current once more: 256 later."""
    past: list[bytes] = []

    def change(frame: bytes) -> bytes:
        past.append(frame)
        return (past[-256] if len(past) > 256 and rng.random() < 0.3 else b"") + frame

    return Frames(change)


def second_host(rng: random.Random) -> Noise:
    """Another host speaks in between: it greets the board, and asks for things under numbers of its own."""

    def change(frame: bytes) -> bytes:
        if rng.random() > 0.01:
            return frame
        nonce = rng.randrange(1, 2**32).to_bytes(4, "little")
        greeting = encode(VERSION << 6 | Command.HELLO, rng.randrange(256), nonce)
        return greeting + encode(VERSION << 6 | Command.STATISTICS, rng.randrange(256), b"") + frame

    return Frames(change)


def trickle(rng: random.Random) -> Noise:
    """Every piece is late."""

    def change(data: bytes) -> bytes:
        time.sleep(rng.random() * 0.01)
        return data

    return change


KINDS: dict[str, Callable[[random.Random], Noise]] = {
    "bytes flipped, lost, doubled, put in, 0.2 %": lambda rng: noise(rng.randrange(2**32), 0.002),
    "the same, 2 %": lambda rng: noise(rng.randrange(2**32), 0.02),
    "random bytes before and between frames": between, "frames doubled": doubled, "frames reordered": reordered,
    "frames replayed": replayed, "frames of 256 requests before": wrapping, "a second host": second_host, "every piece late": trickle,
}  # fmt: skip


def session(net: Served, board: Process, rounds: int) -> str:
    """One host's session; its outcome."""
    crc = [int(c, 16) for c in manifest(net.folder).tables.values()]
    try:
        with serial.connect(Port(board.port, timeout=TIMEOUT), manifest(net.folder)) as device:
            before = device.statistics().inferences
            for _ in range(rounds):
                measured = serial.measure(device, Layout(manifest(net.folder)), net.inputs, steps=True)
                for expected, found in ((net.expected.outputs, measured.run.outputs), (net.expected.steps, measured.run.steps)):
                    if any(not np.array_equal(expected[n], a) for n, a in found.items()):
                        return "wrong"
            invoked = rounds * len(next(iter(net.inputs.values())))
            if device.statistics().inferences - before != invoked:
                return "not once"
            for _ in range(3):
                device.damage([Fault(0, 0, 0x55)])
            once = [c for c, _ in device.checksums()]
            device.damage([Fault(0, 0, 0x55)])
            undone = [c for c, _ in device.checksums()]
            return "right" if once[0] != crc[0] and undone == crc else "not once"
    except EdgeqError as e:
        return "told" if "\n" not in str(e) else "wrong"


def trial(net: Served, kind: str, seed: int, rounds: int = 1) -> str:
    """The outcome of one: a session over a bad line."""
    rng, outcome = random.Random(f"{kind} {seed}"), ["hung"]
    board = Process(net.program, KINDS[kind](rng), KINDS[kind](rng) if rng.random() < 0.5 else bytes)

    def work() -> None:
        try:
            outcome[0] = session(net, board, rounds)
        except Exception:
            outcome[0] = "wrong"

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(LIMIT)
    with contextlib.suppress(OSError):
        board.close()
    return "wrong" if board.errors else outcome[0]


def killed(net: Served, seed: int) -> str:
    """A host ends in the middle of what it sends; the next one goes on over the same line."""
    rng = random.Random(f"killed {seed}")
    board = Process(net.program)
    try:
        for _ in range(3):
            with contextlib.suppress(EdgeqError), Link(Port(board.port, timeout=TIMEOUT)):
                pass
            frame = encode(VERSION << 6 | Command.WRITE, rng.randrange(256), rng.randbytes(HEADER.size + rng.randrange(200)))
            with Path(board.port).open("wb", buffering=0) as line:
                line.write(frame[: rng.randrange(1, len(frame))])
        return session(net, board, 1)
    finally:
        board.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    options = parser.parse_args()
    print(f"| noise | tried | {' | '.join(OUTCOMES)} |\n|---|--:|{'--:|' * len(OUTCOMES)}")
    with tempfile.TemporaryDirectory() as work:
        net = served(Path(work))
        for kind in (*KINDS, "hosts killed while they send"):
            rounds = 20 if kind == "frames of 256 requests before" else 1
            count = Counter(
                trial(net, kind, seed, rounds) if kind in KINDS else killed(net, seed)
                for seed in range(options.seed, options.seed + options.trials)
            )
            print(f"| {kind} | {options.trials} | {' | '.join(str(count[o]) for o in OUTCOMES)} |", flush=True)


if __name__ == "__main__":
    main()
