"""The CUDA path: the kernels of `plan` on clips in device memory, through a launcher for a GPU or an emulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, log10
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import plan
from .batch import Clips
from .config import FeatureConfig
from .errors import CumelError, InputError
from .interchange import check_finite, clip_lengths
from .plan import Form, Grid, Kernel, Stage
from .rules import Normalize
from .tensors import dct_weights, resident, wanted

SCRATCH_BYTES = 64 * 2**20  # frames that wait for cuFFT; their spectra take about as much
LEAST_NORMAL = float(np.finfo(np.float32).tiny)  # Smaller values count as zero: CuPy compiles with -ftz=true.
FORMS = {torch.float32: Form.FLOAT, torch.float16: Form.HALF, torch.uint8: Form.IMAGE}

Argument = Tensor | np.generic | None


class Launcher(Protocol):
    """What runs kernels."""

    def launch(self, kernel: Kernel, grid: Grid, arguments: Sequence[Argument]) -> None:
        """Start a kernel; tensors go as pointers, NumPy scalars by value, None as a null pointer."""
        ...

    def keep(self, *tensors: Tensor) -> None:
        """Hold on to cached tensors while a CUDA graph is captured, whose replays will read them."""
        ...

    def workspace(self, n_clips: int) -> tuple[Tensor, Tensor]:
        """Return int32 zeros [n_clips, 2] and [n_clips] for one launch. The kernel resets them before it ends."""
        ...


@dataclass(frozen=True)
class Frontend:
    """The features of `cpu`, for clips on the launcher's device.

    Only `mel_image` waits for the device, to refuse clips that hold NaN or infinity, or whose length on the device is
    out of range. The other features are NaN for such a clip.
    """

    launcher: Launcher

    def stft(
        self, clips: Clips, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Compute complex64 [n_clips, n_bins, n_frames]."""
        return wanted(compute(self.launcher, clips, cfg, Stage.SPECTRUM)[0], out, dtype)

    def spectrogram(
        self, clips: Clips, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Compute magnitude or power [n_clips, n_bins, n_frames]."""
        return wanted(compute(self.launcher, clips, cfg, Stage.STRENGTH)[0], out, dtype)

    def melspectrogram(
        self, clips: Clips, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Compute [n_clips, n_mels, n_frames]."""
        return wanted(compute(self.launcher, clips, cfg, Stage.MEL)[0], out, dtype)

    def log_mel(
        self, clips: Clips, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Compute [n_clips, n_mels, n_frames] with all that `cfg` does to mel values, as float32 or float16."""
        return wanted(compute(self.launcher, clips, cfg, Stage.DECIBEL, dtype or torch.float32)[0], out, None)

    def mel_image(
        self, clips: Clips, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Compute uint8 [n_clips, n_mels, n_frames]; waits for the device, to refuse NaN and infinity."""
        images, loudest = self.unchecked_image(clips, cfg)
        try:
            check_finite(loudest, clips.number, clips.of_clips)
        except InputError:
            if isinstance(clips.lengths, Tensor):  # perhaps a length is wrong
                clip_lengths(clips.lengths.cpu(), clips.samples.reshape(clips.n_clips, -1), cfg)
            raise
        return wanted(images, out, dtype)

    def unchecked_image(self, clips: Clips, cfg: FeatureConfig) -> tuple[Tensor, Tensor]:
        """Compute `mel_image` and each clip's largest mel value [n_clips], not finite where `mel_image` refuses."""
        out, loudest = compute(self.launcher, clips, _decibels(cfg), Stage.DECIBEL, torch.uint8)
        assert loudest is not None
        return out, loudest

    def mfcc(
        self, clips: Clips, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Compute [n_clips, n_mfcc, n_frames]."""
        return wanted(self.cepstra(self.log_mel(clips, cfg), cfg), out, dtype)

    def cepstra(self, log_mel: Tensor, cfg: FeatureConfig) -> Tensor:
        """Compute [n_clips, n_mfcc, n_frames] of [n_clips, n_mels, n_frames]."""
        n_clips, n_mels, n_frames = log_mel.shape
        dct = dct_weights(cfg, log_mel.device)
        out = log_mel.new_empty(n_clips, cfg.n_mfcc, n_frames)
        sizes = map(np.int32, (n_mels, cfg.n_mfcc, n_frames))
        self.launcher.keep(dct)
        self.launcher.launch(*plan.mfcc(n_clips, n_frames), (log_mel.contiguous(), dct, *sizes, out))
        return out


@cache
def _decibels(cfg: FeatureConfig) -> FeatureConfig:
    """Return the config of an image's decibels; that takes longer than a launch."""
    return cfg.decibels


class _Prepared(NamedTuple):
    """What all calls with a config have in common."""

    design: plan.Fused | plan.Generic
    tables: tuple[Tensor, ...]  # on the device
    steps: tuple[np.generic, ...]  # `hop_length`, `beyond` and `least` of Batch in common.cuh
    reflect: np.int32
    levels: tuple[np.float32, ...]  # Levels of epilogue.cuh
    after: tuple[Argument, ...]  # of `statistics`, from `bands` on; empty when nothing follows the levels


@cache
def _prepared(cfg: FeatureConfig, stage: Stage, form: Form, int16: bool, device: torch.device) -> _Prepared:
    """Plan a config's kernels and bring their tables to the device, once for all streams and shapes.

    They stay: memory that was dropped could be written to while another stream still reads it.
    """
    design = plan.fused(cfg, stage, form, int16=int16) or plan.generic(cfg, stage, form, int16=int16)
    levels = cfg.levels
    numbers = (
        levels.gain * (log10(2.0) if levels.log else 1.0),  # levels of a factor of two
        max(levels.least, LEAST_NORMAL) if levels.log else levels.least,
        levels.shift,
        levels.span,
    )
    beyond = cfg.frame_length - cfg.edges[1]
    after: tuple[Argument, ...] = ()
    if stage == Stage.DECIBEL and cfg.is_per_band:
        by = cfg.normalize or Normalize()
        after = (resident(plan.bands(cfg), device), np.int32(cfg.n_mels), np.int32(by.ddof), *plan.eps(by))
    return _Prepared(
        design=design,
        tables=tuple(resident(table, device) for table in design.tables),
        steps=(np.uint32(cfg.hop_length), np.int64(beyond), np.int64(cfg.least_samples)),
        reflect=np.int32(cfg.pad_mode != "constant"),
        levels=tuple(map(np.float32, numbers)),
        after=after,
    )


def compute(
    launcher: Launcher, clips: Clips, cfg: FeatureConfig, stage: Stage, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor | None]:
    """Compute features with the kernels.

    Parameters
    ----------
    launcher : Launcher
    clips : Clips
    cfg : FeatureConfig
    stage : Stage
        Where the kernels stop.
    dtype : torch.dtype
        float32; for decibels also float16, or uint8 for an image.

    Returns
    -------
    features : Tensor [n_clips, n_rows, n_frames]
        Past a clip's end a row holds 0, or silence in decibels, or 0 after statistics.
    loudest : Tensor [n_clips], float32, or None
        With an image, each clip's largest mel value: not finite where the samples were not.
    """
    device, form = clips.samples.device, FORMS[dtype]
    more = stage == Stage.DECIBEL and cfg.is_per_band
    levels_form = Form.FLOAT if more else form  # What follows gives the levels their form.
    prepared = _prepared(cfg, stage, levels_form, clips.samples.dtype == torch.int16, device)
    design, n_clips = prepared.design, clips.n_clips
    shape, n_values = (n_clips, design.n_rows, clips.width), design.n_rows * clips.width
    out = torch.empty(shape, dtype=torch.complex64 if stage == Stage.SPECTRUM else torch.float32, device=device)
    final = None if form == Form.FLOAT else torch.empty(shape, dtype=dtype, device=device)
    levels_final = None if more else final
    loudest = torch.empty(n_clips, device=device) if form == Form.IMAGE else None
    peaks = tickets = None
    lifted = stage == Stage.DECIBEL and (levels_final is not None or prepared.levels[-1] < inf)
    if lifted and isinstance(design, plan.Fused) and not plan.needs_finish(n_clips, n_values):
        peaks, tickets = launcher.workspace(n_clips)
    elif lifted:  # Several launches share these peaks: they belong to this call alone.
        peaks = torch.zeros(n_clips, 2, dtype=torch.int32, device=device)
    launcher.keep(*prepared.tables)
    frames = design.frames(n_clips * clips.width) if isinstance(design, plan.Fused) else design.frames(SCRATCH_BYTES)
    batch = _batch(clips, prepared, cfg, frames)
    if isinstance(design, plan.Fused):
        sizes = (np.int32(design.n_rows), np.int32(frames.bit_length() - 1))
        last = (out, *prepared.levels, peaks, tickets, levels_final, loudest)
        arguments = (clips.samples, *batch, prepared.reflect, *prepared.tables, *sizes, *last)
        launcher.launch(design.kernel, design.grid(n_clips, clips.width, frames), arguments)
    else:
        _around_cufft(launcher, clips, cfg, prepared, design, frames, batch, (out, *prepared.levels, peaks))
    if lifted and tickets is None:
        kernel, grid = plan.finish(cfg, n_clips, n_values, levels_form)
        shares = (np.int64(n_values), np.int32(plan.SHARE), np.int32(grid.blocks // n_clips))
        launcher.launch(kernel, grid, (out, *shares, *prepared.levels, peaks, levels_final, loudest))
    if more:
        launcher.keep(*(each for each in prepared.after if isinstance(each, Tensor)))
        target = out if final is None else final
        launcher.launch(*plan.statistics(cfg, n_clips, form), (*batch, *prepared.after, out, target))
    return out if final is None else final, loudest


def _around_cufft(
    launcher: Launcher,
    clips: Clips,
    cfg: FeatureConfig,
    prepared: _Prepared,
    design: plan.Generic,
    frames: int,
    batch: tuple[Argument, ...],
    last: tuple[Argument, ...],
) -> None:
    """Compute the features up to decibels, as many blocks at a time as have room in the scratch memory."""
    (window, *filters), log_frames = prepared.tables, np.int32(frames.bit_length() - 1)
    lengths = np.int32(cfg.n_fft), np.int32(cfg.frame_length)
    shape = (np.int32(cfg.n_bins), *filters, np.int32(design.n_rows))
    n_blocks = clips.n_clips * -(-clips.width // frames)
    most = max(1, SCRATCH_BYTES // (4 * cfg.n_fft * frames))
    for first in range(0, n_blocks, most):
        some = min(most, n_blocks - first)
        cut, features = design.grids(some, frames)
        room = min(most, 1 << (some - 1).bit_length())  # cuFFT makes a plan for each size: few sizes, few plans
        framed = torch.empty(room * frames, cfg.n_fft, device=clips.samples.device)
        place = (log_frames, np.uint32(first))
        arguments = (clips.samples, *batch, prepared.reflect, window, *lengths, *place, framed)
        launcher.launch(design.cut, cut, arguments)
        spectra = torch.fft.rfft(framed)  # cuFFT
        launcher.launch(design.features, features, (spectra, *batch, *shape, *place, *last))


def _batch(clips: Clips, prepared: _Prepared, cfg: FeatureConfig, frames: int) -> tuple[Argument, ...]:
    """Return the arguments of Batch in common.cuh; starts and lengths in host memory are uploaded in one copy."""
    on_host = [array for array in (clips.starts, clips.lengths) if isinstance(array, np.ndarray)]
    table = np.stack(on_host) if len(on_host) > 1 else on_host[0][None] if on_host else None
    uploaded = [] if table is None else list(_upload(table, clips.samples.device))
    starts = uploaded.pop(0) if clips.starts is not None else None
    lengths = uploaded[0] if uploaded else clips.lengths
    assert not isinstance(lengths, np.ndarray)
    stride = clips.stride if clips.n_clips > 1 and starts is None else 0
    first = clips.first_frame * cfg.hop_length - cfg.edges[0]
    n_blocks = -(-clips.width // frames)
    return (
        starts,
        lengths,
        np.int64(clips.start),
        np.uint32(stride),
        np.int64(clips.n_samples),
        np.int64(first),
        *prepared.steps,
        np.int32(clips.width),
        np.int32(n_blocks),
        np.uint32((2**32 - 1) // n_blocks),
    )


def _upload(array: NDArray[np.int64], device: torch.device) -> Tensor:
    if device.type != "cuda":
        return torch.from_numpy(array)
    if torch.cuda.is_current_stream_capturing():
        raise CumelError(f"a CUDA graph is being captured, without host memory: give lengths as a tensor on {device}")
    return torch.from_numpy(array).pin_memory().to(device, non_blocking=True)
