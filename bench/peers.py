"""The same features as others would write them, from clips [n_clips, n_samples] in -1..1 to decibels."""

from collections.abc import Callable
from importlib.metadata import distributions
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cumel.kernels import FeatureConfig, precision, reference
from cumel.kernels.filterbank import mel_matrix, window

LogMel = Callable[[Tensor], Tensor]  # takes [n_clips, n_samples], returns [n_clips, n_mels, n_frames]
TIMED = ("esc50", "librosa", "whisper", "panns")  # presets
AT_ONCE = 256  # clips at once; for more, the intermediate arrays of peers would not fit


def without_tf32() -> None:
    """Switch TF32 off: with its ten bits nnAudio is off by 0.04 dB."""
    precision.multiply_exactly()


def true_log_mel(y: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    """Return librosa's decibels in float64; without librosa those of our reference, which the tests compare with it."""
    if not find_spec("librosa"):
        return reference.log_mel(y, cfg)
    from cumel.esc50.verify import librosa_log_mel

    return librosa_log_mel(y, cfg)


def in_parts(compute: LogMel) -> LogMel:
    """Return a function that computes at most AT_ONCE clips at a time."""
    return lambda y: compute(y) if len(y) <= AT_ONCE else torch.cat([compute(part) for part in y.split(AT_ONCE)])


def librosas_log_mel(cfg: FeatureConfig) -> LogMel:
    """Build librosa's version: one clip after another, since its top_db counts from the maximum of the whole array."""
    return lambda y: torch.from_numpy(np.stack([true_log_mel(clip, cfg) for clip in y.numpy()]))


def by_strides(cfg: FeatureConfig, xp: Any, rfft: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Build a version in NumPy or CuPy (`xp`): frames by strides, an FFT, a matrix product, decibels."""
    taper, weights = (xp.asarray(table.astype(np.float32)) for table in (window(cfg), mel_matrix(cfg)))

    def compute(y: Any) -> Any:
        padded = xp.pad(y, ((0, 0), (cfg.edges[0], cfg.edges[0])), mode=cfg.pad_mode)
        frames = xp.lib.stride_tricks.sliding_window_view(padded, cfg.n_fft, axis=1)[:, :: cfg.hop_length]
        spectra = rfft(frames * taper)
        mel = weights @ (spectra.real**2 + spectra.imag**2).transpose(0, 2, 1)
        db = 10 * xp.log10(xp.maximum(mel, xp.float32(cfg.amin)))
        return limited(db, db.max(axis=(1, 2), keepdims=True), cfg, xp.maximum)

    return compute


def scipy_log_mel(cfg: FeatureConfig) -> LogMel:
    """Build a version in NumPy and SciPy, whose FFT uses as many threads as torch."""
    import scipy.fft

    compute = by_strides(cfg, np, lambda frames: scipy.fft.rfft(frames, workers=torch.get_num_threads()))
    return lambda y: torch.from_numpy(compute(y.numpy()))


def torchaudio_log_mel(cfg: FeatureConfig, device: str | torch.device) -> LogMel:
    """Build torchaudio's version."""
    from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

    mel = MelSpectrogram(
        cfg.sr, cfg.n_fft, None, cfg.hop_length, cfg.fmin, cfg.fmax, n_mels=cfg.n_mels,
        pad_mode=cfg.pad_mode, norm="slaney", mel_scale="slaney",
    ).to(device)  # fmt: skip
    to_db = AmplitudeToDB("power", cfg.top_db)
    return lambda y: to_db(mel(y)[:, None])[:, 0]  # four dimensions, so that top_db counts for each clip


def nnaudio_log_mel(cfg: FeatureConfig, device: str | torch.device) -> LogMel:
    """Build nnAudio's version, whose Fourier transform is a convolution, with decibels by torch."""
    from nnAudio.features.mel import MelSpectrogram as Spectrogram

    mel = Spectrogram(
        sr=cfg.sr, n_fft=cfg.n_fft, win_length=cfg.n_fft, n_mels=cfg.n_mels, hop_length=cfg.hop_length,
        pad_mode=cfg.pad_mode, fmin=cfg.fmin, fmax=cfg.fmax, norm=1, verbose=False,
    ).to(device)  # fmt: skip

    def compute(y: Tensor) -> Tensor:
        db = 10 * torch.log10(mel(y).clamp_min(cfg.amin))
        return limited(db, db.amax(dim=(1, 2), keepdim=True), cfg, torch.maximum)

    return compute


def has_dali() -> bool:
    """Return whether NVIDIA DALI is installed; it is large, and no dependency of ours."""
    return bool(find_spec("nvidia")) and bool(find_spec("nvidia.dali"))


def dali_log_mel(cfg: FeatureConfig, device: str, n_clips: int) -> LogMel:
    """Build NVIDIA DALI's version: a pipeline for batches of `n_clips` clips, each fed and awaited by itself."""
    from nvidia.dali import fn, math, pipeline_def, types

    kind, on_gpu = ("cpu", False) if device == "cpu" else ("gpu", True)

    @pipeline_def(
        batch_size=n_clips, num_threads=torch.get_num_threads(), device_id=0 if on_gpu else None, prefetch_queue_depth=1
    )  # fmt: skip
    def pipeline() -> Any:
        y = fn.external_source(name="y", device=kind, no_copy=True, batch=True, dtype=types.FLOAT, ndim=1, layout="t")
        power = fn.spectrogram(
            y, nfft=cfg.n_fft, window_length=cfg.n_fft, window_step=cfg.hop_length,
            window_fn=window(cfg).astype(np.float32).tolist(), reflect_padding=cfg.pad_mode == "reflect",
        )  # fmt: skip
        mel = fn.mel_filter_bank(
            power, sample_rate=cfg.sr, nfilter=cfg.n_mels, freq_low=cfg.fmin, freq_high=cfg.top_frequency
        )
        db = fn.to_decibels(mel, multiplier=10.0, reference=1.0, cutoff_db=10 * float(np.log10(cfg.amin)))
        if cfg.top_db is None:
            return db
        return math.max(db, fn.reductions.max(db, axes=(0, 1), keep_dims=True) - cfg.top_db)

    built = pipeline()
    built.build()

    def compute(y: Tensor) -> Tensor:
        built.feed_input("y", y if on_gpu else y.numpy())
        if not on_gpu:
            (out,) = built.run()
            return torch.from_numpy(out.as_array())
        (out,) = built.run(torch.cuda.current_stream())
        return torch.from_dlpack(out.as_tensor()).clone()  # DALI may use this memory again

    return compute


def cupy_log_mel(cfg: FeatureConfig) -> LogMel:
    """Build a version in CuPy, with cuFFT."""
    import cupy as cp

    compute = by_strides(cfg, cp, cp.fft.rfft)
    return lambda y: torch.from_dlpack(compute(cp.from_dlpack(y)))


def limited(db: Any, highest: Any, cfg: FeatureConfig, maximum: Callable[..., Any]) -> Any:
    """Raise values that are more than top_db below the highest value of their clip."""
    return db if cfg.top_db is None else maximum(db, highest - cfg.top_db)


def others(cfg: FeatureConfig, device: str, n_clips: int) -> dict[str, LogMel]:
    """Return every installed peer that takes batches, and for one clip SciPy, whose batches exceed all caches."""
    builders = {"torchaudio": torchaudio_log_mel, "nnAudio": nnaudio_log_mel}
    ways = {name: build(cfg, device) for name, build in builders.items() if find_spec(name)}
    if device != "cpu":
        ways["CuPy, cuFFT"] = cupy_log_mel(cfg)
    elif n_clips == 1 and find_spec("scipy"):
        ways = {"scipy": scipy_log_mel(cfg), **ways}
    if has_dali():
        ways["NVIDIA DALI"] = dali_log_mel(cfg, device, min(n_clips, AT_ONCE))
    return {name: in_parts(compute) for name, compute in ways.items()}


def packages(device: str) -> list[str]:
    """Return the names of the peers' packages, whose versions are written into the rows."""
    wanted = ("torch", "torchaudio", "nnaudio", "nvidia-dali", *(() if device != "cpu" else ("librosa", "scipy")))
    wanted += () if device == "cpu" else ("cupy",)
    names = {dist.name for dist in distributions()}
    return [name for start in wanted for name in sorted(names) if name == start or name.startswith(f"{start}-cuda")]
