"""Rows of predictions are written as they come, in either format, with names of any bytes."""

import csv
import json
import os
import stat
from pathlib import Path

import pytest

from cumel.export.prediction.rows import format_of, rows_into
from cumel.kernels import CumelError

ROW = {
    "file": "a, b.wav",
    "start": 0.5,
    "end": 5.5,
    "seconds": 60.0,
    "sr": 44100,
    "silent": False,
    "top": [{"label": "dog", "probability": 0.75}, {"label": 'a "cat"', "probability": 0.125}],
    "error": None,
}
FAILED = ROW | {"start": 0.0, "end": 0.0, "seconds": None, "sr": None, "top": [], "error": "b.wav: no sound\nin it"}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_rows_are_there_before_the_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new" / f"rows.{kind}"
    with rows_into(str(path), kind, 3) as write:
        write(ROW)
        first = path.read_text()
        assert "dog" in first
        write(FAILED)
    assert path.read_text().startswith(first)
    if kind == "jsonl":
        assert [json.loads(line) for line in path.read_text().splitlines()] == [ROW, FAILED]
        return
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [rows[0][f"{name}_{rank}"] for rank in (1, 2, 3) for name in ("label", "probability")] == [
        *("dog", "0.750000"),
        *('a "cat"', "0.125000"),
        *("", ""),
    ]
    assert (rows[0]["file"], rows[0]["start"], rows[0]["silent"], rows[0]["error"]) == ("a, b.wav", "0.5", "0", "")
    assert (rows[1]["error"], rows[1]["label_1"], rows[1]["sr"]) == ("b.wav: no sound\nin it", "", "")


def test_names_of_any_bytes_come_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    for kind in ("csv", "jsonl"):
        with rows_into(str(tmp_path / kind), kind, 1) as write:
            write(ROW | {"file": name})
    assert os.fsencode(name) in (tmp_path / "csv").read_bytes()
    assert json.loads((tmp_path / "jsonl").read_text())["file"] == name


@pytest.mark.parametrize(
    ("out", "named", "kind"),
    [
        ("a.csv", None, "csv"),
        ("a.JSONL", None, "jsonl"),
        ("-", None, "jsonl"),
        (None, None, "jsonl"),
        ("-", "csv", "csv"),
        ("a.txt", "csv", "csv"),
    ],
)
def test_the_format_by_name_or_extension(out: str | None, named: str | None, kind: str) -> None:
    assert format_of(out, named) == kind


@pytest.mark.parametrize(
    ("out", "named", "complaint"),
    [
        ("a.txt", None, "ends in .csv or .jsonl"),
        ("a", None, "ends in"),
        ("a.csv", "xml", "--format xml: must be one of"),
    ],
)
def test_an_unknown_format_is_refused(out: str, named: str | None, complaint: str) -> None:
    with pytest.raises(CumelError, match=complaint):
        format_of(out, named)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CumelError, match="cannot be written"), rows_into(str(tmp_path / "file" / "a.csv"), "csv", 1):
        pass


def test_a_full_disk_is_one_line() -> None:
    full = Path("/dev/full")
    if not full.exists() or not stat.S_ISCHR(full.stat().st_mode):
        pytest.skip("needs /dev/full")
    with (
        pytest.raises(CumelError, match=r"cannot be written .*; free some space"),
        rows_into(str(full), "jsonl", 1) as write,
    ):
        write(ROW)
