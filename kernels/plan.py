"""Everything about a launch but the call: the kernel and its constants, its grid, shared memory, tables and work list.

Nothing here needs a GPU: the launcher in `cuda` and the emulator in the tests run the same plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import FeatureConfig
from .filterbank import mel_rows, window
from .reference import INT16_SCALE

# n_fft = 2 P L: P points in registers of each of the L lanes of a frame, where L divides P and is at most 32.
RADICES = {256: (16, 8), 400: (20, 10), 512: (32, 8), 1024: (32, 16), 2048: (32, 32), 4096: (64, 32)}
MIN_BLOCKS = {512: 3}  # of a multiprocessor: 168 registers of a thread, 28 bytes of which 128 would spill
DEFAULT_MIN_BLOCKS = 4  # 128 registers; 255 for blocks of fewer warps
WARP = 32
SHARED_LIMIT = 64 * 1024  # bytes that a block may have on every device since Turing
BOARD_BYTES = 16  # of them, in front of all else
MOST_FRAMES = 16  # of a block
FEW_BLOCKS = 1024  # with fewer, blocks have fewer frames, to spread over the device; two waves of an H200
LEAST_COSINE = 2.0**-30  # in place of 0; see fft.cuh

# One clip of a batch; `Clip` in common.cuh is its twin.
CLIP = np.dtype(
    [(name, np.int64) for name in ("start", "first", "n_samples", "out")]
    + [(name, np.int32) for name in ("n_frames", "width", "n_blocks", "unused")]
)


class Stage(IntEnum):
    """Where the computation stops."""

    SPECTRUM = 0
    STRENGTH = 1
    MEL = 2
    DECIBEL = 3


class Form(IntEnum):
    """What a log-mel spectrogram becomes."""

    FLOAT = 0
    HALF = 1
    IMAGE = 2


@dataclass(frozen=True)
class Kernel:
    """One CUDA function: its source file, its name there, and the constants that it is compiled with."""

    source: str
    entry: str
    constants: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """Return the whole source; headers are joined in front, since CuPy's cache does not look into them."""
        files = ["common.cuh", "fft.cuh", "epilogue.cuh", self.source]
        lines = [f"#define {name} {value}" for name, value in self.constants]
        return "\n".join([*lines, *((Path(__file__).parent / name).read_text(encoding="utf-8") for name in files)])


class Grid(NamedTuple):
    """How many blocks of how many threads, with how many bytes of dynamic shared memory."""

    blocks: int
    threads: int
    shared: int


class Mel(NamedTuple):
    """Mel filters in groups of L, each group's weights as vectors of four, padded to its longest filter."""

    first: NDArray[np.int32]  # [n_groups, L] bin of a filter's first weight
    weights: NDArray[np.float32]  # [sum of quads, L, 4]
    quads: tuple[int, ...]  # [n_groups] vectors of each filter


NO_FILTERS = Mel(np.zeros((1, 1), np.int32), np.zeros((1, 1, 4), np.float32), (1,))


@dataclass(frozen=True, eq=False)
class Fused:
    """The one launch of a config whose n_fft is in `RADICES`."""

    kernel: Kernel
    warps: int
    least_frames: int  # of a block: a power of two
    most_frames: int
    exchange_bytes: int
    row_bytes: int  # of a frame in a row of the tile
    n_rows: int
    window: NDArray[np.float32]  # [n_fft]
    twist: NDArray[np.float32]  # [P / L, n_twist, L, 2] cosine and tangent
    roots: NDArray[np.float32]  # [n, 2] exp(-2 pi i k / n_fft)
    mel: Mel

    @property
    def tables(self) -> tuple[np.ndarray, ...]:
        """Arrays in the order of the kernel's arguments."""
        return self.window, self.twist, self.roots, self.mel.first, self.mel.weights

    def frames(self, n_frames: int) -> int:
        """Frames of a block, for so many in a batch."""
        frames = self.most_frames
        while frames > self.least_frames and n_frames < FEW_BLOCKS * frames:
            frames //= 2
        return frames

    def grid(self, n_blocks: int, frames: int) -> Grid:
        """Return the grid of `n_blocks` blocks of `frames` frames."""
        tile = self.n_rows * (frames + 1) * self.row_bytes
        return Grid(n_blocks, WARP * self.warps, BOARD_BYTES + self.exchange_bytes + tile)


@lru_cache(maxsize=64)
def fused(cfg: FeatureConfig, stage: Stage, form: Form = Form.FLOAT, *, int16: bool = False) -> Fused | None:
    """Plan the fused kernel; None for an n_fft, or a number of mel bands, that it has no room for."""
    if cfg.n_fft not in RADICES:
        return None
    p, lanes = RADICES[cfg.n_fft]
    m, at_once = p * lanes, WARP // lanes
    bins, mel = _mel(cfg, m, lanes) if stage >= Stage.MEL else (m + 1, NO_FILTERS)
    twist = _twist(p, lanes)
    rows, row_bytes = n_rows(cfg, stage), 8 if stage == Stage.SPECTRUM else 4
    region = 8 * (lanes * (p + 2) + (8 if lanes < 16 else 0))  # REGION of frontend.cu
    for warps in (4, 2, 1):
        least = 1 << (warps * at_once - 1).bit_length()
        room = (SHARED_LIMIT - BOARD_BYTES - warps * at_once * region) // (rows * row_bytes) - 1
        if room >= least:
            most = min(max(MOST_FRAMES, least), 1 << (room.bit_length() - 1))
            break
    else:
        return None
    constants = _constants(cfg, stage, form, warps, int16=int16) | {
        "P": p,
        "L": lanes,
        "BINS": bins,
        "N_TWIST": twist.shape[1],
        "MEL_QUADS": ", ".join(map(str, mel.quads)),
        "MIN_BLOCKS": MIN_BLOCKS.get(cfg.n_fft, DEFAULT_MIN_BLOCKS),
    }
    return Fused(
        kernel=_kernel("frontend.cu", "frontend", constants),
        warps=warps,
        least_frames=least,
        most_frames=most,
        exchange_bytes=warps * at_once * region,
        row_bytes=row_bytes,
        n_rows=rows,
        window=(0.5 * scaled_window(cfg, int16=int16)).astype(np.float32),  # half: the split adds two halves
        twist=twist,
        roots=_pairs(np.exp(-2j * np.pi * np.arange(m) / cfg.n_fft)),
        mel=mel,
    )


@dataclass(frozen=True, eq=False)
class Generic:
    """The two launches around cuFFT, for any n_fft."""

    cut: Kernel
    features: Kernel
    warps: int
    n_rows: int
    row_bytes: int
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
        """Return the grids of `cut` and `features`, for `n_blocks` of the work list."""
        threads = WARP * self.warps
        tile = WARP * (frames + 1) * self.row_bytes
        return Grid(n_blocks * frames, threads, 0), Grid(n_blocks * self.n_tiles, threads, BOARD_BYTES + tile)


@lru_cache(maxsize=64)
def generic(cfg: FeatureConfig, stage: Stage, form: Form = Form.FLOAT, *, int16: bool = False) -> Generic:
    """Plan the kernels around cuFFT."""
    constants = _constants(cfg, stage, form, 4, int16=int16)
    first, offsets, weights = np.zeros(1), np.zeros(1), np.zeros(1)
    if stage >= Stage.MEL:
        rows = mel_rows(cfg)
        first, offsets, weights = rows.bins[rows.offsets[:-1]], rows.offsets, rows.weights
    return Generic(
        cut=_kernel("generic.cu", "cut", constants),
        features=_kernel("generic.cu", "features", constants),
        warps=4,
        n_rows=n_rows(cfg, stage),
        row_bytes=8 if stage == Stage.SPECTRUM else 4,
        window=scaled_window(cfg, int16=int16).astype(np.float32),
        mel_first=first.astype(np.int32),
        mel_offsets=offsets.astype(np.int32),
        mel_weights=weights.astype(np.float32),
    )


def mfcc(n_clips: int, n_frames: int) -> tuple[Kernel, Grid]:
    """Plan the product of `n_clips` log-mel spectrograms of `n_frames` frames with the DCT."""
    constants = _constants(FeatureConfig(), Stage.MEL, Form.FLOAT, 4, int16=False)
    return _kernel("mfcc.cu", "mfcc", constants), Grid(n_clips * -(-n_frames // WARP), 4 * WARP, 0)


def n_rows(cfg: FeatureConfig, stage: Stage) -> int:
    """Rows of the output: bins or mel bands."""
    return cfg.n_mels if stage >= Stage.MEL else cfg.n_bins


def scaled_window(cfg: FeatureConfig, *, int16: bool) -> NDArray[np.float64]:
    """Window [n_fft] that scales int16 as well, by a power of two: the bits are those of the scaled samples."""
    return window(cfg) * (INT16_SCALE if int16 else 1.0)


def work(widths: Sequence[int], frames: int) -> NDArray[np.int32]:
    """List every block's clip and first frame [n_blocks, 2], for clips that are so many frames wide."""
    n_blocks = -(-np.asarray(widths) // frames)
    clip = np.repeat(np.arange(len(widths)), n_blocks)
    block = np.arange(len(clip)) - np.repeat(np.cumsum(n_blocks) - n_blocks, n_blocks)
    return np.stack([clip, block * frames], axis=1).astype(np.int32)


def _constants(cfg: FeatureConfig, stage: Stage, form: Form, warps: int, *, int16: bool) -> dict[str, object]:
    magnitude = cfg.power == 1
    return {"INT16": int(int16), "STAGE": int(stage), "FORM": int(form), "MAGNITUDE": int(magnitude), "WARPS": warps}


def _kernel(source: str, entry: str, constants: dict[str, object]) -> Kernel:
    return Kernel(source, entry, tuple((name, str(value)) for name, value in constants.items()))


def _pairs(values: NDArray[np.complex128]) -> NDArray[np.float32]:
    return np.stack([values.real, values.imag], axis=-1).astype(np.float32)


def _twist(p: int, lanes: int) -> NDArray[np.float32]:
    """Twiddles of the L-point transforms, with the factor between the passes: outermost merge first, as in fft.cuh."""
    turns = (np.arange(lanes) + lanes * np.arange(p // lanes)[:, None]) / (p * lanes)  # [P / L, L], of input 1
    table, n = [], lanes
    while n > 1:
        if n % 5 == 0:
            table += [r * (turns + k / n) for k in range(n // 5) for r in range(1, 5)]
            turns, n = 5 * turns, n // 5
        else:
            table += [turns + k / n for k in range(max(1, n // 4))]
            turns, n = 2 * turns, n // 2
    angle = -2.0 * np.pi * np.stack(table, axis=1)
    cosine = np.cos(angle)
    cosine = np.where(np.abs(cosine) < LEAST_COSINE, LEAST_COSINE, cosine)
    return np.stack([cosine, np.sin(angle) / cosine], axis=-1).astype(np.float32)


def _mel(cfg: FeatureConfig, m: int, lanes: int) -> tuple[int, Mel]:
    """Return BINS of frontend.cu and the filters, none of which reads beyond what the kernel fills in."""
    rows = mel_rows(cfg)
    sizes = np.diff(rows.offsets)
    quads = [-(-int(sizes[g : g + lanes].max()) // 4) for g in range(0, cfg.n_mels, lanes)]
    bins = -(-max(rows.last_bin, 4 * max(quads)) // lanes) * lanes
    readable = bins
    if bins > m // 2:  # all bins; and three zeros after them
        bins, readable = m + 1, m + 4
    first = np.zeros((len(quads), lanes), np.int32)
    weights = [np.zeros((n, lanes, 4)) for n in quads]
    for row in range(cfg.n_mels):
        group, lane = divmod(row, lanes)
        inside = slice(rows.offsets[row], rows.offsets[row + 1])
        first[group, lane] = min(rows.bins[inside][0], readable - 4 * quads[group])
        at = rows.bins[inside] - first[group, lane]
        weights[group][at // 4, lane, at % 4] = rows.weights[inside]
    return bins, Mel(first, np.concatenate(weights).astype(np.float32), tuple(quads))
