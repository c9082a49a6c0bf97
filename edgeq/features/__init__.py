"""Front ends as graphs: descriptions of sounds, as librosa and torchaudio name things, and of cameras' pictures -> operators."""

from edgeq.features.description import Description, parse
from edgeq.features.files import of_file, read
from edgeq.features.graph import build, join
from edgeq.features.image import FRAME, ImageDescription, build_image, encode, join_image, parse_image

__all__ = [
    "FRAME", "Description", "ImageDescription", "build", "build_image", "encode", "join", "join_image", "of_file", "parse", "parse_image",
    "read",
]  # fmt: skip
