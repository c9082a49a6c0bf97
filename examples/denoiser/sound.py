"""Sound made from nothing: voices like speech, and noises to bury them in. float32 [N] at 16 kHz, reproducible by seed.

A voice is a source and a filter: pulses of a wandering pitch with breath through four resonances that glide from vowel to
vowel, syllables of 3 to 6 per second with gaps, and hissing consonants between them. It says nothing, but its spectrum over
time is built as that of speech is: harmonics, formants, onsets, silence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from audio import RATE
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

Array = NDArray[Any]
STEP = 80  # samples between changes of the filters: 5 ms
# The first three resonances of vowels in Hz, of a grown man (Peterson and Barney 1952).
VOWELS = (
    (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440),
    (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690),
)  # fmt: skip
# Centre in Hz and relative loudness of hissing consonants: s, sh, f, th, h.
HISSES = ((5800, 0.9), (3400, 1.0), (4500, 0.35), (5000, 0.25), (1500, 0.3))


def voice(rng: np.random.Generator, samples: int) -> Array:
    """One speaker for `samples` samples; the loud parts have an effective value near 0.05."""
    speaker = rng.uniform(0.95, 1.3), float(np.exp(rng.uniform(np.log(85), np.log(260))))
    parts, length = [], 0
    while length < samples:
        part = _silence(rng) if rng.random() < 0.18 else _syllable(rng, *speaker)
        parts.append(part)
        length += len(part)
    return _levelled(np.concatenate(parts)[:samples])


def _silence(rng: np.random.Generator) -> Array:
    return np.zeros(int(RATE * rng.uniform(0.05, 0.45)), np.float32)


def _syllable(rng: np.random.Generator, tract: float, pitch: float) -> Array:
    """A consonant (or none), then one vowel that glides into another."""
    count = int(RATE * rng.uniform(0.12, 0.3)) // STEP
    first, second = (np.array(VOWELS[rng.integers(len(VOWELS))], np.float64) * tract for _ in range(2))
    glide = 1 / (1 + np.exp(-(np.arange(count) / count - rng.uniform(0.2, 0.8)) * 12))
    formants = first + (second - first) * glide[:, None]
    tones = pitch * np.exp(np.linspace(rng.normal(0, 0.12), rng.normal(-0.05, 0.12), count * STEP))
    tones *= 1 + 0.01 * np.sin(2 * np.pi * 5.5 * np.arange(count * STEP) / RATE + rng.uniform(0, 6))
    vowel = _filtered(_glottis(rng, tones), formants) * _rise_and_fall(rng, count * STEP) * rng.uniform(0.4, 1)
    if rng.random() < 0.45:
        return np.asarray(vowel, np.float32)
    hiss = _hiss(rng, int(RATE * rng.uniform(0.03, 0.13)))
    overlap = min(len(hiss) // 3, len(vowel))
    joined = np.zeros(len(hiss) + len(vowel) - overlap)
    joined[: len(hiss)] += hiss
    joined[len(hiss) - overlap :] += vowel
    return joined.astype(np.float32)


def _glottis(rng: np.random.Generator, tones: Array) -> Array:
    """Pulses at the rate of `tones` Hz with a little irregularity and breath, falling by 12 dB per octave and then rising by 6."""
    phase = np.cumsum(tones * (1 + 0.02 * lfilter([0.02], [1, -0.98], rng.normal(size=len(tones)))) / RATE)
    beats = np.flatnonzero(np.diff(np.floor(phase), prepend=0) > 0)
    pulses = np.zeros(len(tones))
    pulses[beats] = rng.normal(1, 0.05, len(beats))
    source = lfilter([1], [1, -1.85, 0.8556], pulses) + 0.02 * rng.normal(size=len(tones))
    return lfilter([1, -0.97], [1], source)


def _filtered(x: Array, formants: Array) -> Array:
    """Through resonances that move every 5 ms; `formants` in Hz, [steps, 3], and three that stay."""
    for k, bandwidth in enumerate((70, 100, 150, 250, 350, 450)):
        centres = formants[:, k] if k < 3 else np.full(len(formants), (3700.0, 4900.0, 6300.0)[k - 3])
        radius = np.exp(-np.pi * bandwidth / RATE)
        y, state = np.empty_like(x), np.zeros(2)
        for i, centre in enumerate(np.minimum(centres, 7000)):
            pole = -2 * radius * np.cos(2 * np.pi * centre / RATE)
            gain = 1 + pole + radius**2
            part = slice(i * STEP, (i + 1) * STEP)
            y[part], state = lfilter([gain], [1, pole, radius**2], x[part], zi=state)
        x = y
    return x / (np.sqrt(np.mean(x**2)) + 1e-9) * 0.06


def _rise_and_fall(rng: np.random.Generator, count: int) -> Array:
    """An envelope: up within 10 to 40 ms, down within 30 to 80."""
    up, down = int(RATE * rng.uniform(0.01, 0.04)), int(RATE * rng.uniform(0.03, 0.08))
    envelope = np.ones(count)
    envelope[:up] = np.sin(np.linspace(0, np.pi / 2, up)) ** 2
    envelope[-down:] *= np.cos(np.linspace(0, np.pi / 2, down)) ** 2
    return envelope


def _band(x: Array, low: float, high: float) -> Array:
    return np.asarray(sosfilt(butter(2, [low, high], "bandpass", fs=RATE, output="sos"), x))


def _hiss(rng: np.random.Generator, count: int) -> Array:
    centre, loudness = HISSES[rng.integers(len(HISSES))]
    centre *= rng.uniform(0.85, 1.15)
    y = _band(rng.normal(size=count), centre * 0.7, min(centre * 1.35, 7900))
    return y / (np.sqrt(np.mean(y**2)) + 1e-9) * 0.03 * loudness * np.hanning(count)


def _levelled(x: Array) -> Array:
    """Scaled to an effective value of 0.05 over the samples that are not silent."""
    loud = x[np.abs(x) > 1e-4]
    return np.asarray(x * (0.05 / (np.sqrt(np.mean(loud**2)) + 1e-9) if len(loud) else 1), np.float32)


def white(rng: np.random.Generator, samples: int) -> Array:
    return _levelled(rng.normal(size=samples))


def coloured(rng: np.random.Generator, samples: int) -> Array:
    """Falling by 2 to 8 dB per octave above 50 Hz: pink, wind, traffic."""
    spectrum = np.fft.rfft(rng.normal(size=samples))
    f = np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 50)
    return _levelled(np.fft.irfft(spectrum * f ** -rng.uniform(0.35, 1.35), samples))


def hum(rng: np.random.Generator, samples: int) -> Array:
    """Harmonics of mains or of an engine over a little noise."""
    t, base = np.arange(samples) / RATE, rng.choice([50, 60, rng.uniform(40, 200)])
    tones = sum(rng.uniform(0.1, 1) / k * np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) for k in range(1, int(rng.integers(5, 40))))
    return _levelled(np.asarray(tones) + 0.1 * rng.normal(size=samples))


def babble(rng: np.random.Generator, samples: int) -> Array:
    """Six to ten voices at once."""
    return _levelled(np.sum([voice(rng, samples) * rng.uniform(0.4, 1) for _ in range(int(rng.integers(6, 11)))], 0))


def bursts(rng: np.random.Generator, samples: int) -> Array:
    """Noise in a wandering band that swells and fades: machines, cars that pass, cutlery."""
    low = float(np.exp(rng.uniform(np.log(60), np.log(3000))))
    swell = lfilter([0.0004], [1, -0.9996], rng.normal(size=samples))
    swell = np.exp(3 * swell / (np.std(swell) + 1e-9) * rng.uniform(0.1, 0.4))
    return _levelled(_band(rng.normal(size=samples), low, min(low * rng.uniform(2, 8), 7900)) * swell)


NOISES = {"white": white, "coloured": coloured, "hum": hum, "babble": babble, "bursts": bursts}


def noise(rng: np.random.Generator, samples: int) -> Array:
    """One of the noises, or two together."""
    names = rng.choice(list(NOISES), 1 if rng.random() < 0.6 else 2, replace=False)
    return _levelled(np.sum([NOISES[n](rng, samples) for n in names], 0))


def gain_for(clean: Array, noise: Array, decibels: float) -> float:
    """What to multiply a noise with so that it lies `decibels` below the clean sound (over all samples)."""
    power = float(np.mean(np.square(clean, dtype=np.float64))), float(np.mean(np.square(noise, dtype=np.float64)))
    return float(np.sqrt(power[0] / (power[1] + 1e-12)) * 10 ** (-decibels / 20))


def mixed(clean: Array, noise: Array, decibels: float) -> Array:
    """Clean sound in noise at a signal-to-noise ratio."""
    return np.asarray(clean + gain_for(clean, noise, decibels) * noise, np.float32)


def pair(seed: int, seconds: float = 4, decibels: float = 5) -> tuple[Array, Array]:
    """Clean and noisy sound of one seed."""
    rng = np.random.default_rng(seed)
    clean = voice(rng, int(RATE * seconds))
    return clean, mixed(clean, noise(rng, len(clean)), decibels)
