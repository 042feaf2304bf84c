"""The windows of a recording become one answer, or events; time that windows share is counted once."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cumel.export.prediction import Counts, aggregated, events_of
from cumel.export.prediction.classifier import Prediction
from cumel.export.prediction.events import check_events, events_into
from cumel.export.prediction.segments import Segment
from cumel.kernels import CumelError

LABELS = ("dog", "cat", "rain")


def windows(file: str, *scores: tuple[float, ...] | None, hop: float = 1.0, seconds: float = 2.0) -> list[Prediction]:
    """Make windows of 2 s; None is a silent one."""
    whole = hop * (len(scores) - 1) + seconds
    out = []
    for i, row in enumerate(scores):
        segment = Segment(file, i * hop, i * hop + seconds, whole, 8000, silent=row is None, first=i == 0)
        out.append(Prediction(segment, None if row is None else np.array(row, np.float32), LABELS))
    return out


DOG, CAT, BOTH, NONE = (0.9, 0.1, 0.0), (0.2, 0.8, 0.0), (0.6, 0.6, 0.1), (0.3, 0.3, 0.4)


def test_one_answer_for_each_recording() -> None:
    bad = windows("b", DOG, CAT)
    bad[1] = Prediction(bad[1].segment._replace(error="b: damaged"), None, LABELS)
    given = [*windows("a", DOG, None, CAT), *bad, *windows("c", None)]
    mean, failed, silent = aggregated(given, "mean")
    assert (mean.segment.file, mean.segment.start, mean.segment.end, mean.segment.first) == ("a", 0.0, 4.0, True)
    np.testing.assert_allclose(mean.probabilities, np.mean([DOG, CAT], axis=0), rtol=1e-6)
    assert failed.segment.error == "b: damaged"
    assert (silent.segment.silent, silent.probabilities) == (True, None)
    highest = next(aggregated(windows("a", DOG, CAT), "max"))
    np.testing.assert_allclose(highest.probabilities, [0.9, 0.8, 0.0], rtol=1e-6)


def test_windows_of_one_label_are_one_event() -> None:
    events = events_of(windows("a", DOG, DOG, CAT, None, NONE, BOTH, DOG), 0.5)
    assert [(event.label, event.start, event.end, event.windows) for event in events] == [
        ("dog", 0.0, 3.0, 2),
        ("cat", 2.0, 4.0, 1),
        ("cat", 5.0, 7.0, 1),
        ("dog", 5.0, 8.0, 2),
    ]
    assert events[3].probability == pytest.approx(0.9)
    apart = events_of(windows("a", DOG, DOG, hop=5.0), 0.5)  # what lies between was not heard
    assert [(event.start, event.end) for event in apart] == [(0.0, 2.0), (5.0, 7.0)]
    assert events_of(windows("a", DOG), 0.95) == []


def test_events_are_written_in_each_format(tmp_path: Path) -> None:
    events = [event._replace(file="a, b.wav", label="big\tdog") for event in events_of(windows("a", DOG, DOG), 0.5)]
    for suffix in (".csv", ".jsonl", ".txt"):
        with events_into(tmp_path / "new" / f"e{suffix}") as write:
            write(events)
            write([])
    assert (tmp_path / "new" / "e.txt").read_text() == "0.000000\t3.000000\tbig dog\n"
    (line,) = (tmp_path / "new" / "e.jsonl").read_text().splitlines()
    assert json.loads(line)["label"] == "big\tdog"
    with (tmp_path / "new" / "e.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["end"], row["probability"], row["windows"]) == ("a, b.wav", "3.0", "0.900000", "2")
    with pytest.raises(CumelError, match=r"Audacity's labels are those of one recording, and 2 are given"):
        check_events(Path("e.txt"), 2)
    with pytest.raises(CumelError, match=r"ends in \.csv, \.jsonl, or \.txt"):
        check_events(Path("e.wav"), 1)


def test_time_that_windows_share_is_counted_once() -> None:
    counts = Counts()
    for prediction in [*windows("a", DOG, CAT, None), *windows("b", DOG, DOG, hop=5.0)]:
        counts.add(prediction.segment)
    assert (counts.files, counts.windows, counts.silent) == (2, 5, 1)
    assert (counts.heard_seconds, counts.seconds) == (4.0 + 4.0, 4.0 + 7.0)
