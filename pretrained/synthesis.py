"""Extractors of models that speak or play: their numbers -> `FeatureConfig`. Defaults are those of their classes."""

from __future__ import annotations

import math

from ..kernels import PRESETS, CumelError, FeatureConfig
from .numbers import Numbers
from .recognition import upper_edge


def speecht5(n: Numbers) -> FeatureConfig:
    """SpeechT5's targets; its input is samples."""
    sr = n.whole("sampling_rate", 16000)
    length = n.whole("win_length", 64) * sr // 1000  # the file has milliseconds
    n.word("win_function", "hann_window", ("hann_window", "hann"))
    n_fft, edge = 1 << (length - 1).bit_length(), length // 2
    return PRESETS["speecht5"].replace(
        sr=sr,
        n_fft=n_fft,
        win_length=None if n_fft == length else length,
        align="center" if n_fft == length else "left",
        padding=None if n_fft == length else (edge, edge),
        hop_length=n.whole("hop_length", 16) * sr // 1000,
        n_mels=n.whole("num_mel_bins", 80),
        fmin=n.real("fmin", 80.0),
        fmax=upper_edge(n.real("fmax", 7600.0), sr),
        amin=n.real("mel_floor", 1e-10) ** 2,
    )


def univnet(n: Numbers) -> FeatureConfig:
    """UnivNet, and vocoders after HiFi-GAN."""
    n.word("win_function", "hann_window", ("hann_window", "hann"))
    if n.flag("center", False):
        raise CumelError("center=true: the clip is padded before, so that this pads it twice")
    sr, hop, length = n.whole("sampling_rate", 24000), n.whole("hop_length", 256), n.whole("win_length", 1024)
    n_fft = n.whole("filter_length", 1024) if n.values.get("filter_length", 1024) else 1 << (length - 1).bit_length()
    n.agree("win_length", n_fft)
    low, high = n.real("normalize_min", -11.512925148010254), n.real("normalize_max", 2.3143386840820312)
    scaled = n.flag("do_normalize", False)  # 2 (x - low) / (high - low) - 1
    pad, fmax = (n_fft - hop) // 2, n.values.get("fmax")
    return PRESETS["univnet"].replace(
        sr=sr,
        n_fft=n_fft,
        hop_length=hop,
        padding=(pad, pad),
        n_mels=n.whole("num_mel_bins", 100),
        fmin=n.real("fmin", 0.0),
        fmax=None if fmax is None else upper_edge(n.real("fmax", 0.0), sr),
        bin_offset=n.real("mel_floor", 1e-9),
        amin=n.real("compression_clip_val", 1e-5) ** 2,
        mean=((high + low) / 2 if scaled else 0.0) - math.log(n.real("compression_factor", 1.0)),
        std=(high - low) / 2 if scaled else 1.0,
    )


def clvp(n: Numbers) -> FeatureConfig:
    """CLVP, of Tortoise."""
    sr, n_mels = n.whole("sampling_rate", 22050), n.whole("feature_size", 80)
    return PRESETS["clvp"].replace(
        sr=sr,
        n_fft=n.whole("n_fft", 1024),
        hop_length=n.whole("hop_length", 256),
        n_mels=n_mels,
        fmax=upper_edge(8000.0, sr),
        std=n.each("mel_norms", n_mels) or 1.0,
    )


def pop2piano(n: Numbers) -> FeatureConfig:
    """Pop2Piano's spectrogram; beats are found elsewhere."""
    sr = n.whole("sampling_rate", 22050)
    return PRESETS["pop2piano"].replace(
        sr=sr,
        n_fft=n.whole("window_size", 4096),
        hop_length=n.whole("hop_length", 1024),
        n_mels=n.whole("feature_size", 512),
        fmin=n.real("min_frequency", 10.0),
        fmax=upper_edge(float(sr // 2), sr),
    )
