"""Methods of quantization for attention, on the two transformers of the examples; `benchmarks.methods` puts the lines into its page.

    python -m benchmarks.attention_methods        writes attention_methods.json (PyTorch; needs the data folder)

* Caches of keys and values (KVQuant, Hooper et al., 2024): rounded as the chip's int8 caches are, one scale for keys after rotation and one
  for values; or a scale per channel for keys before rotation and one per token for values. Nothing else is rounded.
* Keys about their mean (SageAttention2, Zhang et al., 2024): a term that all keys share adds the same to all scores of a query, so that the
  mean over calibration leaves the bias of their projection.
* Layer norms whose channels have one scale and zero point (RepQuant, Li et al., 2023): factors and terms go into the norm and the layers
  that read it.
* Weights of attention rounded to powers of the square root of two, in four bits (RepQuant's logarithmic softmax), beside 15 bits.
* Training in few bits with the entropy of queries and keys as a part of the loss (EdgeQAT, Shen et al., 2024), beside training without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import Kept, Record
from benchmarks.lowbit import scored
from benchmarks.networks import NETWORKS, Network
from edgeq import api
from edgeq.ir import Array, Graph, Node, Params, Tensor
from edgeq.ops.attention import Attention
from edgeq.quantize import Options, calibrate
from edgeq.quantize.floating import stream
from edgeq.simulate import fit_inputs

HERE = Path(__file__).parent
KEPT = HERE / "attention_methods.json"
LIMIT = 100  # inputs that judge
WINDOWS = 64  # of text, in calibration a quarter as many
BITS = (8, 4, 3)
TRAINED = ((3, 4), (2, 4))  # bits of weights and activations
STEPS, BATCH, ENTROPIC = 100, 8, 0.1  # of training: steps, windows of a step, the weight of the entropy


def rounded(x: Array, bits: int, axes: tuple[int, ...], seen: Array) -> Array:
    """x on a grid of so many bits that spans what was seen, one scale and zero point for all elements along `axes`."""
    low, high = np.minimum(seen.min(axes, keepdims=True), 0), np.maximum(seen.max(axes, keepdims=True), 0)
    step = np.maximum(high - low, 1e-9) / (2**bits - 1)
    zero = np.rint(-low / step)
    return np.asarray((np.clip(np.rint(x / step) + zero, 0, 2**bits - 1) - zero) * step, np.float32)


def language_model() -> tuple[Any, list[Any]]:
    """The small language model and windows of text ``[N, CONTEXT + 1]``: to train or calibrate with, and held out."""
    import torch

    sys.path.insert(0, str(HERE.parent / "examples" / "small_language_model"))
    from text import split  # type: ignore[import-not-found]
    from transformer import CONTEXT, Network  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    network = Network()
    weights = np.load(HERE.parent / "examples" / "small_language_model" / "weights.npz")
    network.load_state_dict({n: torch.from_numpy(w.astype(np.float32)) for n, w in weights.items()})
    parts = []
    for tokens, count in zip(split(), (WINDOWS // 4, WINDOWS), strict=True):
        starts = np.linspace(0, len(tokens) - CONTEXT - 1, count).astype(int)
        parts.append(torch.from_numpy(tokens[starts[:, None] + np.arange(CONTEXT + 1)]))
    return network, parts


def trained(weights: int, activations: int, entropy: float) -> float:
    """Perplexity on text held out after `STEPS` steps of training in so many bits, the float network as the teacher."""
    import torch
    from torch.nn.functional import cross_entropy, kl_div

    from edgeq.train import Learning, lsq

    network, (_, held) = language_model()
    from text import split

    tokens = torch.from_numpy(split()[0])

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        length = held.shape[1]
        at = torch.randint(0, len(tokens) - length, (BATCH, 1), generator=torch.Generator().manual_seed(step)) + torch.arange(length)
        return tokens[at[:, :-1]], tokens[at[:, 1:]]

    def loss(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return cross_entropy(scores.flatten(0, 1), wanted.flatten())

    def taught(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        own, other = (t.flatten(0, 1).log_softmax(-1) for t in (scores, wanted))
        return kl_div(own, other, reduction="batchmean", log_target=True)

    names = tuple(f"layers.{i}.{part}" for i in range(len(network.layers)) for part in "qk") if entropy else ()
    learning = Learning(weights, activations, loss=loss, taught=taught, entropy=entropy, entropic=names)
    torch.manual_seed(0)
    network = lsq(network, batch, steps=STEPS, learning=learning)
    with torch.no_grad():
        return float(loss(network(held[:, :-1]), held[:, 1:]).exp())


def caches() -> dict[str, float]:
    """Perplexity of the small language model on text held out, by way and bits of its caches."""
    import torch

    network, parts = language_model()
    from transformer import DEPTH, rotary, turned

    cosines, sines = rotary()
    seen: dict[tuple[int, str], Array] = {}

    def perplexity(rows: torch.Tensor, kept: Callable[[int, str, Array], Array]) -> float:
        def layer(number: int, x: torch.Tensor) -> torch.Tensor:
            own = network.layers[number]
            h = own.before(x)
            q, k, v = (m(h).unflatten(-1, (-1, DEPTH)) for m in (own.q, own.k, own.v))
            k = torch.from_numpy(kept(number, "raw", k.numpy()))
            q, k = turned(q, cosines, sines), turned(k, cosines, sines)
            k, v = (torch.from_numpy(kept(number, n, t.numpy())).transpose(1, 2) for n, t in (("keys", k), ("values", v)))
            y = torch.nn.functional.scaled_dot_product_attention(q.transpose(1, 2), k, v, is_causal=True, enable_gqa=True)
            x = x + own.out(y.transpose(1, 2).flatten(2))
            return torch.as_tensor(x + own.down(torch.nn.functional.gelu(own.up(own.between(x)))))

        with torch.no_grad():
            x = network.embedding(rows[:, :-1])
            for number in range(len(network.layers)):
                x = layer(number, x)
            scores = network.head(network.norm(x))
            return float(torch.nn.functional.cross_entropy(scores.flatten(0, 1), rows[:, 1:].flatten()).exp())

    def look(number: int, name: str, x: Array) -> Array:
        seen[number, name] = x
        return x

    perplexity(parts[0], look)
    found = {"float": perplexity(parts[1], lambda _, name, x: x)}
    for bits in BITS:

        def plain(number: int, name: str, x: Array, bits: int = bits) -> Array:
            return x if name == "raw" else rounded(x, bits, (0, 1, 2, 3), seen[number, name])

        def by_channel(number: int, name: str, x: Array, bits: int = bits) -> Array:
            if name == "keys":
                return x
            return rounded(x, bits, (0, 1), seen[number, name]) if name == "raw" else rounded(x, bits, (2, 3), x)

        found |= {f"plain {bits}": perplexity(parts[1], plain), f"by channel and token {bits}": perplexity(parts[1], by_channel)}
    return found


def producers(graph: Graph, name: str) -> Node | None:
    """The layer that makes a tensor, through what only reshapes."""
    made = graph.producers()
    while name in made and made[name].op.traits.view:
        name = made[name].inputs[0]
    node = made.get(name)
    return node if node is not None and node.op.traits.linear is not None else None


def changed(graph: Graph, data: dict[str, Array]) -> Graph:
    """The graph with other constants."""
    return replace(graph, tensors={n: Tensor(n, t.type, data[n].astype(np.float32)) if n in data else t for n, t in graph.tensors.items()})


def centred_keys(graph: Graph, samples: dict[str, Array]) -> Graph:
    """The graph whose keys are about their mean over the samples, channel by channel: it computes the same."""
    seen: dict[str, Array] = {}
    wanted = {n.inputs[1] for n in graph.nodes if isinstance(n.op, Attention)}

    def visit(name: str, a: Array) -> None:
        if name in wanted:
            seen[name] = a

    stream(graph, fit_inputs(graph, samples), visit)
    data = {}
    for name, values in seen.items():
        layer = producers(graph, name)
        if layer is not None:
            bias = graph.tensors[layer.inputs[2]]
            assert bias.data is not None
            data[bias.name] = bias.data - values.reshape(-1, len(bias.data)).mean(0)
    return changed(graph, data)


def even_norms(graph: Graph, samples: dict[str, Array]) -> Graph:
    """The graph whose layer norms give every channel the same range, where layers alone read them: it computes the same."""
    ranges, consumers, data = calibrate(graph, samples), graph.consumers(), dict[str, Array]()
    for node in graph.nodes:
        readers = consumers[node.outputs[0]]
        if node.op.kind() != "layer_norm" or not all(r.op.kind() == "fully_connected" and r.inputs[0] == node.outputs[0] for r in readers):
            continue
        seen = ranges.channels[node.outputs[0]]
        low, high = (np.asarray(a, np.float64) for a in (seen.low, seen.high))
        middle, width = (low + high) / 2, np.maximum(high - low, 1e-6)
        factor = width / width.mean()
        scale, term = (graph.tensors[n].data for n in node.inputs[1:3])
        assert scale is not None and term is not None
        data |= {node.inputs[1]: scale / factor, node.inputs[2]: (term - middle) / factor}
        for reader in readers:
            w, b = (graph.tensors[n].data for n in reader.inputs[1:3])
            assert w is not None and b is not None
            data |= {reader.inputs[1]: w * factor, reader.inputs[2]: b + w.astype(np.float64) @ middle}
    return changed(graph, data)


class Logarithmic(Attention):
    """Attention whose weights are powers of the square root of two, sixteen of them."""

    @classmethod
    def kind(cls) -> str:
        return "attention"

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: object) -> Params:
        params = super().bind(law, where, inputs, output)  # type: ignore[arg-type]
        nearest = np.floor(np.arange(256) / 128 + 0.5).astype(int)  # of 256 fractions: 0, a half, or 1, which is the next octave
        table = params.weights.astype(np.int64)
        kept = np.where(nearest == 2, table[0] >> 1, table[np.where(nearest == 1, 128, 0)])
        scalars = {**params.scalars, "limit": min(int(params.limit), int(8 * 256 * 2 ** int(params.rate_shift) / max(1, int(params.rate))))}
        return replace(params, scalars=scalars, tables={**params.tables, "weights": kept.astype(np.uint16)})


def logarithmic(graph: Graph) -> Graph:
    """A quantized graph whose attention has weights in four bits."""
    nodes = [replace(n, op=Logarithmic(n.op.scale, n.op.causal)) if type(n.op) is Attention else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def judged(network: Network, way: str, bits: str) -> Record:
    """What the keyword transformer keeps."""
    samples = {network.graph.given[0]: network.samples}
    forms = {"keys about their mean": centred_keys, "even layer norms": even_norms}
    graph = forms[way](network.graph, samples) if way in forms else network.graph
    made = api.quantize(graph, samples, options=Options(weights=bits)).graph
    return scored(network, logarithmic(made) if way == "logarithmic weights" else made)


WAYS = {
    "usual": "none", "keys about their mean": "SageAttention2: keys about their mean",
    "even layer norms": "RepQuant: channels of layer norms alike",
    "logarithmic weights": "RepQuant: weights of attention in 4 bits, powers of √2",
}  # fmt: skip


def lines(records: dict[str, Record]) -> list[str]:
    """The lines of the page."""
    found = [
        "## Attention\n",
        "Methods that are made for attention, as `python -m benchmarks.attention_methods` measures them. KVQuant, SageAttention2 and",
        "RepQuant gain nothing in the eight bits that caches and attention have here, so they are no options (decisions 375 and 376).",
        "EdgeQAT's term is one of training, `edgeq.train.Learning(entropy=, entropic=)`: it neither helps nor harms by more than 1 %.\n",
    ]
    if "caches" in records:
        r, held = records["caches"], WINDOWS * 128
        found += [
            f"Perplexity of the small language model, {held:,} tokens held out, caches alone rounded (float {r['float']:.3f}):",
            "", "| bits | a scale for keys, one for values | KVQuant: per channel before rotation, per token |", "|---|--:|--:|",
            *(f"| {b} | {r[f'plain {b}']:.3f} | {r[f'by channel and token {b}']:.3f} |" for b in BITS), "",
        ]  # fmt: skip
    if any(key.startswith("trained/") for key in records):
        found += [
            f"Perplexity of the small language model after {STEPS} steps of `edgeq.train.lsq`, without and with EdgeQAT's entropy:", "",
            "| weights, activations | usual | EdgeQAT: entropy of queries and keys kept |", "|---|--:|--:|",
            *(f"| {w}, {a} | {records[f'trained/{w}/{a}']['usual']:.3f} | {records[f'trained/{w}/{a}']['entropy']:.3f} |"
              for w, a in TRAINED if f"trained/{w}/{a}" in records), "",
        ]  # fmt: skip
    if any(key.startswith("transformer/") for key in records):
        found += ["The keyword transformer, right answers and signal over noise:\n", "| method | int8 | int4 |", "|---|--:|--:|"]
        for way, name in WAYS.items():
            cells = [_cell(records.get(f"transformer/{way}/{bits}")) for bits in ("int8", "int4")]
            found.append(f"| {name} | {' | '.join(cells)} |")
        found.append("")
    return found


def known() -> list[str]:
    """The lines of what is measured."""
    return lines(Kept(KEPT).records)


def _cell(found: Record | None) -> str:
    return f"{found['score']:.1f} %, {found['db']:.1f} dB" if found else ""


def main() -> None:
    kept = Kept(KEPT)
    kept.get("caches", caches)
    for w, a in TRAINED:
        kept.get(f"trained/{w}/{a}", lambda w=w, a=a: {"usual": trained(w, a, 0.0), "entropy": trained(w, a, ENTROPIC)})  # type: ignore[misc]
    network: Network | None = None
    for bits in ("int8", "int4"):
        for way in WAYS:
            if f"transformer/{way}/{bits}" not in kept.records:
                network = network or NETWORKS["transformer"]()
                y = None if network.y is None else network.y[:LIMIT]
                few = replace(network, samples=network.samples[:24], x=network.x[:LIMIT], y=y)
                kept.get(f"transformer/{way}/{bits}", lambda way=way, bits=bits, few=few: judged(few, way, bits))  # type: ignore[misc]


if __name__ == "__main__":
    main()
