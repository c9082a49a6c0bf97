"""The description of a camera's picture, and the graph that turns its frames into a network's int8 input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.features.graph import behind
from edgeq.features.table import values_of
from edgeq.ir import Array, DType, Graph, Node, QParams, Tensor, TensorType, check
from edgeq.ops.camera_image import FIELDS, LAYOUTS, METHODS, WORDS, CameraImage, components, pixels_of
from edgeq.ops.transpose import Transpose

FRAME, IMAGE = "frame", "image"
FORMATS = (*WORDS, *LAYOUTS)
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green, blue (ITU-R BT.601)


@dataclass(frozen=True)
class ImageDescription:
    """A picture as a camera stores it, and what a network expects of it.

    Attributes:
        format: how the camera stores pixels: one of `FORMATS`.
        width, height: pixels of a frame.
        crop: left, top, width and height of the pixels that are used; empty: all.
        size: width and height of the network's input; empty: as the model that is named.
        method: ``bilinear`` or ``nearest``.
        channels: of the network's input, 0: as the model, else 3, or 1 of a gray frame. order: ``rgb`` or ``bgr``.
        yuv: ``full`` or ``limited`` range of YUV (ITU-R BT.601).
        pixels: what the network expects for black and white; mean, std: subtracted and divided after that, one or one per channel.
        model: a quantized model that reads the picture, by its path, if any.
    """

    kind: str = IMAGE
    format: str = "rgb565"
    width: int = 320
    height: int = 240
    crop: tuple[float, ...] = ()
    size: tuple[float, ...] = ()
    method: str = "bilinear"
    channels: int = 0
    order: str = "rgb"
    yuv: str = "full"
    pixels: tuple[float, ...] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    model: str = ""

    @property
    def frame(self) -> TensorType:
        """The type of a frame: int16 pixels, or int8 that are bits of bytes."""
        if self.format in WORDS:
            return TensorType((self.height, self.width), DType.INT16)
        layout = LAYOUTS[self.format]
        return TensorType((self.height, self.width if layout.rows > 1 else self.width * layout.step), DType.INT8)


def parse_image(table: Mapping[str, Any]) -> ImageDescription:
    """A description from a table.

    Raises:
        EdgeqError: an unknown key, a value of another type, or values that do not fit each other, with the numbers.
    """
    return _checked(ImageDescription(**values_of(ImageDescription, table)))


def _checked(d: ImageDescription) -> ImageDescription:
    choices = {"format": FORMATS, "method": METHODS, "order": ("rgb", "bgr"), "yuv": ("full", "limited"), "channels": (0, 1, 3)}
    for name, allowed in choices.items():
        if getattr(d, name) not in allowed:
            raise EdgeqError(f"{name} = {getattr(d, name)!r}", fix=f"one of {', '.join(map(repr, allowed))}")
    for name, count in (("crop", 4), ("size", 2)):
        given = getattr(d, name)
        if given and (len(given) != count or any(n != int(n) for n in given)):
            raise EdgeqError(f"{name} = {list(given)}", why=f"expected {count} whole numbers")
    if not (2 <= d.width <= 4096 and 2 <= d.height <= 4096):
        raise EdgeqError(f"a frame of {d.width} x {d.height} pixels", why="expected 2 to 4096 on each side")
    if len(d.pixels) != 2 or not d.pixels[0] < d.pixels[1]:
        raise EdgeqError(f"pixels = {list(d.pixels)}", fix="give black, then white")
    if not all(s > 0 for s in d.std) or any(len(v) not in (1, 3) for v in (d.mean, d.std)):
        raise EdgeqError(f"mean = {list(d.mean)}, std = {list(d.std)}", fix="give one number or three, deviations above 0")
    rows, columns = pixels_of(d.format, d.frame.shape)
    _, _, width, height = crop_of(d)
    if any(n < 1 for n in d.size):
        raise EdgeqError(f"size = {list(d.size)}", why="expected at least 1 on each side")
    if min(width, height) < 2:
        raise EdgeqError(f"crop = {list(d.crop)}", why=f"it shows {width} x {height} of {columns} x {rows} pixels of {d.format}")
    return d


def crop_of(d: ImageDescription) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels of colour: Bayer frames have one for each 2 x 2 bytes.

    Raises:
        EdgeqError: it reaches over the frame, or begins or ends inside of a Bayer pixel.
    """
    left, top, width, height = (int(n) for n in d.crop) if d.crop else (0, 0, d.width, d.height)
    if min(left, top, width, height) < 0 or left + width > d.width or top + height > d.height:
        raise EdgeqError(f"crop = {list(d.crop)} reaches over a frame of {d.width} x {d.height}", fix="give left, top, width, height")
    part = LAYOUTS[d.format].rows if d.format in LAYOUTS else 1
    if any(n % part for n in (left, top, width, height)):
        raise EdgeqError(f"crop = {list(d.crop)} cuts through pixels of {d.format}", fix="give even numbers")
    return left // part, top // part, width // part, height // part


def to_rgb(d: ImageDescription) -> tuple[Array, Array]:
    """Stored numbers of a pixel -> red, green, blue of 0 to 255: a matrix float64 ``[3, K]`` and an offset ``[3]``."""
    if d.format in WORDS:
        return np.diag([255 / mask for _, mask in FIELDS]), np.zeros(3)
    if d.format.startswith("bayer"):
        return np.array([[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1.0]]), np.zeros(3)
    if d.format == "gray8":
        return np.ones((3, 1)), np.zeros(3)
    if d.format not in ("yuyv", "uyvy"):
        return np.eye(3), np.zeros(3)
    red, green, blue = LUMINANCE
    chroma = np.array([[0, 2 - 2 * red], [-2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green], [2 - 2 * blue, 0]])
    light, black = (1.0, 0.0) if d.yuv == "full" else (255 / 219, 16.0)
    matrix = np.concatenate([np.full((3, 1), light), chroma * (1.0 if d.yuv == "full" else 255 / 224)], 1)
    return matrix, -(matrix * (black, 128.0, 128.0)).sum(1)


def _constants(d: ImageDescription, channels: int) -> dict[str, Array]:
    """What the operator multiplies by, adds, and limits results to; float32."""
    matrix, offset = to_rgb(d)
    if channels == 1:
        weights = np.array(LUMINANCE) / sum(LUMINANCE)
        matrix, offset = (weights[None] * matrix.T[..., None, :]).sum(-1).T, np.array([(weights * offset).sum()])
    elif d.order == "bgr":
        matrix, offset = matrix[::-1], offset[::-1]
    black, white = d.pixels
    mean, std = (np.broadcast_to(np.array(v), (channels,)) for v in (d.mean, d.std))
    gain, start = (white - black) / 255 / std, (black - mean) / std
    limits = np.stack([start, start + 255 * gain], 1)
    found = {"matrix": matrix * gain[:, None], "offset": offset * gain + start, "limits": limits}
    return {name: np.ascontiguousarray(a, np.float32) for name, a in found.items()}


def build_image(d: ImageDescription, name: str = IMAGE, shape: tuple[int, int, int] | None = None, output: QParams | None = None) -> Graph:
    """Frames -> int8 ``[1, rows, columns, C]``.

    Args:
        shape: rows, columns and channels of the result where a model says them.
        output: its scale; without it one that spans all that pixels can become.

    Raises:
        EdgeqError: the description and the shape do not fit each other.
    """
    left, top, width, height = crop_of(d)
    columns, rows = (int(n) for n in d.size) if d.size else (width, height)
    channels = d.channels or (1 if d.format == "gray8" else 3)
    if shape is not None:
        if (d.size and (rows, columns) != shape[:2]) or (d.channels and d.channels != shape[2]) or shape[2] not in (1, 3):
            why = f"the model reads {shape[1]} x {shape[0]} pixels of {shape[2]} channels"
            raise EdgeqError(f"pictures of {columns} x {rows} pixels of {channels} channels", why=why, fix="leave size and channels out")
        rows, columns, channels = shape
    if len({len(v) for v in (d.mean, d.std)} - {1, channels}):
        raise EdgeqError(f"mean = {list(d.mean)}, std = {list(d.std)} for {channels} channels", fix="give one number, or one per channel")
    constants = _constants(d, channels)
    if output is None:
        low, high = float(constants["limits"].min()), float(constants["limits"].max())
        scale = float(np.float32((high - low) / 255))
        output = QParams((scale,), int(np.clip(round(-128 - low / scale), -128, 127)))
    tensors = {FRAME: Tensor(FRAME, d.frame)}
    tensors |= {n: Tensor(n, TensorType(a.shape, DType.FLOAT32), a) for n, a in constants.items()}
    op = CameraImage(d.format, (rows, columns), (top, left, height, width), d.method)
    found = op.infer(*(t.type for t in tensors.values()))
    node = Node(IMAGE, op, tuple(tensors), (IMAGE,))
    tensors[IMAGE] = Tensor(IMAGE, replace(found, q=output))
    return check(Graph(name, (node,), tensors, (FRAME,), (IMAGE,), "single"), "features")


def join_image(d: ImageDescription, model: Graph, name: str) -> Graph:
    """A quantized model behind the camera: frames in, the model's answers out.

    Raises:
        EdgeqError: its input is no int8 picture, or not as large as the description says.
    """
    t = model.type(model.given[0])
    shape = t.shape[1:] if len(t.shape) == 4 and t.shape[0] == 1 else ()
    if len(model.given) != 1 or len(shape) != 3 or t.dtype is not DType.INT8 or t.q is None:
        fix = "give a model of one picture, quantized to int8"
        raise EdgeqError("a model that does not read one picture of int8", where=model.name, why=f"its input is {t}", fix=fix)
    first = shape[0] in (1, 3) and shape[2] not in (1, 3)
    front = build_image(d, name, (shape[1], shape[2], shape[0]) if first else shape, t.q)
    if not first:
        return behind(front.tensors, front.nodes, (), FRAME, IMAGE, model, name)
    turned = Node("given", Transpose((0, 3, 1, 2)), (IMAGE,), ("given",))
    return behind({**front.tensors, "given": Tensor("given", t)}, (*front.nodes, turned), (), FRAME, "given", model, name)


def encode(d: ImageDescription, pictures: Array) -> Array:
    """Pictures as the camera would store them: uint8 ``[V, height, width, 3]`` -> frames ``[V, rows, words or bytes]``.

    Raises:
        EdgeqError: they are of another size.
    """
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (d.height, d.width, 3):
        raise EdgeqError(f"pictures {pictures.dtype} {list(pictures.shape)}", why=f"uint8 [N, {d.height}, {d.width}, 3] is needed")
    rgb = pictures.astype(np.float64)
    if d.format in WORDS:
        parts = [np.rint(rgb[..., c] * mask / 255).astype(np.uint16) << shift for c, (shift, mask) in enumerate(FIELDS)]
        words = parts[0] | parts[1] | parts[2]
        return np.ascontiguousarray(words.byteswap() if d.format == WORDS[1] else words).view(np.int16)
    frames = np.zeros((len(rgb), *d.frame.shape), np.uint8)
    layout = LAYOUTS[d.format]
    light = (rgb * LUMINANCE).sum(-1)
    if d.format == "gray8":
        stored = light[..., None]
    elif layout.rows > 1:
        stored = rgb[..., [0, 1, 1, 2]]
    elif d.format in ("yuyv", "uyvy"):
        chroma = [(rgb[..., c] - light) / (2 - 2 * LUMINANCE[c]) for c in (2, 0)]
        spans, black = ((1.0, 1.0, 1.0), 0) if d.yuv == "full" else ((219 / 255, 224 / 255, 224 / 255), 16)
        stored = np.stack([light, *chroma], -1) * spans + (black, 128, 128)
    else:
        stored = rgb
    stored = np.clip(np.rint(stored), 0, 255).astype(np.uint8)
    for k in range(components(d.format)):
        byte, row, shared = layout.components[k]
        if layout.rows > 1:
            frames[:, row::2, byte::2] = stored[:, row::2, byte::2, k]
        else:
            step = layout.step * (2 if shared else 1)
            frames[:, :, byte::step] = stored[:, :, :: 2 if shared else 1, k]
    return frames.view(np.int8)
