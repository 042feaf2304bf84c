"""Speed beside other packages: the README's three numbers, each peer's fastest batch, and all at an equal batch."""

from pathlib import Path

import pandas as pd

from reporting.markdown import bold, short, table, times
from reporting.rows import latest, numbers, where

PRESETS = ("esc50", "librosa", "whisper", "panns")  # order of the rows
RIVALS = ("librosa", "torchaudio")
OURS = "cumel"


def fastest_batches(rows: pd.DataFrame) -> pd.DataFrame:
    """Return each peer's fastest batch of float32 in memory: on a GPU (0 threads), one thread, and two for esc50."""
    threads = rows["threads"].isin(["0", "1"]) | ((rows["preset"] == "esc50") & (rows["threads"] == "2"))
    rows = rows[(rows["source"] == "float32") & threads & (rows["ms_per_clip"] != "")]
    ranked = rows.assign(
        ms=numbers(rows["ms_per_clip"]),
        rank=[PRESETS.index(preset) if preset in PRESETS else len(PRESETS) for preset in rows["preset"]],
    )
    best = ranked.loc[ranked.groupby(["preset", "threads", "peer"], sort=False)["ms"].idxmin()]
    return best.sort_values(["rank", "preset", "threads"])[rows.columns]


def features_table(results: Path) -> str:
    """Return the log-mel table: for each preset and peer its fastest batch."""
    rows = latest(results, "features", "ms_per_clip", "p20_ms", "p80_ms", "x_real_time", "max_db")
    rows = fastest_batches(rows)
    milliseconds = numbers(rows["ms_per_clip"])
    keys = pd.MultiIndex.from_frame(rows[["preset", "threads", "peer"]])
    by_key = pd.Series(milliseconds.values, keys)
    low, high = (numbers(rows[name]).map(short) for name in ("p20_ms", "p80_ms"))
    ranges = (" (" + low + "-" + high + ")").where((low != "") & (high != ""), "")
    shown = {
        "preset": "`" + rows["preset"] + "`",
        "threads": rows["threads"],
        "peer": rows["peer"].map(bold),
        "clips at once": rows["batch"],
        "ms per clip (p20-p80)": milliseconds.map(short) + ranges,
        "x real time": numbers(rows["x_real_time"]).map(short),
    }
    for rival in RIVALS:
        others = by_key.reindex(pd.MultiIndex.from_frame(rows[["preset", "threads"]].assign(peer=rival)))
        shown[f"speed of {rival}"] = pd.Series(others.values / milliseconds, rows.index).map(times)
    shown["max dB error"] = numbers(rows["max_db"]).map(short)
    note = "Of each peer the fastest batch; a ratio is that of the two rows shown. Error against librosa in float64."
    return f"{table(pd.DataFrame(shown), ('preset', 'peer'))}\n\n{where(rows)} {note}"


def same_batch_table(results: Path) -> str:
    """Return milliseconds per clip of every peer beside ours, where both take as many clips at once."""
    rows = latest(results, "features", "ms_per_clip")
    rows = rows[(rows["source"] == "float32") & (rows["ms_per_clip"] != "") & rows["threads"].isin(["1", "2"])]
    rows = rows[rows["date"] == rows["date"].max()]  # These are of one version of ours.
    keys = ["preset", "threads", "batch"]
    rows = rows.assign(ms=numbers(rows["ms_per_clip"]))
    peers = [peer for peer in dict.fromkeys(rows["peer"]) if peer != OURS]
    by_peer = rows.pivot(index=keys, columns="peer", values="ms").reset_index()
    by_peer = by_peer[by_peer[OURS].notna() & by_peer[peers].notna().any(axis=1)]
    place = by_peer["preset"].map({preset: number for number, preset in enumerate(PRESETS)})
    order = pd.DataFrame({"place": place, "threads": numbers(by_peer["threads"]), "batch": numbers(by_peer["batch"])})
    by_peer = by_peer.loc[order.sort_values(list(order)).index]
    shown = {"preset": "`" + by_peer["preset"] + "`", "threads": by_peer["threads"], "clips at once": by_peer["batch"]}
    shown |= {f"{peer}: ms per clip": by_peer[peer].map(short) for peer in peers}
    shown |= {"**cumel**: ms per clip": by_peer[OURS].map(short)}
    shown |= {f"speed of {rival}": (by_peer[rival] / by_peer[OURS]).map(times) for rival in RIVALS if rival in by_peer}
    return f"{table(pd.DataFrame(shown), ('preset',))}\n\n{where(rows)} A ratio is that of the two times in its line."


def front_table(results: Path) -> str:
    """Return the README's three numbers: each side at its fastest, and the ratio of the two that are shown."""
    features = latest(results, "features", "ms_per_clip")
    extract = latest(results, "extract", "files_per_s")
    wrapped = latest(results, "wrapped", "ms_per_clip")
    log_mel = features[(features["preset"] == "esc50") & (features["threads"] == "1")]
    log_mel = log_mel[log_mel["source"] == "float32"]
    whisper = wrapped[(wrapped["extractor"] == "Whisper") & (wrapped["seconds"] == "30")]
    peers = log_mel[(log_mel["peer"] != OURS) & (log_mel["ms_per_clip"] != "")]
    each = numbers(peers["ms_per_clip"]).groupby(peers["peer"]).min().sort_values()
    lines = [
        _beside("log-mel of 5 s at 44.1 kHz, one thread", log_mel, each.index[0], "ms_per_clip"),
        _beside(f"{extract['files'].iloc[0]} WAV files to a store", extract, "librosa under joblib", "files_per_s"),
        _beside("Whisper's extractor on 30 s, one thread", whisper, "transformers", "ms_per_clip"),
    ]
    shown = table(pd.DataFrame(lines), ("what", "beside", "on"))
    others = ", ".join(f"{peer} {short(each[peer])} ms" for peer in each.index[1:])
    return f"{shown}\n\nEach side at its fastest batch. On the first line also: {others}. All rows: docs/benchmarks.md."


def _beside(what: str, rows: pd.DataFrame, peer: str, column: str) -> dict[str, str]:
    """Return a line: the best of a peer, ours, and their ratio."""
    best, unit = (min, "ms") if column == "ms_per_clip" else (max, "files/s")
    theirs, ours = (best(numbers(rows[column])[rows["peer"] == name].dropna()) for name in (peer, _ours(rows)))
    ratio = theirs / ours if best is min else ours / theirs
    device = rows.loc[rows["peer"] == peer, "device"].iloc[0]
    return {
        "what": what, "beside": peer, "theirs": f"{short(theirs)} {unit}", "**cumel**": f"{short(ours)} {unit}",
        "faster by": times(ratio), "on": device,
    }  # fmt: skip


def _ours(rows: pd.DataFrame) -> str:
    return next(peer for peer in rows["peer"] if peer.startswith(OURS))
