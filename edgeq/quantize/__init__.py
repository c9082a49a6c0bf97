"""Quantization: a float graph and calibration samples -> an int8 graph, or without samples a graph in half precision (`to_half`).

ranges = calibrate(graph, samples)
decision = decide(graph, ranges)        # describe(decision) is precision.toml
quantized = quantize_decided(decision)  # quantize(graph, samples) is all three
"""

from edgeq.quantize.calibrate import Ranges, calibrate
from edgeq.quantize.decide import Decision, decide, describe, write_precision
from edgeq.quantize.diagnosis import TensorStats, diagnose
from edgeq.quantize.floating import dequantized, evaluate_float
from edgeq.quantize.halving import check_range, describe_half, to_half
from edgeq.quantize.plan import Options, Precision
from edgeq.quantize.precision_toml import read_precision
from edgeq.quantize.walk import quantize, quantize_decided

__all__ = [
    "Decision",
    "Options",
    "Precision",
    "Ranges",
    "TensorStats",
    "calibrate",
    "check_range",
    "decide",
    "dequantized",
    "describe",
    "describe_half",
    "diagnose",
    "evaluate_float",
    "quantize",
    "quantize_decided",
    "read_precision",
    "to_half",
    "write_precision",
]
