"""The log of a run: a line per epoch in log.jsonl, TensorBoard where it is installed, and a learning curve."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from ..reports import plot_learning
from ..system import replacing

LOG = "log.jsonl"
PICTURE = "learning.png"
TENSORBOARD = "tensorboard"
SHOWN = ("loss", "accuracy", "lr", "seconds")


class RunLog:
    """Writes the history of a run into its folder `out`; a resumed run passes the `history` so far."""

    def __init__(self, out: Path, history: list[dict[str, Any]]) -> None:
        self.out, self.history = out, history
        self._writer = None
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            done = len(history)
            self._writer = SummaryWriter(out / TENSORBOARD, purge_step=done + 1 if done else None)

    def add(self, row: dict[str, Any]) -> None:
        """Add an epoch."""
        self.history.append(row)
        if self._writer is not None:
            for name in SHOWN:
                if row[name] is not None:
                    self._writer.add_scalar(name, row[name], row["epoch"])

    def write(self) -> None:
        """Bring log.jsonl up to date, as a whole: it never holds half a line, or an epoch twice."""
        with replacing(self.out / LOG) as part:
            part.write_text("".join(json.dumps(row) + "\n" for row in self.history))

    def close(self) -> None:
        """Draw the learning curve."""
        plot_learning({"": self.history}, self.out / PICTURE)
        if self._writer is not None:
            self._writer.close()
