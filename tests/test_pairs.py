"""pairs.json as somebody may leave it: read, or refused in one line, and then not written to."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from edgeq.errors import EdgeqError
from edgeq.record import pairs

PAIR = pairs.Pair("cortex-m4", "a" * 64, "zig", "-O2", 100, 120)


def written(**changes: Any) -> bytes:
    """A file of one pair with other entries."""
    return json.dumps({"format": 1, "pairs": [{**vars(PAIR), **changes}]}).encode()


REFUSED = {
    "empty": b"", "a list": b"[]", "null": b"null", "UTF-16": written().decode().encode("utf-16"), "cut": written()[:-9],
    "more": written() + b"x",
    "deep": b"[" * 200_000, "deep objects": b'{"a":' * 200_000, "zero": written(measured=0), "less": written(measured=-5),
    "infinite": written(measured=1e400), "text": written(measured="12"), "a fraction": written(measured=1.5), "yes": written(measured=True),
    "large": written(estimate=2**64), "very large": b'{"format":1,"pairs":[{"estimate":' + b"9" * 5000 + b"}]}",
    "a path": written(target="../x"),
    "no digest": written(sources_sha256="zz"), "nothing": written(toolchain=None),
    "another format": written().replace(b'mat": 1', b'mat": 2'),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / pairs.NAME
    path.write_bytes(REFUSED[kind])
    with pytest.raises(EdgeqError, match="no file of pairs of estimates and measurements"):
        pairs.add(path, PAIR)
    assert path.read_bytes() == REFUSED[kind]


def test_changed_anywhere(tmp_path: Path) -> None:
    rng, path, whole = random.Random(1), tmp_path / pairs.NAME, written()
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            pairs.add(path, PAIR)
        except EdgeqError:
            assert path.read_bytes() == content
        else:
            assert PAIR in pairs.read(path)
