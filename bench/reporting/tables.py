"""The tables between markers in a document, made from the rows; no number is typed there by hand."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from reporting.frontends import TABLES as FRONT_ENDS
from reporting.markdown import bold, percent, short, table, times
from reporting.peers_ahead import CLOSER, FASTER, comparisons, demand_reasons, peers_ahead
from reporting.rows import latest, numbers, where
from reporting.runtimes import runtimes_table
from reporting.speeds import features_table, front_table, same_batch_table

BEGIN, END = "<!-- bench:{} -->", "<!-- /bench:{} -->"
MARKER = re.compile(r"<!-- (/?)bench:([^ ]+) -->")
TONAL = (
    "chirp",
    "tone",
)  # beginnings of the names of signals with few frequencies: float32's rounding shows beside them


def scaling_table(results: Path) -> str:
    """Return how cost grows along each axis."""
    rows = latest(results, "scaling_exponents", "first", "last", "exponent", "worst_factor")
    shown = pd.DataFrame(
        {
            "axis": rows["axis"],
            "peer": rows["peer"].map(bold),
            "from, to": rows["first"] + " to " + rows["last"],
            "exponent": numbers(rows["exponent"]).map("{:.2f}".format).replace("nan", ""),
            "worst point off the line": numbers(rows["worst_factor"]).map(times),
        }
    )
    return f"{table(shown, ('axis', 'peer'))}\n\n{where(rows)} Cost grows as the value to the exponent."


def accuracy_table(results: Path) -> str:
    """Return each backend's worst errors, noise-like and tonal signals apart."""
    rows = latest(results, "accuracy", "max_db", "mean_db", "worst_at", "exact_uint8")
    errors, tonal = numbers(rows["max_db"]), rows["signal"].str.startswith(TONAL)
    places = rows["preset"] + ", " + rows["signal"] + (": " + rows["worst_at"]).where(rows["worst_at"] != "", "")
    lines = []
    for backend, group in rows.groupby("backend", sort=False):
        line = [bold(backend)]
        for kind in (~tonal, tonal):
            chosen = errors[group.index][kind].dropna()
            line += [short(chosen.max()), places[chosen.idxmax()]] if len(chosen) else ["", ""]
        exact = percent(numbers(group["exact_uint8"]).min(), 3)
        lines.append([*line, short(numbers(group["mean_db"]).max()), exact])
    names = ["backend", "worst dB, noise-like", "where", "worst dB, tonal", "where", "worst mean dB"]
    names += ["least exact uint8"]
    shown = table(pd.DataFrame(lines, columns=names), ("backend", "where"))
    return f"{shown}\n\n{where(rows)} Errors against librosa in float64."


def ahead_table(results: Path) -> str:
    """Return each peer that is ahead of cumel somewhere: in how many comparisons, by how much at most, and why."""
    pairs = comparisons(results)
    pairs = pairs[pairs["own"] != ""]
    if pairs.empty:
        raise SystemExit(f"a document shows bench:ahead, but {results} has no peer beside cumel")
    ahead = peers_ahead(pairs)
    demand_reasons(ahead, results)
    if ahead.empty:
        return f"Nowhere in {len(pairs)} comparisons."
    compared = pairs.groupby(["topic", "peer"]).size()
    lines = []
    for (topic, peer, what), several in ahead.groupby(["topic", "peer", "what"], sort=False):
        largest = several.loc[several["factor"].idxmax()]
        device = [largest["device"]] if pairs["device"].nunique() > 1 else []
        counts = f"{len(several)} of {compared[topic, peer]}"
        lines.append(
            (
                topic,
                peer,
                what,
                counts,
                times(largest["factor"]),
                ", ".join([largest["place"], *device]),
                largest["reason"],
            )
        )
    names = ["benchmark", "peer", "is", "in comparisons", "by at most", "there", "why"]
    shown = table(pd.DataFrame(lines, columns=names), ("benchmark", "peer", "is", "there", "why"))
    note = f"{len(pairs)} comparisons of a peer with cumel at the same preset, threads, batch, source or signal"
    return f"{shown}\n\n{note}; {FASTER} by the median time, {CLOSER} by the largest error."


def extract_table(results: Path) -> str:
    """Return files on disk to features on disk; ratios are of the rows shown."""
    rows = latest(results, "extract", "files", "files_per_s")
    speeds = numbers(rows["files_per_s"])
    librosa, bound = (
        speeds[rows["peer"].str.startswith(name)].head(1).sum(min_count=1) for name in ("librosa", "bound")
    )
    shown = pd.DataFrame(
        {
            "": rows["peer"].map(bold),
            "files/s": speeds.map("{:.0f}".format),
            "speed of librosa": (speeds / librosa).map(times),
            "of the bound": (speeds / bound).map(percent),
        }
    )
    return f"{table(shown, ('',))}\n\n{rows['files'].iloc[-1]} WAV clips of 5 s at 44.1 kHz. {where(rows)}"


def inference_table(results: Path) -> str:
    """Return the exported model's parts and its whole way, beside the first row of each part."""
    parts = [latest(results, name, "ms_per_clip", "kib") for name in ("inference_frontend", "inference")]
    rows = pd.concat(parts, ignore_index=True)
    milliseconds, kib = numbers(rows["ms_per_clip"]), numbers(rows["kib"])
    shown = pd.DataFrame(
        {
            "part": rows["op"],
            "by": rows["peer"].map(bold),
            "ms per clip": milliseconds.map(short),
            "of the first": (milliseconds / milliseconds.groupby(rows["op"]).transform("first")).map(short),
            "KiB": [f"{value:,.0f}" if value > 0 else "" for value in kib],
        }
    )
    note = "Compare ratios: each part's rows are of one run."
    return f"{table(shown, ('part', 'by'))}\n\nOne thread, one clip. {where(rows)} {note}"


def static_table(results: Path) -> str:
    """Return the counts of the kernels' machine code, and the bounds that follow."""
    rows = latest(results, "static")
    rows = rows[rows["arch"] == "sm_90"]
    arithmetic = numbers(rows["FMA instructions"]) + numbers(rows["add, mul instructions"])
    counts = {
        "instructions per frame": numbers(rows["instructions"]),
        "FMA, add, mul": arithmetic,
        "L1 wavefronts": numbers(rows["wavefronts"]),
        "and bank conflicts": numbers(rows["bank_conflicts"]),
    }
    bounds = {"M clips/s at most: issue": "issue", "L1": "l1", "DRAM": "dram"}
    shown = pd.DataFrame(
        {"log-mel": rows["op"].str.removeprefix("log_mel "), "registers": rows["registers"]}
        | {name: column.map("{:.0f}".format) for name, column in counts.items()}
        | {name: (numbers(rows[f"{kind}_clips_s"]) / 1e6).map("{:.2f}".format) for name, kind in bounds.items()}
    )
    last = rows.iloc[-1]
    note = (
        f"{last['arch']}, NVRTC {last['nvrtc']}, {last['date']}; clips of {last['clip_s']} s, {last['clock_ghz']} GHz."
    )
    return f"{table(shown, ('log-mel',))}\n\n{note}"


TABLES: dict[str, Callable[[Path], str]] = {
    "front": front_table,
    "features": features_table,
    "same_batch": same_batch_table,
    "scaling": scaling_table,
    "accuracy": accuracy_table,
    "ahead": ahead_table,
    "extract": extract_table,
    "inference": inference_table,
    "static": static_table,
    "runtimes": runtimes_table,
    **FRONT_ENDS,
}


def render(text: str, results: Path) -> str:
    """Return a document with its tables made anew."""
    markers = [(bool(match[1]), match[2]) for match in MARKER.finditer(text)]
    for topic in dict.fromkeys(name for _, name in markers):
        if topic not in TABLES:
            raise SystemExit(f"bench:{topic} is no table; there are {', '.join(TABLES)}")
        begin, end = BEGIN.format(topic), END.format(topic)
        if [closes for closes, name in markers if name == topic] != [False, True]:
            raise SystemExit(f"bench:{topic} must stand between one {begin} and one {end} behind it")
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{TABLES[topic](results)}\n{end}{rest.split(end)[1]}"
    return text


def difference(old: str, new: str) -> str:
    """Say which table differs first, and in which line; nothing when none does."""
    topic, before, now = "", old.splitlines(), new.splitlines()
    before, now = (lines + [""] * (max(len(before), len(now)) - len(lines)) for lines in (before, now))
    for number, (old_line, new_line) in enumerate(zip(before, now, strict=True), 1):
        if old_line != new_line:
            return f"line {number}, table bench:{topic}, has\n  {old_line}\nwhere bench/results gives\n  {new_line}"
        if (marker := MARKER.search(old_line)) and not marker[1]:
            topic = marker[2]
    return ""
