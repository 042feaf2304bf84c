"""A record, on disk, of the workers that died of a batch, so that they do not die of one recording for ever."""

from __future__ import annotations

import os
import socket
from itertools import pairwise
from pathlib import Path

WORKER = "worker:"  # begins the word of each; the others are numbers of recordings


class Attempts:
    """The record of one batch. The first worker leaves its name, those after it also which recording they are at.

    So an accident costs nobody; a recording that kills the decoder costs two workers, and the third knows it.

    Parameters
    ----------
    path : Path
        The record; it is made here, and removed by `done`.
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
        """Say which recording is next."""
        if self.careful:
            self._say(str(number))

    def done(self) -> None:
        """Forget the batch: what came of it is on disk."""
        self.path.unlink(missing_ok=True)

    def _say(self, word: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{word}\n")
