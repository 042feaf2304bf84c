"""Runs a function in several processes that find each other as `torchrun`'s do; none outlives its time."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

SECONDS = 120.0  # after which a process counts as hung
_context = multiprocessing.get_context("forkserver")
# Imported once, not once per process: what DistributedDataParallel and the commands import when they are first used.
_context.set_forkserver_preload(
    ["cumel.esc50.training.loop", "cumel.esc50.cli", "torch._dynamo", "torch.utils.tensorboard"]
)


def _run(
    function: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str], end: Connection
) -> None:
    os.environ.update(environment)
    end.send(function(*arguments))


class Processes:
    """`size` processes that run `function(*arguments)`."""

    def __init__(self, size: int, function: Callable[..., Any], *arguments: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        shared |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        self.processes: list[BaseProcess] = []
        self.ends: list[Connection] = []
        for rank in range(size):
            mine, theirs = _context.Pipe(duplex=False)
            environment = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            process = _context.Process(target=_run, args=(function, arguments, environment, theirs))
            process.start()
            theirs.close()
            self.processes.append(process)
            self.ends.append(mine)

    def results(self) -> list[Any]:
        """Wait for what each returned; None for one that was killed."""
        found = []
        try:
            for rank, end in enumerate(self.ends):
                assert wait([end], SECONDS), f"process {rank} hangs"
                try:
                    found.append(end.recv())
                except EOFError:
                    found.append(None)
        finally:
            for process in self.processes:
                process.kill()
                process.join()
        return found
