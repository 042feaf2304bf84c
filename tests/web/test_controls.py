"""What one does with the page: record, move along, play, look on small screens; and what it says when it cannot."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cumel.kernels import log_mel

from support.browser import Browser
from support.recordings import tone, write
from support.web_pages import Page, Site, agree, sound


def test_the_microphone_is_classified(page: Page, browser: Browser, site: Site) -> None:
    browser.evaluate("document.querySelector('#record').click()")
    browser.wait_for("document.querySelector('.recording #record-text')?.textContent.includes('left')")
    answer = page.wait()
    assert (answer["name"], answer["n"]) == ("Recording", site.recipe.n_samples)
    cfg = site.recipe.features
    levels = np.reshape(answer["features"], (cfg.n_mels, -1))[:, 20:].mean(axis=1)  # the device may begin late
    assert levels.argmax() == log_mel(tone(5, cfg.sr, 1000), cfg).mean(axis=1).argmax()
    assert page.text("#record-text") == "Record 5 s"


def test_a_recording_can_be_stopped(page: Page, browser: Browser, site: Site) -> None:
    browser.evaluate("document.querySelector('#record').click()")
    browser.wait_for("document.querySelector('#record-text').textContent.startsWith('Stop (3.')")
    browser.evaluate("document.querySelector('#record').click()")
    answer = page.wait()
    assert site.recipe.features.n_fft <= answer["n"] <= 3 * site.recipe.features.sr


def test_a_refused_microphone_is_one_line(page: Page, browser: Browser) -> None:
    permission = {"origin": page.address, "permission": {"name": "microphone"}}
    browser.call("Browser.setPermission", setting="denied", **permission)
    browser.evaluate("document.querySelector('#record').click()")
    assert page.wait() == {"error": "The microphone was refused. Allow it in the browser's settings for this page."}
    browser.call("Browser.setPermission", setting="granted", **permission)


def test_an_unreadable_file_is_one_line_and_the_next_file_is_classified(page: Page, site: Site, tmp_path: Path) -> None:
    sr, n_fft = site.recipe.features.sr, site.recipe.features.n_fft
    bad = {
        "text.wav": "text.wav cannot be decoded by this browser. Try WAV, FLAC, MP3 or OGG.",
        "empty.wav": "empty.wav is empty.",
        "silent.wav": "silent.wav is silent: mixed to one channel, every sample is zero.",
        "short.wav": f"short.wav is too short: the model needs {int(np.ceil(1000 * n_fft / sr))} ms.",
    }
    (tmp_path / "text.wav").write_text("These are not the sounds you are looking for." * 20)
    (tmp_path / "empty.wav").write_bytes(b"")
    write(tmp_path / "silent.wav", np.zeros(sr), sr)
    write(tmp_path / "short.wav", tone(1, sr)[: n_fft - 1], sr)
    for name, complaint in bad.items():
        assert page.choose(tmp_path / name) == {"error": complaint}
    path = write(tmp_path / "good.wav", sound("knocking", 5, sr), sr)
    agree(page.choose(path), site, path)
    assert page.status == ""


def test_any_part_of_a_long_recording_can_be_classified(
    page: Page, browser: Browser, site: Site, tmp_path: Path
) -> None:
    sr, n = site.recipe.features.sr, site.recipe.n_samples
    y = np.concatenate([sound("raindrops", 6, sr), np.zeros(6 * sr, np.float32), sound("knocking", 6.03, sr)])
    path = write(tmp_path / "long.wav", y, sr, subtype="FLOAT")
    agree(page.drop(path), site, path)
    spoken = "document.querySelector('#start').getAttribute('aria-valuetext')"
    assert page.text("#span") == browser.evaluate(spoken) == "0.0 s to 5.0 s"
    browser.evaluate("document.querySelector('#start').focus()")
    page.press("End", 35)
    part = write(tmp_path / "part.wav", y[-n:], sr, subtype="FLOAT")
    agree(page.wait(), site, part)
    page.press("ArrowLeft", 37)
    assert page.wait()["from"] == 13 * sr
    box = browser.evaluate("document.querySelector('#wave').getBoundingClientRect().toJSON()")
    middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        browser("Input.dispatchMouseEvent", type=kind, **middle)
    assert page.wait() == {"error": "This part is silent; move on to another."}
    assert page.text("#span") == browser.evaluate(spoken) == "6.5 s to 11.5 s"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg"])
def test_of_more_than_ten_minutes_ten_are_decoded(page: Page, tmp_path: Path, suffix: str) -> None:
    y = np.resize(sound("knocking", 7, 8000), 700 * 8000)
    path = tmp_path / f"long{suffix}"
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        for block in np.split(y, 100):  # libsndfile overflows its stack on minutes of Vorbis at once
            file.write(block)
    assert "error" not in page.choose(path)
    assert page.text("#about") == "10:00 min at 8 kHz, resampled to 16 kHz, the first 10 minutes of a longer recording"
    assert page.browser.evaluate("document.querySelector('#start').max") == "595"


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_the_page_fits_the_screen(page: Page, browser: Browser, tmp_path: Path, width: int) -> None:
    page.drop(write(tmp_path / f"{'long_name_' * 12}.wav", sound("knocking", 12, 16000), 16000))
    browser.screenshot(tmp_path / "page.png", width, None, dark=True)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    inked = """(id) => {
      const canvas = document.querySelector(id);
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return [canvas.width, new Set(new Uint32Array(data.buffer)).size];
    }"""
    for selector, colours in (("#wave", 3), ("#mel", 100)):
        pixels, n_colours = browser.evaluate(f"({inked})('{selector}')")
        assert pixels == pytest.approx(2 * browser.evaluate(f"document.querySelector('{selector}').clientWidth"), abs=1)
        assert n_colours > colours
    browser("Emulation.clearDeviceMetricsOverride")


def test_the_page_can_be_played(page: Page, browser: Browser, tmp_path: Path) -> None:
    page.drop(write(tmp_path / "short.wav", tone(0.4, 16000), 16000))
    browser.evaluate("document.querySelector('#play').click()")
    assert page.text("#play") == "Stop"
    browser.wait_for("document.querySelector('#play').textContent === 'Play'")
    assert browser.evaluate("document.querySelector('#playhead').hidden")


def test_opened_as_a_file_it_says_what_to_do(browser: Browser, site: Site) -> None:
    browser.open((site.folder / "index.html").as_uri())
    browser.wait_for("getComputedStyle(document.querySelector('#unserved')).opacity === '1'")
    assert "python -m http.server -d site" in browser.evaluate("document.querySelector('#unserved').innerText")
    assert not browser.evaluate("document.querySelector('#drop').checkVisibility()")
