"""From a recipe in `sounds.py` to a waveform; all the variation comes from one random generator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .sounds import SOUNDS, Layer, Span

Signal = NDArray[np.float32]
TABLE = 8192  # samples in one period of a harmonic tone
LOOP = 65536  # samples after which noise repeats itself, which nobody hears and which is far quicker
EDGE = 0.008  # s, fade of a held event, so that it does not click
SETTLED = ("rate", "seconds", "rest", "glide", "vibrato", "tremolo", "swell")  # fields that are drawn once for a clip
WITHIN = 0.06  # largest relative deviation of an event from its clip's values
COLOUR = 4.0  # dB per octave, largest tilt of a whole recording either way
SNR = (-2.0, 40.0)  # dB above the background noise
INTRUDED, INTRUDER = 0.3, (-24.0, -6.0)  # share of the clips with a second sound, and its level in dB
PADDED = 0.4  # share of the clips that end in digital silence, as ESC-50 pads what is shorter than 5 s
PEAK = (0.12, 0.95)  # peak of a clip, full scale being 1


def make_sound(name: str, rng: Generator, n: int, sr: int) -> Signal:
    """Record the class `name` once, over a background noise and sometimes another sound.

    Parameters
    ----------
    name : str
        A key of `SOUNDS`.
    rng : numpy.random.Generator
        The source of all variation.
    n, sr : int
        Samples, and samples per second.

    Returns
    -------
    y : ndarray, shape=(n,), float32
        Its peak is within `PEAK`.
    """
    y = _sound(name, rng, n, sr)
    if rng.random() < INTRUDED:
        other = _sound(list(SOUNDS)[rng.integers(len(SOUNDS))], rng, n, sr)
        other *= _rms(y) / _rms(other) * 10 ** (rng.uniform(*INTRUDER) / 20)
        y += other
    background = np.resize(_noise(rng, n, sr, (20.0, sr / 2), rng.uniform(-6, 0)), n)
    background *= _rms(y) * 10 ** (-rng.uniform(*SNR) / 20)
    y += background
    if rng.random() < PADDED:
        y[int(n * rng.uniform(0.4, 0.95)) :] = 0
    y *= rng.uniform(*PEAK) / _peak(y)
    return y


def _sound(name: str, rng: Generator, n: int, sr: int) -> Signal:
    """Play the layers of a class, y : [n]."""
    colour = rng.uniform(-COLOUR, COLOUR)
    y = np.zeros(n, np.float32)
    for layer in SOUNDS[name]:
        part = _play(layer, rng, n, sr, colour)
        part *= layer.level / _peak(part)
        y += part
    return y


def _play(layer: Layer, rng: Generator, n: int, sr: int, colour: float) -> Signal:
    """Add up the events of one layer, y : [n]."""
    settled = {name: _near(_draw(rng, span)) for name in SETTLED if (span := getattr(layer, name))}
    layer = replace(layer, **settled, tilt=layer.tilt - colour / 6, slope=layer.slope + colour)
    pitch = _draw(rng, layer.hz) if layer.hz else 1.0
    edges = np.array(layer.band or (0.0, 0.0)) * rng.uniform(0.85, 1.18, size=2)  # Hz
    beds: dict[float, Signal] = {}  # noise by its shift; an event takes a piece
    y = np.zeros(n, np.float32)
    for index, (start, seconds, gain) in enumerate(_events(layer, rng, n / sr)):
        first = min(int(start * sr), n - 1)
        length = max(int(seconds * sr), 16)
        u = np.arange(min(length, n - first), dtype=np.float32) / np.float32(
            length
        )  # time within the event, from 0 to 1
        chord = layer.chords[index % len(layer.chords) if layer.in_turn else rng.integers(len(layer.chords))]
        event = np.zeros_like(u)
        if layer.hz:
            event = _tone(layer, rng, pitch * _draw(rng, (1 / layer.spread, layer.spread)), chord, u, length / sr, sr)
        if layer.band:
            shift = 1.0 if layer.hz else chord[0]
            if shift not in beds:
                beds[shift] = _noise(rng, n, sr, (edges[0] * shift, edges[1] * shift), layer.slope)
            bed = beds[shift]
            at = rng.integers(max(bed.size - u.size, 0), endpoint=True)
            piece = bed[at : at + u.size] if u.size <= bed.size else np.resize(bed, u.size)
            event += piece * ((layer.breath if layer.hz else 1) * _envelope(layer.shape, u))
        if layer.shape == "hold":
            _soften(event, sr)
        if layer.tremolo:
            turns = np.float32(_draw(rng, layer.tremolo) * length / sr) * u + rng.random(dtype=np.float32)
            event *= 1 - layer.tremolo_depth * np.cos(np.pi * turns) ** 2
        if layer.swell:
            event *= np.exp(0.7 * _wobble(rng, _draw(rng, layer.swell) * length / sr, u))
        event *= gain
        y[first : first + u.size] += event
    return y


def _events(layer: Layer, rng: Generator, total: float) -> Iterator[tuple[float, float, float]]:
    """Yield the start in s, the length in s and the gain of each event in `total` seconds."""
    if layer.rate is None:
        yield 0.0, total, 1.0
        return
    now = rng.uniform(0, min(0.5 / layer.rate[0], 0.1 * total))
    while now < total:
        gap = 1 / _draw(rng, layer.rate)
        for place in range(rng.integers(*layer.group, endpoint=True) if layer.group else 1):
            step = gap * (1 - layer.jitter + layer.jitter * rng.exponential())
            length = _draw(rng, layer.seconds) if layer.seconds else step
            if layer.dashes:
                length = gap * rng.choice((1, 3))
                step = length + gap
            if now < total:
                yield now, length, layer.fade**place * np.exp(layer.accent * rng.standard_normal())
            now += step
            gap *= layer.speedup
        if layer.group:
            now += _draw(rng, layer.rest)


def _tone(
    layer: Layer, rng: Generator, pitch: float, chord: tuple[float, ...], u: Signal, seconds: float, sr: int
) -> Signal:
    """Sound the notes of one event with their harmonics below the Nyquist frequency, y : [len(u)], RMS 1."""
    octaves = np.zeros_like(u) if layer.glide or layer.vibrato or layer.wander else np.zeros(1)
    if layer.glide:
        octaves += np.log2(_draw(rng, layer.glide)) * (np.sin(np.pi * u) if layer.there_and_back else u)
    if layer.vibrato:
        turns = np.float32(_draw(rng, layer.vibrato) * seconds) * u + rng.random(dtype=np.float32)
        octaves += layer.depth * np.sin(2 * np.pi * turns)
    if layer.wander:
        octaves += layer.wander * np.clip(_wobble(rng, 1.5 * seconds, u), -1.5, 1.5)
    highest = pitch * 2 ** float(octaves.max())
    cycles = np.cumsum(np.exp2(octaves), dtype=np.float64) if octaves.size == u.size else np.arange(u.size, dtype=float)
    cycles *= pitch / sr
    formants = np.array(layer.formants[rng.integers(len(layer.formants))] if layer.formants else ())
    y = np.zeros_like(u)
    for note in chord:
        k = np.arange(1.0, min(layer.harmonics, int(0.48 * sr / (highest * note))) + 1)
        if not k.size:
            continue
        amplitudes = (k * note / chord[0]) ** -layer.tilt
        if formants.size:
            off = ((k * note * pitch)[:, None] - formants) / (60 + 0.06 * formants)  # distances in half bandwidths
            amplitudes *= 0.03 + (1 / (1 + off**2)).sum(axis=1)
        turns = cycles * note + rng.random()
        turns -= np.floor(turns)
        turns = turns.astype(np.float32)
        wave = np.sin(2 * np.pi * turns) * amplitudes[0] if k.size == 1 else _look_up(rng, amplitudes, turns)
        wave *= _envelope(layer.shape, u, pace=(note / chord[0]) ** 0.7)
        y += wave
    y /= _rms(y) + 1e-9
    return y


def _look_up(rng: Generator, amplitudes: NDArray[np.float64], turns: Signal) -> Signal:
    """Read a period with these harmonics at the phases `turns`, each from 0 to 1."""
    bins = np.zeros(TABLE // 2 + 1, np.complex64)
    bins[1 : amplitudes.size + 1] = amplitudes * np.exp(2j * np.pi * rng.random(amplitudes.size)) * (TABLE / 2)
    period = np.fft.irfft(bins, TABLE).astype(np.float32, copy=False)
    return period[(turns * TABLE).astype(np.int32) & (TABLE - 1)]


def _noise(rng: Generator, n: int, sr: int, band: Span, slope: float) -> Signal:
    """Return noise from band[0] to band[1] Hz with `slope` dB per octave, y : [min(n, LOOP)], RMS 1."""
    n = min(n, LOOP)
    f = np.arange(n // 2 + 1, dtype=np.float32)
    f *= np.float32(sr / n)
    f[0] = f[1]
    gain, above = band[0] / f, f / band[1]
    for edge in (gain, above):  # both edges are Butterworth's, of 4th order
        for _ in range(3):
            edge *= edge
        edge += 1
    gain *= above
    np.sqrt(gain, out=gain)
    np.divide(f ** np.float32(slope / 6), gain, out=gain)
    spectrum = rng.random(2 * f.size, np.float32)  # uniform here is Gaussian in time: each sample sums thousands
    spectrum -= 0.5
    spectrum = spectrum.view(np.complex64)
    spectrum *= gain
    y = np.fft.irfft(spectrum, n).astype(np.float32, copy=False)
    y /= _rms(y)
    return y


def _envelope(shape: str, u: Signal, pace: float = 1.0) -> Signal | float:
    """Return the loudness of an event over its course u; a decay falls by 60 dB at a pace of 1."""
    if shape == "arch":
        return np.sin(np.pi * u)
    return np.exp(-6.9 * pace * u) if shape == "decay" else 1.0


def _soften(y: Signal, sr: int) -> None:
    edge = min(int(EDGE * sr), y.size // 4)
    ramp = np.arange(edge, dtype=np.float32) / max(edge, 1)
    y[:edge] *= ramp
    y[y.size - edge :] *= ramp[::-1]


def _wobble(rng: Generator, waves: float, u: Signal) -> Signal:
    """Return a slow random curve with up to so many waves while u goes from 0 to 1; zero mean, variance 1."""
    curve = np.zeros_like(u)
    for phase in rng.random(3, np.float32):
        curve += np.sin((2 * np.pi * rng.uniform(0.2, 1) * waves) * u + 2 * np.pi * phase)
    curve *= np.sqrt(2 / 3)
    return curve


def _draw(rng: Generator, span: Span) -> float:
    low, high = span
    return float(low * (high / low) ** rng.random())


def _near(value: float) -> Span:
    return value / (1 + WITHIN), value * (1 + WITHIN)


def _rms(y: Signal) -> float:
    return float(np.sqrt(np.dot(y, y) / y.size))


def _peak(y: Signal) -> float:
    return float(max(y.max(), -y.min()))
