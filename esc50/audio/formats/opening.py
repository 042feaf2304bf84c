"""Open a file for libsndfile, checked; whatever goes wrong with it becomes an error that names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import soundfile

from ....kernels import InputError
from .counted import Forward, open_counted
from .ffmpeg import decoded
from .flac import last_is_cut
from .foreign import what
from .integrity import check_regular, check_whole
from .mp3 import examine
from .mpeg import UNRECOGNISED
from .splice import Spliced

LOWEST_RATE, HIGHEST_RATE = 500, 2_000_000  # Hz; a header with a rate beyond these is damaged
BAD_FILE, INTERNAL = 7, (24, 29, 39)  # libsndfile's codes; a file that is no MP3 gets BAD_FILE


def opened(path: Path, files: ExitStack) -> soundfile.SoundFile:
    """Check a file and open it with libsndfile, until `files` closes; one that it does not read, by way of ffmpeg."""
    check_regular(path)
    try:
        return _opened(path, files)
    except soundfile.LibsndfileError:
        wave = decoded(path, files)
        if wave is None:
            raise
    return _opened(wave, files)


def _opened(path: Path, files: ExitStack) -> soundfile.SoundFile:
    with path.open("rb") as file:
        splice = check_whole(path, file)
        mp3 = examine(path, file) if splice is None else None
    name: Any = os.fsencode(path)  # not all names are UTF-8
    if splice is not None:
        name = files.enter_context(Spliced(path, splice))
    sound = open_counted(path, mp3, files) if mp3 else files.enter_context(Forward(name))
    if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
        raise InputError(f"{path}: its header claims {sound.samplerate} Hz; repair it, or leave it out")
    return sound


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a recording into an `InputError` that names it."""
    try:
        yield
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
    """Say what libsndfile's error means: its own texts name internals, or files that do not exist."""
    foreign = what(path)
    if foreign is not None:
        return foreign
    if error.code in (UNRECOGNISED, BAD_FILE):
        return "not readable as audio (no known format); give WAV, FLAC, OGG, MP3 or AIFF"
    if last_is_cut(path):
        return "truncated: its last frame is cut, or damaged; fetch or record it again"
    if error.code in INTERNAL:
        return "its header contradicts itself; fetch or record it again"
    reason = error.error_string.removeprefix("Error : ").rstrip(".")
    return f"damaged or unsupported ({reason}); fetch it again, or convert it to WAV or FLAC"
