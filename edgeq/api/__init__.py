"""The Python API: one verb per stage of the path, the same as on the command line.

::

    graph = edgeq.load("model.onnx")
    quantized = edgeq.quantize(graph, "calibration.npz").graph
    built = edgeq.build(quantized, target="riscv", output="out")
    edgeq.compare("out", vectors=16)                      # every step, byte for byte
"""

from edgeq.api.building import Built, build
from edgeq.api.execution import Outcome, compare, contract, run, simulate
from edgeq.api.models import is_quantized, load, random_inputs, read_inputs
from edgeq.api.quantizing import Choices, Quantized, Recipe, quantize, write_quantized
from edgeq.api.robustness import Robustness, robustness
from edgeq.api.scoring import Accuracy, accuracy
from edgeq.api.tuning import Tuned, tune

__all__ = [
    "Accuracy",
    "Built",
    "Choices",
    "Outcome",
    "Quantized",
    "Recipe",
    "Robustness",
    "Tuned",
    "accuracy",
    "build",
    "compare",
    "contract",
    "is_quantized",
    "load",
    "quantize",
    "random_inputs",
    "read_inputs",
    "robustness",
    "run",
    "simulate",
    "tune",
    "write_quantized",
]
