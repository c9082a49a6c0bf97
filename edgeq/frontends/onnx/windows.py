"""Kernel, stride, dilation and padding of convolutions and pooling, one- and two-dimensional, and parts of three-dimensional ones."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import NodeProto

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.ir import Tensor
from edgeq.ops.windows import Pads, Pair

LIMIT = 2**20  # of every attribute


@dataclass(frozen=True)
class Window:
    """Attributes of a sliding window; in one dimension the height is 1.

    Attributes:
        rank: number of spatial axes in the model.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    pads: Pads
    rank: int


def _pair(call: Call, name: str, rank: int, default: int = 1) -> Pair:
    values = call.integers(name) or (default,) * rank
    if len(values) != rank or not all(1 <= v < LIMIT for v in values):
        raise EdgeqError(f"{name} {list(values)} of {call.kind} do not fit {rank} spatial axes")
    return (values[0], values[1]) if rank == 2 else (1, values[0])


def window(call: Call, size: tuple[int, ...], kernel: tuple[int, ...] | None = None, *, automatic: bool = True) -> Window:
    """The window of a convolution (`kernel` from its weights) or of a pooling operator.

    Args:
        size: of the input's spatial axes.
        automatic: resolve auto_pad; else only explicit pads count.

    Raises:
        EdgeqError: attributes out of range, negative pads, or more than two spatial axes.
    """
    rank = len(size)
    if rank not in (1, 2):
        raise EdgeqError(f"{call.kind} with {rank} spatial axes is not supported", why="one or two are")
    if kernel is None:
        if not call.has("kernel_shape"):
            raise EdgeqError(f"{call.kind} has no kernel_shape", why="the file is damaged")
        shape = _pair(call, "kernel_shape", rank)
    else:
        shape = (kernel[-2], kernel[-1]) if len(kernel) == 2 else (1, kernel[-1])
    stride, dilation = _pair(call, "strides", rank), _pair(call, "dilations", rank)
    pads = call.integers("pads") or (0,) * (2 * rank)
    if len(pads) != 2 * rank or not all(0 <= p < LIMIT for p in pads):
        raise EdgeqError(f"pads {list(pads)} of {call.kind} are not supported", why="expected one begin and one end per axis, not negative")
    result: Pads = (pads[0], pads[1], pads[2], pads[3]) if rank == 2 else (0, pads[0], 0, pads[1])
    if automatic:
        result = auto_pads(call, (size[0], size[1]) if rank == 2 else (1, size[0]), shape, stride, dilation, result)
    return Window(shape, stride, dilation, result, rank)


def part(call: Call, x: Tensor | None, axes: slice) -> Call:
    """The same convolution or pooling of another input, with the attributes of some of its three spatial axes.

    Raises:
        EdgeqError: an attribute has values for more or fewer axes than three.
    """
    node = NodeProto()
    node.CopyFrom(call.node)
    for attribute in node.attribute:
        call.has(attribute.name)
        if attribute.name not in ("kernel_shape", "strides", "dilations", "output_padding", "pads"):
            continue
        values = list(attribute.ints)
        if len(values) not in (0, 6 if attribute.name == "pads" else 3):
            raise EdgeqError(f"{attribute.name} {values} of {call.kind} do not fit 3 spatial axes")
        kept = values[:3][axes] + values[3:][axes]
        del attribute.ints[:]
        attribute.ints.extend(kept)
    other = Call(call.builder, node, call.version, [x])
    other.label, other.output, other.created = f"{call.label}/{axes.start}", f"{call.output}.{axes.start}", call.created
    return other


def auto_pads(call: Call, size: Pair, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads) -> Pads:
    """Explicit pads for auto_pad."""
    mode = call.choice("auto_pad", "NOTSET", ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"))
    if mode == "NOTSET":
        return pads
    if mode == "VALID":
        return (0, 0, 0, 0)
    total = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    begin, end = (small, large) if mode == "SAME_UPPER" else (large, small)
    return (begin[0], begin[1], end[0], end[1])
