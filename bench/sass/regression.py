"""Counted instructions against those of the last row in static.csv: a kernel that grew is named."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from reporting.rows import Row, read

GROWTH = 0.03  # share by which a kernel's instructions per frame may exceed those of its config's last row
CHECKED, MOST = (
    "esc50",
    2000,
)  # a preset, and the warp instructions per frame that it may take whatever its last row says
FORBIDDEN = ("BRA.DIV", "LDL", "STL")  # second copies for lanes that went apart; local memory of a thread
REMEDY = "make it smaller, or run bench/static.py to accept the new count and say why in the commit"


class Counted(NamedTuple):
    """What is compared with the last row."""

    instructions: float  # warp instructions per frame
    spills: int  # bytes
    names: frozenset[str]  # instruction names, with suffixes


def baselines(path: Path, arch: str, configs: Iterable[str]) -> dict[str, Row]:
    """Return the last row of each config."""
    rows = read(path, ("op", "arch", "nvrtc", "instructions", "spill_bytes")).to_dict("records")
    last = {row["op"].removeprefix("log_mel "): row for row in rows if row["arch"] == arch}
    if missing := [name for name in configs if name not in last]:
        raise SystemExit(f"{path}: no row of {', '.join(missing)} for {arch}; run bench/static.py --arch {arch}")
    return last


def compare(name: str, counted: Counted, row: Row, nvrtc: str) -> tuple[str, list[str]]:
    """Return a line about a kernel, and what is wrong with it."""
    if not row["instructions"] or not row["spill_bytes"]:
        raise SystemExit(f"static.csv: the last row of {name} lacks its instructions or its spills")
    before, spilled = float(row["instructions"]), float(row["spill_bytes"])
    compiler = "" if row["nvrtc"] == nvrtc else f" (NVRTC {nvrtc} here, {row['nvrtc']} in the row)"
    growth = counted.instructions / before - 1
    change = f"{growth:+.1%}" if abs(growth) >= 0.0005 else "the same"  # the row has four digits
    line = f"{name}: {counted.instructions:.0f} warp instructions per frame, {before:.0f} before ({change}){compiler}"
    wrong = []
    if growth > GROWTH:
        wrong.append(f"{line}: more than {GROWTH:.0%} above; {REMEDY}")
    if name == CHECKED and counted.instructions > MOST:
        wrong.append(f"{name}: {counted.instructions:.0f} warp instructions per frame, at most {MOST}; make it smaller")
    if counted.spills > spilled:
        wrong.append(f"{name}: spills {counted.spills} bytes, {spilled:.0f} before{compiler}; {REMEDY}")
    if forbidden := sorted(each for each in counted.names if each.startswith(FORBIDDEN)):
        wrong.append(f"{name}: has {', '.join(forbidden)}, which no kernel may have{compiler}; take them out")
    smaller = ": smaller; run bench/static.py to hold it to that" if growth < -GROWTH else ""
    return line + smaller, wrong


def check(counts: dict[str, Counted], path: Path, arch: str, nvrtc: str) -> list[str]:
    """Return a line for each kernel; exit with what is wrong with any."""
    rows = baselines(path, arch, counts)
    compared = [compare(name, counted, rows[name], nvrtc) for name, counted in counts.items()]
    if wrong := [text for _, several in compared for text in several]:
        raise SystemExit("\n".join(f"{arch}, {text}" for text in wrong))
    return [line for line, _ in compared]
