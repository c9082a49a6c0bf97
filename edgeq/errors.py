"""The one exception type that reaches a user."""

from __future__ import annotations


class EdgeqError(Exception):
    """A failure that the user can act on.

    Args:
        what: what went wrong, one clause.
        where: the file, node or tensor concerned (may be empty).
        why: the cause, when `what` does not say it.
        fix: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        self.what, self.where, self.why, self.fix = what, where, why, fix
        super().__init__(self.__str__())

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.why:
            text += f" ({self.why})"
        if self.fix:
            text += f". Fix: {self.fix}"
        return text
