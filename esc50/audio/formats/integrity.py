"""What a recording is, whether it is whole, and how libsndfile is to be shown it.

By itself libsndfile reads a truncated or damaged file as a shorter one, and some whole ones as something else.
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

HEAD = 12  # bytes

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
    """Refuse a folder, and before it is opened a pipe or a device: that might wait for ever."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        with os.scandir(path):  # one that may not be read says so
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
    if skipped:  # libsndfile skips tags as well, but before 8SVX it hangs
        file = cast(BinaryIO, Spliced(path, Splice(b"", skipped, n_bytes)))
        n_bytes -= skipped
        head = file.read(HEAD)
    check = KINDS.get(head[:4])
    if check is None or len(head) < HEAD:
        return None
    found = check(path, file, n_bytes, head)
    if not skipped:
        return found
    found = found or Splice(b"", 0, n_bytes)
    return found._replace(first=found.first + skipped, end=found.end + skipped)
