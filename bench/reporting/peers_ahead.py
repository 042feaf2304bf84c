"""Where a peer is faster than cumel, or closer to librosa: computed from the rows, and each with a reason."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from reporting.rows import newest, numbers, read
from reporting.topics import ABOUT

FASTER, CLOSER = "faster", "closer to librosa"

# The reason for each csv file, peer and advantage. bench/report.py fails for a peer that is ahead without one.
_DOUBLE = "float32 samples times its float64 window: its FFT runs in float64, ours in float32"
_POCKETFFT = (
    "both are float32 rounding, of different transforms; the worst of 100,000 values differs from noise to noise"
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

    groups: tuple[str, ...]  # columns with equal values in rows that may be compared
    speed: str  # column of times or rates; empty where only errors count
    own: tuple[str, ...]  # beginnings of the names of our rows
    error: str = ""  # column of errors against librosa; empty where rows have none
    more_is_faster: bool = False
    parts: tuple[str, ...] = ()  # beginnings of names that are no peers: parts of the work, or ours as well
    peer: str = "peer"  # column of names


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
    "frontends": Comparison(("preset", "seconds", "batch"), "ms_per_clip", ("cumel",)),
    "wrapped": Comparison(("extractor", "seconds", "batch"), "ms_per_clip", ("cumel",)),
    "routes": Comparison(("op", "threads", "batch"), "ms_per_clip", ("cumel", "ONNX Runtime", "TensorRT")),
}
COLUMNS = ("topic", "device", "place", "peer", "own", "faster", "closer", "clear")


def comparisons(results: Path) -> pd.DataFrame:
    """Return each row of a peer beside the row of ours that did the same on the same device.

    Returns
    -------
    DataFrame
        Columns ``topic``, ``device``, ``place``, ``peer`` and ``own`` (empty where we have no such row) as text;
        ``faster`` and ``closer``, ratios above 1 where the peer is ahead, else below 1 or NaN; ``clear``, whether
        the percentiles of the two times do not overlap.
    """
    frames = [_compared(results / f"{topic}.csv", how) for topic, how in COMPARED.items()]
    frames = [frame for frame in frames if frame is not None]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def _compared(path: Path, how: Comparison) -> pd.DataFrame | None:
    keys = ["device", *how.groups]
    columns = (*keys, how.peer, *filter(None, (how.speed, how.error)))
    rows = newest(read(path, columns), ABOUT[path.stem].keys) if path.exists() else pd.DataFrame()
    if rows.empty:
        return None
    rows = rows[rows[how.speed or how.error] != ""]
    speed = numbers(rows[how.speed]) if how.speed else pd.Series(np.nan, rows.index)
    for cells in rows[speed <= 0].values.tolist():
        raise SystemExit(f"{path}: {how.speed} must be above 0, in the row {' | '.join(cells)}")
    empty = pd.Series("", rows.index)
    rows = rows[keys].assign(
        topic=path.stem,
        peer=rows[how.peer],
        rate=speed if how.more_is_faster else 1 / speed,
        error=numbers(rows[how.error]) if how.error else np.nan,
        fastest=numbers(rows.get("p20_ms", empty)),
        slowest=numbers(rows.get("p80_ms", empty)),
        group=rows.groupby(keys, sort=False).ngroup(),
        place=[place(values, how.groups) for values in rows[list(how.groups)].values.tolist()],
    )
    is_own = rows["peer"].str.startswith(how.own)
    # Ours is the row called cumel, or else our fastest, or else our first.
    own = rows[is_own].assign(main=rows["peer"] == "cumel").sort_values(["main", "rate"], ascending=False)
    peers = rows[~is_own & ~rows["peer"].str.startswith(how.parts)].sort_values("group", kind="stable")
    pairs = peers.merge(own.drop_duplicates("group"), "left", "group", suffixes=("", "_own"))
    return pairs[["topic", "device", "place", "peer"]].assign(
        own=pairs["peer_own"].fillna(""),
        faster=pairs["rate"] / pairs["rate_own"],
        closer=pairs["error_own"] / pairs["error"],
        clear=~(pairs["slowest"] >= pairs["fastest_own"]),
    )


def place(values: Iterable[str], columns: Iterable[str]) -> str:
    """Say where rows belong: names as they are, numbers with what they count."""
    words = (f"{c} {v}" if v.replace(".", "").isdigit() else v for c, v in zip(columns, values, strict=True))
    return ", ".join(filter(None, words))


def peers_ahead(pairs: pd.DataFrame, reasons: Mapping[tuple[str, str, str], str] = REASONS) -> pd.DataFrame:
    """Return a row for each advantage of a peer: the pair's columns, ``what``, ``factor`` above 1, and ``reason``."""
    faster = pairs.assign(what=FASTER, factor=pairs["faster"])
    closer = pairs.assign(what=CLOSER, factor=pairs["closer"], clear=True)
    both = pd.concat([faster, closer]).sort_index(kind="stable")
    ahead = both[both["factor"] > 1]
    keys = zip(ahead["topic"], ahead["peer"], ahead["what"], strict=True)
    return ahead.assign(reason=[reasons.get(key, "") for key in keys])


def demand_reasons(ahead: pd.DataFrame, results: Path) -> None:
    """Exit when an advantage has no reason."""
    missing = ahead[ahead["reason"] == ""].drop_duplicates(["topic", "peer", "what"])
    if not missing.empty:
        lines = "".join(
            f"\n  {(row.topic, row.peer, row.what)}: in {row.place}, {row.factor:.3g} x, {row.device}"
            for row in missing.itertuples()
        )
        raise SystemExit(
            f"{results}: peers ahead of cumel without a reason in REASONS of bench/reporting/peers_ahead.py:{lines}"
        )
