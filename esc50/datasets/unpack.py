"""A zip archive of unknown making: unpacked if it is undamaged, stays in its folder and has a sensible size."""

from __future__ import annotations

import errno
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from ...kernels import CumelError
from ..system import bar

MAX_UNPACKED_BYTES = 4 << 30  # ESC-50 is 0.9 GB of 16-bit audio
UNSAFE_NAME = re.compile(r"^/|[:\\]|(^|/)\.\.(/|$)")  # absolute, a drive's, climbing
PLAIN_MODES = (0, stat.S_IFREG, stat.S_IFDIR)  # no links, no devices; 0: packed without a mode
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeDecodeError, OSError)  # as zipfile reports it


class ArchiveError(Exception):
    """An archive whose content is wrong: it has to go."""


def unpack(archive: Path, folder: Path) -> None:
    """Extract every member, and with it check its CRC, once all of them are known to be harmless.

    Raises
    ------
    ArchiveError
        If it is damaged, unsafe or too large; what was extracted until then stays in `folder`.
    CumelError
        If the disk has too little room for it; nothing was extracted.
    OSError
        If the disk does not take the files.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            for member in members:
                if UNSAFE_NAME.search(member.filename) or stat.S_IFMT(member.external_attr >> 16) not in PLAIN_MODES:
                    raise ArchiveError(f"its member {member.filename!r} is unsafe: a link or a path out of the folder")
            total = sum(member.file_size for member in members)  # binding: zipfile reads no further
            if total > MAX_UNPACKED_BYTES:
                raise ArchiveError(f"it would unpack to {total} bytes where {MAX_UNPACKED_BYTES} are the limit")
            if total > (free := shutil.disk_usage(folder.parent).free):
                raise CumelError(f"{archive}: unpacks to {total} bytes, {free} are free; free some space and run again")
            with bar("unpacking", total, unit="B") as advance:
                for member in members:
                    zipped.extract(member, folder)
                    advance(member.file_size)
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a wrong offset is EINVAL
            raise
        raise ArchiveError(f"it is damaged ({str(error) or type(error).__name__})") from error
