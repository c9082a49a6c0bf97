"""What a long run has found so far, on disk, so that the same command goes on where an earlier one was ended, however it was.

A journal is a file of the user's cache, named by what its results depend on. It is written whole, at most once in `SECONDS`, and
removed when the run is done. One that is damaged, of another version or of another run is named in a warning and not read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeq import system
from edgeq.errors import EdgeqError
from edgeq.files import json_text, reason, write_bytes

FORMAT = 1
SECONDS = 1.0  # between two writings
DAYS = 30  # after which a journal that nobody asked for again is removed
NAME = re.compile(r"[a-z]+-[0-9a-f]{32}\.json")
LOG = logging.getLogger("edgeq")


def folder() -> Path:
    """Where journals lie: ``$EDGEQ_CACHE``, or ``edgeq`` in the user's cache; of a user without a home where none can be written."""
    if os.environ.get("EDGEQ_CACHE"):
        return Path(os.environ["EDGEQ_CACHE"])
    try:
        return system.cache() / "edgeq"
    except OSError:
        return Path(os.devnull)


def digest(parts: Iterable[str | bytes]) -> str:
    """32 hexadecimal digits of all parts, each with its length."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()[:32]


class Journal:
    """Results by name; made by `journal`.

    Attributes:
        path: the file.
        found: name -> result, anything that JSON holds, of this run and of earlier ones.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.found: dict[str, Any] = self._read()
        self._written, self._changed, self._usable = time.monotonic(), False, True
        if self.found:
            LOG.warning("goes on where an earlier run was ended: %d results are in %s", len(self.found), path)

    def note(self, name: str, result: Any) -> None:
        """Keep a result."""
        self.found[name] = result
        self._changed = True
        if time.monotonic() - self._written >= SECONDS:
            self.write()

    def once(self, name: str, make: Callable[..., Any], *args: Any) -> Any:
        """A result: found, or made of `args` and kept."""
        if name not in self.found:
            self.note(name, make(*args))
        return self.found[name]

    def write(self) -> None:
        """Write what is new. A place that cannot be written is told once; the run goes on without."""
        if not (self._changed and self._usable):
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            content = {"format": FORMAT, "key": self.key, "crc": _checksum(self.found), "found": self.found}
            write_bytes(self.path, json_text(content).encode())
        except (OSError, EdgeqError) as e:
            self._usable = False
            why = reason(e) if isinstance(e, OSError) else e.why
            LOG.warning("%s cannot be written (%s): this run would start from the beginning if it were ended", self.path, why)
        self._written, self._changed = time.monotonic(), False

    def _read(self) -> dict[str, Any]:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT or data["key"] != self.key or data["crc"] != _checksum(data["found"]):
                raise ValueError("its checksum, version or key is another")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
            LOG.warning("%s is not read (%s): the run starts from the beginning", self.path, reason(e))
            return {}
        return dict(data["found"])


def _checksum(found: Any) -> int:
    if not isinstance(found, dict):
        raise ValueError("it holds no results")
    return zlib.crc32(json.dumps(found, sort_keys=True).encode())


@contextmanager
def journal(verb: str, parts: Iterable[str | bytes]) -> Iterator[Journal]:
    """The journal of a run for the time of a block: written where the block is left by an exception, else removed.

    Args:
        verb: the command's name.
        parts: all that the results depend on; edgeq's version is one of them.
    """
    from edgeq import __version__

    key = digest([verb, __version__, *parts])
    path = folder() / f"{verb}-{key}.json"
    _remove_old(path.parent)
    kept = Journal(path, key)
    try:
        yield kept
    except BaseException:
        kept.write()
        raise
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as e:
        LOG.warning("%s cannot be removed (%s)", path, reason(e))


def _remove_old(place: Path) -> None:
    """Remove journals that nobody has asked for again for `DAYS`."""
    try:
        for path in place.iterdir():
            if NAME.fullmatch(path.name) and time.time() - path.stat().st_mtime > DAYS * 86400:
                path.unlink(missing_ok=True)
    except OSError:
        return  # no such folder, or another process removes the same
