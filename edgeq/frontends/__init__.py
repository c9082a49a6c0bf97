"""Model files -> Graph, one module per format; they alone import the formats' libraries.

A frontend module offers ``load(path, *, shapes=None, const=None) -> Graph``. It is imported on first use, so
that a missing optional library only matters to who needs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from numpy.typing import ArrayLike

from edgeq.errors import EdgeqError
from edgeq.ir import Graph, check

Shapes = Mapping[str, tuple[int, ...]]
Consts = Mapping[str, ArrayLike]

FORMATS = {".tflite": "tflite", ".onnx": "onnx", ".pt2": "torch", ".pt": "torch", ".pth": "torch"}
INSTALL = {"torch": 'pip install "edgeq[torch]"', "onnx": "pip install onnx", "tflite": "pip install tflite"}  # by library
MAX_BYTES = 2**30
ACCEPTED = "give a .tflite, .onnx or .pt2 file"
KERAS = "convert it: tf.lite.TFLiteConverter.from_keras_model(model).convert(), and give the .tflite file"
SAVED = "convert it: tf.lite.TFLiteConverter.from_saved_model(folder).convert(), and give the .tflite file"
WEIGHTS = "it holds weights alone: build the module, load them, and give what torch.onnx.export(module.eval(), (x,), 'm.onnx') writes"
SOURCE = "it is compiled for another runtime: give the .onnx or .tflite file that it was made of"
FOREIGN = {
    **dict.fromkeys((".h5", ".hdf5", ".keras"), KERAS), ".pb": SAVED, **dict.fromkeys((".safetensors", ".npz", ".bin", ".ckpt"), WEIGHTS),
    **dict.fromkeys((".ort", ".engine", ".plan", ".trt", ".xml", ".mlmodel", ".mnn", ".ncnn", ".param", ".rknn", ".dlc", ".om"), SOURCE),
    ".gguf": "edgeq reads networks with their structure: give an .onnx file",
    **dict.fromkeys((".pkl", ".joblib"), "export the model to ONNX (PyTorch: torch.onnx.export; scikit-learn: skl2onnx, for multilayer "
                    "perceptrons); a pickle may run any program when it is opened, so edgeq opens none"),
}  # fmt: skip


def detect(path: Path) -> str:
    """The frontend module for a file, from its first bytes, else from its suffix.

    Raises:
        EdgeqError: the file is missing, empty, unreadable, too large or of no known format.
    """
    try:
        if path.is_dir():
            fix = SAVED if (path / "saved_model.pb").is_file() else ACCEPTED
            raise EdgeqError("this is a folder, not a model file", where=str(path), fix=fix)
        size = path.stat().st_size
        if not path.is_file():
            raise EdgeqError("this is a device or a pipe, not a model file", where=str(path), fix=ACCEPTED)
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as e:
        raise EdgeqError("cannot read the model", where=str(path), why=e.strerror or type(e).__name__, fix=ACCEPTED) from e
    except ValueError as e:  # a NUL in the path
        raise EdgeqError("cannot read the model", where=repr(str(path)), why=str(e), fix=ACCEPTED) from e
    if size == 0:
        raise EdgeqError("the model file is empty", where=str(path))
    if size > MAX_BYTES:
        raise EdgeqError(f"the model file has {size} bytes", where=str(path), why=f"at most {MAX_BYTES} are read")
    if head[4:8] == b"TFL3":
        return "tflite"
    foreign = FOREIGN.get(path.suffix.lower())
    if foreign is None and head[:4] == b"PK\x03\x04":
        return "torch"
    if path.suffix.lower() not in FORMATS:
        raise EdgeqError("not a model that edgeq reads", where=str(path), fix=foreign or ACCEPTED)
    return FORMATS[path.suffix.lower()]


def load(path: str | Path, *, shapes: Shapes | None = None, const: Consts | None = None, signature: str | None = None) -> Graph:
    """Read a model file into a graph.

    Args:
        path: a .tflite, .onnx or .pt2 file.
        shapes: shapes of inputs whose dimensions the file leaves open, by input name.
        const: values that inputs are bound to, by input name; such an input is no input of the graph.
        signature: which of a .tflite file's signatures, where it has several.

    Raises:
        EdgeqError: the file is missing, damaged or of another format, a dimension stays open, or
            the model holds unsupported parts (all of them are listed).
    """
    path = Path(path)
    module = detect(path)
    try:
        frontend = importlib.import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as e:
        library = (e.name or "").split(".")[0]
        if library not in INSTALL:
            raise
        raise EdgeqError(f"reading this model needs {library}", where=str(path), why=str(e), fix=INSTALL[library]) from e
    if signature is not None and module != "tflite":
        raise EdgeqError("only .tflite files have signatures", where=str(path), fix="leave --signature out")
    further = {} if signature is None else {"signature": signature}
    graph: Graph = frontend.load(path, shapes=shapes, const=const, **further)
    try:
        return check(graph, "load")
    except EdgeqError as e:
        raise EdgeqError(e.what, where=f"{path}: {e.where}", why=e.why, fix=e.fix) from e
