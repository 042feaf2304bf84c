"""Accesses that nothing orders: of a block's threads to shared memory, and of several blocks to global memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptx.access import Access

NOBODY, SEVERAL = -1, -2
Epochs = dict[int, int]  # by block: barriers that it had passed

THREAD, WARP, WARP_EPOCH, BLOCK_EPOCH = range(4)  # rows of what is known of an access


class _Now(NamedTuple):
    """Who accesses memory, and how many barriers of the warp and of the block came before."""

    thread: NDArray[np.int64]
    warp: NDArray[np.int64]
    warp_epoch: NDArray[np.int64]
    block_epoch: NDArray[np.int64]


class SharedRaces:
    """Two accesses to a word, one of them a write, that no barrier tells apart. A shuffle orders nothing."""

    def __init__(self, n_words: int) -> None:
        self._written = np.full((4, n_words), NOBODY)  # the last write of each word
        self._read = np.full((4, n_words), NOBODY)  # the last read; SEVERAL: threads, or warps, since a barrier

    def read(self, access: Access, words: NDArray[np.int64]) -> None:
        """Note a read of a word by each thread."""
        now = _now(access)
        if (race := _unordered(self._written[:, words], now)).any():
            raise access.error("race: read of what another thread wrote since the last barrier", race)
        before = self._read[:, words]
        same_epoch = (before[THREAD] != NOBODY) & (before[BLOCK_EPOCH] == now.block_epoch)
        warps = same_epoch & (before[WARP] != now.warp)
        threads = warps | (same_epoch & (before[WARP_EPOCH] == now.warp_epoch) & (before[THREAD] != now.thread))
        self._read[:, words] = (
            np.where(threads, SEVERAL, now.thread),
            np.where(warps, SEVERAL, now.warp),
            now.warp_epoch,
            now.block_epoch,
        )
        for row, mine in ((THREAD, now.thread), (WARP, now.warp)):  # threads that read one word in this very access
            self._read[row, words[self._read[row, words] != mine]] = SEVERAL

    def write(self, access: Access, words: NDArray[np.int64]) -> None:
        """Note a write of a word by each thread."""
        now = _now(access)
        for before, what in ((self._written, "wrote"), (self._read, "read")):
            if (race := _unordered(before[:, words], now)).any():
                raise access.error(f"race: write of what another thread {what} since the last barrier", race)
        self._written[:, words] = now
        if (race := self._written[THREAD, words] != now.thread).any():
            raise access.error("race: several lanes write one word at once", race)


def _now(access: Access) -> _Now:
    return _Now(access.threads, access.wave.warps[access.at], access.warp_epochs, access.block_epochs)


def _unordered(before: NDArray[np.int64], now: _Now) -> NDArray[np.bool_]:
    """Tell where another thread's access has no barrier between itself and now."""
    same_warp = before[WARP] == now.warp
    no_barrier = np.where(same_warp, before[WARP_EPOCH] >= now.warp_epoch, before[BLOCK_EPOCH] >= now.block_epoch)
    return (before[THREAD] != NOBODY) & (before[THREAD] != now.thread) & no_barrier


class BlockOrder:
    """What one block wrote is another's to read only through a write, a barrier, a fence, an atomic; and back again.

    The way back is an atomic at the same address, a fence, a barrier, the read. This is stricter than devices are:
    neither fences before that barrier count, nor what the fencing thread itself wrote behind it.
    """

    def __init__(self) -> None:
        self._released: dict[int, Epochs] = {}  # at an address, by atomics
        self._found: dict[int, Epochs] = {}  # by a thread's atomics since its last fence
        self._fenced: dict[int, int] = {}  # by thread: barriers that its block had passed at its last fence
        self._seen: dict[int, Epochs] = {}  # by block: what its fences made it see of the others
        self._seen_at: dict[int, int] = {}  # by block: barriers that it had passed by then

    @staticmethod
    def no_writers(n_words: int) -> NDArray[np.int64]:
        """Return the state of words that no block wrote: [2, n_words], the last block and its barriers before."""
        return np.full((2, n_words), NOBODY)

    def begin(self) -> None:
        """Forget the threads of blocks that are done, before others take their numbers."""
        self._found.clear()
        self._fenced.clear()

    def fence(self, access: Access) -> None:
        """Note a fence of each thread."""
        for thread in access.threads.tolist():
            block, epoch = int(access.wave.ctaid[thread]), int(access.wave.block_epochs[thread])
            _join(self._seen.setdefault(block, {}), self._found.pop(thread, {}))
            self._seen_at[block] = self._fenced[thread] = epoch

    def atomic(self, access: Access, thread: int, address: int) -> None:
        """Note that a thread found what was released at an address, and released what its fences cover."""
        block, released = int(access.wave.ctaid[thread]), self._released.setdefault(address, {})
        _join(self._found.setdefault(thread, {}), released)
        if thread in self._fenced:
            _join(released, {block: self._fenced[thread], **self._seen.get(block, {})})

    def write(self, access: Access, writers: NDArray[np.int64], words: NDArray[np.int64]) -> None:
        """Note a write of a word by each thread."""
        writers[:, words] = access.blocks, access.block_epochs

    def check(self, access: Access, writers: NDArray[np.int64], words: NDArray[np.int64]) -> None:
        """Refuse an access to what another block wrote, where nothing orders the two."""
        writer, epoch = writers[:, words]
        block, now = access.blocks, access.block_epochs
        race = (writer != NOBODY) & (writer != block)
        if not race.any():
            return
        for reader, other in np.unique(np.stack([block, writer])[:, race], axis=1).T.tolist():
            until = self._seen.get(reader, {}).get(other, NOBODY)
            after = now > self._seen_at.get(reader, 0)
            race &= ~((block == reader) & (writer == other) & (epoch < until) & after)
        if race.any():
            raise access.error("race: another block wrote this, and no fences order it", race)


def _join(into: Epochs, more: Epochs) -> None:
    for block, epoch in more.items():
        into[block] = max(epoch, into.get(block, NOBODY))
