"""What a wrapped extractor of NeMo's family computes itself."""

from __future__ import annotations

from typing import Any

from ..kernels import FeatureConfig, log_mel
from .computing import Configs, Wrapped, features, tensor


class Nemo(Wrapped):
    """Batches that the call has pre-emphasised and takes the statistics of."""

    @classmethod
    def configs(cls, given: Configs) -> dict[str, FeatureConfig]:
        """Leave to the call what it does, and give it the last frame, which it sets to 0."""
        cfg = given.cfg
        edge = cfg.edges[0]
        return {"clip": cfg, "": cfg.replace(preemphasis=0.0, normalize=None, padding=(edge, edge))}

    def _torch_extract_fbank_features(self, waveform: Any, device: Any = "cpu", center: bool = True) -> Any:
        cfg = self._cfg if center else self._cfg.replace(padding=(0, 0))
        return tensor(features(waveform, cfg, None, device))


class Parakeet(Nemo):
    """Whole clips, with their statistics."""

    def __call__(
        self,
        raw_speech: Any,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: Any = None,
        return_attention_mask: bool | None = None,
        padding: Any = "longest",
        max_length: int | None = None,
        sampling_rate: int | None = None,
        do_normalize: bool | None = None,
        device: Any = "cpu",
        return_token_timestamps: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Compute clips as the original does, in one batch."""
        import torch
        from transformers import BatchFeature

        cfg = self._configs["clip"]
        clips = _clips(raw_speech)
        original: Any = super()
        if truncation or clips is None or sampling_rate != cfg.sr or min(map(len, clips)) < 2 * cfg.hop_length:
            # What is rare is left to the original: errors, warnings, channels, and the statistics of a truncated clip,
            # which it divides by the frames that the whole clip had.
            return original.__call__(
                raw_speech,
                truncation=truncation,
                pad_to_multiple_of=pad_to_multiple_of,
                return_tensors=return_tensors,
                return_attention_mask=return_attention_mask,
                padding=padding,
                max_length=max_length,
                sampling_rate=sampling_rate,
                do_normalize=do_normalize,
                device=device,
                return_token_timestamps=return_token_timestamps,
                **kwargs,
            )
        lengths = [len(clip) for clip in clips]
        extractor: Any = self
        padded = extractor.pad(
            BatchFeature({"input_features": [clip[:, None] for clip in clips]}),
            padding=padding,
            max_length=max_length,
            truncation=False,
            pad_to_multiple_of=pad_to_multiple_of,
            return_tensors="pt",
        ).input_features.squeeze(-1)
        n_frames = padded.shape[1] // cfg.hop_length
        out = torch.zeros((len(clips), n_frames + 1, cfg.n_mels), device=device)
        if out.is_cpu:
            log_mel(padded.numpy(), cfg, lengths, out=out[:, :n_frames].numpy())
        else:
            log_mel(padded.to(device), cfg, lengths, out=out[:, :n_frames])
        own = torch.tensor(lengths, device=device) // cfg.hop_length
        mask = torch.arange(n_frames + 1, device=device) < own[:, None]
        return BatchFeature({"input_features": out, "attention_mask": mask}, tensor_type=return_tensors)


def _clips(raw_speech: Any) -> list[Any] | None:
    """Return the clips as tensors [n_samples] of float32; None for what the original has to look at."""
    import torch

    many = isinstance(raw_speech, list | tuple) or getattr(raw_speech, "ndim", 1) == 2
    given: list[Any] = list(raw_speech) if many else [raw_speech]
    if not given or any(not hasattr(clip, "ndim") or clip.ndim != 1 for clip in given):
        return None
    return [(clip if isinstance(clip, torch.Tensor) else torch.tensor(clip)).to("cpu", torch.float32) for clip in given]
