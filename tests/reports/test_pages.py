"""The pages about runs: what they state, the clips that were misheard, and what pictures mark as mirrored."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.axes import Axes

from cumel.esc50.audio import fit_length, own_part
from cumel.esc50.cli import main
from cumel.esc50.datasets import Dataset
from cumel.esc50.reports.clips import draw_results
from cumel.esc50.reports.html import write_report
from cumel.esc50.reports.misheard import MOST, heard
from cumel.esc50.reports.plots import COUNTED, plot_confusion
from cumel.esc50.training import recipes

from support.recordings import TINY, tiny_recipe, tone, write, write_dataset


@pytest.mark.parametrize("n", [1, 7, 8, 9, 12])
def test_the_own_part_of_a_fitted_clip_is_the_clip(n: int) -> None:
    y = np.arange(1, n + 1, dtype=np.float32)
    first, last = own_part(n, 8)
    np.testing.assert_array_equal(fit_length(y, 8)[first:last], y[:8])


def test_pictures_mark_what_was_mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked: list[tuple[float, float]] = []
    monkeypatch.setattr(Axes, "axvspan", lambda _, first, last, **__: marked.append((first, last)))
    results = [
        {"file": str(write(tmp_path / f"{n}.wav", tone(seconds))), "error": None, "top": []}
        for n, seconds in enumerate((0.5, 1.0, 2.0))
    ]
    draw_results(results, TINY, 8000, tmp_path / "p.png")
    assert marked == [(0.0, 0.25), (0.75, 1.0)] * 2  # of the short one: waveform and spectrogram


def test_small_confusion_matrices_show_counts(tmp_path: Path) -> None:
    for n in (3, COUNTED + 1):
        text = plot_confusion(7 * np.eye(n, dtype=np.int64), tuple(map(str, range(n))), tmp_path / "c.svg").read_text()
        assert text.count("<!-- 7 -->") == (3 if n == 3 else 2)  # of many classes the axes alone have a 7


def test_misheard_clips_can_be_seen_and_heard(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "short.wav", tone(0.5)),
        write(tmp_path / "long.wav", tone(3.0, hz=1000)),
        tmp_path / "gone.wav",
    ]
    rows = [
        {
            "file": str(path),
            "start": start,
            "end": end,
            "labels": ["<a>"],
            "said": "b",
            "probability": 0.9,
            "of_its_own": 0.1,
        }
        for path, start, end in ((paths[0], 0.0, None), (paths[1], 1.0, 2.5), (paths[2], 0.0, None))
    ]
    cards = heard(rows, TINY, 8000, workers=1)
    assert [card["error"] is None for card in cards] == [True, True, False]
    assert cards[1]["name"].endswith("long.wav from 1 s to 2.5 s")
    for card in cards[:2]:
        assert base64.b64decode(card["picture"]).startswith(b"\x89PNG")
        y, sr = soundfile.read(io.BytesIO(base64.b64decode(card["sound"])))
        assert sr == 8000
        assert len(y) / sr == pytest.approx(1.0, abs=0.2)  # MP3 pads
        assert np.abs(y).max() > 0.3
    (odd,) = heard(rows[:1], TINY.replace(sr=10007, fmax=4000), 10007, workers=1)
    assert odd["kind"] == "audio/wav"
    assert len(heard(rows[:1] * (MOST + 5), TINY, 8000, workers=1)) == MOST
    numbers = {"accuracy": 0.5, "interval": (0.4, 0.6), "macro_f1": 0.5, "chance": 0.5, "clips": 9, "views": 1}
    report = numbers | {"recipe": "quick", "fold": 1, "device": "cpu", "classes": [], "misheard": rows * 20}
    page = write_report(report, {}, {}, tmp_path / "r.html", misheard=cards).read_text()
    assert page.count("<audio") == page.count("data:image/png") == 2
    assert "&lt;a&gt;" in page
    assert "the surest 3 of 60" in page


def test_evaluate_states_where_its_numbers_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(recipes.RECIPES, "quick", tiny_recipe(epochs=1))
    root, run = write_dataset(tmp_path / "data"), tmp_path / "run"
    (root / "LICENSE").write_text("Our own terms\n")
    given = ["--data", str(root), "--device", "cpu"]
    assert main(["train", *given, "--out", str(run), "--fold", "1", "--seconds", "1"]) == 0
    assert main(["evaluate", str(run), *given]) == 0
    said = capsys.readouterr().out
    assert re.search(r"accuracy 0\.\d+ \(95 % interval 0\.\d+ to \d\.\d+\), macro F1 0\.\d+ on 6 clips of fold 1", said)
    page = (run / "report.html").read_text()
    for text in (
        "Our own terms",
        f"cumel train --data {root}",
        f"cumel evaluate {run}",
        "interval of confidence",
        "macro F1",
    ):
        assert text in page
    assert f"torch {torch.__version__.partition('+')[0]}" in page
    assert "18 clips of 3 classes" in page
    assert main(["evaluate", str(run), *given, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    wrong = round((1 - report["accuracy"]) * 6)
    assert len(report["misheard"]) == wrong
    assert page.count("<audio") == wrong
    assert report["thresholds"][0] == {"threshold": 0.0, "answered": 1.0, "accuracy": report["accuracy"]}
    assert {row["label"] for row in report["classes"]} == set(Dataset.read(root).labels)
