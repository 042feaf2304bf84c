"""Recordings: decode, mix down, resample, fit to a length. Bit-identical to `librosa.load` at its defaults."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ...kernels import InputError
from .formats.counted import Forward, open_counted
from .formats.flac import last_is_cut
from .formats.foreign import what
from .formats.integrity import check_regular, check_whole
from .formats.mp3 import examine
from .formats.mpeg import UNRECOGNISED
from .formats.splice import Spliced

LOWEST_RATE, HIGHEST_RATE = 500, 2_000_000  # Hz; beyond lie damaged headers
BAD_FILE, INTERNAL = 7, (24, 29, 39)  # libsndfile's codes; a file that is no MP3 gets BAD_FILE

Samples = NDArray[np.float32]


def load(path: Path | str, sr: int | None = None) -> tuple[Samples, int]:
    """Read one recording as mono float32.

    Parameters
    ----------
    path : path
        WAV, FLAC, OGG, MP3 or AIFF, of any rate and channel count.
    sr : int, optional
        Rate to resample to, in Hz (soxr HQ); None keeps the file's own.

    Returns
    -------
    y : ndarray [n_samples], float32
        Mean of the channels.
    sr : int
        Its rate in Hz.

    Raises
    ------
    InputError
        For a file that is missing, unreadable, no audio, truncated, empty, or holds NaN or infinity.
    """
    path = Path(path)
    with opened(path) as sound:
        native = int(sound.samplerate)
        y = mono(sound.read(sound.frames, dtype="float32", always_2d=True))
        if len(y) < sound.frames:
            raise truncated(path, len(y), sound.frames)
    if y.size == 0:
        raise InputError(f"{path}: holds no samples; record it again, or leave it out")
    check_numbers(path, y)
    return (y, native) if sr is None or sr == native else (resample(y, native, sr), sr)


@contextmanager
def opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open a recording for reading; what goes wrong with it, here or in the block, is an `InputError` that names it."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            splice = check_whole(path, file)
            mp3 = examine(path, file) if splice is None else None
        with ExitStack() as held:
            name: Any = os.fsencode(path)  # not all names are UTF-8
            if splice is not None:
                name = held.enter_context(Spliced(path, splice))
            sound = open_counted(path, mp3, held) if mp3 else held.enter_context(Forward(name))
            if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
                raise InputError(f"{path}: its header claims {sound.samplerate} Hz; repair it, or leave it out")
            yield sound
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: {_reason(path, error)}") from None
    except InputError:
        raise
    except (MemoryError, ValueError):
        raise InputError(f"{path}: its header claims no length, or an impossible one; repair or cut it") from None
    except TypeError:
        raise InputError(f"{path}: raw samples without a header; give WAV, FLAC, OGG, MP3 or AIFF") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; check the path and its permissions") from None


def _reason(path: Path, error: soundfile.LibsndfileError) -> str:
    """Say what libsndfile means; some of its words speak of its own insides, or of files that do not exist."""
    known = what(path)
    if known is not None:
        return known
    if error.code in (UNRECOGNISED, BAD_FILE):
        return "not readable as audio (no known format); give WAV, FLAC, OGG, MP3 or AIFF"
    if last_is_cut(path):
        return "truncated: its last frame is cut, or damaged; fetch or record it again"
    if error.code in INTERNAL:
        return "its header contradicts itself; fetch or record it again"
    reason = error.error_string.removeprefix("Error : ").rstrip(".")
    return f"damaged or unsupported ({reason}); fetch it again, or convert it to WAV or FLAC"


def mono(y: NDArray) -> NDArray:
    """Return the mean of the channels of ``y`` [n_samples, n_channels]."""
    with np.errstate(over="ignore", invalid="ignore"):  # `check_numbers` speaks of it
        return np.mean(y, axis=1) if y.shape[1] > 1 else y[:, 0]


def check_numbers(path: Path, y: NDArray, first: int = 0) -> None:
    """Refuse samples that are NaN or infinite; `first` is the number of the first one in the recording."""
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        bad = np.flatnonzero(~np.isfinite(y))
        where = first + int(bad[0])
        raise InputError(f"{path}: sample {where} is NaN or infinite ({bad.size} such); repair it, or leave it out")


def truncated(path: Path, n_read: int, n_promised: int) -> InputError:
    """Say that fewer samples decode than the header promises."""
    return InputError(f"{path}: truncated: {n_read} of {n_promised} samples decode; fetch or record it again")


def resample(y: Samples, sr: int, target: int) -> Samples:
    """Resample to `target` Hz with soxr HQ: ``ceil(n_samples * target / sr)`` samples, as `librosa.resample`."""
    out = soxr.resample(y, sr, target, quality="HQ")
    n_samples = int(np.ceil(len(y) * target / sr))
    return out[:n_samples] if len(out) >= n_samples else np.pad(out, (0, n_samples - len(out)))


def fit_length(y: Samples, n_samples: int) -> Samples:
    """Cut a long clip at its end; mirror a short one at both ends, as the baseline does, to exactly `n_samples`."""
    if len(y) < n_samples:
        y = np.pad(y, -(-(n_samples - len(y)) // 2), mode="reflect")
    return y[:n_samples]


def load_all(paths: Iterable[Path], sr: int | None, workers: int) -> Iterator[tuple[Samples, int] | InputError]:
    """`load` many files on `workers` threads, in order; a file that fails yields its error.

    At most ``2 * workers + 16`` recordings are held, however many there are.
    """

    def one(path: Path) -> tuple[Samples, int] | InputError:
        try:
            return load(path, sr)
        except InputError as error:
            return error

    with ThreadPoolExecutor(workers) as pool:
        pending: deque = deque()
        try:
            for path in paths:
                pending.append(pool.submit(one, path))
                if len(pending) >= 2 * workers + 16:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for job in pending:
                job.cancel()
