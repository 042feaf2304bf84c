"""Every ratio that a document prints is that of the two numbers printed beside it."""

import re
from pathlib import Path

import pytest

from reporting.tables import BEGIN, END

ROOT = Path(__file__).parents[2]


def cells(table: str, document: str = "docs/benchmarks.md") -> list[dict[str, str]]:
    """Read a table, a dictionary for each line."""
    text = (ROOT / document).read_text()
    lines = text.split(BEGIN.format(table))[1].split(END.format(table))[0].strip().splitlines()
    names, _, *rows = (
        [cell.strip(" `*") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if "|" in line
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def printed(cell: str) -> float:
    """Read the first number of a cell."""
    return float(re.match(r"[\d.,]+", cell)[0].replace(",", ""))


MS = "ms per clip (p20-p80)"
RATIOS = {  # table, columns equal in rows that are compared, time or rate, column of the ratio, row it is taken to
    "features librosa": ("features", ("preset", "threads"), MS, "speed of librosa", "librosa"),
    "features torchaudio": ("features", ("preset", "threads"), MS, "speed of torchaudio", "torchaudio"),
    "extract librosa": ("extract", (), "files/s", "speed of librosa", "librosa"),
    "extract bound": ("extract", (), "files/s", "of the bound", "bound"),
    "inference": ("inference", ("part",), "ms per clip", "of the first", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", RATIOS)
def test_a_printed_ratio_is_that_of_the_printed_rows(case: str) -> None:
    table, keys, measure, column, rival = RATIOS[case]
    rows = cells(table)
    compared = 0
    for row in rows:
        peer = next(name for name in ("peer", "by", "") if name in row)
        same = [other for other in rows if all(other[key] == row[key] for key in keys)]
        base = next((other for other in same if other[peer].startswith(rival)), None)
        assert (row[column] == "") == (base is None), row
        if base is not None:
            theirs, ours = printed(base[measure]), printed(row[measure])
            expected = ours / theirs if measure == "files/s" or column == "of the first" else theirs / ours
            share = 100 if "%" in row[column] else 1
            assert printed(row[column]) == pytest.approx(expected * share, rel=0.012, abs=0.6 * (share == 100)), row
            compared += 1
    assert compared > len(rows) / 2


def test_times_real_time_are_those_of_the_printed_milliseconds() -> None:
    for row in cells("features"):
        assert printed(row["x real time"]) == pytest.approx(5e3 / printed(row[MS]), rel=0.006), row


@pytest.mark.parametrize(
    ("table", "theirs", "ours", "ratio"),
    [
        ("frontends", "ms per clip", "cumel: ms per clip", "cumel is faster by"),
        ("wrapped", "transformers: ms per clip", "wrapped: ms per clip", "wrapped is faster by"),
        ("same_batch", "torchaudio: ms per clip", "cumel**: ms per clip", "speed of torchaudio"),
    ],
)
def test_a_printed_ratio_is_that_of_its_line(table: str, theirs: str, ours: str, ratio: str) -> None:
    rows = cells(table)
    assert len(rows) > 10
    for row in rows:
        assert printed(row[ratio]) == pytest.approx(printed(row[theirs]) / printed(row[ours]), rel=0.012), row


def test_the_three_numbers_of_the_readme_are_those_of_their_line() -> None:
    rows = cells("front", "README.md")
    assert len(rows) == 3
    for row in rows:
        theirs, ours = printed(row["theirs"]), printed(row["cumel"])
        expected = ours / theirs if row["theirs"].endswith("files/s") else theirs / ours
        assert printed(row["faster by"]) == pytest.approx(expected, rel=0.012), row
