"""Which recording was being read when a Ray worker died; after two deaths the recording is left out."""

from __future__ import annotations

import os
import socket
from itertools import pairwise
from pathlib import Path

WORKER = "worker:"  # prefix of a worker's entry in the record; other entries are numbers of recordings


class Attempts:
    """The record of one batch, on disk.

    The first worker enters its name alone. A later worker, which finds that entry, also enters each recording before it
    reads it. So a worker that dies by accident blames no recording; a recording that kills the decoder is left out by
    the third worker.

    Parameters
    ----------
    path : Path
        The file; it is made here, and removed by `done`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        before = path.read_text().split() if path.exists() else []
        me = f"{WORKER}{os.getpid()}@{socket.gethostname()}"
        pairs = pairwise([*before, me])
        self.blamed = {int(word) for word, then in pairs if then.startswith(WORKER) and not word.startswith(WORKER)}
        self.careful = bool(before)
        self._say(me)

    def taking(self, number: int) -> None:
        """Enter the recording that is read next, if a worker died of this batch."""
        if self.careful:
            self._say(str(number))

    def done(self) -> None:
        """Remove the record, as the batch is on disk."""
        self.path.unlink(missing_ok=True)

    def _say(self, word: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{word}\n")
