"""The CUDA path: the kernels of `plan` on clips in device memory, through a launcher with a GPU or emulator behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, log10
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from . import plan
from .checks import check_finite
from .config import FeatureConfig
from .errors import CumelError
from .plan import CLIP, Form, Grid, Kernel, Stage
from .tensors import dct_weights

SCRATCH_BYTES = 64 * 2**20  # of frames that wait for cuFFT, and about as much of spectra
LEAST_NORMAL = float(np.finfo(np.float32).tiny)  # what is less counts as zero: CuPy compiles with -ftz=true
FORMS = {torch.float32: Form.FLOAT, torch.float16: Form.HALF, torch.uint8: Form.IMAGE}

Argument = Tensor | np.generic | None


class Launcher(Protocol):
    """What runs kernels."""

    def launch(self, kernel: Kernel, grid: Grid, arguments: Sequence[Argument]) -> None:
        """Start a kernel; tensors go as pointers, NumPy scalars by value, None as a null pointer."""
        ...

    @property
    def stream(self) -> int:
        """Return what tells the current stream from others: what is uploaded on one is not there yet for another."""
        ...

    def keep(self, *tensors: Tensor) -> None:
        """Hold on to cached tensors, if a CUDA graph is being captured that will read them again."""
        ...

    def workspace(self, n_clips: int) -> tuple[Tensor, Tensor]:
        """Return int32 zeros [n_clips, 2] and [n_clips], which every launch leaves zero."""
        ...


class Clips(NamedTuple):
    """Clips that lie in one tensor, padded or one right after another; or one piece of one clip."""

    samples: Tensor  # [n], float32 or int16
    starts: tuple[int, ...]  # of each clip's sample 0; negative when only a later piece of the clip lies there
    lengths: tuple[int, ...]  # samples of each whole clip
    width: int  # frames of every row of the features
    first_frame: int = 0  # of the piece
    number: int = 0  # of the first clip, in the user's batch
    of_clips: int | None = None  # in that batch; None: these

    @classmethod
    def of(cls, clips: Tensor, n_samples: list[int], cfg: FeatureConfig) -> Clips:
        """Describe clips ``[n_clips, n_samples]``, or ``[n]`` one right after another."""
        if clips.dim() == 1:
            starts, longest = np.cumsum([0, *n_samples[:-1]]).tolist(), max(n_samples)
        else:
            starts, longest = range(0, clips.numel(), clips.shape[1]), clips.shape[1]
        return cls(clips.reshape(-1), tuple(starts), tuple(n_samples), cfg.n_frames(longest))


@dataclass(frozen=True)
class Frontend:
    """The features of `cpu`, for clips on the launcher's device.

    Nothing waits for the device, but for `mel_image`, which refuses clips that hold NaN or infinity; in the other
    features these appear as NaN.
    """

    launcher: Launcher

    def stft(self, clips: Clips, cfg: FeatureConfig) -> Tensor:
        """Compute complex64 [n_clips, n_bins, n_frames]."""
        return compute(self.launcher, clips, cfg, Stage.SPECTRUM)

    def spectrogram(self, clips: Clips, cfg: FeatureConfig) -> Tensor:
        """Compute magnitude or power [n_clips, n_bins, n_frames]."""
        return compute(self.launcher, clips, cfg, Stage.STRENGTH)

    def melspectrogram(self, clips: Clips, cfg: FeatureConfig) -> Tensor:
        """Compute [n_clips, n_mels, n_frames]."""
        return compute(self.launcher, clips, cfg, Stage.MEL)

    def log_mel(self, clips: Clips, cfg: FeatureConfig, dtype: torch.dtype = torch.float32) -> Tensor:
        """Compute [n_clips, n_mels, n_frames] in dB, as float32 or float16."""
        return compute(self.launcher, clips, cfg, Stage.DECIBEL, dtype)

    def mel_image(self, clips: Clips, cfg: FeatureConfig) -> Tensor:
        """Compute uint8 [n_clips, n_mels, n_frames]."""
        return compute(self.launcher, clips, cfg, Stage.DECIBEL, torch.uint8)

    def mfcc(self, clips: Clips, cfg: FeatureConfig) -> Tensor:
        """Compute [n_clips, n_mfcc, n_frames]."""
        return self.cepstra(self.log_mel(clips, cfg), cfg)

    def cepstra(self, log_mel: Tensor, cfg: FeatureConfig) -> Tensor:
        """Compute [n_clips, n_mfcc, n_frames] of [n_clips, n_mels, n_frames]."""
        n_clips, n_mels, n_frames = log_mel.shape
        dct = dct_weights(cfg, log_mel.device)
        out = log_mel.new_empty(n_clips, cfg.n_mfcc, n_frames)
        sizes = map(np.int32, (n_mels, cfg.n_mfcc, n_frames))
        self.launcher.keep(dct)
        self.launcher.launch(*plan.mfcc(n_clips, n_frames), (log_mel.contiguous(), dct, *sizes, out))
        return out


def compute(
    launcher: Launcher, clips: Clips, cfg: FeatureConfig, stage: Stage, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Compute features [n_clips, n_rows, n_frames]; `dtype` says in what a log-mel spectrogram comes.

    Past a clip's end a row holds 0, or silence in decibels.
    """
    device, int16, form = clips.samples.device, clips.samples.dtype == torch.int16, FORMS[dtype]
    n_clips, rows = len(clips.lengths), plan.n_rows(cfg, stage)
    shape = (n_clips, rows, clips.width)
    out = torch.empty(shape, dtype=torch.complex64 if stage == Stage.SPECTRUM else torch.float32, device=device)
    final = None if form == Form.FLOAT else torch.empty(shape, dtype=dtype, device=device)
    loudest = torch.empty(n_clips, device=device) if form == Form.IMAGE else None
    needs_workspace = stage == Stage.DECIBEL and (final is not None or cfg.top_db is not None)
    peaks, tickets = launcher.workspace(n_clips) if needs_workspace else (None, None)
    levels = (
        cfg.db_per_decade * log10(2.0),  # of a factor of two
        max(cfg.least, LEAST_NORMAL),
        cfg.db_of_ref,
        inf if cfg.top_db is None else cfg.top_db,
    )
    epilogue = (out, *map(np.float32, levels), peaks, tickets, final, loudest)
    placing = (np.int64(cfg.hop_length), np.int32(cfg.pad_mode == "reflect"))
    fused = plan.fused(cfg, stage, form, int16=int16)
    if fused is not None:
        frames = fused.frames(n_clips * clips.width)
        layout, blocks = _layout(clips[1:5], cfg, rows, frames, 1, device, launcher.stream)
        tables = _tables(fused, device, launcher.stream)
        launcher.keep(layout, blocks, *tables)
        sizes = (np.int32(rows), np.int32(frames.bit_length() - 1))
        arguments = (clips.samples, layout, blocks, *placing, *tables, *sizes, *epilogue)
        launcher.launch(fused.kernel, fused.grid(len(blocks)), arguments)
    else:
        generic = plan.generic(cfg, stage, form, int16=int16)
        frames = generic.frames(SCRATCH_BYTES)
        layout, blocks = _layout(clips[1:5], cfg, rows, frames, generic.n_tiles, device, launcher.stream)
        window, *filters = _tables(generic, device, launcher.stream)
        launcher.keep(layout, blocks, window, *filters)
        log_frames = np.int32(frames.bit_length() - 1)
        for some in blocks.split(max(1, SCRATCH_BYTES // (4 * cfg.n_fft * frames))):
            cut, features = generic.grids(len(some), frames)
            waiting = torch.empty(len(some) * frames, cfg.n_fft, device=device)
            arguments = (clips.samples, layout, some, *placing, window, np.int32(cfg.n_fft), log_frames, waiting)
            launcher.launch(generic.cut, cut, arguments)
            spectra = torch.fft.rfft(waiting)  # cuFFT
            arguments = (spectra, layout, some, np.int32(cfg.n_bins), *filters, np.int32(rows), log_frames, *epilogue)
            launcher.launch(generic.features, features, arguments)
    if loudest is not None:
        check_finite(loudest, clips.number, clips.of_clips)
    return out if final is None else final


@lru_cache(maxsize=64)
def _tables(design: plan.Fused | plan.Generic, device: torch.device, stream: int) -> tuple[Tensor, ...]:  # noqa: ARG001
    """Return a plan's tables; of each stream its own, since others do not wait for the upload, or for the last use."""
    return tuple(_upload(table, device) for table in design.tables)


@lru_cache(maxsize=64)
def _layout(
    place: tuple[tuple[int, ...], tuple[int, ...], int, int],
    cfg: FeatureConfig,
    rows: int,
    frames: int,
    shares: int,
    device: torch.device,
    stream: int,  # noqa: ARG001
) -> tuple[Tensor, Tensor]:
    """Return the clips as bytes, and the work list, each of whose entries is for `shares` blocks."""
    starts, lengths, width, first_frame = place
    table = np.zeros(len(starts), CLIP)
    table["start"], table["n_samples"], table["width"] = starts, lengths, width
    table["first"] = first_frame * cfg.hop_length - cfg.padding
    table["out"] = np.arange(len(starts)) * rows * width
    table["n_frames"] = np.clip([cfg.n_frames(n) - first_frame for n in lengths], 0, width)
    table["n_blocks"] = -(-width // frames) * shares
    blocks = plan.work(len(starts), width, frames)
    return _upload(table.view(np.uint8), device), _upload(blocks, device)


def _upload(array: np.ndarray, device: torch.device) -> Tensor:
    host = torch.from_numpy(np.array(array))  # plans are shared, and read-only
    if device.type != "cuda":
        return host
    if torch.cuda.is_current_stream_capturing():
        raise CumelError("a CUDA graph is being captured: compute these shapes once before, on the same stream")
    return host.pin_memory().to(device, non_blocking=True)
