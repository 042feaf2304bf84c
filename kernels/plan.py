"""Everything about a launch but the call: the kernel and its constants, its grid, shared memory and tables.

Nothing here needs a GPU: the launcher in `cuda` and the emulator in the tests run the same plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import constants, tables
from .config import INT16_SCALE, FeatureConfig
from .constants import Form, Stage
from .filterbank import mel_rows, window
from .rules import Normalize
from .tables import Mel

# n_fft = 2 P L: P points in registers of each of the L lanes of a frame, where L divides P and is at most 32.
RADICES = {256: (16, 8), 400: (20, 10), 512: (32, 8), 1024: (32, 16), 2048: (32, 32), 4096: (64, 32)}
# Blocks that fit on a multiprocessor at least. With 3 a thread has 168 registers; with 4 it has 128, and some spill.
MIN_BLOCKS = {512: 3, 1024: 3}
DEFAULT_MIN_BLOCKS = 4  # 128 registers; 255 for blocks of fewer warps
WARP = 32
WARPS = 4  # warps of a block, where they fit
SHARED_LIMIT = 64 * 1024  # bytes of shared memory that a block may have on every device since Turing
# The first bytes of shared memory: the flags through which a block's threads agree who finishes the clip.
BOARD_BYTES = 16
MOST_FRAMES = 16  # frames of a block, at most
FEW_BLOCKS = 1024  # Below this, blocks take fewer frames, so that more of them share the device. Two waves of an H200.
# A clip's last block makes its features final at about 47 GB/s (an estimate), while others keep the device busy. With
# fewer clips than an H200 has multiprocessors, and more bytes than it moves in 6 us, a second launch is sooner.
FEW_CLIPS = 132
ONE_BLOCK_BYTES = 256 * 1024
SHARE = 16384  # values that a block of the second launch makes final
SUMS_BYTES = 8 * WARPS  # shared memory of a sum over a block


@dataclass(frozen=True)
class Kernel:
    """One CUDA function: its source file, its name there, and the constants that it is compiled with."""

    source: str
    entry: str
    constants: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """Return the whole source; headers are joined in front, since CuPy's cache does not look into them."""
        files = ["common.cuh", "fft.cuh", "sums.cuh", "epilogue.cuh", self.source]
        lines = [f"#define {name} {value}" for name, value in self.constants]
        return "\n".join([*lines, *((Path(__file__).parent / name).read_text(encoding="utf-8") for name in files)])


class Grid(NamedTuple):
    """How many blocks of how many threads, with how many bytes of dynamic shared memory."""

    blocks: int
    threads: int
    shared: int


@dataclass(frozen=True, eq=False)
class Fused:
    """The launch of a config whose n_fft is in `RADICES`."""

    kernel: Kernel
    warps: int
    shared: int  # bytes
    region: int  # bytes of shared memory that one frame exchanges
    least_frames: int  # frames of a block: a power of two
    most_frames: int
    n_rows: int
    window: NDArray[np.float32]  # [n_fft]
    twiddles: NDArray[np.float32]  # [P / L, n_twiddles, L, 2] cosine and tangent
    roots: NDArray[np.float32]  # [n, 2] exp(-2 pi i k / n_fft)
    mel: Mel

    @property
    def tables(self) -> tuple[np.ndarray, ...]:
        """Arrays in the order of the kernel's arguments."""
        return self.window, self.twiddles, self.roots, self.mel.first, self.mel.weights

    def frames(self, n_frames: int) -> int:
        """Frames of a block, for so many in a batch."""
        frames = self.most_frames
        while frames > self.least_frames and n_frames < FEW_BLOCKS * frames:
            frames //= 2
        return frames

    def grid(self, n_clips: int, width: int, frames: int) -> Grid:
        """Return the grid for clips that are `width` frames wide."""
        return Grid(n_clips * -(-width // frames), WARP * self.warps, self.shared)


@lru_cache(maxsize=64)
def fused(cfg: FeatureConfig, stage: Stage, form: Form = Form.FLOAT, *, int16: bool = False) -> Fused | None:
    """Plan the fused kernel; None for an n_fft, or a number of mel bands, that it has no room for."""
    if cfg.n_fft not in RADICES:
        return None
    p, lanes = RADICES[cfg.n_fft]
    m, at_once = p * lanes, WARP // lanes
    mel = tables.mel(cfg, m, lanes) if stage >= Stage.MEL else tables.no_mel(m)
    twiddles = tables.twiddles(p, lanes)
    rows, region = n_rows(cfg, stage), 8 * (lanes * (p + 2) + (8 if lanes < 16 else 0))  # REGION of fused.cu
    column = rows * value_bytes(stage)  # bytes that a frame takes in the tile
    for warps in (WARPS, WARPS // 2, WARPS // 4):
        least = 1 << (warps * at_once - 1).bit_length()
        exchange = BOARD_BYTES + warps * at_once * region
        room = (SHARED_LIMIT - exchange) // column - 1
        if room >= least:
            break
    else:
        return None
    most = min(max(MOST_FRAMES, least), 1 << (room.bit_length() - 1))
    given = constants.of_samples(cfg, int16=int16) | constants.of_values(cfg, stage, form)
    given |= {
        "WARPS": warps,
        "COLUMNS": most + 1,
        "P": p,
        "L": lanes,
        "FRAME_LENGTH": cfg.frame_length,
        "BINS": mel.n_bins,
        "N_TWIST": twiddles.shape[1],
        "MIN_BLOCKS": MIN_BLOCKS.get(cfg.n_fft, DEFAULT_MIN_BLOCKS),
    }
    return Fused(
        kernel=_kernel("fused.cu", "frontend", _constants(**given) | {"MEL_QUADS": ", ".join(map(str, mel.quads))}),
        warps=warps,
        shared=exchange + column * (most + 1),
        region=region,
        least_frames=least,
        most_frames=most,
        n_rows=rows,
        window=(0.5 * scaled_window(cfg, int16=int16)).astype(np.float32),  # halved, since `split` doubles
        twiddles=twiddles,
        roots=tables.roots(m, cfg.n_fft),
        mel=mel,
    )


@dataclass(frozen=True, eq=False)
class Generic:
    """The two launches around cuFFT, for any n_fft."""

    cut: Kernel
    features: Kernel
    n_rows: int
    value_bytes: int
    window: NDArray[np.float32]  # [n_fft]
    mel_first: NDArray[np.int32]  # [n_mels]
    mel_offsets: NDArray[np.int32]  # [n_mels + 1]
    mel_weights: NDArray[np.float32]

    @property
    def tables(self) -> tuple[np.ndarray, ...]:
        """Arrays in the order of the kernels' arguments; the window goes to `cut`."""
        return self.window, self.mel_first, self.mel_offsets, self.mel_weights

    def frames(self, scratch_bytes: int) -> int:
        """Frames of a block, as many as fit in the scratch memory: a power of two."""
        room = max(1, scratch_bytes // self.window.nbytes)
        return min(MOST_FRAMES, 1 << (room.bit_length() - 1))

    @property
    def n_tiles(self) -> int:
        """Blocks that share the rows of a frame."""
        return -(-self.n_rows // WARP)

    def grids(self, n_blocks: int, frames: int) -> tuple[Grid, Grid]:
        """Return the grids of `cut` and `features`, for `n_blocks` times `frames` frames."""
        threads = WARPS * WARP
        tile = WARP * (MOST_FRAMES + 1) * self.value_bytes
        return Grid(n_blocks * frames, threads, SUMS_BYTES), Grid(n_blocks * self.n_tiles, threads, tile)


@lru_cache(maxsize=64)
def generic(cfg: FeatureConfig, stage: Stage, form: Form = Form.FLOAT, *, int16: bool = False) -> Generic:
    """Plan the kernels around cuFFT."""
    first, offsets, weights = np.zeros(1), np.zeros(1), np.zeros(1)
    if stage >= Stage.MEL:
        rows = mel_rows(cfg)
        first, offsets, weights = rows.first, rows.offsets, rows.weights
    return Generic(
        cut=_kernel("generic.cu", "cut", _constants(**constants.of_samples(cfg, int16=int16))),
        features=_kernel(
            "generic.cu", "features", _constants(DROPPED=cfg.n_dropped, **constants.of_values(cfg, stage, form))
        ),
        n_rows=n_rows(cfg, stage),
        value_bytes=value_bytes(stage),
        window=scaled_window(cfg, int16=int16).astype(np.float32),
        mel_first=first.astype(np.int32),
        mel_offsets=offsets.astype(np.int32),
        mel_weights=weights.astype(np.float32),
    )


def mfcc(n_clips: int, n_frames: int) -> tuple[Kernel, Grid]:
    """Plan the product of `n_clips` log-mel spectrograms of `n_frames` frames with the DCT."""
    return _kernel("mfcc.cu", "mfcc", _constants()), Grid(n_clips * -(-n_frames // WARP), WARPS * WARP, 0)


def finish(cfg: FeatureConfig, n_clips: int, n_values: int, form: Form) -> tuple[Kernel, Grid]:
    """Plan the second launch, which makes `n_clips` clips of `n_values` decibels final when no last block does."""
    grid = Grid(n_clips * -(-n_values // SHARE), WARPS * WARP, 0)
    given = _constants(STAGE=Stage.DECIBEL, FORM=form, **constants.of_levels(cfg))
    return _kernel("finish.cu", "finish", given), grid


def statistics(cfg: FeatureConfig, n_clips: int, form: Form) -> tuple[Kernel, Grid]:
    """Plan the launch after a clip's levels: its own statistics, then a mean and a deviation for each band."""
    given = constants.of_statistics(cfg, form)
    n_groups = 1 if given["NORMALIZE"] == constants.PER_CLIP else cfg.n_mels  # a block for each
    return (
        _kernel("statistics.cu", "statistics", _constants(**given)),
        Grid(n_clips * n_groups, WARPS * WARP, 2 * SUMS_BYTES),
    )


def needs_finish(n_clips: int, n_values: int) -> bool:
    """Tell whether a second launch finishes clips of `n_values` decibels sooner than the last block of each."""
    return n_clips < FEW_CLIPS and 4 * n_values > ONE_BLOCK_BYTES


def n_rows(cfg: FeatureConfig, stage: Stage) -> int:
    """Rows of the output: bins or mel bands."""
    return cfg.n_mels if stage >= Stage.MEL else cfg.n_bins


def value_bytes(stage: Stage) -> int:
    """Bytes of a value of the output: complex64 or float32."""
    return 8 if stage == Stage.SPECTRUM else 4


def scaled_window(cfg: FeatureConfig, *, int16: bool) -> NDArray[np.float64]:
    """Window [n_fft] times the scale of the samples; int16's is a power of two, so that the bits stay theirs."""
    return window(cfg) * (cfg.scale * (INT16_SCALE if int16 else 1.0))


def bands(cfg: FeatureConfig) -> NDArray[np.float32]:
    """Return what `statistics` takes last: the mean of each band [n_mels], and one over the deviation of each."""
    mean, std = (np.broadcast_to(np.array(value), cfg.n_mels) for value in (cfg.mean, cfg.std))
    return np.stack([mean, 1.0 / std]).astype(np.float32)


def eps(by: Normalize) -> tuple[np.float32, np.float32]:
    """Return what `statistics` adds to a variance, and to a deviation."""
    return (np.float32(0.0), np.float32(by.eps)) if by.eps_in == "std" else (np.float32(by.eps), np.float32(0.0))


def _constants(**given: float) -> dict[str, str]:
    """Return the constants of common.cuh.

    A kernel that ignores a constant gets its default, so that it is compiled only once.
    """
    return constants.literals({"WARPS": WARPS, "COLUMNS": MOST_FRAMES + 1} | given)


def _kernel(source: str, entry: str, given: dict[str, str]) -> Kernel:
    return Kernel(source, entry, tuple(given.items()))
