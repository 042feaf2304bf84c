"""The README's tables about features: speed, growth, errors, and where peers are ahead."""

from collections.abc import Iterable
from pathlib import Path

from reporting.markdown import bold, latest, measured, table
from reporting.peers_ahead import CLOSER, FASTER, Ahead, ahead, explained, pairs
from reporting.rows import Row, by, number, ratio, short, times, unique

PRESETS = ("esc50", "librosa", "whisper", "panns")  # in this order
TONAL = ("chirp", "tone")  # how signals begin whose energy is in few bins: float32's noise shows beside it


def best_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the fastest batch of each peer on float32 in memory: one thread, of esc50 two as well; 0 is a GPU."""
    found = []
    rows = [row for row in rows if row["source"] == "float32"]
    for preset in sorted(unique(rows, "preset"), key=lambda p: (PRESETS.index(p) if p in PRESETS else 99, p)):
        for threads in ("0", "1", "2") if preset == "esc50" else ("0", "1"):
            same = [row for row in rows if (row["preset"], row["threads"]) == (preset, threads)]
            peers = by((row for row in same if number(row, "ms_per_clip") is not None), "peer").values()
            found += [min(group, key=lambda row: number(row, "ms_per_clip") or 0) for group in peers]
    return found


def features_table(results: Path) -> str:
    """Return the log-mel table: for each preset and peer its best batch."""
    rows = best_rows(latest(results, "features", "ms_per_clip", "p20_ms", "p80_ms", "x_real_time", "max_db"))
    rivals = ("librosa", "torchaudio")
    milliseconds = {(row["preset"], row["threads"], row["peer"]): number(row, "ms_per_clip") for row in rows}
    names = ("preset", "threads", "peer", "clips at once", "ms per clip (p20-p80)", "x real time")
    lines = [
        (
            f"`{row['preset']}`",
            row["threads"],
            bold(row["peer"]),
            row["batch"],
            ranged(row),
            short(number(row, "x_real_time")),
            *(
                times(ratio(milliseconds.get((row["preset"], row["threads"], rival)), number(row, "ms_per_clip")))
                for rival in rivals
            ),
            short(number(row, "max_db")),
        )
        for row in rows
    ]
    shown = table((*names, *(f"speed of {rival}" for rival in rivals), "max dB error"), lines, words=(0, 2))
    said = "Of each peer the fastest batch; a ratio is that of the two rows shown. Error against librosa in float64."
    return f"{shown}\n\n{measured(rows)} {said}"


def ranged(row: Row) -> str:
    """Write a median with its percentiles."""
    middle, low, high = (short(number(row, name)) for name in ("ms_per_clip", "p20_ms", "p80_ms"))
    return f"{middle} ({low}-{high})" if low and high else middle


def scaling_table(results: Path) -> str:
    """Return how cost grows along each axis."""
    rows = latest(results, "scaling_exponents", "first", "last", "exponent", "worst_factor")
    lines = [
        (
            row["axis"],
            bold(row["peer"]),
            f"{row['first']} to {row['last']}",
            f"{number(row, 'exponent'):.2f}" if row["exponent"] else "",
            times(number(row, "worst_factor")),
        )
        for row in rows
    ]
    shown = table(("axis", "peer", "from, to", "exponent", "worst point off the line"), lines, words=(0, 1))
    return f"{shown}\n\n{measured(rows)} Cost grows as the value to the exponent."


def accuracy_table(results: Path) -> str:
    """Return each backend's worst errors, noise-like and tonal signals apart."""
    rows = latest(results, "accuracy", "max_db", "mean_db", "worst_at", "exact_uint8")
    lines = []
    for (backend,), group in by(rows, "backend").items():
        worst = []
        for tonal in (False, True):
            some = [row for row in group if row["signal"].startswith(TONAL) == tonal and row["max_db"]]
            top = max(some, key=lambda row: number(row, "max_db") or 0, default=None)
            worst += [short(number(top, "max_db")), place_of(top)] if top else ["", ""]
        means = [value for row in group if (value := number(row, "mean_db")) is not None]
        exact = [value for row in group if (value := number(row, "exact_uint8")) is not None]
        lines.append((bold(backend), *worst, short(max(means, default=None)), share(min(exact, default=None))))
    names = (
        "backend",
        "worst dB, noise-like",
        "where",
        "worst dB, tonal",
        "where",
        "worst mean dB",
        "least exact uint8",
    )
    return f"{table(names, lines, words=(0, 2, 4))}\n\n{measured(rows)} Errors against librosa in float64."


def place_of(row: Row) -> str:
    """Say where an error is."""
    return ": ".join(filter(None, (f"{row['preset']}, {row['signal']}", row["worst_at"])))


def share(value: float | None) -> str:
    """Write a share in percent; 100 % is said only of all."""
    return "" if value is None else "100 %" if value == 1 else f"{min(100 * value, 99.999):.3f} %"


def ahead_table(results: Path) -> str:
    """Return each peer that is ahead of cumel somewhere: in how many comparisons, by how much at most, and why."""
    compared = [pair for pair in pairs(results) if pair.own]
    n_compared, several_devices = len(compared), len({pair.device for pair in compared}) > 1
    if not n_compared:
        raise SystemExit(f"README.md: it shows bench:ahead, but {results} has no peer beside cumel")
    found: dict[tuple[str, str, str], list[Ahead]] = {}
    for one in explained(ahead(results), results):
        found.setdefault((one.pair.topic, one.pair.peer["peer"], one.what), []).append(one)
    if not found:
        return f"Nowhere in {n_compared} comparisons."
    lines = []
    for (topic, peer, what), several in found.items():
        most = max(several, key=lambda one: one.factor)
        n = sum((pair.topic, pair.peer["peer"]) == (topic, peer) for pair in compared)
        there = ", ".join((most.pair.common, *([most.pair.device] if several_devices else [])))
        lines.append((topic, peer, what, f"{len(several)} of {n}", times(most.factor), there, most.reason))
    names = ("benchmark", "peer", "is", "in comparisons", "by at most", "there", "why")
    how = f"{FASTER} by the median time, {CLOSER} by the largest error"
    said = f"{n_compared} comparisons of a peer with cumel at the same preset, threads, batch, source or signal; {how}."
    return f"{table(names, lines, words=(0, 1, 2, 5, 6))}\n\n{said}"
