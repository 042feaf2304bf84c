"""Formats that libsndfile does not read, such as M4A and the sound of videos: by ffmpeg, where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from ....kernels import InputError
from ...system import say
from .foreign import coded

PROGRAM = "ffmpeg"
EXTENSIONS = (".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".mkv", ".mka", ".webm", ".3gp", ".wma", ".avi", ".amr")
_said: set[str] = set()  # formats of which the user was told


def installed() -> str | None:
    """Return the path of ffmpeg; None where it is not installed."""
    return shutil.which(PROGRAM)


def decoded(path: Path, files: ExitStack) -> Path | None:
    """Decode the first sound track of a file into a temporary one, which goes when `files` closes.

    Returns
    -------
    Path or None
        A file of float32 samples with the track's own rate and channels; None where ffmpeg is not installed, or is not
        what the file needs.

    Raises
    ------
    InputError
        When the file has no sound, or ffmpeg reports an error in it: what it decodes nevertheless is not all there was.
    """
    program, name = installed(), coded(path)
    if program is None or name is None:
        return None
    if name not in _said:
        _said.add(name)
        say(f"note: {name} is decoded by {program}, as libsndfile does not read it")
    folder = Path(files.enter_context(tempfile.TemporaryDirectory(prefix="cumel-ffmpeg-")))
    out = folder / "decoded.w64"
    options = ("-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file")
    track = ("-map", "0:a:0", "-vn", "-c:a", "pcm_f32le", "-f", "w64")
    call = [program, *options, "-i", f"file:{os.fspath(path)}", *track, str(out)]
    run = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if run.returncode == 0 and not run.stderr.strip() and out.is_file():
        return out
    lines = run.stderr.decode("utf-8", "backslashreplace").strip().splitlines()
    why = re.sub(r"^\[.*?\] ", "", lines[0]) if lines else f"exit code {run.returncode}"
    if "matches no streams" in run.stderr.decode("utf-8", "replace"):
        raise InputError(f"{path}: {name} without a sound track; leave it out")
    raise InputError(f"{path}: {name}, which ffmpeg does not decode as a whole ({why}); fetch or record it again")
