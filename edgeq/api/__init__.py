"""The Python API: one verb per stage of the path, the same as on the command line.

::

    graph = edgeq.load("model.onnx")                      # or edgeq.load(module, x) with a torch.nn.Module
    quantized = edgeq.quantize(graph, "calibration.npz")  # or arrays, tensors, a DataLoader
    quantized.predict(x)                                  # what the chip will answer
    built = edgeq.build(quantized.graph, target="riscv", output="out")
    edgeq.compare("out", vectors=16)                      # every step, byte for byte
    edgeq.report("out")                                   # one HTML file
"""

from edgeq.api.boards import Made, export, firmware, flash, new
from edgeq.api.building import Built, build, memory_ways
from edgeq.api.device import BoardBench, BoardComparison, bench_board, compare_board
from edgeq.api.execution import Outcome, compare, contract, run, simulate
from edgeq.api.models import is_quantized, load, random_inputs, read_inputs
from edgeq.api.pictures import camera_frames, image_features
from edgeq.api.profiling import Profile, profile
from edgeq.api.quantizing import Quantized, quantize, write_quantized
from edgeq.api.recipe import Choices, Reading, Recipe
from edgeq.api.reporting import report
from edgeq.api.robustness import Robustness, robustness
from edgeq.api.scoring import Accuracy, accuracy
from edgeq.api.searching import Searched, search
from edgeq.api.sensors import sensor_features, sensor_samples
from edgeq.api.sounds import sound_features
from edgeq.api.tuning import Tuned, tune

__all__ = [
    "Accuracy",
    "BoardBench",
    "BoardComparison",
    "Built",
    "Choices",
    "Made",
    "Outcome",
    "Profile",
    "Quantized",
    "Reading",
    "Recipe",
    "Robustness",
    "Searched",
    "Tuned",
    "accuracy",
    "bench_board",
    "build",
    "camera_frames",
    "compare",
    "compare_board",
    "contract",
    "export",
    "firmware",
    "flash",
    "image_features",
    "is_quantized",
    "load",
    "memory_ways",
    "new",
    "profile",
    "quantize",
    "random_inputs",
    "read_inputs",
    "report",
    "robustness",
    "run",
    "search",
    "sensor_features",
    "sensor_samples",
    "simulate",
    "sound_features",
    "tune",
    "write_quantized",
]
