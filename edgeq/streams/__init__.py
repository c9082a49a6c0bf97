"""A network over a sliding window becomes one step per new frame: what earlier frames gave is kept in states."""

from edgeq.streams.stream import ANSWERS, Stream, stream
from edgeq.streams.warm_up import warm_up

__all__ = ["ANSWERS", "Stream", "stream", "warm_up"]
