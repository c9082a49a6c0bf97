"""Graph -> graph, one pass per file. `PASSES` is the order; every pass keeps the meaning exactly.

A pass takes any graph, float or quantized, and returns the same object where it finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeq.ir import Graph, check
from edgeq.passes.combine_moves import combine_moves
from edgeq.passes.compose import compose
from edgeq.passes.flatten_convolutions import flatten_convolutions
from edgeq.passes.fold_affine import fold_affine
from edgeq.passes.fold_constants import fold_constants
from edgeq.passes.fold_pads import fold_pads
from edgeq.passes.fuse_activations import fuse_activations
from edgeq.passes.join_affine import join_affine
from edgeq.passes.join_bands import join_bands
from edgeq.passes.join_layers import join_layers
from edgeq.passes.last_rows import last_rows
from edgeq.passes.layout import layout
from edgeq.passes.merge_duplicates import merge_duplicates
from edgeq.passes.own_outputs import own_outputs
from edgeq.passes.recognise_attention import recognise_attention
from edgeq.passes.recognise_layer_norm import recognise_layer_norm
from edgeq.passes.recognise_levels import recognise_levels
from edgeq.passes.recognise_lstm import recognise_lstm
from edgeq.passes.recognise_softmax import recognise_softmax
from edgeq.passes.recognise_spectrum import recognise_spectrum
from edgeq.passes.remove_channels import remove_channels
from edgeq.passes.remove_dead import remove_dead
from edgeq.passes.remove_identities import remove_identities
from edgeq.passes.split_fully_connected import split_fully_connected
from edgeq.passes.split_states import split_states
from edgeq.passes.states import declare_states

__all__ = ["PASSES", "declare_states", "normalise"]

Pass = Callable[[Graph], Graph]

PASSES: tuple[Pass, ...] = (
    own_outputs,
    recognise_lstm,
    recognise_layer_norm,
    recognise_softmax,
    recognise_attention,
    fold_constants,
    remove_identities,
    compose,
    split_fully_connected,
    layout,
    combine_moves,
    merge_duplicates,
    fold_affine,
    join_affine,
    join_layers,
    fuse_activations,
    fold_pads,
    recognise_spectrum,
    recognise_levels,
    join_bands,
    flatten_convolutions,
    remove_channels,
    split_states,
    last_rows,
    remove_dead,
)
ROUNDS = 16


def normalise(graph: Graph) -> Graph:
    """Run `PASSES` in order, again and again until a round changes nothing.

    Args:
        graph: float or quantized, as a frontend returns it.

    Returns:
        A graph with the same inputs, outputs and meaning, bit for bit where it is quantized; a state may have become several.

    Raises:
        EdgeqError: a pass broke the graph (edgeq's own fault; the message names the pass).
    """
    check(graph, "load")
    for _ in range(ROUNDS):
        before = graph
        for step in PASSES:
            changed = step(graph)
            if changed is not graph:
                graph = check(changed, step.__name__)
        if _same(before, graph):
            break
    return graph


def _same(a: Graph, b: Graph) -> bool:
    return a is b or (a.nodes == b.nodes and a.tensors.keys() == b.tensors.keys() and all(b.tensors[n] is t for n, t in a.tensors.items()))
