"""Cycles for the unicorn runner: what firmware/apps/trace.c counts, by the core's model."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from unicorn import arm_const

from edgeq.board import Board
from edgeq.timing import EVENTS, Timing

LINES_MOST, BANKS_MOST = 64, 8


class _Trace(ctypes.Structure):
    """eq_trace of firmware/apps/trace.c."""

    _fields_ = (
        ("counts", ctypes.c_uint64 * len(EVENTS)),
        ("origin", ctypes.c_uint64), ("size", ctypes.c_uint64),
        ("code", ctypes.c_void_p), ("decoded", ctypes.c_void_p), ("read_register", ctypes.c_void_p), ("ids", ctypes.c_int32 * 16),
        ("flash_origin", ctypes.c_uint64), ("flash_bytes", ctypes.c_uint64),
        ("ram_origin", ctypes.c_uint64), ("ram_bytes", ctypes.c_uint64),
        ("line_bytes", ctypes.c_uint32), ("lines", ctypes.c_uint32), ("bank_count", ctypes.c_uint32),
        ("bank", ctypes.c_uint32 * BANKS_MOST),
        ("cached", ctypes.c_uint32 * LINES_MOST), ("cached_count", ctypes.c_uint32), ("last_bank", ctypes.c_int32),
        ("last_result", ctypes.c_int32), ("expected", ctypes.c_uint64),
    )  # fmt: skip


ACCESS_BYTES = 12  # of eq_access


class Trace:
    """Events of one emulated Cortex-M so far, and the cycles that a model makes of them.

    Args:
        code: the program's flash, from `origin`; kept by the caller.
        read_register: unicorn's uc_reg_read.
    """

    def __init__(self, model: Timing, place: Board, origin: int, code: Any, read_register: Any) -> None:
        self.model, e, memory = model, place.estimate, place.memory
        self._decoded = ctypes.create_string_buffer(ACCESS_BYTES * (len(code) // 2 + 1))
        a = arm_const
        ids = [*(getattr(a, f"UC_ARM_REG_R{i}") for i in range(13)), a.UC_ARM_REG_SP, a.UC_ARM_REG_LR, a.UC_ARM_REG_PC]
        flash, ram = memory["flash"], memory["ram"]
        self.state = _Trace(
            origin=origin, size=len(code), code=ctypes.addressof(code), decoded=ctypes.addressof(self._decoded),
            read_register=ctypes.cast(read_register, ctypes.c_void_p).value, ids=(ctypes.c_int32 * 16)(*ids),
            flash_origin=flash.origin, flash_bytes=flash.bytes, ram_origin=ram.origin, ram_bytes=ram.bytes,
            line_bytes=e.flash_line, lines=min(e.flash_lines, LINES_MOST), bank_count=len(e.srams[:BANKS_MOST]),
            bank=(ctypes.c_uint32 * BANKS_MOST)(*e.srams[:BANKS_MOST]), last_bank=-1, last_result=-1,
        )  # fmt: skip

    @property
    def counts(self) -> dict[str, int]:
        """Events by name."""
        return dict(zip(EVENTS, self.state.counts, strict=True))

    @property
    def cycles(self) -> int:
        """So far."""
        return round(float(self.model.cycles(np.array(self.state.counts[:], np.float64))))
