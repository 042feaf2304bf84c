"""The length of an MP3: its frames are counted, and the length that a tag states is checked by the count.

libsndfile trusts a Xing tag, and without one guesses the length from the file's size; it reads no further than that.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

import soundfile

from ....kernels import InputError
from . import mpeg
from .side_info import first_broken

WINDOW = 1 << 20  # bytes per read, and the most that may lie before the first frame
IN_A_ROW = 3  # So many frames one after another are no chance.
LARGEST = 2881  # bytes of a frame
MOST_GAPS = 10_000  # limit of stretches without frames
HEADER = re.compile(rb"\xff(?=[\xe2-\xff][\x10-\xef])")  # The look-ahead leaves the next byte for the next match.
WARNED = 0.01  # share of the file; libmpg123 writes to stderr when the bytes that a Xing tag states differ by more


class Mp3(NamedTuple):
    """The frames of a file."""

    header: int  # header of the first frame
    n_samples: int  # samples a channel
    skipped: int  # samples that the decoder adds before them
    stretches: tuple[tuple[int, int], ...]  # byte ranges that consist of frames alone
    changed: dict[int, bytes]  # bytes to read instead, by place; frames behind a gap refer to audio before it
    tag: int | None  # byte of a Xing tag with which libsndfile reads the same samples


def examine(path: Path, file: BinaryIO) -> Mp3 | None:
    """Count the frames of MPEG audio of layer I, II or III, alone or in a WAV; None for any other file.

    Raises
    ------
    InputError
        When the file holds fewer frames than it states, the last frame is cut, or a second recording follows.
    """
    bounds = mpeg.bounds(file)
    return None if bounds is None else _Walk(path, file, *bounds).examine()


class _Run(NamedTuple):
    """Frames that follow one another."""

    n: int  # number of frames
    last: int  # byte at which the last one begins
    end: int


class _Walk:
    """A walk from frame to frame, through a window of the file."""

    def __init__(self, path: Path, file: BinaryIO, start: int, end: int) -> None:
        self.path, self.file, self.start, self.end = path, file, start, end
        self.n_bytes = os.fstat(file.fileno()).st_size
        self.low, self.window, self.is_cut = 0, b"", False
        self.reserve = 0  # bytes of audio before the next frame that it may refer to

    def bytes_at(self, at: int, n: int) -> bytes:
        """Return `n` bytes from a place on; fewer at the end."""
        n = max(0, min(n, self.end - at))
        if not self.low <= at <= at + n <= self.low + len(self.window):
            self.file.seek(at)
            self.low, self.window = at, self.file.read(max(n, min(WINDOW, self.end - at), 0))
        return self.window[at - self.low : at - self.low + n]

    def header(self, at: int) -> int:
        """Return the four bytes at a place as a number; 0 at the end of the file."""
        four = self.bytes_at(at, 4)
        return int.from_bytes(four, "big") if len(four) == 4 else 0

    def examine(self) -> Mp3 | None:
        """Count the frames, and compare their number with the tag's."""
        start = self.first()
        if start is None:
            return self.nothing()
        header, tag = self.header(start), mpeg.length_tag(self.bytes_at(start, mpeg.TAG_REACH))
        first = start + mpeg.size(header) if tag else start
        n, stretches, changed = 0, [], {}
        at, resynced = first, False
        while at is not None and at < self.end:
            run = self.run(at, header, first)
            if run.n:
                if resynced or not (
                    stretches or mpeg.is_mpeg_1(header)
                ):  # The first frame of MPEG-1 refers to nothing.
                    changed |= self.lacking(at, run.end)
                stretches.append((at, run.end))
                n += run.n
            if len(stretches) > MOST_GAPS:
                raise self.damaged(run.end, "its frames lie in too many pieces")
            at, resynced = (None, False) if self.is_cut else self.following(run, header)
        if self.is_cut and tag is None:
            raise self.cut()
        if not n:
            raise InputError(f"{self.path}: holds no samples; record it again, or leave it out")
        if tag is None:
            return Mp3(header, n * mpeg.n_samples(header), 0, tuple(stretches), changed, None)
        samples, skipped = self.judged(tag, n, header, start, gaps=len(stretches) > 1)
        whole = tag.n_frames == n and len(stretches) == 1 and stretches[0][0] == first
        by_tag = whole and tag.is_xing and skipped > 0 and not changed and self.is_close(tag, start)
        return Mp3(header, samples, skipped, tuple(stretches), changed, start if by_tag else None)

    def first(self) -> int | None:
        """Find the first frame."""
        size = mpeg.size(self.header(self.start))
        if size and (self.start + size == self.end or self.in_a_row(self.start, 2)):
            return self.start
        return self.search(self.start, min(self.end, self.start + WINDOW))

    def nothing(self) -> None:
        """Raise for a file without frames that libsndfile would take for an MP3, by its first bytes or its name."""
        header = self.header(self.start)
        if self.bytes_at(self.start, 4).startswith((b"RIFF", *mpeg.OTHERS)):
            return
        if self.start + mpeg.size(header) > max(self.end, self.start + 4):
            raise self.cut()
        if mpeg.is_free(header):
            what = "MPEG audio in free format, which states no bit rate"
            raise InputError(f"{self.path}: {what}; convert it with mpg123 -w OUT.wav IN")
        if self.start > 0 or header >> 21 == 0x7FF or self.path.suffix.lower() == ".mp3":
            raise soundfile.LibsndfileError(mpeg.UNRECOGNISED)

    def search(self, low: int, high: int) -> int | None:
        """Find the first of `IN_A_ROW` frames that follow one another."""
        while low < high:
            part = self.bytes_at(low, min(WINDOW, high - low))
            for match in HEADER.finditer(part):
                if self.in_a_row(low + match.start(), IN_A_ROW):
                    return low + match.start()
            low += max(1, len(part) - 2)
        return None

    def last(self, low: int, like: int) -> int | None:
        """Find a single frame that ends with the file."""
        for match in HEADER.finditer(self.bytes_at(low, self.end - low)):
            header = self.header(low + match.start())
            if mpeg.alike(header, like) and low + match.start() + mpeg.size(header) == self.end:
                return low + match.start()
        return None

    def in_a_row(self, at: int, n: int) -> bool:
        """Return whether `n` frames follow one another here, or two up to the end."""
        header = self.header(at)
        for before in range(n):
            following = self.header(at)
            if not mpeg.size(following) or not mpeg.alike(following, header):
                return before >= 2 and at == self.end
            at += mpeg.size(following)
        return True

    def run(self, at: int, like: int, first: int) -> _Run:
        """Count the frames that follow one another, without a last one that is cut."""
        sizes: dict[bytes, int] = {}
        n, size, last = 0, 1, at
        while size and at + 4 <= self.end:
            part = self.bytes_at(at, WINDOW)
            begins, begun = [], 0
            most = len(part) - (4 if at + len(part) == self.end else mpeg.TAG_REACH)
            while begun <= most:
                four = part[begun : begun + 4]
                size = sizes.get(four, -1)
                if size < 0:
                    header = int.from_bytes(four, "big")
                    size = sizes[four] = mpeg.size(header) if mpeg.alike(header, like) else 0
                if not size:
                    break
                begins.append(begun)
                begun += size
            if at + begun > self.end:
                self.is_cut, size, begun = True, 0, begins.pop()
            if begins:
                self.check(part, begins, begun, at, like, first)
                last = at + begins[-1]
            at, n = at + begun, n + len(begins)
        rest = self.bytes_at(at, 4)
        self.is_cut |= 0 < len(rest) < 4 and like.to_bytes(4, "big").startswith(rest[:2])
        return _Run(n, last, at)

    def check(self, part: bytes, begins: list[int], end: int, at: int, like: int, first: int) -> None:
        """Raise an `InputError` for a broken frame in the window at `at`, and for one that begins another recording."""
        if mpeg.layer(like) != 3:
            return
        number, self.reserve = first_broken(part, begins, end, self.reserve)
        if number is not None:
            raise self.damaged(at + begins[number], "the frame there contradicts itself")
        for name, inside in ((b"Xing", 4 + mpeg.side_size(like)), (b"Info", 4 + mpeg.side_size(like)), (b"VBRI", 36)):
            place = part.find(name, 0, end)
            while place >= 0:
                low = place - inside
                frame = part[max(0, low) : max(0, low) + mpeg.TAG_REACH]
                header = int.from_bytes(frame[:4], "big")
                if at + low > first and mpeg.size(header) and mpeg.alike(header, like) and mpeg.length_tag(frame):
                    raise self.another(at + low)
                place = part.find(name, place + 1, end)

    def following(self, run: _Run, like: int) -> tuple[int | None, bool]:
        """Find the next frame behind tags or other bytes; returns its place, and whether there were other bytes."""
        at = run.end
        while n := mpeg.tag_size(self.file, at):
            at += n
        header = self.header(at)
        size = mpeg.size(header)
        if size and mpeg.alike(header, like) and at > run.end:
            return at, False
        behind = self.header(at + size)
        if size and not mpeg.alike(header, like) and mpeg.size(behind) and not mpeg.alike(behind, like):
            raise self.foreign(at)
        low = run.last + 4 if run.n and at == run.end else at
        frame = self.search(low, self.end)
        frame = self.last(max(at, self.end - LARGEST), like) if frame is None else frame
        if frame is None:
            return None, False
        if not mpeg.alike(self.header(frame), like):
            raise self.foreign(frame)
        if frame < run.end:
            raise self.damaged(run.last, "the frame there is not whole")
        self.reserve = 0
        return frame, True

    def lacking(self, at: int, end: int) -> dict[int, bytes]:
        """Return new beginnings of the frames that refer to audio before a gap; they make these frames silent."""
        changed: dict[int, bytes] = {}
        reserve = 0  # bytes of audio since the gap
        while at < end and mpeg.layer(header := self.header(at)) == 3 and reserve < mpeg.reservoir(header):
            n = mpeg.before_audio(header)
            beginning = self.bytes_at(at, n)
            if mpeg.refers_back(beginning) > reserve:
                changed[at] = mpeg.silenced(beginning, reserve)
            reserve += mpeg.size(header) - n
            at += mpeg.size(header)
        return changed

    def judged(self, tag: mpeg.LengthTag, n: int, header: int, at: int, *, gaps: bool) -> tuple[int, int]:
        """Return the number of samples, and of those to skip; an `InputError` for too few frames."""
        per_frame = mpeg.n_samples(header)
        decoded = n * per_frame - tag.skipped
        promised = max(n, tag.n_frames) * per_frame - tag.skipped - tag.padding
        if decoded < promised:  # Perhaps only padding is missing.
            if gaps:
                raise self.damaged(at, f"{tag.n_frames} frames are promised there, {n} can be found")
            if self.is_cut or not tag.n_bytes or at + tag.n_bytes > self.n_bytes:
                raise InputError(
                    f"{self.path}: truncated: {max(0, decoded)} of {promised} samples decode; fetch or record it again"
                )
            promised = decoded - tag.padding  # All bytes are there: this tag counts its own frame as well.
        if tag.n_frames and n > tag.n_frames:  # The tag's padding is not at the end.
            promised = decoded
        return (promised, tag.skipped) if promised > 0 else (n * per_frame, 0)

    def is_close(self, tag: mpeg.LengthTag, at: int) -> bool:
        """Return whether the tag's size is so near to the file's that libmpg123 writes no warning to stderr."""
        if tag.n_bytes is None:
            return True
        self.file.seek(max(0, self.n_bytes - 128))
        n = self.n_bytes - at - (128 if self.file.read(3) == b"TAG" else 0)
        return abs(n - tag.n_bytes) <= WARNED * n

    def cut(self) -> InputError:
        """Return the error for a last frame that is not whole."""
        return InputError(f"{self.path}: truncated: its last frame is cut; fetch or record it again")

    def damaged(self, at: int, what: str) -> InputError:
        """Return the error for broken frames at a byte."""
        return InputError(f"{self.path}: damaged at byte {at}: {what}; fetch or record it again")

    def another(self, at: int) -> InputError:
        """Return the error for another recording that begins at a byte."""
        return InputError(f"{self.path}: holds recordings one after another, the second from byte {at}; split them")

    def foreign(self, at: int) -> InputError:
        """Return the error for frames that cannot continue the ones before them."""
        what = "on its frames have another rate, layer or number of channels"
        return InputError(f"{self.path}: from byte {at} {what}; split it there")
