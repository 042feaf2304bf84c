"""Numbers about answers, against values that scikit-learn and tables give."""

import numpy as np
import pytest

from cumel.esc50.training.metrics import (
    accuracy,
    average_precision,
    by_threshold,
    confusion_matrix,
    interval,
    loss_of,
    macro_f1,
    per_label,
)


def test_the_interval_is_wilsons() -> None:
    assert interval(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert interval(1.0, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)
    assert interval(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert interval(0.0, 0) == (0.0, 1.0)


def test_macro_f1_is_scikit_learns() -> None:
    truth, given = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 2, 1, 0, 0, 1])
    assert macro_f1(confusion_matrix(np.eye(3)[given], truth)) == pytest.approx(0.8 / 3)
    padded = np.eye(5)[given]  # two classes that are neither there nor answered do not count
    assert macro_f1(confusion_matrix(padded, truth)) == pytest.approx(0.8 / 3)


@pytest.mark.parametrize(
    ("scores", "truth", "expected"),
    [
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.8333333),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 0.25),  # scores that are equal say nothing
        ([0.9, 0.8, 0.1], [1, 1, 0], 1.0),
        ([0.9, 0.8, 0.1], [0, 0, 1], 1 / 3),
    ],
)
def test_average_precision_is_scikit_learns(scores: list[float], truth: list[int], expected: float) -> None:
    assert average_precision(np.array(scores), np.array(truth)) == pytest.approx(expected)


def test_one_of_several_labels_is_right() -> None:
    scores = np.array([[0.9, 0.6, 0.1], [0.2, 0.3, 0.1], [0.1, 0.7, 0.8]])
    hot = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    assert accuracy(scores, hot) == pytest.approx(1 / 3)
    rows = per_label(scores, hot, ("a", "b", "c"))
    assert [(row["label"], row["clips"], row["recall"], row["precision"]) for row in rows] == [
        ("a", 2, 0.5, 1.0),
        ("b", 2, 1.0, 1.0),
    ]
    assert loss_of(scores, hot, "bce") == pytest.approx(
        -(np.log([0.9, 0.6, 0.9]).sum() + np.log([0.2, 0.7, 0.9]).sum() + np.log([0.9, 0.7, 0.2]).sum()) / 9
    )


def test_a_threshold_trades_answers_for_accuracy() -> None:
    scores = np.array([[0.95, 0.05], [0.6, 0.4], [0.4, 0.6], [0.8, 0.2]])
    rows = {row["threshold"]: row for row in by_threshold(scores, np.array([0, 1, 1, 0]))}
    assert rows[0.0] == {"threshold": 0.0, "answered": 1.0, "accuracy": 0.75}
    assert rows[0.7] == {"threshold": 0.7, "answered": 0.5, "accuracy": 1.0}
    assert rows[0.95]["answered"] == 0.25
    assert max(rows) == 0.95
