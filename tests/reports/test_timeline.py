"""The picture of a recording shows its levels, and the labels that stand out, where they are in time."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from cumel.esc50.reports import timeline
from cumel.esc50.reports.timeline import FLOOR_DB, MOST_COLUMNS, MOST_LABELS, Track, plot_timelines
from cumel.kernels import CumelError

LABELS = tuple(f"class_{i}" for i in range(20))


def track(n: int = 30, hop: float = 1.0, size: float = 5.0) -> Track:
    """Each window hears one class more than the other; the last one ends with the recording, and one is silent."""
    made = Track("a long day.wav")
    for i in range(n):
        p = np.full(20, 0.01, np.float32)
        p[i % 3] = 0.8
        silent = i == n // 2
        y = np.zeros(100, np.float32) if silent else np.full(100, 0.1, np.float32)
        made.add(i * hop, i * hop + size, y, None if silent else p)
    return made


def test_levels_are_those_of_the_samples() -> None:
    made = track()
    assert made.level[0] == pytest.approx(-20)
    assert made.level[15] == FLOOR_DB


def test_columns_meet_and_cover_the_recording() -> None:
    edges, level, scores = timeline._columns(track(), 20)
    assert (edges[0], edges[-1]) == (0, 34)
    np.testing.assert_allclose(edges[1:-1], np.arange(3, 32))  # halfway between the middles 2.5, 3.5, ...
    assert (level[15], scores[15].max(), len(scores)) == (FLOOR_DB, 0, 30)


@pytest.mark.parametrize("n", [400, 401, 5000])
def test_nothing_short_gets_lost_in_a_long_recording(n: int) -> None:
    long = Track("a year.wav")
    for i in range(n):
        loud = int(i == 777 % n)
        y = np.full(10, 0.9 if loud else 1e-3, np.float32)
        long.add(i, i + 5, y, np.eye(20, dtype=np.float32)[loud])
    edges, level, scores = timeline._columns(long, 20)
    assert 100 < len(scores) <= MOST_COLUMNS
    assert (np.diff(edges) > 0).all()
    assert (edges[0], edges[-1]) == (0, n + 4)
    (column,) = np.flatnonzero(scores[:, 1])
    assert edges[column] <= 777 % n + 2.5 <= edges[column + 1]
    assert level[column] > -1


def test_labels_that_stand_out_are_shown_in_order_of_time() -> None:
    assert timeline._chosen(timeline._columns(track(), 20).scores) == [0, 1, 2]
    assert timeline._chosen(np.full((1, 20), 0.05, np.float32)) == [0]
    assert len(timeline._chosen(np.eye(20, dtype=np.float32)[::-1])) == MOST_LABELS


@pytest.mark.parametrize("n", [1, 2, 400])
def test_the_picture(tmp_path: Path, n: int) -> None:
    path = plot_timelines([track(n), track(3, hop=0.1)], LABELS, tmp_path / "t.png")
    drawn = image.imread(path)
    assert drawn.shape[1] > drawn.shape[0] > 200
    reds = (drawn[..., 0] > 0.6) & (drawn[..., 1] < 0.5) & (drawn[..., 2] < 0.5)
    assert reds.mean() > 0.005  # what is probable is red


def test_a_time_is_readable() -> None:
    shown = [timeline._clock(s) for s in (0, 2.5, 61, 3600, 3725)]
    assert shown == ["0:00", "0:02.5", "1:01", "1:00:00", "1:02:05"]


def test_another_kind_of_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CumelError, match=r"\.png, \.svg or \.pdf"):
        plot_timelines([track()], LABELS, tmp_path / "t.gif")
