"""Whether a recording is whole, by its container, and how libsndfile must be given it.

libsndfile alone reads a truncated or damaged file as a shorter one, and misreads some whole ones.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from ....kernels import InputError
from .flac import flac
from .headers import STATED, au, caf, form, small, voc
from .mpeg import after_tags
from .ogg import CAPTURE, ogg
from .splice import Splice, Spliced
from .wav import WAVS, wav

HEAD = 12  # bytes that tell the container

Check = Callable[[Path, BinaryIO, int, bytes], Splice | None]

KINDS: dict[bytes, Check] = {
    **dict.fromkeys(WAVS, wav),
    **dict.fromkeys((b".snd", b"dns."), au),
    **dict.fromkeys((magic[:4] for magic in STATED), small),
    b"FORM": form,
    b"caff": caf,
    b"fLaC": flac,
    b"Crea": voc,
    CAPTURE: ogg,
}


def check_regular(path: Path) -> None:
    """Raise an `InputError` for a folder, a pipe or a device; opening a pipe might wait for ever."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        with os.scandir(path):  # raises for a folder that may not be read
            raise InputError(f"{path}: a folder, not a recording; put recordings in it, or leave it out")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: not a regular file; give a recording")


def check_whole(path: Path, file: BinaryIO) -> Splice | None:
    """Return how to read a file whose own header would mislead; None where it may be opened as it is.

    Raises
    ------
    InputError
        When it is empty, holds less audio than its headers promise, or more than one recording.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    if n_bytes == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); fetch or record it again")
    file.seek(0)
    head = file.read(HEAD)
    skipped = after_tags(file) if head[:3] == b"ID3" else 0
    if skipped:  # libsndfile skips tags too, but hangs where 8SVX follows
        file = cast(BinaryIO, Spliced(path, Splice(b"", skipped, n_bytes)))
        n_bytes -= skipped
        head = file.read(HEAD)
    check = KINDS.get(head[:4])
    if check is None or len(head) < HEAD:
        return None
    splice = check(path, file, n_bytes, head)
    if not skipped:
        return splice
    splice = splice or Splice(b"", 0, n_bytes)
    return splice._replace(first=splice.first + skipped, end=splice.end + skipped)
