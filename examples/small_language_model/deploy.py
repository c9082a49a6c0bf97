"""The language model on two emulated chips: perplexity in float, int8 and int4, and text that they write, token for token the simulator's.

    python examples/small_language_model/deploy.py                 # writes small_language_model/: one folder of C per chip and format

Every chip is given the tokens of the text; all that it computes is compared with the simulator, so that it would write the same text.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import sampling
from export import write
from numpy.typing import NDArray
from text import decode, encode, split
from transformer import CONTEXT

import edgeq
from edgeq import api
from edgeq.evaluate import evaluate
from edgeq.files import temporary_folder
from edgeq.ir import Array, Graph, Node
from edgeq.lower import bind
from edgeq.quantize import Options, evaluate_float
from edgeq.simulate import simulate

HERE = Path(__file__).parent
CHIPS = ("cortex-m4", "riscv")
PROMPT = "The statement "
TOP, TEMPERATURE, SEED = 8, 0.7, 1


def windows(tokens: NDArray[np.int64], count: int) -> tuple[dict[str, Array], NDArray[np.int64]]:
    """Windows of CONTEXT tokens, evenly spread, as consecutive steps: the model's inputs, and the tokens that follow each."""
    starts = np.linspace(0, len(tokens) - CONTEXT - 1, count).astype(int)
    rows = tokens[starts[:, None] + np.arange(CONTEXT + 1)]
    return {"token": rows[:, :-1].reshape(-1, 1, 1), "place": np.tile(np.arange(CONTEXT), count).reshape(-1, 1)}, rows[:, 1:].ravel()


def perplexity(scores: Array, tokens: NDArray[np.int64]) -> float:
    """Of real scores ``[V, ..., symbols]`` for the tokens that follow."""
    s = scores.reshape(len(tokens), -1).astype(np.float64)
    s -= s.max(1, keepdims=True)
    return float(np.exp(np.mean(np.log(np.exp(s).sum(1)) - s[np.arange(len(tokens)), tokens])))


def real(graph: Graph, scores: Array) -> Array:
    """Real scores of stored ones."""
    t = graph.type(graph.results[0])
    return (scores.astype(np.float32) - t.zero_point) * np.float32(t.scale)


class Writer:
    """The simulator, a token at a time."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.params = {n.name: bind(graph, n) for n in graph.nodes}
        self.kept = {a: np.full((1, *graph.type(a).shape), graph.type(a).zero_point, np.int8) for a, _ in graph.states}
        self.place = 0

    def _step(self, node: Node, x: list[Array]) -> tuple[Array, ...]:
        return node.op.compute(self.params[node.name], *(a for i, a in enumerate(x) if i not in node.op.parameters))

    def scores(self, token: int) -> NDArray[np.int8]:
        """Scores of the next token."""
        given = {"token": np.full((1, 1, 1), token, np.int32), "place": np.full((1, 1), self.place, np.int32)}
        values = evaluate(self.graph, given | self.kept, self._step, False)
        self.kept, self.place = {a: values[b] for a, b in self.graph.states}, self.place + 1
        return np.asarray(values[self.graph.results[0]]).ravel()


def written(graph: Graph, prompt: str, count: int) -> tuple[dict[str, Array], str]:
    """What the simulator is given while it continues a prompt by `count` tokens, and the text."""
    writer, tokens, seed = Writer(graph), encode(prompt).tolist(), SEED
    weights = sampling.chances(graph.type(graph.results[0]).scale, TEMPERATURE)
    for place in range(len(tokens) + count - 1):
        scores = writer.scores(tokens[place])
        if place + 1 == len(tokens):
            token, seed = sampling.top(scores, TOP, weights, seed)
            tokens.append(token)
    given = np.array(tokens[:-1])
    return {"token": given.reshape(-1, 1, 1), "place": np.arange(len(given)).reshape(-1, 1)}, decode(np.array(tokens))


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
    for weights in ("int8", "int4"):
        quantized = edgeq.quantize(graph, samples, options=Options(weights=weights)).graph
        result = simulate(quantized, held).outputs[quantized.results[0]]
        print(f"{weights} weights: perplexity {perplexity(real(quantized, result), following):.3f}", flush=True)
        given, text = written(quantized, PROMPT, options.tokens)
        print(text)
        scale = quantized.type(quantized.results[0]).scale
        (options.output / f"chances_{weights}.h").write_text(sampling.header(sampling.chances(scale, TEMPERATURE)))
        for chip in CHIPS:
            built = edgeq.build(quantized, target=chip, output=options.output / f"{chip}_{weights}")
            outcome = api.compare(built.folder, given)
            exact = outcome.comparison is not None and outcome.comparison.bit_exact
            cycles = outcome.run.cycles and outcome.run.cycles.total
            rate = f", {1e6 * options.megahertz / cycles:.0f} tokens a second at {options.megahertz:g} MHz" if cycles else ""
            print(f"{chip}: {outcome.run.instructions} instructions a token{rate}, {built.manifest.weight_bytes} bytes of weights, "
                  f"{built.manifest.arena_bytes} of arena, {built.manifest.state_bytes} of keys and values; "
                  f"{'every score equals' if exact else 'DIFFERS from'} the simulator's", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
