"""Features of sound as a graph: a description as librosa, torchaudio and TFLM's micro_frontend name things -> operators like any others."""

from edgeq.features.description import Description, parse, read
from edgeq.features.graph import build, join, of_file

__all__ = ["Description", "build", "join", "of_file", "parse", "read"]
