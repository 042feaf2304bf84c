"""What a run was trained on, for its report and its card: data.json in the run's folder."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...kernels import CumelError
from ..system import replacing
from .dataset import Dataset
from .lengths import Lengths, Measured

DESCRIPTION = "data.json"
ESC50_LICENSE = (
    "ESC-50's recordings (K. J. Piczak, 2015, doi:10.1145/2733373.2806390) are CC BY-NC 3.0: if these are they, use "
    "the model for non-commercial purposes, and name its source"
)
MOST_LICENSES = 5


@dataclass(frozen=True, kw_only=True)
class Description:
    """Facts about the data of a run."""

    name: str
    root: str
    layout: str
    clips: int
    classes: int
    split: str  # where the folds come from
    license: str | None  # the data's own; None where it states none
    lengths: Lengths
    rates: dict[int, int]  # Hz of the recordings -> number of clips

    @classmethod
    def of(cls, data: Dataset, lengths: Lengths, measured: Measured) -> Description:
        """Describe a dataset."""
        return cls(
            name=data.root.resolve().name,
            root=str(data.root),
            layout=data.layout,
            clips=len(data.clips),
            classes=len(data.labels),
            split=data.split_by,
            license=license_of(data),
            lengths=lengths,
            rates=measured.rates,
        )

    def lines(self) -> list[str]:
        """Say it in sentences."""
        rates = ", ".join(f"{n} at {rate / 1000:g} kHz" for rate, n in self.rates.items())
        mixed = f" ({rates}; all resampled)" if len(self.rates) > 1 else f" ({rates})"
        return [
            f"{self.name} ({self.layout}): {self.clips} clips of {self.classes} classes{mixed}",
            f"split: {self.split}",
            f"lengths: {self.lengths.line()}",
            f"licence: {self.license or 'none is stated with the data; it is that of its owners'}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self) | {"rates": {str(rate): n for rate, n in self.rates.items()}}

    def save(self, run: Path) -> Path:
        """Write `run`/data.json."""
        path = run / DESCRIPTION
        with replacing(path) as part:
            part.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, run: Path) -> Description | None:
        """Read a run's data.json; None where it has none, as runs of an earlier version."""
        path = run / DESCRIPTION
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["rates"] = {int(rate): int(n) for rate, n in values["rates"].items()}
            return cls(**values | {"lengths": Lengths(**values["lengths"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CumelError(f"{path}: not as it was written ({type(error).__name__}); train again") from None


def license_of(data: Dataset) -> str | None:
    """Return the licence that a dataset states: in a column, in a file, or by its layout."""
    columns = [clip.extra.get(name) for clip in data.clips for name in ("license", "licence")]
    stated = Counter(str(value) for value in columns if value)
    if stated:
        more = f" and {len(stated) - MOST_LICENSES} more" if len(stated) > MOST_LICENSES else ""
        return ", ".join(f"{name} ({n} clips)" for name, n in stated.most_common(MOST_LICENSES)) + more
    if data.license:
        return data.license
    for path in sorted(data.root.glob("LICEN[SC]E*")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        first = next((line.strip(" #\t") for line in lines if line.strip(" #\t")), None)
        if first:
            return f"{first[:200]} (in {path.name})"
    return ESC50_LICENSE if data.layout == "ESC-50" else None
