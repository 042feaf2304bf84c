"""Configs of pretrained models and others as far from librosa, and clips that are hard for them."""

import numpy as np

from cumel.kernels import PRESETS, FeatureConfig, Normalize

EACH = np.linspace(1.0, 3.0, 20)
GENERIC = FeatureConfig(
    sr=8000, n_fft=300, hop_length=77, win_length=201, align="left", n_mels=20, fmin=50.0, htk=True, window="hamming"
)
NAMES = ("kaldi", "kaldi_no_snip", "seamless", "parakeet", "passt", "gemma3n", "gemma4", "vggish", "speechbrain")
NAMES += ("univnet", "pop2piano", "whisper", "inkling")
CONFIGS = {name: PRESETS[name].replace(time_major=False) for name in NAMES} | {
    # Lanes that do not divide a warp; a frame that ends within a pair of samples; padding of more than a frame.
    "odd frame": GENERIC.replace(
        n_fft=400, remove_dc=True, preemphasis=0.97, pad_mode="symmetric", padding=(700, 500), normalize=Normalize()
    ),
    "mean of a clip": GENERIC.replace(n_fft=512, remove_dc=True, preemphasis=0.9, preemphasis_of="clip", log="ln"),
    "bands": GENERIC.replace(n_fft=256, mean=tuple(EACH), std=tuple(EACH), top_db=30.0),
    "frame around cuFFT": GENERIC.replace(remove_dc=True, preemphasis=0.97, pad_mode="symmetric", padding=(500, 40)),
    "clip around cuFFT": GENERIC.replace(
        remove_dc=True, preemphasis=0.97, preemphasis_of="valid", pad_mode="reflect", offset=1e-3, log=None,
        top_db=None,
        normalize=Normalize(per="clip", ddof=1, eps=1e-5, eps_in="var"), mean=0.5, std=2.0,
    ),
}  # fmt: skip
SIGNALS = ("noise", "DC and noise", "quiet beside loud", "full scale", "silence")


def clip_of(kind: str, n_samples: int) -> np.ndarray:
    """Make a clip that is hard for what front ends do besides a spectrogram."""
    rng = np.random.default_rng(n_samples)
    noise = rng.standard_normal(n_samples)
    if kind == "full scale":
        return rng.integers(-32768, 32768, n_samples).astype(np.int16)
    made = {
        "noise": 0.3 * noise,
        "silence": 0.0 * noise,
        "DC and noise": 0.4 + 0.001 * noise,
        "quiet beside loud": 0.3 * noise * np.where(np.arange(n_samples) < n_samples // 2, 1e-4, 1.0),
    }
    return made[kind].astype(np.float32)


def awkward(cfg: FeatureConfig) -> list[int]:
    """Return lengths: around where a second frame begins, the least, and some blocks of frames."""
    least, hop = cfg.least_samples, cfg.hop_length
    return [least + 19 * hop + 7, least, least + hop - 1, least + hop]
