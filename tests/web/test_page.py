"""The page in a real browser: its answers are those of `predict`, and nothing leaves it."""

from pathlib import Path

import numpy as np
import pytest

from cumel.esc50.audio import fit_length, load
from cumel.esc50.datasets.synth.sounds import SOUNDS
from cumel.export import export_onnx
from cumel.export.runtime.session import Session
from cumel.export.web import write_site

from support.browser import Browser, serving
from support.recordings import write
from support.web_pages import LABELS, Page, Site, agree, lively_run, sound

PARITY_INT8 = 2e-2  # two runtimes round to int8 on either side of a half
at_both_rates = pytest.mark.parametrize("site", ["compact", "esc50"], indirect=True)  # 16 and 44.1 kHz


@pytest.mark.each_value
@at_both_rates
@pytest.mark.parametrize(
    ("name", "channels", "seconds", "options"),
    [
        ("wailing_siren.wav", 1, 5, {}),
        ("knocking.flac", 2, 5, {}),
        ("raindrops.wav", 1, 0.7, {"subtype": "PCM_24"}),
        ("knocking.wav", 3, 7.3, {"subtype": "FLOAT"}),
    ],
)
def test_a_dropped_file_is_classified_as_by_predict(
    page: Page, site: Site, tmp_path: Path, name: str, channels: int, seconds: float, options: dict[str, str]
) -> None:
    sr = site.recipe.features.sr
    y = np.stack([sound(name.split(".")[0], seconds, sr) / (1 + i) for i in range(channels)], axis=1)
    path = write(tmp_path / name, y, sr, **options)
    answer = page.drop(path)
    agree(answer, site, path)
    assert page.text("#name") == name
    assert page.text("#top .label") == LABELS[int(np.argmax(answer["probabilities"]))].replace("_", " ")
    assert page.text("#top .percent") == f"{100 * max(answer['probabilities']):.1f} %"
    assert page.browser.evaluate("document.querySelectorAll('#top li').length") == 5


@pytest.mark.each_value
@at_both_rates
@pytest.mark.parametrize("sr", [8000, 22050, 44100, 48000, 96000])
def test_any_rate_is_resampled_as_predict_does(page: Page, site: Site, tmp_path: Path, sr: int) -> None:
    path = write(tmp_path / "clip.flac", sound("wailing_siren", 5.5, sr), sr)
    agree(page.choose(path), site, path)
    assert page.text("#about").startswith(f"5.5 s at {sr / 1000:.4g} kHz")


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_every_format_tells_its_rate(page: Page, site: Site, tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"clip{suffix}", sound("wailing_siren", 5.5, 48000), 48000)
    agree(page.choose(path), site, path)
    assert page.text("#about") == "5.5 s at 48 kHz, resampled to 16 kHz"


@pytest.mark.each_value
@at_both_rates
@pytest.mark.parametrize("data", ["esc50", "esc50-44k"])
def test_real_clips_are_classified_as_by_predict(page: Page, site: Site, real_data: Path, data: str) -> None:
    for path in sorted((real_data / data / "audio").iterdir())[::20][:5]:
        agree(page.choose(path), site, path)


def test_an_int8_model_answers_as_in_onnxruntime(
    browser: Browser, site: Site, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, n_samples = site.recipe.features, site.recipe.n_samples
    names = [*SOUNDS][:16]  # the fewest that calibrate
    clips = [write(tmp_path / f"{name}.wav", sound(name, 5, cfg.sr), cfg.sr) for name in names]
    model = tmp_path / "int8" / "model.onnx"
    export_onnx(lively_run(tmp_path / "run", site.recipe), model, precision="int8", calibration=clips)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    write_site(model, tmp_path / "site")
    session = Session(model, "cpu")
    with serving(tmp_path / "site") as (address, _):
        page = Page(browser, address, site.recipe)
        assert ", int8 · " in page.text("#facts")
        for path in clips[:8]:
            expected = session.run(fit_length(load(path)[0], n_samples)[None])[0]
            scores = page.choose(path)["probabilities"]
            assert np.argmax(scores) == expected.argmax()
            np.testing.assert_allclose(scores, expected, rtol=0, atol=PARITY_INT8)


@pytest.mark.usefixtures("page")
def test_neither_page_nor_worker_can_reach_another_origin(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path) as (elsewhere, asked):
        attempt = f"fetch('{elsewhere}/').then(() => 'reached', (error) => error.name)"
        (worker,) = browser.workers
        for session in (None, worker):
            assert browser.evaluate(attempt, session) == "TypeError"
        image = f"""new Promise((done) => {{
          const image = new Image();
          image.onload = image.onerror = ({{ type }}) => done(type);
          image.src = "{elsewhere}/";
        }})"""
        assert browser.evaluate(image) == "error"
        assert asked == []
    refused = [entry["entry"]["text"] for entry in browser.parameters("Log.entryAdded")]
    assert len(refused) >= 3
    assert all("Content Security Policy" in text for text in refused)
    browser.events[:] = [event for event in browser.events if elsewhere not in str(event)]
