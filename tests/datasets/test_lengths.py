"""One length for all clips: how it is chosen, and what it cuts and mirrors."""

import numpy as np
import pytest

from cumel.esc50.datasets import Lengths, chosen
from cumel.esc50.datasets.folds import dealt


@pytest.mark.parametrize(
    ("lengths", "seconds"),
    [
        ([5.0] * 8, 5.0),
        ([0.998, 1.0, 1.001], 1.001),
        ([1, 2, 3, 4], 3.5),  # three of four are 3.25 s or shorter
        ([0.1, 0.2], 0.5),
        ([180, 200, 20, 90], 10.0),
        ([30.0] * 3, 30.0),
    ],
)
def test_auto_takes_the_length_from_the_data(lengths: list[float], seconds: float) -> None:
    assert chosen(lengths)[0] == pytest.approx(seconds)


def test_what_is_cut_and_mirrored_is_counted() -> None:
    lengths = Lengths.of(np.array([2.0, 5.0, 5.01, 9.5]), 5.0, "as asked for")
    assert (lengths.cut_clips, lengths.cut_seconds) == (1, 4.5)
    assert (lengths.mirrored_clips, lengths.mirrored_seconds) == (1, 3.0)
    assert lengths.line() == (
        "clips of 2 to 9.5 s, fitted to 5 s (as asked for); 1 of 4 are cut (4.5 s are not heard); "
        "1 of 4 are mirrored (3.0 s)"
    )
    assert Lengths.of(np.array([5.0, 5.0]), 5.0, "auto").line().endswith("none is cut or mirrored")


def test_folds_spread_every_label_and_hold_rare_ones_out() -> None:
    rng = np.random.default_rng(0)
    labels = [[int(label)] for label in rng.permutation(np.repeat([0, 1, 2, 3], [40, 23, 3, 2]))]
    folds = dealt(labels, range(len(labels)), 5, seed=0)
    for label, n in ((0, 40), (1, 23)):
        counts = np.bincount([f for f, (x,) in zip(folds, labels, strict=True) if x == label], minlength=6)[1:]
        assert counts.sum() == n
        assert counts.max() - counts.min() <= 1
    for rare in (2, 3):  # fewer than folds: the one that is held out by default has one of them
        assert sum(f == 5 for f, (x,) in zip(folds, labels, strict=True) if x == rare) == 1
    assert np.ptp(np.bincount(folds)[1:]) <= 3
