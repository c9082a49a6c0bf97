"""What an instruction does to the stack and to the flow of a program."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Move:
    """An instruction that moves the stack pointer, or leaves a function.

    Attributes:
        end: the address behind it.
        pointer: what is added to the stack pointer; None where a register tells it.
        call: the address that it calls.
        jump: the address that it goes on at.
        indirect: it calls, or goes on, where a register says; a return is no move.
    """

    end: int
    pointer: int | None = 0
    call: int | None = None
    jump: int | None = None
    indirect: bool = False
