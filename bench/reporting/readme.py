"""The README's tables between their markers, out of the rows; no number is typed there by hand."""

import re
from collections.abc import Callable
from pathlib import Path

from reporting.feature_tables import accuracy_table, ahead_table, features_table, scaling_table
from reporting.markdown import bold, latest, measured, table
from reporting.rows import Row, by, number, ratio, short, times

BEGIN, END = "<!-- bench:{} -->", "<!-- /bench:{} -->"
MARKER = re.compile(r"<!-- (/?)bench:([^ ]+) -->")


def extract_table(results: Path) -> str:
    """Return files on disk to features on disk; ratios are of the rows shown."""
    rows = latest(results, "extract", "files", "files_per_s")
    speeds = [number(row, "files_per_s") for row in rows]
    librosa, bound = (
        next((speed for row, speed in zip(rows, speeds, strict=True) if row["peer"].startswith(name)), None)
        for name in ("librosa", "bound")
    )
    lines = [
        (bold(row["peer"]), f"{speed or 0:.0f}", times(ratio(speed, librosa)), percent(ratio(speed, bound)))
        for row, speed in zip(rows, speeds, strict=True)
    ]
    shown = table(("", "files/s", "speed of librosa", "of the bound"), lines)
    return f"{shown}\n\n{rows[-1]['files']} WAV clips of 5 s at 44.1 kHz. {measured(rows)}"


def percent(value: float | None) -> str:
    """Write a share."""
    return "" if value is None else f"{value:.0%}"


def inference_table(results: Path) -> str:
    """Return the exported model's parts and its whole way, beside the first row of each part."""
    lines: list[tuple[str, ...]] = []
    rows: list[Row] = []
    for name in ("inference_frontend", "inference"):
        for group in by(latest(results, name, "ms_per_clip", "kib"), "op").values():
            first = number(group[0], "ms_per_clip")
            for row in group:
                time = number(row, "ms_per_clip")
                kib = f"{number(row, 'kib'):,.0f}" if number(row, "kib") else ""
                lines.append((row["op"], bold(row["peer"]), short(time), short(ratio(time, first)), kib))
            rows += group
    shown = table(("part", "by", "ms per clip", "of the first", "KiB"), lines, words=(0, 1))
    return f"{shown}\n\nOne thread, one clip. {measured(rows)} Compare ratios: each part's rows are of one run."


def static_table(results: Path) -> str:
    """Return what the compiler alone tells of the kernels."""
    names = ("log-mel", "registers", "instructions per frame", "FMA, add, mul", "L1 wavefronts", "and bank conflicts")
    names += ("M clips/s at most: issue", "L1", "DRAM")
    rows = [row for row in latest(results, "static") if row["arch"] == "sm_90"]
    lines = []
    for row in rows:
        arithmetic = [number(row, f"{kind} instructions") or 0 for kind in ("FMA", "add, mul")]
        counts = [number(row, column) or 0 for column in ("instructions", "wavefronts", "bank_conflicts")]
        counts.insert(1, sum(arithmetic))
        bounds = [(number(row, f"{kind}_clips_s") or 0) / 1e6 for kind in ("issue", "l1", "dram")]
        numbers = (*(f"{n:.0f}" for n in counts), *(f"{bound:.2f}" for bound in bounds))
        lines.append((row["op"].removeprefix("log_mel "), row["registers"], *numbers))
    last = rows[-1]
    made = (
        f"{last['arch']}, NVRTC {last['nvrtc']}, {last['date']}; clips of {last['clip_s']} s, {last['clock_ghz']} GHz."
    )
    return f"{table(names, lines)}\n\n{made}"


TABLES: dict[str, Callable[[Path], str]] = {
    "features": features_table,
    "scaling": scaling_table,
    "accuracy": accuracy_table,
    "ahead": ahead_table,
    "extract": extract_table,
    "inference": inference_table,
    "static": static_table,
}


def render(text: str, results: Path) -> str:
    """Return the README with its tables made anew."""
    markers = [(bool(found[1]), found[2]) for found in MARKER.finditer(text)]
    for topic in dict.fromkeys(name for _, name in markers):
        if topic not in TABLES:
            raise SystemExit(f"README.md: bench:{topic} is no table; there are {', '.join(TABLES)}")
        begin, end = BEGIN.format(topic), END.format(topic)
        if [closes for closes, name in markers if name == topic] != [False, True]:
            raise SystemExit(f"README.md: bench:{topic} must stand between one {begin} and one {end} behind it")
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{TABLES[topic](results)}\n{end}{rest.split(end)[1]}"
    return text


def difference(old: str, new: str) -> str:
    """Say which table differs first, and in which line; nothing when none does."""
    table_name, before, now = "", old.splitlines(), new.splitlines()
    before, now = (lines + [""] * (max(len(before), len(now)) - len(lines)) for lines in (before, now))
    for index, (there, here) in enumerate(zip(before, now, strict=True), 1):
        if there != here:
            return f"line {index}, table bench:{table_name}, has\n  {there}\nwhere bench/results gives\n  {here}"
        if (marker := MARKER.search(there)) and not marker[1]:
            table_name = marker[2]
    return ""
