"""The language model on two emulated chips: perplexity in float, int8, int4 and half precision, and text that the chips write over a
serial line, token by token, each the simulator's.

    python examples/small_language_model/deploy.py                 # writes small_language_model/: one folder of C per chip and format
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from export import write
from numpy.typing import NDArray
from text import decode, encode, split
from transformer import CONTEXT

import edgeq
from edgeq import api, target
from edgeq.build import build_firmware, toolchain
from edgeq.evaluate import evaluate
from edgeq.files import temporary_folder
from edgeq.ir import Array, DType, Graph, Node
from edgeq.lower import bind
from edgeq.quantize import Options, evaluate_float
from edgeq.record import manifest
from edgeq.run import serial
from edgeq.run.device import Area
from edgeq.run.emulated import EmulatedBoard
from edgeq.run.layout import Layout
from edgeq.run.ports import Port
from edgeq.simulate import simulate

HERE = Path(__file__).parent
BOARDS = {"cortex-m4": "mps2-an386", "riscv": "virt"}  # a chip, and a board with its core that QEMU emulates behind a serial line
PATIENCE = 60  # seconds that an emulated board may need for a step on a busy computer
PROMPT = "The statement "
SEED = 1


def windows(tokens: NDArray[np.int64], count: int) -> tuple[dict[str, Array], NDArray[np.int64]]:
    """Windows of CONTEXT tokens, evenly spread, as consecutive steps: the model's inputs, and the tokens that follow each."""
    starts = np.linspace(0, len(tokens) - CONTEXT - 1, count).astype(int)
    rows = tokens[starts[:, None] + np.arange(CONTEXT + 1)]
    place = np.tile(np.arange(CONTEXT), count).reshape(-1, 1)
    return {"token": rows[:, :-1].reshape(-1, 1, 1), "place": place, "number": place}, rows[:, 1:].ravel()


def perplexity(scores: Array, tokens: NDArray[np.int64]) -> float:
    """Of real scores ``[V, ..., symbols]`` for the tokens that follow."""
    s = scores.reshape(len(tokens), -1).astype(np.float64)
    s -= s.max(1, keepdims=True)
    return float(np.exp(np.mean(np.log(np.exp(s).sum(1)) - s[np.arange(len(tokens)), tokens])))


def real(graph: Graph, scores: Array) -> Array:
    """Real scores of stored ones."""
    t = graph.type(graph.results[0])
    if t.dtype is DType.FLOAT16:
        return scores.astype(np.float32)
    return (scores.astype(np.float32) - t.zero_point) * np.float32(t.scale)


class Writer:
    """The simulator, a token at a time."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.params = {n.name: bind(graph, n) for n in graph.nodes}
        kept = {a: graph.type(a) for a, _ in graph.states}
        self.kept = {a: np.full((1, *t.shape), t.zero_point, t.dtype.numpy) for a, t in kept.items()}

    def _step(self, node: Node, x: list[Array]) -> tuple[Array, ...]:
        return node.op.compute(self.params[node.name], *(a for i, a in enumerate(x) if i not in node.op.parameters))

    def next(self, given: dict[str, Array]) -> dict[str, Array]:
        """The results for a token, its place and a number."""
        values = evaluate(self.graph, given | self.kept, self._step, False)
        self.kept = {a: values[b] for a, b in self.graph.states}
        return {n: np.asarray(values[n]) for n in self.graph.results}


class Board:
    """An emulated board at the other end of a serial line, a token at a time."""

    def __init__(self, device: serial.Device, layout: Layout) -> None:
        self.device, self.layout, self.first = device, layout, True

    def next(self, given: dict[str, Array]) -> dict[str, Array]:
        """The results for a token, its place and a number."""
        self.device.write(Area.INPUT, self.layout.pack(given)[1].tobytes())
        self.device.invoke(reset=self.first)
        self.first = False
        block = self.device.read(Area.OUTPUT, self.layout.output_bytes)
        return self.layout.unpack_outputs(np.frombuffer(block, np.uint8)[None])


def told(writer: Writer | Board, prompt: str, count: int) -> tuple[list[int], list[Array]]:
    """The tokens of a prompt and of its continuation by `count`, and the scores at every place: a token comes back, and is sent as the
    next one."""
    tokens, scores = encode(prompt).tolist(), []
    for place in range(len(tokens) + count - 1):
        numbers = {"place": place, "number": (SEED << 16) + place}
        given = {"token": np.full((1, 1, 1), tokens[place]), **{n: np.full((1, 1), number) for n, number in numbers.items()}}
        found = writer.next({n: a.astype(np.int32) for n, a in given.items()})
        values, token = found.values()
        scores.append(values.ravel())
        if place + 1 == len(tokens):
            tokens.append(int(token.item()))
    return tokens, scores


def on_board(quantized: Graph, chip: str, folder: Path, count: int, prompt: str = PROMPT) -> tuple[list[int], list[Array]]:
    """What an emulated board with a chip's core tells."""
    name = BOARDS[chip]
    board = target.load(name)
    edgeq.build(quantized, target=name, output=folder)
    elf = build_firmware(folder, board, toolchain(board), folder / "serve.elf", app="serve", optimize="-Os")
    model = manifest(folder)
    with EmulatedBoard(elf, board) as emulated:
        emulated.start()
        with serial.connect(Port(emulated.port, timeout=PATIENCE), model) as device:
            return told(Board(device, Layout(model)), prompt, count)


def same(found: tuple[list[int], list[Array]], wanted: tuple[list[int], list[Array]], chip: str) -> None:
    """Hold what a board tells to the simulator's.

    Raises:
        SystemExit: a token or a score differs.
    """
    if found[0] != wanted[0] or not all(np.array_equal(a, b) for a, b in zip(found[1], wanted[1], strict=True)):
        sys.exit(f"{BOARDS[chip]} ({chip}) over the serial line DIFFERS from the simulator")


class Token(NamedTuple):
    """What a token takes on a chip: instructions, bytes, tokens a second by the model of the core (usual, least, most), if any."""

    instructions: int
    rates: tuple[float, float, float] | None
    weights: int
    arena: int
    kept: int


def measured(quantized: Graph, chip: str, folder: Path, tokens: list[int], megahertz: float) -> Token:
    """What a token takes on a chip.

    Raises:
        SystemExit: a step is not the simulator's.
    """
    built = edgeq.build(quantized, target=chip, output=folder)
    places = np.arange(len(tokens) - 1).reshape(-1, 1)
    given = {"token": np.array(tokens[:-1]).reshape(-1, 1, 1), "place": places, "number": (SEED << 16) + places}
    outcome = api.compare(built.folder, given)
    if outcome.comparison is None or not outcome.comparison.bit_exact:
        sys.exit(f"{chip} DIFFERS from the simulator")
    rates, cycles = None, outcome.run.cycles
    if cycles is not None:
        rates = tuple(1e6 * megahertz / (cycles.total * part) for part in (1, cycles.high, cycles.low))
    sizes = built.manifest
    return Token(outcome.run.instructions or 0, rates, sizes.weight_bytes, sizes.arena_bytes, sizes.state_bytes)


def told_of(token: Token, megahertz: float) -> str:
    """What a token takes, in words."""
    rate = ""
    if token.rates is not None:
        usual, least, most = token.rates
        rate = f", {usual:.0f} tokens a second at {megahertz:g} MHz ({least:.0f} to {most:.0f} by the model of the core)"
    return (f"{token.instructions} instructions a token{rate}, {token.weights} bytes of weights, {token.arena} of arena, {token.kept} of "
            f"keys and values; every step equals the simulator's")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("small_language_model"))
    parser.add_argument("--windows", type=int, default=64, help="of the text held out, and a quarter as many to calibrate with")
    parser.add_argument("--tokens", type=int, default=120, help="to write")
    parser.add_argument("--megahertz", type=float, default=120.0, help="of the chips, as the STM32L4R5 of MLPerf Tiny's board has")
    options = parser.parse_args()
    with temporary_folder() as folder:
        model = Path(folder) / "model.onnx"
        write(HERE / "weights.npz", model)
        graph = edgeq.load(model)
    train, test = split()
    samples, _ = windows(train, max(4, options.windows // 4))
    held, following = windows(test, options.windows)
    print(f"float: perplexity {perplexity(evaluate_float(graph, held)[graph.results[0]], following):.3f}", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    for form in ("fp16", "int8", "int4"):
        own = {"recipe": "fp16"} if form == "fp16" else {"options": Options(weights=form)}
        quantized = edgeq.quantize(graph, samples, **own).graph
        result = simulate(quantized, held).outputs[quantized.results[0]]
        kept = sum(quantized.type(a).bytes for a, _ in quantized.states)
        print(f"{form}: perplexity {perplexity(real(quantized, result), following):.3f}, {kept} bytes of keys and values", flush=True)
        if form == "fp16":
            continue
        tokens, scores = told(Writer(quantized), PROMPT, options.tokens)
        print(decode(np.array(tokens)))
        for chip, board in BOARDS.items():
            same(on_board(quantized, chip, options.output / f"{board}_{form}", options.tokens), (tokens, scores), chip)
            print(f"{board} ({chip}): {len(tokens)} tokens over the serial line, each one and every score the simulator's", flush=True)
            token = measured(quantized, chip, options.output / f"{chip}_{form}", tokens, options.megahertz)
            print(f"{chip}: {told_of(token, options.megahertz)}", flush=True)


if __name__ == "__main__":
    main()
