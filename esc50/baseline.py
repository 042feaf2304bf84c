"""The baseline: the student report that the project grew out of, a CNN on images of ESC-50's mel spectrograms.

Its two functions stand here and its network, `ESC50Model`, in ``training/models.py``, under its names and signatures,
so that its code runs unchanged; ``--recipe baseline`` trains as it did.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..kernels import FeatureConfig, log_mel
from .audio import load

CLIP_SECONDS = 5


def get_melspectrogram_db(
    file_path: Path | str,
    sr: int | None = None,
    n_fft: int = 2048,
    hop_length: int = 512,
    n_mels: int = 128,
    fmin: float = 20,
    fmax: float = 8300,
    top_db: float = 80,
) -> NDArray[np.float32]:
    """Log-mel spectrogram of a recording made 5 s long: mirrored at both ends when shorter, cut when longer.

    Parameters
    ----------
    file_path : path
    sr : int, optional
        Rate to resample to, in Hz; None keeps the file's own.
    n_fft, hop_length : int
        Samples.
    n_mels : int
    fmin, fmax : float
        Hz.
    top_db : float
        dB kept below the clip's maximum.

    Returns
    -------
    ndarray [n_mels, n_frames], float32
        dB. 128 x 431 for 5 s at 44.1 kHz.

    Raises
    ------
    InputError
        For a recording that cannot be read.
    CumelError
        For parameters that contradict each other, such as an fmax above half the rate.
    """
    y, sr = load(file_path, sr)
    cfg = FeatureConfig(sr=sr, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels, fmin=fmin, fmax=fmax, top_db=top_db)
    n_samples = CLIP_SECONDS * sr
    gap = max(0, n_samples - len(y))  # an odd gap makes the clip a sample longer than 5 s, as the report does
    return log_mel(np.pad(y, -(-gap // 2), mode="reflect") if gap else y[:n_samples], cfg)


def spec_to_image(spec: NDArray, eps: float = 1e-6) -> NDArray[np.uint8]:
    """Standardise a spectrogram, stretch it over 0..255 and truncate; zeros when it is constant.

    Parameters
    ----------
    spec : ndarray [n_mels, n_frames]
    eps : float
        Keeps the division by the deviation finite.

    Returns
    -------
    ndarray [n_mels, n_frames], uint8
    """
    standard = (spec - spec.mean()) / (spec.std() + eps)
    low, high = standard.min(), standard.max()
    if low == high:
        return np.zeros(spec.shape, np.uint8)
    return (255 * (standard - low) / (high - low)).astype(np.uint8)
