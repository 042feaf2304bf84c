"""Global and shared memory: every access is inside what a launch was given, aligned, of known values, and ordered."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ptx.access import Access
from ptx.program import Instruction, PtxError
from ptx.races import BlockOrder, SharedRaces
from ptx.translation import SHARED_BASE

ROOM = 1 << 36  # addresses of each buffer
ALIGNMENT = 16  # bytes that the first address of a buffer is told apart by
WORD = 4  # bytes
POISON = 0x7FBADBAD  # a NaN


@dataclass(eq=False)
class Buffer:
    """Global memory that a kernel may touch."""

    first: int  # address
    data: NDArray[np.uint8]
    constant: Instruction | None = None  # read it as if nothing wrote it
    written: Instruction | None = None  # wrote it
    writers: NDArray[np.int64] | None = None  # writer of each word; see BlockOrder
    _views: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """Return the address behind it."""
        return self.first + len(self.data)

    def view(self, dtype: str) -> tuple[np.ndarray, int]:
        """Return its values of a type, and the address of the first that is aligned."""
        if dtype not in self._views:
            size = np.dtype(dtype).itemsize
            skipped = min(-self.first % size, len(self.data))
            n = (len(self.data) - skipped) // size
            self._views[dtype] = self.data[skipped : skipped + n * size].view(dtype), self.first + skipped
        return self._views[dtype]


class GlobalMemory:
    """The buffers of a launch."""

    def __init__(self, order: BlockOrder | None) -> None:
        self.order = order
        self._buffers: list[Buffer] = []
        self._addresses: dict[tuple[int, int], Buffer] = {}  # by where their bytes really lie

    def add(self, data: NDArray[np.uint8]) -> int:
        """Return the address of a buffer; the same bytes may come twice, but no part of them."""
        begin, end = data.ctypes.data, data.ctypes.data + len(data)
        for (other_begin, other_end), buffer in self._addresses.items():
            if (begin, end) == (other_begin, other_end):
                return buffer.first
            if begin < other_end and other_begin < end:
                raise PtxError("two arguments overlap, but are not the same: copy one")
        self._buffers.append(Buffer((len(self._buffers) + 1) * ROOM + begin % ALIGNMENT, data))
        self._addresses[begin, end] = self._buffers[-1]
        return self._buffers[-1].first

    def check_constants(self) -> None:
        """Refuse a buffer that was read through the cache for constants, and written."""
        for one in self._buffers:
            if one.constant and one.written:
                raise PtxError(f"read as constant, and written: {one.constant.text} and {one.written.text}")

    def load(self, access: Access, addresses: np.ndarray, dtype: str, width: int) -> list:
        """Return `width` values of each thread."""
        buffer, addresses = self._find(access, addresses, np.dtype(dtype).itemsize * width)
        if "nc" in access.instruction.parts:
            buffer.constant = access.instruction
        if self.order and buffer.writers is not None:
            for words in _words(buffer, addresses, np.dtype(dtype).itemsize * width):
                self.order.check(access, buffer.writers, words)
        values, places = _places(buffer, addresses, dtype)
        return [values[places + k] for k in range(width)]

    def store(self, access: Access, addresses: np.ndarray, dtype: str, values: tuple) -> None:
        """Write values of each thread."""
        size = np.dtype(dtype).itemsize
        buffer, addresses = self._find(access, addresses, size * len(values))
        buffer.written = access.instruction
        if self.order:
            if buffer.writers is None:
                buffer.writers = self.order.no_writers(len(buffer.data) // WORD + 2)
            for words in _words(buffer, addresses, size * len(values)):
                if size == WORD:  # two blocks may share a word in smaller parts
                    self.order.check(access, buffer.writers, words)
                self.order.write(access, buffer.writers, words)
        memory, places = _places(buffer, addresses, dtype)
        for k, value in enumerate(values):
            memory[places + k] = value

    def atomic(self, access: Access, how: str, addresses: np.ndarray, dtype: str, value: np.ndarray) -> np.ndarray:
        """Change a value for each thread, one after the other; return what was there before."""
        buffer, addresses = self._find(access, addresses, np.dtype(dtype).itemsize)
        buffer.written = access.instruction
        memory, places = _places(buffer, addresses, dtype)
        threads, before = access.threads.tolist(), np.empty(len(places), dtype)
        for k, (place, given) in enumerate(zip(places, np.broadcast_to(value, len(places)), strict=True)):
            if self.order:
                self.order.atomic(access, threads[k], int(addresses[k]))
            before[k] = memory[place]
            memory[place] = {"exch": given, "max": max(given, before[k]), "add": before[k] + given}[how]
        return before

    def _find(self, access: Access, addresses: np.ndarray, size: int) -> tuple[Buffer, np.ndarray]:
        """Return the one buffer that all threads' accesses of `size` bytes lie in, and all threads' addresses."""
        addresses = np.broadcast_to(addresses, len(access.threads))
        low, high = int(addresses.min()), int(addresses.max()) + size
        index = bisect_right(self._buffers, low, key=lambda buffer: buffer.first) - 1
        if index < 0 or high > self._buffers[index].end:
            inside = np.zeros(len(addresses), bool)
            for buffer in self._buffers:
                inside |= (addresses >= buffer.first) & (addresses + size <= buffer.end)
            if inside.all():
                raise PtxError(f"not supported: several buffers in {access.instruction.text}")
            raise access.error("outside of global memory", ~inside, addresses)
        check_aligned(access, addresses, size)
        access.wave.watch(access, size, addresses)
        return self._buffers[index], addresses


class SharedMemory:
    """Shared memory of all blocks in flight."""

    def __init__(self, n_blocks: int, n_bytes: int, *, races: bool) -> None:
        self.n_bytes, self.n_words = n_bytes, -(-n_bytes // WORD)  # memory of a block
        self.values = np.full(n_blocks * self.n_words, POISON, np.int32)
        self.known = np.zeros(len(self.values), bool)
        self.races = SharedRaces(len(self.values)) if races else None

    def load(self, access: Access, addresses: np.ndarray, dtype: str, width: int) -> list:
        """Return `width` values of each thread, which something wrote."""
        words, values = self._find(access, addresses, dtype, width), []
        for each in range(width):
            where = words + each
            if not (known := self.known[where]).all():
                raise access.error("nothing was written to this shared memory", ~known)
            if self.races:
                self.races.read(access, where)
            values.append(self.values[where].view(dtype))
        return values

    def store(self, access: Access, addresses: np.ndarray, dtype: str, values: tuple) -> None:
        """Write values of each thread."""
        words = self._find(access, addresses, dtype, len(values))
        for each, value in enumerate(values):
            where = words + each
            if self.races:
                self.races.write(access, where)
            self.values[where], self.known[where] = value.view(np.int32), True

    def _find(self, access: Access, addresses: np.ndarray, dtype: str, width: int) -> np.ndarray:
        """Return the first word of each thread, counted through all blocks."""
        if np.dtype(dtype).itemsize != WORD:
            raise access.unsupported()
        inside = np.broadcast_to(addresses, len(access.threads)) - SHARED_BASE
        size = WORD * width
        outside = (inside < 0) | (inside + size > self.n_bytes)
        if outside.any():
            raise access.error(f"outside of {self.n_bytes} bytes of shared memory", outside, inside)
        check_aligned(access, inside, size)
        access.wave.watch(access, size, inside)
        return access.wave.slot[access.at] * self.n_words + inside // WORD


def check_aligned(access: Access, addresses: np.ndarray, size: int) -> None:
    """Refuse addresses that are no multiple of an access's bytes."""
    if (off := addresses & size - 1).any():
        raise access.error("misaligned", off != 0, addresses)


def _places(buffer: Buffer, addresses: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    values, first = buffer.view(dtype)
    return values, (addresses - first) // np.dtype(dtype).itemsize


def _words(buffer: Buffer, addresses: np.ndarray, size: int) -> list[np.ndarray]:
    """Return the words that an access of each thread touches, counted from the buffer's first."""
    first = (addresses - buffer.first // WORD * WORD) // WORD
    return [first + k for k in range(max(1, size // WORD))]
