"""Names and labels that hold anything: no picture, page or table stops at them."""

import xml.dom.minidom
from pathlib import Path

import numpy as np
import pytest

from cumel.esc50.cli import show
from cumel.esc50.reports.html import page, table
from cumel.esc50.reports.plots import plot_clips, plot_confusion, plot_learning
from cumel.esc50.reports.timeline import Track, plot_timelines
from cumel.esc50.system.texts import LABEL, LONGEST, caption, label
from cumel.kernels import log_mel

from support.recordings import TINY, tone

NAMES = {
    "dollar": "cost $5_each$ ^2",
    "one dollar": "$",
    "broken formula": r"$\frac{1}$ \nonsense %#{}~&",
    "lines": "one\ntwo\r\tthree",
    "control": "\x1b[31mred\x00",
    "bytes": "\udcff.wav",
    "right to left": "שלום \u202eevil",
    "signs": "🐶 猫 हिन्दी",
    "markup": "<b>&\"'[red]x[/red] :dog:",
    "underscore": "_hidden",
    "nothing": "",
    "long": "a" * 255,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_every_picture_takes_any_name(tmp_path: Path, name: str) -> None:
    y, out = tone(), tmp_path / "p.svg"
    top = [{"label": name, "probability": 0.6}, {"label": "other", "probability": 0.4}]
    history = [{"epoch": 1, "loss": 1.0, "accuracy": 0.5}]
    track = Track(name)
    track.add(0, 1, y, np.array([0.6, 0.4], np.float32))
    plot_clips([{"name": name, "y": y, "log_mel": log_mel(y, TINY), "top": top}], TINY, out)
    xml.dom.minidom.parse(str(out))
    for path in (
        plot_confusion(np.eye(2, dtype=np.int64), (name, "other"), out),
        plot_timelines([track], (name, "other"), out),
        plot_learning({name: history, "other": history}, out),
    ):
        assert path.stat().st_size > 1000
        xml.dom.minidom.parse(str(path))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_pages_and_tables_show_any_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "<b>" not in table(("class",), [(name,)])
    assert "[31m" not in caption(name) or "\\x1b" in caption(name)
    assert page(name).startswith("<!doctype html>")
    assert "<b>" not in page(name, name, figure=name, note=name, sections=[(name, name)])
    show.facts({"name": name}, json_only=False)
    shown = capsys.readouterr().out
    assert "\x1b[31mred" not in shown
    assert (":dog:" in shown) == (":dog:" in name)


def test_a_caption_is_one_short_line() -> None:
    assert caption("dog.wav") == "dog.wav"
    assert caption("a\nb") == r"a\nb"
    assert (len(caption("x" * 300)), len(label("x" * 300))) == (LONGEST, LABEL)
    assert caption("head" + "x" * 300 + "tail").startswith("head")
    assert caption("head" + "x" * 300 + "tail").endswith("tail")
