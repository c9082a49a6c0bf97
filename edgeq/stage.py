"""Which tables of a call are resident, read where they are stored, and which are decoded into its scratch before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.formats import Format
from edgeq.ir import Array
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.packing import places
from edgeq.program import Call, Staged

ALIGNMENT = 8  # of decoded tables in a call's scratch


def staged(call: Call, formats: Mapping[str, Format]) -> Call:
    """The call with the tables decoded that are not stored as the kernel reads them.

    Raises:
        EdgeqError: values do not fit their format, or the kernel keeps no bytes of weights.
    """
    found: dict[str, Staged] = {}
    end = call.scratch
    for name, table in call.tables.items():
        format = formats[name].fitted(call.params.tables[name]) if name in formats else None
        if format is None or format.plain(table.size) or ("weights" in name and table.dtype != np.int8):
            continue
        form = Staged(table, format, -(-end // ALIGNMENT) * ALIGNMENT, _rows(call, name) if format.by_rows else None)
        found[name] = replace(form, data=format.encode(form.stored_form(table)))
        end = form.offset + table.nbytes
    return replace(call, staged=found, scratch=end)


def _rows(call: Call, name: str) -> Array:
    """Where the weights of each output channel ``[rows, length]`` lie in a kernel's table.

    Raises:
        EdgeqError: the kernel's layout does more than move them, or puts those of a row at uneven steps.
    """
    op, kernel = call.node.op, call.kernel
    try:
        found = np.moveaxis(places(kernel.pack.get(name) or "", name, call.params.tables), -1 if isinstance(op, DepthwiseConv2d) else 0, 0)
        rows = found.reshape(len(found), -1)
        steps = np.diff(rows, axis=1)
        if (steps < 1).any() or (steps != steps[:, :1]).any():
            raise ValueError("steps")
    except ValueError:
        why = f"kernel {kernel.name} does not keep the weights of a row at even steps"
        raise EdgeqError(why, where=call.node.name, fix="leave +asymmetric and +crc out") from None
    return rows
