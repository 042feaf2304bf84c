"""Which rows of each csv file become which picture."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from matplotlib.figure import Figure

from reporting.feature_tables import PRESETS, best_rows
from reporting.heat import heat_map
from reporting.pictures import Measure, beside, growth
from reporting.rows import Row, by, newest, number, read, unique
from reporting.topics import about

MS = Measure("ms_per_clip", "ms per clip", "p20_ms", "p80_ms", log=True)
ERROR = Measure("max_db", "largest dB error", log=True)
SHOWN = {  # the columns of a picture's panels, what tells their rows apart, and what is drawn of them
    "extract": (("op",), ("peer",), [Measure("files_per_s", "files/s")]),
    "inference_frontend": (("op",), ("peer",), [MS]),
    "inference": (("op",), ("peer",), [MS]),
    "routes": (("op", "batch"), ("peer",), [MS, Measure("max_difference", "largest difference", log=True)]),
    "train": (("op",), ("device_used", "precision", "processes"), [Measure("clips_per_s", "clips/s")]),
    "memory": ((), ("op",), [Measure("peak_mb", "peak MB")]),
}


def speed(rows: Iterable[Row]) -> Figure | None:
    """Draw each peer's fastest batch in each preset beside its error: one thread, or a GPU."""
    rows = [row for row in best_rows(rows) if row["threads"] in ("0", "1")]
    panels = {preset: [row | {"peer": _batch(row)} for row in some] for (preset,), some in by(rows, "preset").items()}
    return beside(panels, [MS, ERROR]) if panels else None


def _batch(row: Row) -> str:
    return row["peer"] if row["batch"] == "1" else f"{row['peer']}, {row['batch']} clips"


def _batches(rows: list[Row]) -> Iterator[tuple[str, Figure]]:
    """Draw the rows of one thread, or a GPU: a picture for each preset, a panel for each batch and source."""
    for preset in sorted(unique(rows, "preset"), key=lambda p: PRESETS.index(p) if p in PRESETS else 99):
        same = [row for row in rows if row["preset"] == preset and row["threads"] in ("0", "1")]
        panels = {f"{batch} at once, {source}": some for (batch, source), some in by(same, "batch", "source").items()}
        if panels:
            yield f"{preset}, every batch and source", beside(panels, [MS, ERROR])


def drawings(results: Path, name: str, rows: list[Row]) -> Iterator[tuple[str, Figure]]:
    """Yield caption and picture of the rows of one device; none of a csv file that has no picture."""
    if name == "features":
        if figure := speed(rows):
            yield "Fastest batch of each peer", figure
        yield from _batches(rows)
    elif name == "scaling":
        path = results / "scaling_exponents.csv"
        lines = newest(read(path).rows, about(path.stem).keys) if path.exists() else []
        device = rows[0].get("device")
        yield "Points measured, lines fitted", growth(rows, [row for row in lines if row.get("device") == device])
    elif name == "accuracy":
        yield "Largest dB error", heat_map(rows)
    elif name in SHOWN:
        panels, labels, measures = SHOWN[name]
        named = [row | {"peer": ", ".join(row[label] for label in labels)} for row in rows]
        groups = {_title(panels, key): some for key, some in by(named, *panels).items()}
        drawn = {title: some for title, some in groups.items() if any(number(row, measures[0].column) for row in some)}
        if drawn:
            yield about(name).title, beside(drawn, measures)


def _title(columns: Iterable[str], values: Iterable[str]) -> str:
    pairs = zip(columns, values, strict=True)
    return ", ".join(value if column == "op" else f"{column} {value}" for column, value in pairs)
