"""Kernels are held to the instructions of their last row: growth, spills and forbidden instructions are named."""

import csv
import re
from pathlib import Path

import pytest

from sass.regression import FORBIDDEN, MOST, Counted, baselines, check

CSV = Path(__file__).parents[2] / "bench" / "results" / "static.csv"
ARCH, NVRTC = "sm_90", "13.0"
CONFIGS = ("esc50", "whisper", "n_fft 4096")


def as_committed() -> dict[str, Counted]:
    rows = baselines(CSV, ARCH, CONFIGS)
    return {
        name: Counted(float(rows[name]["instructions"]), int(rows[name]["spill_bytes"]), frozenset({"FFMA"}))
        for name in CONFIGS
    }


def changed_csv(folder: Path, config: str, factor: float) -> Path:
    """Write static.csv anew with another row at its end: a config's instructions times a factor."""
    row = dict(baselines(CSV, ARCH, CONFIGS)[config])
    row["instructions"] = f"{float(row['instructions']) * factor:.4g}"
    path = folder / "static.csv"
    path.write_text(CSV.read_text())
    with path.open("a", newline="") as file:
        csv.DictWriter(file, list(row), lineterminator="\n").writerow(row)
    return path


def test_the_last_rows_pass() -> None:
    assert len(check(as_committed(), CSV, ARCH, NVRTC)) == len(CONFIGS)


@pytest.mark.parametrize("config", CONFIGS)
def test_growth_is_named(tmp_path: Path, config: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        check(as_committed(), changed_csv(tmp_path, config, 0.96), ARCH, NVRTC)
    text = str(stopped.value)
    was, now = (rows[config]["instructions"] for rows in (baselines(tmp_path / "static.csv", ARCH, CONFIGS),
                                                          baselines(CSV, ARCH, CONFIGS)))  # fmt: skip
    assert re.match(
        rf"{ARCH}, {config}: {float(now):.0f} .* {float(was):.0f} before \(\+4\.\d%\).*make it smaller", text
    )
    assert "accept the new count and say why in the commit" in text
    assert text.count("\n") == 0, "one kernel grew, so one line"
    assert check(as_committed(), changed_csv(tmp_path, config, 0.98), ARCH, NVRTC)


def test_a_smaller_kernel_passes_and_is_told(tmp_path: Path) -> None:
    lines = check(as_committed(), changed_csv(tmp_path, "whisper", 1.25), ARCH, NVRTC)
    assert "(-20.0%): smaller" in lines[1]
    assert "smaller" not in lines[0]


def test_another_compiler_is_told(tmp_path: Path) -> None:
    assert "NVRTC 13.1 here, 13.0 in the row" in check(as_committed(), CSV, ARCH, "13.1")[0]
    with pytest.raises(SystemExit, match=r"NVRTC 13\.1 here"):
        check(as_committed(), changed_csv(tmp_path, "esc50", 0.9), ARCH, "13.1")


def test_spills_and_forbidden_instructions() -> None:
    counts = as_committed()
    counts["esc50"] = counts["esc50"]._replace(spills=8)
    counts["whisper"] = counts["whisper"]._replace(names=frozenset({"FFMA", "LDL.64"}))
    with pytest.raises(SystemExit) as stopped:
        check(counts, CSV, ARCH, NVRTC)
    assert "esc50: spills 8 bytes, 0 before" in str(stopped.value)
    assert "whisper: has LDL.64" in str(stopped.value)
    assert "LDL" in FORBIDDEN


def test_the_limit_holds_whatever_the_last_row_says(tmp_path: Path) -> None:
    path = changed_csv(tmp_path, "esc50", 2)
    counts = as_committed() | {"esc50": Counted(MOST + 1, 0, frozenset())}
    with pytest.raises(SystemExit, match=f"esc50: {MOST + 1} warp instructions per frame, at most {MOST}"):
        check(counts, path, ARCH, NVRTC)


def test_a_config_or_architecture_without_a_row(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"static.csv: no such file"):
        check(as_committed(), tmp_path / "static.csv", ARCH, NVRTC)
    with pytest.raises(SystemExit, match=r"no row of esc50, .* for sm_75; run bench/static.py --arch sm_75"):
        check(as_committed(), CSV, "sm_75", NVRTC)
    one = {"new": Counted(1, 0, frozenset())}
    with pytest.raises(SystemExit, match="no row of new for sm_90"):
        check(one, CSV, ARCH, NVRTC)
