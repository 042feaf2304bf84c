"""What others would write for the same features."""

from collections.abc import Callable

import torch
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from cumel.kernels import FeatureConfig


def torchaudio_log_mel(cfg: FeatureConfig, device: str | torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Build torchaudio's version, [n_clips, n_samples] to [n_clips, n_mels, n_frames]."""
    mel = MelSpectrogram(
        cfg.sr, cfg.n_fft, None, cfg.hop_length, cfg.fmin, cfg.fmax, n_mels=cfg.n_mels,
        pad_mode=cfg.pad_mode, norm="slaney", mel_scale="slaney",
    ).to(device)  # fmt: skip
    to_db = AmplitudeToDB("power", cfg.top_db)
    return lambda y: to_db(mel(y)[:, None])[:, 0]  # 4-D: top_db per clip, as librosa
