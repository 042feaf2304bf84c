"""Tests of the tests: every barrier and fence of the kernels is needed, and so are details of their arithmetic."""

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from cumel.kernels import plan

from simt.emulator import EmulatorError, SanitizerError
from support.emulation import Emulated
from support.launches import GENERIC, LAUNCHES, Launch, large_blocks, small
from support.pairwise import running
from support.signals import Oracle

KERNELS = Path(plan.__file__).parent
FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted(KERNELS.glob("*.cu*"))}
SYNC = re.compile(r"__(?:syncthreads|syncwarp|threadfence)\w*\([^)]*\)")


class Mutant(NamedTuple):
    """A kernel source with some text replaced."""

    file: str
    start: int
    end: int
    new: str

    def __str__(self) -> str:
        return f"{self.file}:{1 + FILES[self.file].count(chr(10), 0, self.start)}"

    def edit(self, text: str) -> str:
        """Change the text of a kernel, if this file is part of it."""
        source = FILES[self.file]
        return text.replace(source, source[: self.start] + self.new + source[self.end :])


class Slip(NamedTuple):
    """A mistake in the arithmetic, and a launch that shows it."""

    file: str
    old: str
    new: str
    launch: Launch

    def mutant(self) -> Mutant:
        source = FILES[self.file]
        assert source.count(self.old) == 1, f"{self.file} has no single {self.old!r} any more: mutate what is there"
        start = source.index(self.old)
        return Mutant(self.file, start, start + len(self.old), self.new)


STFT = Launch("stft", small(256))
MIRRORED = Launch("stft", small(256, pad_mode="reflect"))
TOUCHING = Launch("stft", small(256, hop_length=126), n_frames=(18,))  # a frame ends one sample past the clip
IMAGE = Launch("mel_image", small(256))
TONE = Launch("log_mel", small(256, top_db=40.0), "tone")
NAN = Launch("log_mel", small(256), "nan")
NAN_FRAMES = Launch("log_mel", small(256, top_db=None), "nan")
STATISTICS = LAUNCHES["400-statistics"]
VALID = Launch("stft", small(256, preemphasis=0.97, preemphasis_of="valid", pad_mode="symmetric"))
FRAMES = Launch("stft", GENERIC.replace(remove_dc=True, preemphasis=0.97, window="hamming"), n_frames=(3, 2))
TIES = Launch("log_mel", small(256, top_db=None, ref=10 ** (1 / 320)), "silence", half=True)  # -100.03125 dB
SLIPS = {
    "partner lane": Slip("fused.cu", "(L - j) % L;", "(L - 1 - j) % L;", STFT),
    "lane 0": Slip("fused.cu", "j == 0 ? zeroth : mine", "mine", STFT),
    "pitch": Slip("fused.cu", "#define PITCH (P + 2)", "#define PITCH 8", STFT),
    "middle bin": Slip("fused.cu", "-2.f * z[0][L / 2].y", "2.f * z[0][L / 2].y", STFT),
    "last sample": Slip(
        "fused.cu", "first + FRAME_LENGTH <= n_samples", "first + FRAME_LENGTH <= n_samples + 1", TOUCHING
    ),
    "radix 5": Slip("fft.cuh", "x[3] = sub(f, h);", "x[3] = add(f, h);", LAUNCHES["400-stft"]),
    "mirror's period": Slip("common.cuh", "2 * (n_samples - 1 + SYMMETRIC)", "2 * n_samples - 1", MIRRORED),
    "mirrored sample": Slip("common.cuh", "n = period - n - SYMMETRIC;", "n = period - n - 1;", MIRRORED),
    "NaN in decibels": Slip(
        "epilogue.cuh", "x < levels.least ? levels.least : x", "x > levels.least ? x : levels.least", NAN_FRAMES
    ),
    "NaN in a clip": Slip(
        "epilogue.cuh", "db > stretch.floor ? db : stretch.floor", "db < stretch.floor ? stretch.floor : db", NAN
    ),
    "floor": Slip("epilogue.cuh", "db > stretch.floor ? db : stretch.floor", "db", TONE),
    "ticket": Slip("epilogue.cuh", "1u) + 1u ==", "1u) ==", TONE),
    "ticket left": Slip("epilogue.cuh", "atomicExch(&finish.tickets[clip.index], 0u);", "", TONE),
    "peak left": Slip(
        "epilogue.cuh", "atomicExch(&finish.peaks[2 * clip.index], 0)", "finish.peaks[2 * clip.index]", TONE
    ),
    "silent frames": Slip("epilogue.cuh", "if (!sounds) smallest = LARGEST;", "", IMAGE),
    "half a warp": Slip("epilogue.cuh", "for (int d = WARP / 2; d;", "for (int d = WARP / 4; d;", IMAGE),
    "frames past the end": Slip("epilogue.cuh", "= sounds ? *from : silence;", "= *from;", STFT),
    "half to even": Slip("epilogue.cuh", "0xfffu + (size >> 13 & 1u)", "0x1000u", TIES),
    "clip of a block": Slip("common.cuh", "if (share >= batch.n_blocks)", "if (share > batch.n_blocks)", STFT),
    "frame past the end": Slip("common.cuh", "<= clip.n_samples - batch.beyond", "<= clip.n_samples", STFT),
    "share of a clip": Slip("finish.cu", "n_values - skipped", "n_values", LAUNCHES["generic-image"]),
    "last weight": Slip("generic.cu", "k < n_weights", "k < n_weights - 1", LAUNCHES["generic-image"]),
    "frames of the clip": Slip("statistics.cu", "t < group.n_frames; t +=", "t < group.width; t +=", STATISTICS),
    "a band that never changes": Slip(
        "statistics.cu", "deviation == 0.f ? 0.f : x", "x", STATISTICS._replace(kind="silence")
    ),
    "a warp's sum": Slip("sums.cuh", "board[threadIdx.x / WARP] = sum", "board[0] = sum", STATISTICS),
    "mean of a frame": Slip("fused.cu", "SHARE * sum_of_frame(sum, lane, j)", "SHARE * sum", STATISTICS),
    "past the frame": Slip("fused.cu", "if (!has_y) x.y = pivot;", "", STATISTICS),
    "first of a frame": Slip("fused.cu", "(PREEMPHASIS_OF == OF_CLIP || p || j)", "1", STATISTICS),
    "first of a frame around cuFFT": Slip("generic.cu", "n ? n - 1 : 0", "n - 1", FRAMES),
    "dropped sample": Slip("common.cuh", "clip.start += DROPPED;", "", VALID),
    "mirrored edge": Slip("common.cuh", "n = period - n - SYMMETRIC;", "n = period - n;", VALID),
    "last band": Slip("mfcc.cu", "m < n_mels", "m < n_mels - 1", LAUNCHES["256-mfcc"]),
}
SYNCS = [Mutant(name, *found.span(), "") for name, source in FILES.items() for found in SYNC.finditer(source)]
Runs = dict[tuple[Mutant, str], Future[np.ndarray]]


def first_of_each_file(mistakes: Iterable[tuple[str, Mutant | Slip]]) -> list[Any]:
    """Return parameters: by default, the first mistake in each file is tried, as each costs a compilation."""
    files, params = set(), []
    for name, mistake in mistakes:
        marks = [pytest.mark.exhaustive] if mistake.file in files else []
        params.append(pytest.param(mistake, id=name, marks=marks))
        files.add(mistake.file)
    return params


def check(launch: Launch, emulated: Emulated) -> None:
    """Compare with the reference, twice: the first launch must leave nothing behind for the second."""
    for _ in range(2):
        out = launch.run(emulated)
    log_mel = launch._replace(feature="log_mel", half=False)
    levels = log_mel.run(Emulated()) if launch.half or launch.feature == "mfcc" else out
    for y, features, db in zip(launch.clips(), out, levels, strict=True):
        oracle, n = Oracle(y, launch.cfg), launch.cfg.n_frames(len(y))
        actual = features[:, :n]
        if launch.feature not in ("log_mel", "mfcc"):
            assert not features[:, n:].any()
        if launch.kind == "nan":
            np.testing.assert_array_equal(np.isnan(actual), np.isnan(oracle.log_mel))
        elif launch.half:
            np.testing.assert_array_equal(actual, db[:, :n].astype(np.float16))
        elif launch.feature == "mfcc":
            oracle.check_mfcc(actual, db[:, :n])
        elif launch.feature == "mel_image":
            oracle.check_image(actual)
        else:
            getattr(oracle, f"check_{launch.feature}")(actual)


@cache
def check_right(launch: Launch) -> None:
    check(launch, Emulated())


def orders(mutant: Mutant) -> list[str]:
    """Between blocks, a race is harder to find in one order than in the other."""
    return ["forward", "backward"] if mutant.file == "epilogue.cuh" else ["forward"]


def race(mutant: Mutant, order: str) -> np.ndarray:
    """Run what has several blocks per clip, and edges in a warp's second turn."""
    name = {"generic.cu": "generic-image", "sums.cuh": "400-statistics"}.get(mutant.file, "400-image")
    return LAUNCHES[name].run(Emulated(order=order, sanitizer="thread", edit=mutant.edit))


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with large_blocks(), ThreadPoolExecutor(os.cpu_count()) as pool:
        yield pool
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def races(request: pytest.FixtureRequest, pool: ThreadPoolExecutor) -> Runs:
    mutants = running(request, "mutant")
    return {(mutant, order): pool.submit(race, mutant, order) for mutant in mutants for order in orders(mutant)}


@pytest.mark.parametrize("mutant", first_of_each_file((str(mutant), mutant) for mutant in SYNCS))
def test_every_barrier_and_fence_is_needed(mutant: Mutant, races: Runs) -> None:
    for order in orders(mutant):
        with pytest.raises(SanitizerError, match="data race"):
            races[mutant, order].result()


@pytest.fixture(scope="module")
def slips(request: pytest.FixtureRequest, pool: ThreadPoolExecutor) -> dict[Slip, Future[None]]:
    return {
        slip: pool.submit(lambda slip: check(slip.launch, Emulated(edit=slip.mutant().edit)), slip)
        for slip in running(request, "slip")
    }


@pytest.mark.parametrize("slip", first_of_each_file(SLIPS.items()))
def test_a_slip_in_the_arithmetic_is_caught(slip: Slip, slips: dict[Slip, Future[None]]) -> None:
    slip.mutant()
    check_right(slip.launch)
    with pytest.raises((AssertionError, EmulatorError)):
        slips[slip].result()


@pytest.mark.parametrize("name", SLIPS)
def test_what_a_slip_changes_is_there(name: str) -> None:
    """A slip that is not tried by default is found to be out of date all the same."""
    SLIPS[name].mutant()
