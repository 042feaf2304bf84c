"""Work on many items by many threads, results in order, within a bound on the bytes that are held."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, islice
from threading import Condition
from typing import TypeVar

from ...kernels.cores import usable_cores

Item = TypeVar("Item")
Out = TypeVar("Out")
CORES = usable_cores()
AHEAD = 1024  # items that may be begun or done before the one whose turn it is


class Cancelled(Exception):  # noqa: N818
    """The results are no longer wanted."""


class Budget:
    """Bytes that the items on their way hold together.

    The item whose turn it is gets what it asks for, over the bound too: so nobody waits for ever, and at most the
    bound and one item are held.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = self.peak = 0
        self._held: dict[int, int] = {}
        self._turn = 0
        self._closed = False
        self._changed = Condition()

    def hold(self, turn: int, n_bytes: int) -> None:
        """Hold `n_bytes` for an item instead of what it held before; waits until there is room for more."""
        with self._changed:
            more = n_bytes - self._held.get(turn, 0)
            if more > 0:
                self._changed.wait_for(
                    lambda: (
                        self._closed or turn == self._turn or self.used + more <= self.most
                    )  # its turn may come while it waits
                )
            if self._closed:
                raise Cancelled
            self._held[turn] = n_bytes
            self.used += more
            self.peak = max(self.peak, self.used)
            self._changed.notify_all()

    def done(self, turn: int) -> None:
        """Give back what an item held; the turn passes to the next."""
        with self._changed:
            self.used -= self._held.pop(turn, 0)
            self._turn = turn + 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let every waiting item end in `Cancelled`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


Hold = Callable[[int], None]  # `Budget.hold` for one item


def ordered(
    items: Iterable[Item],
    work: Callable[[Item, Hold], Out],
    workers: int,
    most_bytes: int,
    start: Callable[[], None] | None = None,
) -> Generator[Out]:
    """Yield ``work(item, hold)`` of each item, in order, computed on `workers` threads.

    Parameters
    ----------
    items : iterable
    work : callable
        Calls ``hold(n_bytes)`` before it takes memory, and again when it holds less.
    workers : int
    most_bytes : int
        What all items between the threads and the caller may hold. A result counts until the next one is asked for.
    start : callable, optional
        Run in each thread first.
    """
    budget, turns = Budget(most_bytes), enumerate(items)
    pending: deque[tuple[int, Future[Out]]] = deque()
    pool = ThreadPoolExecutor(workers, "cumel-reader", start or _nothing)

    def begin(turn: int, item: Item) -> Future[Out]:
        return pool.submit(work, item, lambda n_bytes: budget.hold(turn, n_bytes))

    try:
        while True:
            pending.extend((turn, begin(turn, item)) for turn, item in islice(turns, AHEAD - len(pending)))
            if not pending:
                return
            turn, job = pending.popleft()
            yield job.result()
            del job
            budget.done(turn)
    finally:
        budget.close()
        pool.shutdown(cancel_futures=True)


def _nothing() -> None: ...


def ahead(items: Generator[Out], size: Callable[[Out], int], most_bytes: int) -> Generator[Out]:
    """Iterate over `items` in a thread of its own, as far ahead of the caller as `most_bytes` allow."""

    def step(_: int, hold: Hold) -> list[Out]:
        for item in items:
            hold(size(item))
            return [item]
        return []

    results = ordered(count(), step, 1, most_bytes)
    try:
        for group in results:
            if not group:
                return
            yield group[0]
    finally:
        results.close()
        items.close()


def flat(groups: Generator[list[Out]]) -> Generator[Out]:
    """Yield what is in the groups; closes them with itself."""
    try:
        for group in groups:
            yield from group
    finally:
        groups.close()
