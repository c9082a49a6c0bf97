"""Quantization: a float graph and calibration samples -> an int8 graph.

    ranges = calibrate(graph, samples)
    decision = decide(graph, ranges)        # describe(decision) is precision.toml
    quantized = quantize_decided(decision)  # quantize(graph, samples) is all three
"""

from edgeq.quantize.decide import Decision, decide, describe, write_precision
from edgeq.quantize.diagnosis import TensorStats, diagnose
from edgeq.quantize.floating import dequantized, evaluate_float
from edgeq.quantize.options import Options
from edgeq.quantize.precision import Precision, read_precision
from edgeq.quantize.quantizer import quantize, quantize_decided
from edgeq.quantize.ranges import Ranges, calibrate

__all__ = [
    "Decision",
    "Options",
    "Precision",
    "Ranges",
    "TensorStats",
    "calibrate",
    "decide",
    "dequantized",
    "describe",
    "diagnose",
    "evaluate_float",
    "quantize",
    "quantize_decided",
    "read_precision",
    "write_precision",
]
