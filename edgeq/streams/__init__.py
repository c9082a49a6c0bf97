"""A network over a sliding window becomes one step per new frame: what earlier frames gave is kept in states."""

from edgeq.streams.stream import ANSWERS, Stream, stream

__all__ = ["ANSWERS", "Stream", "stream"]
