"""Counted instructions against those of the last row: a kernel that grew is named, one that shrank is praised."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from reporting.rows import Row, number, read

GROWTH = 0.03  # of a kernel's instructions per frame, above the last row of its config
CHECKED, MOST = "esc50", 2000  # warp instructions per frame that this preset may take, whatever the last row says
FORBIDDEN = ("BRA.DIV", "LDL", "STL")  # copies of code for lanes that went apart; memory of a thread's own
REMEDY = "make it smaller, or run bench/static.py to accept the new count and say why in the commit"


class Counted(NamedTuple):
    """What is held to the last row."""

    instructions: float  # of a warp per frame
    spills: int  # bytes
    names: frozenset[str]  # of the instructions, with their suffixes


def baselines(path: Path, arch: str, configs: Iterable[str]) -> dict[str, Row]:
    """Return the last row of each config."""
    rows = read(path, ("op", "arch", "nvrtc", "instructions", "spill_bytes")).rows
    found = {row["op"].removeprefix("log_mel "): row for row in rows if row["arch"] == arch}
    if missing := [name for name in configs if name not in found]:
        raise SystemExit(f"{path}: no row of {', '.join(missing)} for {arch}; run bench/static.py --arch {arch}")
    return found


def compare(name: str, one: Counted, row: Row, nvrtc: str) -> tuple[str, list[str]]:
    """Return a line about a kernel, and what is wrong with it."""
    was, spilled = number(row, "instructions"), number(row, "spill_bytes")
    if was is None or spilled is None:
        raise SystemExit(f"static.csv: the last row of {name} lacks its instructions or its spills")
    compiler = "" if row["nvrtc"] == nvrtc else f" (NVRTC {nvrtc} here, {row['nvrtc']} in the row)"
    growth = one.instructions / was - 1
    change = f"{growth:+.1%}" if abs(growth) >= 0.0005 else "the same"  # the row has four digits
    line = f"{name}: {one.instructions:.0f} warp instructions per frame, {was:.0f} before ({change}){compiler}"
    wrong = []
    if growth > GROWTH:
        wrong.append(f"{line}: more than {GROWTH:.0%} above; {REMEDY}")
    if name == CHECKED and one.instructions > MOST:
        wrong.append(f"{name}: {one.instructions:.0f} warp instructions per frame, at most {MOST}; make it smaller")
    if one.spills > spilled:
        wrong.append(f"{name}: spills {one.spills} bytes, {spilled:.0f} before{compiler}; {REMEDY}")
    if found := sorted(each for each in one.names if each.startswith(FORBIDDEN)):
        wrong.append(f"{name}: has {', '.join(found)}, which no kernel may have{compiler}; take them out")
    smaller = ": smaller; run bench/static.py to hold it to that" if growth < -GROWTH else ""
    return line + smaller, wrong


def check(counts: dict[str, Counted], path: Path, arch: str, nvrtc: str) -> list[str]:
    """Return a line for each kernel; exit with what is wrong with any."""
    rows = baselines(path, arch, counts)
    compared = [compare(name, one, rows[name], nvrtc) for name, one in counts.items()]
    if wrong := [text for _, several in compared for text in several]:
        raise SystemExit("\n".join(f"{arch}, {text}" for text in wrong))
    return [line for line, _ in compared]
