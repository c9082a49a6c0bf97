"""Emission: a program and its plan as C99 (docs/generated-c.md).

`artifact` lays out the files and names what is in them; `functions` renders the kernels, `runtime` copies what they reach, `tiles`, `bands`
and `shares` write the calls that are parts, `syntax` makes C of names, comments and tables; `description` tells a firmware of its model.
"""

from edgeq.emit.artifact import EXACT_FLAGS, Artifact, emit, write

__all__ = ["EXACT_FLAGS", "Artifact", "emit", "write"]
