"""How long clips are, and what fitting them to one length cuts away or fills in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import CumelError, InputError
from ..audio import Recording
from .dataset import Dataset

LEAST, MOST, STEP = 0.5, 10.0, 0.5  # s; limits of a length that is chosen, and what it is rounded up to
WHOLE = 75  # percent of the clips that a chosen length does not cut
SAME = 0.01  # share by which lengths of one size differ
AUTO = "auto"


@dataclass(frozen=True)
class Measured:
    """The lengths and rates of clips, as their headers state them."""

    seconds: NDArray[np.float64]  # [n_clips]
    rates: dict[int, int]  # Hz -> number of clips

    @classmethod
    def of(cls, data: Dataset, workers: int) -> Measured:
        """Read the header of every recording.

        Raises
        ------
        CumelError
            For recordings that cannot be used, naming the first ones, and for a part that begins behind its end.
        """
        paths = list(dict.fromkeys(clip.path for clip in data.clips))
        with ThreadPoolExecutor(workers) as pool:
            headers = dict(zip(paths, pool.map(_header, paths), strict=True))
        failures = [str(header) for header in headers.values() if isinstance(header, InputError)]
        seconds, rates = np.zeros(len(data.clips)), Counter()
        for i, clip in enumerate(data.clips):
            header = headers[clip.path]
            if isinstance(header, InputError):
                continue
            whole, rate = header
            seconds[i] = min(whole, whole if clip.end is None else clip.end) - clip.start
            rates[rate] += 1
            if seconds[i] <= 0:
                failures.append(f"{clip.where}: begins behind the end of its recording, at {whole:g} s; mend its start")
        if failures:
            first = "; ".join(failures[:3])
            raise CumelError(f"{data.source}: {len(failures)} of {len(paths)} recordings cannot be used: {first}")
        return cls(seconds, dict(sorted(rates.items())))


def _header(path: Path) -> tuple[float, int] | InputError:
    try:
        with Recording(path) as recording:
            header = recording.header
    except InputError as error:
        return error
    return header.n_samples / header.sr, header.sr


@dataclass(frozen=True)
class Lengths:
    """The one length that a network gets, and what becomes of clips that have another."""

    seconds: float  # duration of each clip as the network gets it
    why: str  # where that length comes from
    clips: int
    shortest: float  # s
    median: float
    longest: float
    cut_clips: int  # longer than `seconds`: their end is cut off
    cut_seconds: float
    mirrored_clips: int  # shorter: mirrored at both ends
    mirrored_seconds: float

    @classmethod
    def of(cls, lengths: NDArray[np.float64], seconds: float, why: str) -> Lengths:
        """Count what fitting clips of these lengths to `seconds` cuts and mirrors."""
        over = lengths - seconds
        cut, short = over > SAME * seconds, over < -SAME * seconds
        return cls(
            round(seconds, 6),
            why,
            len(lengths),
            round(float(lengths.min()), 3),
            round(float(np.median(lengths)), 3),
            round(float(lengths.max()), 3),
            int(cut.sum()),
            round(float(over[cut].sum()), 3),
            int(short.sum()),
            round(float(-over[short].sum()), 3),
        )

    def line(self) -> str:
        """Say it in a sentence."""
        same = self.longest - self.shortest <= SAME * self.longest
        has = f"clips of {self.longest:.3g} s" if same else f"clips of {self.shortest:.2g} to {self.longest:.3g} s"
        parts = [f"{has}, fitted to {self.seconds:g} s ({self.why})"]
        if self.cut_clips:
            parts.append(f"{self.cut_clips} of {self.clips} are cut ({self.cut_seconds:.1f} s are not heard)")
        if self.mirrored_clips:
            parts.append(f"{self.mirrored_clips} of {self.clips} are mirrored ({self.mirrored_seconds:.1f} s)")
        if not self.cut_clips and not self.mirrored_clips:
            parts.append("none is cut or mirrored")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self)


def chosen(lengths: Sequence[float] | NDArray[np.float64]) -> tuple[float, str]:
    """Choose one length for clips of these: their own, or one that three of four do not exceed; and say why."""
    shortest, longest = float(np.min(lengths)), float(np.max(lengths))
    if longest - shortest <= SAME * longest and longest <= 6 * MOST:
        return round(longest, 3), "auto: all have that length"
    wanted = float(np.percentile(lengths, WHOLE))
    seconds = min(MOST, max(LEAST, np.ceil(wanted / STEP - SAME) * STEP))
    limit = f", {MOST:g} s at most" if seconds < wanted * (1 - SAME) else ""
    return float(seconds), f"auto: three of four are no longer{limit}" if not limit else f"auto: the most{limit}"
