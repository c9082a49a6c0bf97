"""Measurements that are kept as they come: a command that is interrupted goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Kept:
    """Records by key in a JSON file, one a line, sorted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, Record] = self._read()

    def _read(self) -> dict[str, Record]:
        return dict(json.loads(self.path.read_text())) if self.path.is_file() else {}

    def get(self, key: str, make: Callable[[], Record]) -> Record:
        """A record; measured and written down where it is not known."""
        if key not in self.records:
            made = make()
            self.records = {**self._read(), **self.records, key: made}  # another process may have written meanwhile
            lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(self.records.items()))
            self.path.write_text("{\n" + lines + "\n}\n")
        return self.records[key]
