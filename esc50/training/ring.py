"""A ring all-reduce for gradients, hand-written over point-to-point messages, that runs while backward still computes.

Gradients are laid out in flat buckets, last layer first, as backward makes them. As soon as a bucket is full, a thread
takes it around the ring in two rounds (Patarasuk and Yuan, 2009). Reduce-scatter: each process passes a chunk to its
right neighbour and adds what comes from the left, until every chunk's sum is whole in one process. All-gather: the sums
travel on. Each process sends 2 (n - 1) / n of a bucket, whatever n is; every sum is made in one place and then copied,
so all processes step by the same bits.
"""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from queue import SimpleQueue

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_BYTES = 1 << 20


class Bucket:
    """Some parameters' gradients in one flat tensor, padded to a whole number of chunks."""

    def __init__(self, parameters: list[nn.Parameter], n_chunks: int) -> None:
        n = sum(p.numel() for p in parameters)
        self.parameters = parameters
        self.flat = parameters[0].new_zeros(-(-n // n_chunks) * n_chunks)
        self.views: dict[nn.Parameter, Tensor] = {}
        offset = 0
        for p in parameters:
            self.views[p] = self.flat.as_strided(p.size(), p.stride(), offset)  # same memory format as the parameter
            offset += p.numel()
        self.waiting = set(parameters)


class Ring:
    """Averages the gradients of `net` around a ring of processes; `finish` waits for that.

    Parameters
    ----------
    net : nn.Module
        The network; its parameters are equal in every process.
    rank, size : int
        This process, and how many there are.
    bucket_bytes : int
    """

    def __init__(self, net: nn.Module, rank: int, size: int, bucket_bytes: int = BUCKET_BYTES) -> None:
        self.rank, self.size = rank, size
        self.seconds = 0.0  # total time of messages
        self.buckets: list[Bucket] = []
        group: list[nn.Parameter] = []
        for p in reversed([p for p in net.parameters() if p.requires_grad]):
            if group and (p.dtype != group[0].dtype or sum(q.nbytes for q in [*group, p]) > bucket_bytes):
                self.buckets.append(Bucket(group, size))
                group = []
            group.append(p)
        self.buckets.append(Bucket(group, size))
        self._place = {p: bucket for bucket in self.buckets for p in bucket.parameters}
        self._launched = 0
        self._stream = torch.cuda.Stream() if group[0].is_cuda else None
        self._full: SimpleQueue[tuple[Tensor, torch.cuda.Event | None]] = SimpleQueue()
        self._reduced: SimpleQueue[Exception | None] = SimpleQueue()
        for p in self._place:
            p.register_post_accumulate_grad_hook(self._collect)
        threading.Thread(target=self._carry, name="ring", daemon=True).start()

    def finish(self) -> None:
        """Wait until every gradient is the mean over the processes.

        Raises
        ------
        RuntimeError
            torch's, when a neighbour is gone.
        """
        for bucket in self.buckets:  # a parameter that took no part in the loss has a gradient of zero
            for p in tuple(bucket.waiting):
                bucket.views[p].zero_()
                p.grad = bucket.views[p]
            bucket.waiting.clear()
        self._launch()
        for _ in self.buckets:
            self._join()
        for bucket in self.buckets:
            bucket.waiting.update(bucket.parameters)
        self._launched = 0

    def mean_(self, tensor: Tensor) -> None:
        """Replace `tensor` by its mean over the processes."""
        n = tensor.numel()
        flat = tensor.new_zeros(-(-n // self.size) * self.size)
        flat[:n] = tensor.flatten()
        self._send(flat)
        self._join()
        tensor.copy_(flat[:n].view_as(tensor))

    def _collect(self, p: Tensor) -> None:
        """Take a gradient that backward has just finished; this is the hook of every parameter."""
        assert isinstance(p, nn.Parameter)
        assert p.grad is not None
        bucket = self._place[p]
        bucket.views[p].copy_(p.grad)
        p.grad = bucket.views[p]
        bucket.waiting.discard(p)
        self._launch()

    def _launch(self) -> None:
        """Send the buckets that are full, in an order that is the same in every process."""
        while self._launched < len(self.buckets) and not self.buckets[self._launched].waiting:
            self._send(self.buckets[self._launched].flat)
            self._launched += 1

    def _send(self, flat: Tensor) -> None:
        event = None
        if self._stream is not None:
            event = torch.cuda.Event()
            event.record()
        self._full.put((flat, event))

    def _join(self) -> None:
        error = self._reduced.get()
        if error is not None:
            raise error
        if self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)

    def _carry(self) -> None:
        """Take buckets around the ring, one after another; the body of the thread."""
        while True:
            flat, event = self._full.get()
            try:
                with torch.no_grad(), nullcontext() if event is None else torch.cuda.stream(self._stream):
                    if event is not None:
                        event.wait()
                    start = time.perf_counter()
                    self._all_reduce(flat)
                    self.seconds += time.perf_counter() - start
            except Exception as error:
                self._reduced.put(error)
                return
            self._reduced.put(None)

    def _all_reduce(self, flat: Tensor) -> None:
        rank, size = self.rank, self.size
        chunks = flat.view(size, -1)
        incoming = torch.empty_like(chunks[0])
        for step in range(size - 1):
            self._exchange(chunks[(rank - step) % size], incoming)
            chunks[(rank - step - 1) % size] += incoming
        for step in range(size - 1):
            self._exchange(chunks[(rank - step + 1) % size], chunks[(rank - step) % size])
        flat /= size

    def _exchange(self, outgoing: Tensor, incoming: Tensor) -> None:
        """Send to the right neighbour what it needs, while the left one's message comes in."""
        right, left = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        messages = [dist.P2POp(dist.isend, outgoing, right), dist.P2POp(dist.irecv, incoming, left)]
        for message in dist.batch_isend_irecv(messages):
            message.wait()
