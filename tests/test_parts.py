"""Functions that kernels of a program share, and code that none of its calls needs."""

from __future__ import annotations

import re

from random_graphs import Builder

from edgeq import target
from edgeq.emit import emit
from edgeq.ir import Graph
from edgeq.lower import lower
from edgeq.plan import plan

RISCV = target.load("riscv")


def network(channels: int, little: int = 0) -> Graph:
    """Windows, then a pointwise layer, of so many channels; then a layer of three by three pixels with next to no work."""
    b = Builder(1, "tflm", clamps=False)
    x = b.conv(b.conv(b.input(1, 12, 12, 4), channels, 3), channels, 1)
    return b.graph(b.conv(b.conv(x, little, 4, 3), little, 1) if little else x)


def kernels(graph: Graph) -> str:
    program = lower(graph, RISCV)
    return emit(program, plan(program), "m").files["m_kernels.c"].decode()


def test_windows_and_pixels_share_their_products() -> None:
    code = kernels(network(12))
    assert len(re.findall(r"^static void m_lanes_part\w*\(", code, re.M)) == 1 and len(re.findall(r" m_lanes_part\(&layer", code)) == 2


def test_blocks_for_what_is_left_over_are_there_where_a_layer_has_such() -> None:
    found = {c: set(re.findall(r"for \(; o \+ (\d) <= out_c", kernels(network(c)))) for c in (12, 13, 14)}
    assert found == {12: {"3"}, 13: {"3", "1"}, 14: {"3", "2"}}


def test_a_kernel_for_next_to_nothing_gives_way() -> None:
    def last(graph: Graph, choices: dict[str, str] | None) -> str:
        return lower(graph, RISCV, choices).calls[-1].kernel.name

    small = network(24, 4)
    assert "few" in last(small, {}) and "few" not in last(small, None)
    assert "few" in last(network(4, 24), None), "where it has work to do it stays"
