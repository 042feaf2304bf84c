"""What a wrapped extractor computes itself: the methods that its original's call gets features from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import CumelError, FeatureConfig, log_mel
from . import extractors


class Configs(NamedTuple):
    """An extractor's config, and the numbers that it is of."""

    cfg: FeatureConfig
    values: Mapping[str, Any]

    def but(self, **changes: Any) -> FeatureConfig:
        """Return the config of other numbers."""
        return extractors.config_of({**self.values, **changes})


class Wrapped:
    """The first base of a wrapped extractor's class; the second is the original."""

    _original: ClassVar[type]
    _configs: ClassVar[Mapping[str, FeatureConfig]]

    @classmethod
    def configs(cls, given: Configs) -> dict[str, FeatureConfig]:
        """Return the configs that the methods need, by names of their own; "" where there is one."""
        return {"": given.cfg}

    @property
    def _cfg(self) -> FeatureConfig:
        return self._configs[""]


def features(y: Any, cfg: FeatureConfig, lengths: NDArray[np.int64] | None = None, device: Any = "cpu") -> Any:
    """Compute samples in any kind of array, as numbers that are not scaled: NumPy, or a tensor on another device."""
    if str(device or "cpu") == "cpu":
        return log_mel(np.asarray(y, np.float32), cfg, lengths)
    import torch

    return log_mel(torch.as_tensor(y).to(device, torch.float32), cfg, lengths)


def tensor(y: Any) -> Any:
    """Return a tensor of what `features` returned."""
    import torch

    return torch.from_numpy(y) if isinstance(y, np.ndarray) else y


def check_reflected(y: Any, cfg: FeatureConfig) -> None:
    """Refuse a clip that torch would not reflect: the original raises an error as well."""
    if y.shape[-1] <= cfg.edges[0]:
        raise CumelError(f"a clip of {y.shape[-1]} samples is too short: {cfg.edges[0] + 1} are needed to reflect it")


def one_clip(y: Any) -> NDArray[Any]:
    """Return a clip [n_samples], and refuse one with channels."""
    y = np.asarray(y)
    if y.ndim != 1:
        raise CumelError(f"a clip has shape {y.shape}: expected [n_samples]")
    return y


def of_frames(y: NDArray[Any], cfg: FeatureConfig) -> NDArray[np.float32]:
    """Compute a clip [n_samples]; no frame of one that is less than a hop too short, as NumPy's originals count."""
    y, missing = one_clip(y), cfg.frame_length - sum(cfg.edges)
    if missing - cfg.hop_length <= y.size < missing:
        return np.zeros((0, cfg.n_mels), np.float32)
    return features(y, cfg)


class Whisper(Wrapped):
    """Clips padded to 30 s: only what is not padding costs time."""

    def _torch_extract_fbank_features(self, waveform: NDArray[np.float32], device: Any = "cpu") -> Any:
        check_reflected(waveform, self._cfg)
        return features(waveform, self._cfg, self._sounding(np.asarray(waveform)), device)

    _np_extract_fbank_features = _torch_extract_fbank_features

    def _sounding(self, y: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return each clip's samples up to its last frame that is not silent.

        The zeros of a window that follow stay in, so that the end is reflected into zeros.
        """
        hop, n_samples = self._cfg.hop_length, y.shape[-1]
        silent = [int((clip[::-1] != 0).argmax()) if clip.any() else n_samples for clip in y]
        needed = n_samples - np.array(silent, np.int64) + self._cfg.n_fft
        return np.minimum(n_samples, -(-needed // hop) * hop)


class WhisperOnHost(Whisper):
    """Whisper's, in a call that goes on with NumPy."""

    def _torch_extract_fbank_features(self, waveform: NDArray[np.float32], device: Any = "cpu") -> Any:
        out = super()._torch_extract_fbank_features(waveform, device)
        return out if isinstance(out, np.ndarray) else out.cpu().numpy()


class VoxtralRealtime(Wrapped):
    """Batches as tensors, with or without padding by half a window."""

    def _torch_extract_fbank_features(self, waveform: Any, device: Any = "cpu", center: bool = True) -> Any:
        cfg = self._cfg if center else self._cfg.replace(padding=(0, -self._cfg.hop_length))
        if center:
            check_reflected(waveform, cfg)
        if cfg.top_db is None:
            return tensor(features(waveform, cfg, None, device))
        # The floor lies below the loudest value of the whole batch.
        out = tensor(features(waveform, cfg.replace(top_db=None), None, device))
        return out.clamp_min_(out.max() - cfg.levels.span)


class Kaldi(Wrapped):
    """Clip by clip; statistics are taken by the call."""

    @classmethod
    def configs(cls, given: Configs) -> dict[str, FeatureConfig]:
        """Leave the statistics out."""
        return {"": given.cfg.replace(normalize=None)}

    def _extract_fbank_features(self, waveform: NDArray[Any]) -> NDArray[np.float32]:
        return features(one_clip(waveform), self._cfg)


class Seamless(Kaldi):
    """Clips that may have channels, of which the first is taken."""

    def _extract_fbank_features(self, waveform: NDArray[Any]) -> NDArray[np.float32]:
        return of_frames(np.squeeze(waveform[0] if waveform.ndim == 2 else waveform), self._cfg)


class FunAsr(Kaldi):
    """Clips as tensors."""

    def _extract_fbank_features(self, waveform: Any) -> Any:
        return tensor(features(one_clip(waveform), self._cfg))


class Ast(Wrapped):
    """As many frames as the model has; mean and deviation are applied by the call, also to the padding."""

    @classmethod
    def configs(cls, given: Configs) -> dict[str, FeatureConfig]:
        """Leave mean and deviation out."""
        return {"": given.cfg.replace(mean=0.0, std=1.0)}

    def _extract_fbank_features(self, waveform: NDArray[Any], max_length: int) -> NDArray[np.float32]:
        cfg = self._cfg
        needed = (max_length - 1) * cfg.hop_length + cfg.frame_length
        found = features(one_clip(waveform)[: max(needed, cfg.frame_length)], cfg)[:max_length]
        return np.pad(found, ((0, max_length - len(found)), (0, 0)))


class Batch(Wrapped):
    """Padded batches as tensors."""

    def _torch_extract_fbank_features(self, waveform: Any, device: Any = "cpu") -> Any:
        return tensor(features(waveform, self._cfg, None, device))


class Granite(Wrapped):
    """Pairs of frames."""

    def _extract_mel_spectrograms(self, audio: Any, device: Any = "cpu") -> Any:
        check_reflected(audio, self._cfg)
        out = tensor(features(audio, self._cfg, None, _device(audio, device)))
        even = out.shape[1] // 2 * 2
        return out[:, :even].reshape(len(out), -1, 2 * out.shape[2])


class Granite5(Wrapped):
    """Stacked frames, beside their differences in time."""

    def _extract_features(self, audio: Any, device: Any = "cpu") -> Any:
        import torch
        from torchaudio.functional import compute_deltas

        extractor: Any = self
        cfg, stack = self._cfg, extractor.frame_stacking
        whole = audio.shape[1] // cfg.hop_length
        n_frames = -(-whole // stack) * stack
        missing = (n_frames - 1) * cfg.hop_length + 1 - audio.shape[1]
        audio = torch.nn.functional.pad(audio, (0, max(missing, 0)))
        check_reflected(audio, cfg)
        surplus = cfg.n_frames(audio.shape[1]) - n_frames  # frames that must not count for the maximum
        left, right = cfg.edges
        cfg = cfg.replace(padding=(left, right - surplus * cfg.hop_length))
        mel = tensor(features(audio, cfg, None, _device(audio, device))).transpose(1, 2)
        both = torch.cat((mel, compute_deltas(mel, win_length=extractor.delta_win_length)), dim=1).transpose(1, 2)
        return both.reshape(len(both), -1, stack * both.shape[2])


def _device(y: Any, device: Any) -> Any:
    """Return where Granite's calls compute: None is where the samples lie."""
    return getattr(y, "device", "cpu") if device is None else device


class Phi4(Wrapped):
    """Batches in which some frames past a shorter clip's end are silent, and others hold its last samples."""

    def _torch_extract_fbank_features(self, waveform: Any, audio_lengths: Any, device: Any = "cpu") -> Any:
        cfg = self._cfg
        out = tensor(features(waveform, cfg, None, device))
        lengths = np.asarray(audio_lengths)
        first = (lengths - cfg.frame_length) // cfg.hop_length + 1
        past = lengths // cfg.hop_length - 1
        shorter = np.flatnonzero(lengths != lengths.max())
        if (first[shorter] < 0).any():
            n = lengths[shorter].min()
            raise CumelError(f"a clip of {n} samples is too short for a batch: give it alone or pad it")
        for clip in shorter:
            out[clip, first[clip] : past[clip]] = cfg.levels.silence
        return out


class Gemma3n(Wrapped):
    """Clips with the mask of their samples."""

    def _extract_spectrogram(self, waveform: NDArray[Any], attention_mask: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        y = one_clip(np.squeeze(waveform, 0) if np.ndim(waveform) == 2 else waveform)
        short = y.size < self._cfg.least_samples
        mel = np.zeros((0, self._cfg.n_mels), np.float32) if short else features(y, self._cfg)
        return mel, self._heard(attention_mask, len(mel))

    def _heard(self, mask: NDArray[Any], n_frames: int) -> NDArray[Any]:
        """Tell of which frames the first sample is a clip's own."""
        return mask[:: self._cfg.hop_length][:n_frames].astype(bool)


class Gemma4(Gemma3n):
    """The same, with frames that are told by the sample after their last."""

    def _heard(self, mask: NDArray[Any], n_frames: int) -> NDArray[Any]:
        after = np.arange(n_frames) * self._cfg.hop_length + self._cfg.frame_length - self._cfg.edges[0]
        return mask[after].astype(bool)


class Clap(Wrapped):
    """One of two sets of filters, as clips are cut."""

    @classmethod
    def configs(cls, given: Configs) -> dict[str, FeatureConfig]:
        """Return both, as a call may ask for either."""
        return {kind: given.but(truncation=kind) for kind in ("fusion", "rand_trunc")}

    def _np_extract_fbank_features(self, waveform: NDArray[Any], mel_filters: Any = None) -> NDArray[np.float32]:
        extractor: Any = self
        fused = mel_filters is extractor.mel_filters
        if not fused and mel_filters is not extractor.mel_filters_slaney:
            raise CumelError("mel_filters: must be the extractor's own mel_filters or mel_filters_slaney")
        return features(one_clip(waveform), self._configs["fusion" if fused else "rand_trunc"])


class SpeechT5(Wrapped):
    """Targets, clip by clip."""

    def _extract_mel_features(self, one_waveform: NDArray[Any]) -> NDArray[np.float32]:
        return features(one_clip(one_waveform), self._cfg)


class UnivNet(Wrapped):
    """Clip by clip; the call may scale the result."""

    @classmethod
    def configs(cls, given: Configs) -> dict[str, FeatureConfig]:
        """Leave the scaling out."""
        return {"": given.but(do_normalize=False)}

    def mel_spectrogram(self, waveform: NDArray[Any]) -> NDArray[np.float32]:
        """Compute a clip [n_samples] -> [n_frames, n_mels]."""
        return of_frames(waveform, self._cfg)


class Clvp(Wrapped):
    """Clip by clip, bands first."""

    def _np_extract_fbank_features(self, waveform: NDArray[Any]) -> NDArray[np.float32]:
        return features(one_clip(waveform), self._cfg)


class Pop2Piano(Wrapped):
    """Bars of music, whose logarithm the call takes."""

    def mel_spectrogram(self, sequence: NDArray[Any]) -> NDArray[np.float32]:
        """Compute bars [n_bars, n_samples] -> [n_bars, n_mels, n_frames]."""
        return np.swapaxes(features(sequence, self._cfg), 1, 2)
