"""Where a peer is faster than cumel, or closer to librosa: found in the rows, and each with a reason."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from reporting.rows import Row, by, newest, number, read
from reporting.topics import ABOUT

FASTER, CLOSER = "faster", "closer to librosa"

# Why, by csv file, peer and what it is ahead in. A peer without an entry stops bench/report.py.
_DOUBLE = "float32 samples times its float64 window: its FFT runs in float64, ours in float32"
_POCKETFFT = (
    "both are float32 rounding: pocketfft's transform is off by 1.2e-7 of the spectrum, MKL's, which torch calls, by "
    "1.3e-7, and the worst of 100,000 values differs from noise to noise"
)
_ORDER = "most likely float32 rounding of sums in another order (not traced); each is closer on some signals"
REASONS: dict[tuple[str, str, str], str] = {
    ("features", "librosa", CLOSER): _DOUBLE,
    ("features", "scipy", CLOSER): _POCKETFFT,
    ("features", "nnAudio", CLOSER): _ORDER,
    ("accuracy", "librosa float32", CLOSER): _DOUBLE,
    ("accuracy", "scipy", CLOSER): _POCKETFFT,
    ("accuracy", "torchaudio", CLOSER): _ORDER,
    ("accuracy", "nnAudio", CLOSER): _ORDER,
    ("accuracy", "NVIDIA DALI", CLOSER): _ORDER,
}


class Comparison(NamedTuple):
    """How the peers of a csv file are compared with cumel's own rows."""

    groups: tuple[str, ...]  # columns that are equal in rows which may be compared
    speed: str  # column; none where only errors count
    own: tuple[str, ...]  # how the names of our rows begin
    error: str = ""  # column, where a row has an error of its own against librosa
    more_is_faster: bool = False
    parts: tuple[str, ...] = ()  # how rows begin that are no peers: they do a part of the work, or are ours as well
    peer: str = "peer"  # column of the names


COMPARED = {
    "features": Comparison(("preset", "threads", "batch", "source"), "ms_per_clip", ("cumel",), error="max_db"),
    "accuracy": Comparison(
        ("preset", "signal"), "", ("cumel CPU", "cumel CUDA"), error="max_db", parts=("cumel",), peer="backend"
    ),
    "extract": Comparison(
        ("op", "threads", "files"),
        "files_per_s",
        ("cumel",),
        more_is_faster=True,
        parts=("decode alone", "features alone", "copies alone", "bound: "),
    ),
    "inference_frontend": Comparison(("op",), "ms_per_clip", ("cumel",)),
    "inference": Comparison(("op",), "ms_per_clip", ("cumel", "ONNX Runtime", "TensorRT")),
    "routes": Comparison(("op", "threads", "batch"), "ms_per_clip", ("cumel", "ONNX Runtime", "TensorRT")),
}


class Pair(NamedTuple):
    """A peer's row and ours."""

    topic: str
    device: str
    common: str  # what they share, in words
    peer: Row
    own: Row | None


class Ahead(NamedTuple):
    """A peer's row that is ahead of ours."""

    pair: Pair
    what: str
    factor: float  # above 1; infinite where the peer's error is 0
    clear: bool  # the percentiles of the two times do not overlap
    reason: str


def _ours(rows: list[Row], how: Comparison) -> Row | None:
    """Return the row called cumel, or else our fastest."""
    own = [row for row in rows if row["peer"].startswith(how.own)]
    if not how.speed:
        return own[0] if own else None
    return next(
        (row for row in own if row["peer"] == "cumel"), max(own, key=lambda row: _speed(row, how), default=None)
    )


def _speed(row: Row, how: Comparison) -> float:
    value = number(row, how.speed)
    if not value or value < 0:
        raise SystemExit(f"{how.speed}: {row[how.speed]!r} must be above 0, in the row {' | '.join(row.values())}")
    return value if how.more_is_faster else 1 / value


def _clear(peer: Row, own: Row) -> bool:
    slowest, fastest = number(peer, "p80_ms"), number(own, "p20_ms")
    return slowest is None or fastest is None or slowest < fastest


def place(values: Iterable[str], columns: Iterable[str]) -> str:
    """Say where rows belong: names as they are, numbers with what they count."""
    said = (f"{c} {v}" if v.replace(".", "").isdigit() else v for c, v in zip(columns, values, strict=True))
    return ", ".join(filter(None, said))


def pairs(results: Path) -> Iterator[Pair]:
    """Yield each row of a peer with the row of ours that did the same on the same device."""
    for topic, how in COMPARED.items():
        path = results / f"{topic}.csv"
        if path.exists():
            columns = ("device", how.peer, *how.groups, *filter(None, [how.speed, how.error]))
            rows = newest(read(path, columns).rows, ABOUT[topic].keys)
            known = [row | {"peer": row[how.peer]} for row in rows if number(row, how.speed or how.error) is not None]
            for (device, *group), same in by(known, "device", *how.groups).items():
                common = place(group, how.groups)
                for row in same:
                    if not row["peer"].startswith((*how.own, *how.parts)):
                        yield Pair(topic, device, common, row, _ours(same, how))


def _advantages(pair: Pair) -> Iterator[tuple[str, float, bool]]:
    """Yield what the peer is ahead in, by which factor, and whether percentiles agree."""
    how, peer, own = COMPARED[pair.topic], pair.peer, pair.own
    if own is None:
        return
    if how.speed and (factor := _speed(peer, how) / _speed(own, how)) > 1:
        yield FASTER, factor, _clear(peer, own)
    if how.error:
        theirs, mine = number(peer, how.error), number(own, how.error)
        if theirs is not None and mine is not None and theirs < mine:
            yield CLOSER, mine / theirs if theirs else math.inf, True


def ahead(results: Path, reasons: Mapping[tuple[str, str, str], str] = REASONS) -> list[Ahead]:
    """Find every row of a peer that is ahead."""
    return [
        Ahead(pair, what, factor, clear, reasons.get((pair.topic, pair.peer["peer"], what), ""))
        for pair in pairs(results)
        for what, factor, clear in _advantages(pair)
    ]


def explained(found: list[Ahead], results: Path) -> list[Ahead]:
    """Return what was found; exit when something has no reason."""
    missing = {(one.pair.topic, one.pair.peer["peer"], one.what): one for one in found if not one.reason}
    if missing:
        said = "".join(
            f"\n  {key}: in {one.pair.common}, {one.factor:.3g} x, {one.pair.device}" for key, one in missing.items()
        )
        raise SystemExit(
            f"{results}: peers ahead of cumel without a reason in REASONS of bench/reporting/peers_ahead.py:{said}"
        )
    return found
