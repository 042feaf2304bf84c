"""The CPU path in C++: `fft.cuh` on vectors that hold 8 or 16 frames, NumPy in, NumPy out, without torch.

The shared library is optional: where it was not built, `available` is false and `reason` says why.

A clip's numbers depend neither on its batch mates, nor on the number of threads, nor on where the output lies. Samples
below 1e-38 count as zero. The instruction sets agree within rounding; CUMEL_CPU names one of them.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arrays import not_finite
from .config import FeatureConfig
from .cores import usable_cores
from .errors import CumelError, UnavailableError
from .filterbank import mel_rows
from .plan import RADICES, Stage, n_rows, scaled_window
from .rules import Normalize
from .tables import roots, twiddles

LIBRARY = Path(__file__).parent / "simd" / "native.so"
LIBRARY_VARIABLE = "CUMEL_CPU_LIBRARY"  # another file in place of LIBRARY
TARGET_VARIABLE = "CUMEL_CPU"  # an instruction set of TARGETS
TARGETS = ("avx512", "avx2", "baseline")
REMEDY = "there is none for Windows" if os.name == "nt" else "install with a C++ compiler (g++) on the PATH"
EXPONENT_BITS = 14  # bits of a factor that a float32 exponent multiplies exactly
PAD_MODES = ("constant", "reflect", "symmetric")  # in the order of plan.h
STATISTICS = (None, "band", "clip")


class _Plan(ctypes.Structure):
    _fields_ = (
        *((name, c_int64) for name in ("p", "l", "frame_length", "hop_length", "padding", "pad_mode", "dropped")),
        *((name, c_int64) for name in ("remove_dc", "int16", "stage", "magnitude", "n_bins", "n_rows", "n_twist")),
        *((name, c_int64) for name in ("logarithm", "statistics", "variance", "ddof", "eps_in_variance")),
        *((name, c_void_p) for name in ("window", "twist", "roots", "mel_first", "mel_offsets", "mel_weights")),
        *((name, c_void_p) for name in ("band_scale", "band_shift")),
        *((name, c_double) for name in ("clip_emphasis", "frame_emphasis", "bin_offset", "offset")),
        *((name, c_double) for name in ("octave_high", "octave_low", "natural", "least", "silence", "shift")),
        *((name, c_double) for name in ("span", "eps")),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("samples", "starts", "lengths", "n_frames")),
        *((name, c_int64) for name in ("n_clips", "width")),
        ("out", c_void_p),
        *((name, c_int64) for name in ("clip_stride", "row_stride", "frame_stride")),
        *((name, c_void_p) for name in ("image", "loudest")),
    )


class Clips(NamedTuple):
    """A batch of clips in one array, whose samples lie next to each other."""

    samples: NDArray[Any]  # float32 or int16, contiguous
    starts: NDArray[np.int64]  # [n_clips] where in it each begins
    lengths: NDArray[np.int64]  # [n_clips] samples
    longest: int  # samples that the features are wide for: of a row of a padded batch, else of the longest clip

    @classmethod
    def of(cls, y: NDArray[Any], lengths: NDArray[np.int64] | list[int] | None = None) -> Clips:
        """Take ``y`` [n_clips, n_samples], or with `lengths` [n]: clips one right after another.

        Raises
        ------
        CumelError
            For another dtype than float32 and int16, or another number of samples.
        """
        if y.dtype not in (np.float32, np.int16):
            raise CumelError(f"y has dtype {y.dtype}: give float32 in -1..1, or int16")
        samples = np.ascontiguousarray(y)
        if samples.ndim == 1:
            each = np.array([samples.size] if lengths is None else lengths, np.int64)
            if each.sum() != samples.size or each.min(initial=1) < 1:
                raise CumelError(f"lengths add up to {each.sum()}, but y has {samples.size} samples")
            return cls(samples, np.cumsum(each) - each, each, int(each.max(initial=0)))
        n_clips, longest = samples.shape
        each = np.full(n_clips, longest, np.int64) if lengths is None else np.array(lengths, np.int64)
        if each.shape != (n_clips,) or not ((each >= 1) & (each <= longest)).all():
            raise CumelError(f"lengths: give {n_clips} numbers of samples between 1 and {longest}")
        return cls(samples, np.arange(n_clips, dtype=np.int64) * longest, each, longest)


class _Loaded(NamedTuple):
    library: ctypes.CDLL | None
    reason: str


@lru_cache(maxsize=1)
def _load() -> _Loaded:
    path = Path(os.environ.get(LIBRARY_VARIABLE, LIBRARY))
    if not path.exists():
        return _Loaded(None, f"{path.name} was not built: {REMEDY}")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return _Loaded(None, f"{path.name} does not load: {' '.join(str(error).split())}")
    library.cumel_target.argtypes, library.cumel_target.restype = (c_char_p,), c_char_p
    library.cumel_compute.argtypes = (POINTER(_Plan), POINTER(_Batch), c_char_p, c_int)
    wanted = _wanted()
    if library.cumel_target(wanted.encode()) is None:
        return _Loaded(None, f"{TARGET_VARIABLE}={wanted}: not of this machine; there are {', '.join(TARGETS)}")
    return _Loaded(library, "")


def _wanted() -> str:
    return os.environ.get(TARGET_VARIABLE, "")


def available() -> bool:
    """Tell whether this path computes; `reason` says why not."""
    return _load().library is not None


def reason() -> str:
    """Say why this path is not there; nothing when it is."""
    return _load().reason


def target() -> str:
    """Name the instruction set that computes, one of `TARGETS`.

    Raises
    ------
    UnavailableError
        Without the library.
    """
    return _library().cumel_target(_wanted().encode()).decode()


def computes(cfg: FeatureConfig) -> bool:
    """Tell whether this path computes a config: it is there, and has a plan for its n_fft."""
    return cfg.n_fft in RADICES and available()


def _library() -> ctypes.CDLL:
    library, why = _load()
    if library is None:
        raise UnavailableError(f"the CPU path in C++ is not there: {why}")
    return library


@lru_cache(maxsize=64)
def _plan(cfg: FeatureConfig, stage: Stage, *, int16: bool) -> tuple[_Plan, tuple[np.ndarray, ...]]:
    """Return the plan of a config, and the arrays that it points to."""
    p, lanes = RADICES[cfg.n_fft]
    window = 0.5 * scaled_window(cfg, int16=int16).reshape(p, lanes, 2).transpose(1, 0, 2)
    turns = twiddles(p, lanes).transpose(0, 2, 1, 3)  # [P / L, L, n_twist, 2], flat: by q = j + L i
    first, offsets, weights, n_bins = np.zeros(1), np.zeros(2), np.zeros(1), cfg.n_bins
    if stage >= Stage.MEL:
        rows = mel_rows(cfg)
        first, offsets, weights, n_bins = rows.first, rows.offsets, rows.weights, rows.last_bin
    std = np.broadcast_to(cfg.std if cfg.is_per_band else 1.0, cfg.n_mels)
    arrays = tuple(
        np.ascontiguousarray(values, kind)
        for values, kind in (
            (window, np.float32),
            (turns, np.float32),
            (roots(p * lanes // 2, cfg.n_fft), np.float32),
            (first, np.int32),
            (offsets, np.int32),
            (weights, np.float32),
            (1.0 / std, np.float64),
            (np.asarray(cfg.mean if cfg.is_per_band else 0.0) / std, np.float64),
        )
    )
    pointers = [array.ctypes.data for array in arrays]
    by, of_frame = cfg.normalize or Normalize(), cfg.preemphasis_of == "frame"
    plan = _Plan(
        *(p, lanes, cfg.frame_length, cfg.hop_length, cfg.edges[0], PAD_MODES.index(cfg.pad_mode), cfg.n_dropped),
        *(cfg.remove_dc, int16, stage, cfg.power == 1, n_bins, n_rows(cfg, stage), turns.shape[2]),
        *(cfg.levels.log, STATISTICS.index(cfg.normalize and by.per), by.variance, by.ddof, by.eps_in == "var"),
        *(pointers if cfg.is_per_band else [*pointers[:-2], None, None]),
        *((0.0, cfg.preemphasis) if of_frame else (cfg.preemphasis, 0.0)),
        *(cfg.bin_offset, *_levels(cfg), by.eps),
    )
    return plan, arrays


def _levels(cfg: FeatureConfig) -> tuple[float, ...]:
    """Return what a plan says of levels, from `offset` to `span`."""
    levels = cfg.levels
    octave = levels.gain * math.log10(2.0)
    step = 2.0 ** (math.frexp(octave)[1] - EXPONENT_BITS)
    high = round(octave / step) * step
    # A value of `offset` is that of no signal at all, so whatever is above it is told from silence.
    least = levels.least if levels.offset < levels.least else float(np.nextafter(np.float32(levels.offset), np.inf))
    return (
        *(levels.offset, high, octave - high, levels.gain / math.log(10.0) if levels.log else levels.gain),
        *(least, levels.silence + levels.shift, levels.shift, levels.span),
    )


def default_threads() -> int:
    """Return how many threads compute: as many as torch may use where it is loaded, else OMP_NUM_THREADS or all cores.

    That way `torch.set_num_threads` and the variable hold for this path too. There are never more than `usable_cores`.
    """
    cores, torch = usable_cores(), sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return min(torch.get_num_threads(), cores)
    named = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(named), cores) if named.isdecimal() and int(named) else cores


def compute(
    clips: Clips,
    cfg: FeatureConfig,
    stage: Stage,
    out: NDArray[Any] | None = None,
    *,
    image: NDArray[np.uint8] | None = None,
    threads: int | None = None,
) -> NDArray[Any]:
    """Compute a batch up to `stage`.

    Parameters
    ----------
    clips : Clips
    cfg : FeatureConfig
        With an n_fft of `plan.RADICES`.
    stage : Stage
        SPECTRUM gives the complex STFT, STRENGTH magnitude or power, MEL the mel spectrogram, DECIBEL `log_mel`.
    out : ndarray [n_clips, n_rows, n_frames], optional
        Where the result goes, with strides of whole values; complex64 for SPECTRUM, else float32.
    image : ndarray [n_clips, n_mels, n_frames], uint8, optional
        Where the mel image goes as well, contiguous; of a config in `decibels`.
    threads : int, optional
        How many compute; `default_threads` when absent. The numbers do not depend on it.

    Returns
    -------
    ndarray [n_clips, n_rows, n_frames]
        `out`. Frames past a clip's end are 0, or in DECIBEL read as silence: at the clip's floor, or 0 with
        `cfg.normalize`.

    Raises
    ------
    InputError
        For a clip with NaN or infinity in it, where decibels are asked for.
    UnavailableError
        Without the library.
    """
    library = _library()
    int16 = clips.samples.dtype == np.int16
    n_clips, width = len(clips.lengths), cfg.n_frames(clips.longest)
    kind = np.dtype(np.complex64 if stage == Stage.SPECTRUM else np.float32)
    shape = (n_clips, n_rows(cfg, stage), width)
    out = np.empty(shape, kind) if out is None else out
    strides = [n_bytes // kind.itemsize for n_bytes in out.strides]
    if out.shape != shape or out.dtype != kind or any(n_bytes % kind.itemsize for n_bytes in out.strides):
        raise CumelError(f"out has shape {out.shape} and dtype {out.dtype}: must be {shape} and {kind}")
    if image is not None and (image.shape != shape or image.dtype != np.uint8 or not image.flags.c_contiguous):
        raise CumelError(f"image has shape {image.shape} and dtype {image.dtype}: must be {shape}, uint8, contiguous")
    if not out.size:
        return out
    plan, _arrays = _plan(cfg, stage, int16=int16)
    n_frames = np.array([cfg.n_frames(n) for n in clips.lengths.tolist()], np.int64)
    loudest = np.zeros(n_clips, np.float32)
    batch = _Batch(
        *(array.ctypes.data for array in (clips.samples, clips.starts, clips.lengths, n_frames)),
        *(n_clips, width, out.ctypes.data, *strides),
        *(None if image is None else image.ctypes.data, loudest.ctypes.data),
    )
    status = library.cumel_compute(byref(plan), byref(batch), _wanted().encode(), threads or default_threads())
    if status:
        raise MemoryError("the CPU path in C++ found no memory to compute in")
    if stage == Stage.DECIBEL and not np.isfinite(loudest).all():
        clip = int((~np.isfinite(loudest)).argmax())
        raise not_finite(clip, n_clips)
    return out
