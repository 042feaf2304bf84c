"""How much audio a file holds, by its header and by its end: whole, cut, or of a length that its writer did not know.

A writer to a pipe cannot go back to its header. It leaves there 0, all ones, or the most that it thinks the field
holds, and the samples go on to the end of the file. So a size that lies beyond the end is

- no size, when it is one of `UNKNOWN`, less at most `ROUNDING`: what writers are known to leave, and no recording has;
- no size, when it is a quarter or more of what its field can hold, and `FAR` times what is there;
- otherwise the size of a recording that was cut.

A size of 0, or below, is no size when something other than another part of the container follows.
"""

from __future__ import annotations

from pathlib import Path

from ....kernels import InputError

UNKNOWN = (0x7F000000, 1 << 31, 1 << 32, 1 << 63, 1 << 64)  # SoX in AIFF; the bounds of signed and unsigned fields
ROUNDING = 1 << 16  # bytes on either side: headers that are counted in or out, whole blocks
FAR = 16
NEARLY = 15 / 16  # share of an `UNKNOWN` size; with so much there it is a cut file of a recorder that splits at 2 GB


def n_audio(path: Path, n_bytes: int, first: int, size: int, bits: int, *, goes_on: bool) -> int | None:
    """Return the bytes of audio of a file whose header does not state them; None where it does.

    Parameters
    ----------
    path : Path
    n_bytes : int
        Of the file.
    first : int
        Byte at which the samples begin.
    size : int
        Bytes of samples that the header states.
    bits : int
        Of the field that states them.
    goes_on : bool
        Bytes that are no part of the container follow the samples.

    Raises
    ------
    InputError
        When fewer samples are there than the header states.
    """
    there = max(0, n_bytes - first)
    if size <= there:
        return there if goes_on and (size <= 0 or is_unknown(size, 0, bits)) else None
    if is_unknown(size, there, bits):
        return there
    raise InputError(
        f"{path}: truncated: the header promises {size} bytes of audio, {there} are there; fetch or record it again"
    )


def is_unknown(size: int, there: int, bits: int) -> bool:
    """Whether this size is what a writer leaves that did not know it."""
    if size + ROUNDING >= 1 << bits:
        return True
    left = any(abs(size - unknown) <= ROUNDING for unknown in UNKNOWN) and there < NEARLY * size
    return left or (size + ROUNDING >= 1 << (bits - 2) and there * FAR < size)
