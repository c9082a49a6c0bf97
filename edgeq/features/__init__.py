"""Front ends as graphs: descriptions of sounds, as librosa and torchaudio name things, of cameras' pictures and of sensors -> operators."""

from edgeq.features.description import Description, parse
from edgeq.features.files import of_file, read
from edgeq.features.graph import SAMPLES, build, join
from edgeq.features.image import FRAME, ImageDescription, build_image, encode, join_image, parse_image
from edgeq.features.sensor import SensorDescription, build_sensor, join_sensor, parse_sensor, to_samples
from edgeq.features.transforms import is_transform, of_transform

__all__ = [
    "FRAME", "SAMPLES", "Description", "ImageDescription", "SensorDescription", "build", "build_image", "build_sensor", "encode",
    "is_transform", "join", "join_image", "join_sensor", "of_file", "of_transform", "parse", "parse_image", "parse_sensor", "read",
    "to_samples",
]  # fmt: skip
