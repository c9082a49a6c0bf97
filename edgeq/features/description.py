"""The description of a front end: a table of TOML, checked, under the names of librosa and torchaudio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq import reals
from edgeq.errors import EdgeqError
from edgeq.features import windows
from edgeq.features.table import values_of
from edgeq.ir import Array
from edgeq.ops.fourier import factors

KINDS = ("stft", "mel", "log_mel", "mfcc", "pcen")
PRECISIONS = ("float32", "half", "int16")
# what others call it: librosa, torchaudio, Keras and TFLM's micro_frontend
ALIASES = {
    "sr": "sample_rate", "fmin": "f_min", "fmax": "f_max", "lower_edge_hertz": "f_min", "upper_edge_hertz": "f_max", "fft_length": "n_fft",
    "frame_length": "win_length", "frame_step": "hop_length", "num_mel_bins": "n_mels", "window_fn": "window", "num_channels": "n_mels",
    "dct_coefficient_count": "n_mfcc", "num_mfccs": "n_mfcc",
}  # fmt: skip
# keywords of other libraries with only one possible value on a stream: the value, the reason, the fix
FIXED = {
    "center": (False, "a stream has no ends to pad: its frames are the same, half a window later", "train with center=False"),
    "top_db": (None, "a stream does not know the peak of the whole recording", "train with top_db=None, and a log_floor"),
    "normalized": (False, "spectra are not normalized", "train with normalized=False"),
    "onesided": (True, "samples are real", "train with onesided=True"),
    "dct_type": (2, "coefficients are those of the orthonormal DCT-II", "train with dct_type=2"),
}
LOGS = {"ln": 1.0, "log10": 1 / math.log(10), "db": 10 / math.log(10)}  # of an energy; of a magnitude decibels are twice that
MOST = {"n_fft": 4096, "n_mels": 512, "n_mfcc": 512, "frames": 4096}


@dataclass(frozen=True)
class Description:
    """A front end.

    Attributes:
        kind: ``stft`` (magnitudes or energies of all bins), ``mel``, ``log_mel``, ``mfcc`` or ``pcen``.
        sample_rate: Hz. win_length: samples, 0: n_fft. hop_length: samples from one frame to the next.
        window: see `windows`.
        power: 1 magnitudes, 2 energies; times `scale` (2**31 in ``librosa.pcen(S * 2**31)``).
        f_max: Hz, 0: half the sample rate. htk: HTK's formula of mel, else Slaney's. norm: ``slaney`` divides each band by its width.
        log: ``ln``, ``log10`` or ``db``; log_floor: what the energy is limited to (log_mode ``max``) or what is added to it (``add``).
        lifter: coefficient k times 1 + lifter / 2 * sin(pi (k + 1) / lifter), as librosa.feature.mfcc; 0 leaves them.
        time_constant, gain, bias, pcen_power, eps: of PCEN, as librosa has them.
        precision: ``float32``, ``half`` (levels and coefficients; spectra in float32) or ``int16``.
        frames: in one step, which takes frames * hop_length samples.
        model: a quantized model that reads the features, by its path, if any.
    """

    kind: str = "log_mel"
    sample_rate: int = 16000
    n_fft: int = 512
    win_length: int = 0
    hop_length: int = 160
    window: str = "hann"
    power: int = 2
    scale: float = 1.0
    n_mels: int = 40
    f_min: float = 0.0
    f_max: float = 0.0
    htk: bool = False
    norm: str = "slaney"
    log: str = "db"
    log_floor: float = 1e-10
    log_mode: str = "max"
    n_mfcc: int = 13
    lifter: float = 0.0
    time_constant: float = 0.4
    gain: float = 0.98
    bias: float = 2.0
    pcen_power: float = 0.5
    eps: float = 1e-6
    precision: str = "float32"
    frames: int = 1
    model: str = ""

    @property
    def length(self) -> int:
        """Samples of a window."""
        return self.win_length or self.n_fft

    @property
    def highest(self) -> float:
        """The upper edge of the bands, Hz."""
        return self.f_max or self.sample_rate / 2

    @property
    def width(self) -> int:
        """Numbers of a frame."""
        return {"stft": self.n_fft // 2 + 1, "mfcc": self.n_mfcc}.get(self.kind, self.n_mels)

    def factor(self) -> float:
        """What the natural logarithm is multiplied by."""
        return LOGS[self.log] * (2 if self.log == "db" and self.power == 1 else 1)


def parse(table: Mapping[str, Any]) -> Description:
    """A description from a table; the names of `ALIASES` are other names.

    Raises:
        EdgeqError: an unknown or double key, a value of another type, or values that do not fit each other, with the numbers.
    """
    own = {key: value for key, value in table.items() if key not in FIXED and key != "mel_scale"}
    for key in FIXED.keys() & table.keys():
        only, why, fix = FIXED[key]
        if table[key] != only:
            raise EdgeqError(f"{key} = {table[key]!r}", why=why, fix=fix)
    if "mel_scale" in table:  # torchaudio's name
        if table["mel_scale"] not in ("htk", "slaney") or "htk" in table:
            raise EdgeqError(f"mel_scale = {table['mel_scale']!r}", fix="'htk' or 'slaney', and no 'htk' beside it")
        own["htk"] = table["mel_scale"] == "htk"
    return _checked(Description(**values_of(Description, own, ALIASES)))


def _checked(d: Description) -> Description:
    choices = {
        "kind": KINDS, "precision": PRECISIONS, "log": tuple(LOGS), "log_mode": ("max", "add"), "norm": ("slaney", "none"), "power": (1, 2),
    }  # fmt: skip
    for name, allowed in choices.items():
        if getattr(d, name) not in allowed:
            raise EdgeqError(f"{name} = {getattr(d, name)!r}", fix=f"one of {', '.join(map(repr, allowed))}")
    for name, most in MOST.items():
        if not 1 <= getattr(d, name) <= most:
            raise EdgeqError(f"{name} = {getattr(d, name)}", why=f"expected 1 to {most}")
    if not 100 <= d.sample_rate <= 10**6:
        raise EdgeqError(f"sample_rate = {d.sample_rate}", why="expected 100 to 1000000 Hz")
    if d.n_fft % 2 or d.n_fft < 4:
        raise EdgeqError(f"n_fft = {d.n_fft}", why="it must be even and at least 4")
    factors(d.n_fft // 2)
    if not 2 <= d.length <= d.n_fft:
        raise EdgeqError(f"win_length = {d.win_length} does not fit n_fft = {d.n_fft}", why="a window has 2 to n_fft samples")
    if not 1 <= d.hop_length <= d.length:
        why = "samples between windows would be lost" if d.hop_length > 0 else "expected 1 or more"
        raise EdgeqError(f"hop_length = {d.hop_length} does not fit a window of {d.length}", why=why)
    if not 0 <= d.f_min < d.highest <= d.sample_rate / 2:
        why = f"it holds 0 to {d.sample_rate / 2:g} Hz"
        raise EdgeqError(f"bands from {d.f_min:g} to {d.highest:g} Hz do not fit a sample rate of {d.sample_rate} Hz", why=why)
    if d.kind == "mfcc" and d.n_mfcc > d.n_mels:
        raise EdgeqError(f"n_mfcc = {d.n_mfcc} of n_mels = {d.n_mels}", why="there are no more coefficients than bands")
    if d.lifter < 0:
        raise EdgeqError(f"lifter = {d.lifter:g}", why="expected 0 or above")
    for name in ("scale", "log_floor", "eps", "bias", "gain", "pcen_power", "time_constant"):
        if not 0 < getattr(d, name) < math.inf:
            raise EdgeqError(f"{name} = {getattr(d, name):g}", why="expected above 0")
    if d.precision == "int16" and (d.kind == "mel" or (d.kind == "stft" and d.power == 2)):
        why = "energies without a logarithm span more than int16 holds"
        fix = "kind = 'log_mel', power = 1, or another precision"
        raise EdgeqError(f"kind = '{d.kind}' with power = {d.power} in int16", why=why, fix=fix)
    weights(d)
    if d.kind != "stft":
        mel_bank(d)
    return d


def weights(d: Description) -> Array:
    """The window, float64 ``[length]``.

    Raises:
        EdgeqError: there is none of that name.
    """
    return windows.weights(d.window, d.length)


def _to_mel(f: Array, htk: bool) -> Array:
    if htk:
        return np.asarray(2595 * reals.log10(1 + f / 700))
    return np.where(f < 1000, 3 * f / 200, 15 + 27 * reals.log(np.maximum(f, 1e-9) / 1000) / float(reals.log(6.4)))


def _to_hertz(m: Array, htk: bool) -> Array:
    if htk:
        return np.asarray(700 * (10 ** (m / 2595) - 1))
    return np.where(m < 15, 200 * m / 3, 1000 * reals.exp((m - 15) * float(reals.log(6.4)) / 27))


def mel_bank(d: Description) -> Array:
    """Triangles on a mel scale, float64 ``[n_mels, n_fft / 2 + 1]``, as librosa.filters.mel and torchaudio's melscale_fbanks.

    Raises:
        EdgeqError: a band holds no bin.
    """
    low, high = _to_mel(np.array([d.f_min, d.highest]), d.htk)
    edges = _to_hertz(np.linspace(low, high, d.n_mels + 2), d.htk)
    bins = np.arange(d.n_fft // 2 + 1) * d.sample_rate / d.n_fft
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    bank = np.maximum(0, np.minimum(rising, falling))
    empty = np.flatnonzero(bank.max(1) == 0)
    if len(empty):
        why = f"band {empty[0]} of {d.n_mels} lies between {edges[empty[0]]:.0f} and {edges[empty[0] + 2]:.0f} Hz"
        fix = f"fewer bands than {d.n_mels}, or n_fft above {d.n_fft}"
        raise EdgeqError(f"a mel band holds no bin of {d.sample_rate / d.n_fft:g} Hz", why=why, fix=fix)
    return bank * (2 / (edges[2:] - edges[:-2]))[:, None] if d.norm == "slaney" else bank


def cosines(d: Description) -> Array:
    """The orthonormal DCT-II, liftered, float64 ``[n_mfcc, n_mels]``."""
    k, n = np.arange(d.n_mfcc)[:, None], np.arange(d.n_mels)
    matrix = np.sqrt(2 / d.n_mels) * reals.cos(math.pi * k * (2 * n + 1) / (2 * d.n_mels))
    matrix[0] /= math.sqrt(2)
    if d.lifter > 0:
        matrix *= 1 + d.lifter / 2 * reals.sin(math.pi * (k + 1) / d.lifter)
    return np.asarray(matrix)


def smoothing(d: Description) -> float:
    """PCEN's weight of the newest frame, from its time constant in seconds (librosa.pcen)."""
    t = d.time_constant * d.sample_rate / d.hop_length
    return (math.sqrt(1 + 4 * t**2) - 1) / (2 * t**2)
