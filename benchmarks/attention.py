"""What attention and its neighbours take: one block of a transformer in int8, 64 tokens of 64 channels in 4 heads, step by step.

    python -m benchmarks.attention                    all targets, to benchmarks/attention.md
    python -m benchmarks.attention cortex-m4 riscv    these, to standard output
"""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.measure import Row, measure
from benchmarks.models import ROOT
from edgeq.ir import Array, Graph, Node, Op, Tensor, TensorType
from edgeq.lower import lower
from edgeq.ops.activations import Gelu
from edgeq.ops.attention import Attention
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.layer_norm import LayerNorm
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.plan import plan
from edgeq.quantize import quantize
from edgeq.target import load

TOKENS, CHANNELS, HEADS = 64, 64, 4
TARGETS = ("cortex-m4", "cortex-m55", "riscv", "riscv-v", "riscv-xcv")
TOOLCHAIN, OPTIMIZE = "zig", "3"
PAGE = ROOT / "benchmarks" / "attention.md"
STEPS = ("layer_norm", "fully_connected", "attention", "table", "softmax")  # of the kernels' names


def block() -> Graph:
    """Layer normalization, projections, attention, a dense layer, GELU and a softmax over the channels, with random weights."""
    rng = np.random.default_rng(0)
    t, c = (1, TOKENS, CHANNELS), CHANNELS
    heads = (1, TOKENS, HEADS, c // HEADS)
    tensors, nodes = [Tensor("x", TensorType(t))], list[Node]()

    def constant(name: str, data: Array) -> str:
        tensors.append(Tensor(name, TensorType(data.shape), data.astype(np.float32)))
        return name

    def add(name: str, op: Op, *inputs: str) -> str:
        result = op.infer(*(next(x.type for x in tensors if x.name == i) for i in inputs))
        tensors.append(Tensor(name, TensorType(result.shape)))
        nodes.append(Node(name, op, inputs, (name,)))
        return name

    def dense(name: str, x: str) -> str:
        weights = constant(f"{name}_w", rng.normal(0, c**-0.5, (c, c)))
        return add(name, FullyConnected(), x, weights, constant(f"{name}_b", rng.normal(0, 0.1, c)))

    x = add("norm", LayerNorm(1e-5), "x", constant("scale", rng.normal(1, 0.1, c)), constant("bias", rng.normal(0, 0.1, c)))
    q, k, v = (add(f"{n}_heads", Reshape(heads), dense(n, x)) for n in "qkv")
    y = add("attention", Attention((c // HEADS) ** -0.5), q, k, v)
    y = add("gelu", Gelu(), dense("dense", add("joined", Reshape(t), y)))
    y = add("softmax", Softmax(), y)
    graph = Graph("block", (), {n.name: n for n in tensors}, ("x",), (y,)).with_nodes(nodes)
    return quantize(graph, {"x": rng.normal(0, 1, (16, *t)).astype(np.float32)})


def memory(graph: Graph, target: str) -> float:
    """Bytes of an attention alone, its scratch included, over its inputs and outputs."""
    kept = next(n for n in graph.nodes if n.name == "attention")
    alone = Graph("alone", (), {n: graph.tensors[n] for n in (*kept.inputs, *kept.outputs)}, kept.inputs, kept.outputs)
    program = lower(alone.with_nodes([kept]), load(target))
    return plan(program).arena_bytes / (4 * TOKENS * CHANNELS)


def line(target: str, row: Row, ram: float) -> str:
    """The line of a target."""
    macs = {"fully_connected": TOKENS * CHANNELS**2, "attention": 2 * TOKENS**2 * CHANNELS}
    counts = {s: next(c for name, (c, _) in row.steps.items() if s in name) for s in STEPS}
    figures = [f"{counts[s] / macs[s]:.2f}" if s in macs else f"{counts[s] / (TOKENS * CHANNELS):.1f}" for s in STEPS]
    return f"| {target} | {' | '.join(figures)} | {counts['attention'] / (HEADS * TOKENS**2):.1f} | {ram:.2f} |"


def table(targets: list[str]) -> str:
    """What the block takes on each target."""
    graph = block()
    columns = ("target", "layer norm, per element", "dense, per MAC", "attention, per MAC", "GELU, per element", "softmax, per element",
               "attention, per score", "RAM of attention")  # fmt: skip
    head = f"| {' | '.join(columns)} |"
    rows = [line(t, measure("block", graph, t, TOOLCHAIN, OPTIMIZE), memory(graph, t)) for t in targets]
    return "\n".join([head, "|---" + "|---:" * 7 + "|", *rows]) + "\n"


TEXT = f"""# Attention on chips

Made by `python -m benchmarks.attention`: instructions on the emulators (Zig, -O{OPTIMIZE}) of a block in int8, {TOKENS} tokens of
{CHANNELS} channels in {HEADS} heads. Attention counts all of it, softmax and division included: {HEADS * TOKENS**2:,} scores and
{2 * TOKENS**2 * CHANNELS:,} MACs. Its RAM is that of the operator alone, over the bytes of its inputs and its output.

"""


def main() -> None:
    chosen = sys.argv[1:]
    if chosen:
        sys.stdout.write(table(chosen))
    else:
        PAGE.write_text(TEXT + table(list(TARGETS)))


if __name__ == "__main__":
    main()
