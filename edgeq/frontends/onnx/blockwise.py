"""onnxruntime's weights in few bits with a scale per block: matrices and embeddings, read as the floats that they stand for."""

from __future__ import annotations

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import DAMAGED
from edgeq.frontends.onnx.linear import dense
from edgeq.frontends.onnx.movement import gather
from edgeq.frontends.onnx.registry import MICROSOFT, reads, tensor_of
from edgeq.frontends.onnx.values import Constant
from edgeq.ir import Array, Tensor


def _unpacked(data: Array, bits: int) -> Array:
    """Bytes ``[..., n]`` as integers ``[..., 8 / bits n]``, the lowest bits first."""
    parts = [(data >> np.uint8(shift)) & np.uint8((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, -1).reshape(*data.shape[:-1], -1)


def _spread(values: Array, block: int, axis: int, count: int) -> Array:
    """One value per block as one per element."""
    return np.repeat(values, block, axis).take(range(count), axis)


def _misfit(call: Call) -> EdgeqError:
    return EdgeqError(f"the weights of {call.kind} do not fit its attributes", why=DAMAGED)


@reads("MatMulNBits", domain=MICROSOFT)
def matmul_n_bits(call: Call) -> Tensor:
    """``x [..., K]`` times ``[N, blocks, block bits / 8]``, scales ``[N, blocks]``, zero points packed or floats, a bias."""
    x, packed, scales, zeros = call.x(0), call.data(1, "the weights"), call.data(2, "the scales"), call.data(3, "the zero points")
    inputs, outputs, bits, block = (call.integer(n, d) for n, d in (("K", 0), ("N", 0), ("bits", 4), ("block_size", 0)))
    call.integer("accuracy_level", 0)
    if bits not in (2, 4, 8) or block < 1 or inputs < 1 or outputs < 1 or x.type.shape[-1] != inputs:
        raise _misfit(call)
    blocks = -(-inputs // block)
    if packed is None or scales is None or packed.dtype != np.uint8 or packed.size != outputs * blocks * block * bits // 8:
        raise _misfit(call)
    if scales.size != outputs * blocks:
        raise _misfit(call)
    call.builder.spend(8 * outputs * blocks * block, "weights of a few bits")
    steps = _unpacked(packed.reshape(outputs, -1), bits).reshape(outputs, blocks, block).astype(np.float32)
    if zeros is None:
        middle = np.full((outputs, blocks), 1 << (bits - 1), np.float32)
    else:
        rows = zeros.reshape(outputs, -1) if zeros.size % outputs == 0 else np.zeros((outputs, 0))
        middle = (_unpacked(rows, bits) if zeros.dtype == np.uint8 else rows)[:, :blocks].astype(np.float32)
        if middle.shape != (outputs, blocks):
            raise _misfit(call)
    floats = ((steps - middle[..., None]) * scales.reshape(outputs, blocks, 1).astype(np.float32)).reshape(outputs, -1)[:, :inputs]
    groups, bias = call.data(4, "the groups"), call.data(5, "the bias")
    if groups is not None and (groups != np.arange(groups.size) // block).any():
        raise EdgeqError(f"{call.kind} with inputs in another order is not supported", fix="quantize without act-order")
    if bias is not None and bias.size != outputs:
        raise _misfit(call)
    own = Constant(call.node.input[1], np.ascontiguousarray(floats, np.float32))
    return dense(call, x, own, None if bias is None else bias.reshape(-1).astype(np.float32))


@reads("GatherBlockQuantized", domain=MICROSOFT)
def gather_rows(call: Call) -> Tensor:
    """Rows of a table ``[rows, ...]`` of int4, uint4 or packed bytes, with a scale per block along an axis."""
    data, scales, zeros = call.data(0, "the table"), call.data(2, "the scales"), call.data(3, "the zero points")
    bits, block = call.integer("bits", 4), call.integer("block_size", 128)
    if data is None or scales is None or bits not in (4, 8) or block < 1 or scales.ndim != data.ndim:
        raise _misfit(call)
    axis, middle = call.axis(1, data.ndim, "quantize_axis"), 0
    packed = data.dtype == np.uint8 and not (isinstance(own := call.value(0), Constant) and own.four)
    if packed:  # one or two in a byte
        data, middle = _unpacked(data, bits), 1 << (bits - 1)
        zeros = None if zeros is None else _unpacked(zeros, bits)[..., : scales.shape[-1]]
    if call.axis(0, data.ndim, "gather_axis"):
        raise EdgeqError(f"{call.kind} along another axis than the first is not supported", fix="quantize without embeddings")
    if scales.shape != tuple(-(-n // block) if i == axis else n for i, n in enumerate(data.shape)):
        raise _misfit(call)
    if zeros is not None and zeros.shape != scales.shape:
        raise _misfit(call)
    call.builder.spend(8 * data.size, "weights of a few bits")
    points = np.float32(middle) if zeros is None else _spread(zeros.astype(np.float32), block, axis, data.shape[axis])
    floats = (data.astype(np.float32) - points) * _spread(scales.astype(np.float32), block, axis, data.shape[axis])
    table = Constant(call.node.input[0], floats.astype(np.float32))
    return tensor_of(gather(call.with_values([table, call.value(1)], "Gather")))
