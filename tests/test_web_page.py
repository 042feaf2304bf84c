"""The page in a real browser: what it hears is what `predict` hears, and nothing leaves it."""

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from browser import Browser, chromium, lack, serving

from cumel.esc50.audio import fit_length, load
from cumel.esc50.checkpoint import Checkpoint
from cumel.esc50.recipes import RECIPES, Recipe
from cumel.esc50.soundmaker import make_sound
from cumel.esc50.sounds import SOUNDS
from cumel.export.predict import load_model, predict
from cumel.export.session import Session
from cumel.export.to_onnx import INPUTS, export
from cumel.export.web import write_site
from cumel.export.web.runtime import runtime_files
from cumel.kernels import PRESETS, UnavailableError, log_mel

from recordings import tiny_checkpoint, tone, write

LABELS = tuple(f"label_{i}" for i in range(10))
PARITY = 1e-3  # of a probability
PARITY_INT8 = 2e-2  # two runtimes round to int8 on either side of a half
FEATURES_DB = 1e-2  # of a feature, of a recording at the model's rate
LISTEN = """document.addEventListener("heard", ({ detail }) => {
  window.heard = { ...detail, probabilities: [...detail.probabilities], features: [...detail.features] };
})"""


@dataclass(frozen=True)
class Site:
    folder: Path
    recipe: Recipe
    images: Path  # the same network without its front end, for `predict` to compute the features with the kernels


class Page:
    """The page of a site, ready to hear."""

    def __init__(self, browser: Browser, address: str, recipe: Recipe) -> None:
        self.browser, self.address, self.recipe = browser, address, recipe
        browser.open(f"{address}/")
        browser.wait_for("'ready' in document.documentElement.dataset || document.querySelector('#status.error')")
        assert self.status == ""
        browser.evaluate(LISTEN)

    def text(self, selector: str) -> str:
        return self.browser.evaluate(f"document.querySelector({selector!r}).textContent")

    @property
    def status(self) -> str:
        return self.text("#status")

    def wait(self) -> dict[str, Any]:
        """Wait for the next answer, which may be a complaint, and forget the last one."""
        self.browser.wait_for("window.heard || document.querySelector('#status.error')")
        heard = self.browser.evaluate("window.heard")
        self.browser.evaluate("window.heard = null")
        return heard or {"error": self.status}

    def choose(self, path: Path) -> dict[str, Any]:
        self.browser.evaluate("document.querySelector('#status').className = ''")
        self.browser.choose(path, "#file")
        return self.wait()

    def drop(self, path: Path) -> dict[str, Any]:
        self.browser.drop(path, "#drop")
        return self.wait()

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.browser("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium whose microphone plays a tone of 1 kHz."""
    program, folder = chromium(), tmp_path_factory.mktemp("chromium")
    sound = write(folder / "tone.wav", tone(20, 48000, 1000), 48000)
    flags = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={sound}")
    started = Browser(program, folder / "profile", *flags)
    started.call("Browser.grantPermissions", permissions=["audioCapture"])
    yield started
    started.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetch the runtime, or skip: a cache of our own, as the user's may be anywhere."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        try:
            runtime_files()
        except UnavailableError as error:
            lack(str(error))
    return folder


def lively_run(folder: Path, recipe: Recipe) -> Path:
    """Save an untrained network whose answers depend strongly on its input."""
    torch.manual_seed(0)
    checkpoint = Checkpoint.load(tiny_checkpoint(folder, recipe, LABELS))
    for name, value in checkpoint.model.items():
        if name in ("mean", "std"):
            value.fill_({"mean": -40.0, "std": 20.0}[name])
    checkpoint.model[list(checkpoint.model)[-2]].mul_(40)
    checkpoint.save(folder)
    return folder


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Callable[[str], Site]:
    """Write a site, once for each feature preset."""

    @functools.cache
    def site_of(preset: str) -> Site:
        folder = tmp_path_factory.mktemp("site")
        recipe = RECIPES["quick"].replace(features=PRESETS[preset])
        run = lively_run(folder / "run", recipe)
        models = {name: Path(export(run, folder / name / "model.onnx", input=name)["model"]) for name in INPUTS}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache))
            patch.setenv("PATH", "")  # what is cached needs no npm
            write_site(models["waveform"], folder / "site")
        return Site(folder / "site", recipe, models["image"])

    return site_of


@pytest.fixture
def site(request: pytest.FixtureRequest, sites: Callable[[str], Site]) -> Site:
    return sites(getattr(request, "param", "compact"))


at_both_rates = pytest.mark.parametrize("site", ["compact", "esc50"], indirect=True)  # 16 and 44.1 kHz


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """Open the page; in the end see that it stayed with its own files and that the console is clean."""
    with serving(site.folder) as (address, asked):
        yield Page(browser, address, site.recipe)
        assert f"{address}/runtime/ort-wasm-simd-threaded.wasm" in browser.requested
        assert [url for url in browser.requested if not url.startswith((f"{address}/", f"blob:{address}/"))] == []
        assert {"/", "/app.js", "/worker.js", "/model.onnx"} <= set(asked)
        assert browser.complaints == []


def agree(heard: dict[str, Any], site: Site, path: Path) -> None:
    """Compare an answer with `predict`, and the features with the kernels."""
    (result,) = predict(load_model(site.images, provider="cpu"), [path], top=len(LABELS))["results"]
    expected = {row["label"]: row["probability"] for row in result["top"]}
    got = dict(zip(LABELS, heard["probabilities"], strict=True))
    assert max(got, key=got.__getitem__) == result["top"][0]["label"]
    assert got == pytest.approx(expected, rel=0, abs=PARITY)
    cfg = site.recipe.features
    if soundfile.info(path).samplerate != cfg.sr:
        return
    features = log_mel(fit_length(load(path, cfg.sr)[0], site.recipe.n_samples), cfg)
    np.testing.assert_allclose(np.reshape(heard["features"], features.shape), features, rtol=0, atol=FEATURES_DB)


def sound(name: str, seconds: float, sr: int) -> np.ndarray:
    return make_sound(name, np.random.default_rng(0), round(seconds * sr), sr)


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
def test_a_dropped_file_is_heard_as_predict_hears_it(
    page: Page, site: Site, tmp_path: Path, name: str, channels: int, seconds: float, options: dict[str, str]
) -> None:
    sr = site.recipe.features.sr
    y = np.stack([sound(name.split(".")[0], seconds, sr) / (1 + i) for i in range(channels)], axis=1)
    path = write(tmp_path / name, y, sr, **options)
    heard = page.drop(path)
    agree(heard, site, path)
    assert page.text("#name") == name
    assert page.text("#top .label") == LABELS[int(np.argmax(heard["probabilities"]))].replace("_", " ")
    assert page.text("#top .percent") == f"{100 * max(heard['probabilities']):.1f} %"
    assert page.browser.evaluate("document.querySelectorAll('#top li').length") == 5


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
    assert page.text("#about") == "5.5 s at 48 kHz, heard at 16 kHz"


@at_both_rates
@pytest.mark.parametrize("data", ["esc50", "esc50-44k"])
def test_real_clips_are_heard_as_predict_hears_them(page: Page, site: Site, real_data: Path, data: str) -> None:
    for path in sorted((real_data / data / "audio").iterdir())[::20][:5]:
        agree(page.choose(path), site, path)


def test_an_int8_model_is_heard_as_onnxruntime_runs_it(
    browser: Browser, site: Site, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, n_samples = site.recipe.features, site.recipe.n_samples
    names = [*SOUNDS][:16]  # as few as calibrate
    clips = [write(tmp_path / f"{name}.wav", sound(name, 5, cfg.sr), cfg.sr) for name in names]
    model = tmp_path / "int8" / "model.onnx"
    export(lively_run(tmp_path / "run", site.recipe), model, precision="int8", calibration=clips)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    write_site(model, tmp_path / "site")
    session = Session(model, "cpu")
    with serving(tmp_path / "site") as (address, _):
        page = Page(browser, address, site.recipe)
        assert ", int8 · " in page.text("#facts")
        for path in clips[:8]:
            expected = session.run(fit_length(load(path)[0], n_samples)[None])[0]
            heard = page.choose(path)["probabilities"]
            assert np.argmax(heard) == expected.argmax()
            np.testing.assert_allclose(heard, expected, rtol=0, atol=PARITY_INT8)


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


def test_the_microphone_is_heard(page: Page, browser: Browser, site: Site) -> None:
    browser.evaluate("document.querySelector('#record').click()")
    browser.wait_for("document.querySelector('.recording #record-text')?.textContent.includes('left')")
    heard = page.wait()
    assert (heard["name"], heard["n"]) == ("Recording", site.recipe.n_samples)
    cfg = site.recipe.features
    levels = np.reshape(heard["features"], (cfg.n_mels, -1))[:, 20:].mean(axis=1)  # the device may begin late
    assert levels.argmax() == log_mel(tone(5, cfg.sr, 1000), cfg).mean(axis=1).argmax()
    assert page.text("#record-text") == "Record 5 s"


def test_a_recording_can_be_stopped(page: Page, browser: Browser, site: Site) -> None:
    browser.evaluate("document.querySelector('#record').click()")
    browser.wait_for("document.querySelector('#record-text').textContent.startsWith('Stop (3.')")
    browser.evaluate("document.querySelector('#record').click()")
    heard = page.wait()
    assert site.recipe.features.n_fft <= heard["n"] <= 3 * site.recipe.features.sr


def test_a_refused_microphone_is_one_line(page: Page, browser: Browser) -> None:
    permission = {"origin": page.address, "permission": {"name": "microphone"}}
    browser.call("Browser.setPermission", setting="denied", **permission)
    browser.evaluate("document.querySelector('#record').click()")
    assert page.wait() == {"error": "The microphone was refused. Allow it in the browser's settings for this page."}
    browser.call("Browser.setPermission", setting="granted", **permission)


def test_what_cannot_be_heard_is_one_line_and_the_next_file_is_heard(page: Page, site: Site, tmp_path: Path) -> None:
    sr, n_fft = site.recipe.features.sr, site.recipe.features.n_fft
    bad = {
        "text.wav": "text.wav cannot be decoded by this browser. Try WAV, FLAC, MP3 or OGG.",
        "empty.wav": "empty.wav is empty.",
        "silent.wav": "silent.wav is silent: every sample is zero.",
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


def test_any_part_of_a_long_recording_can_be_heard(page: Page, browser: Browser, site: Site, tmp_path: Path) -> None:
    sr, n = site.recipe.features.sr, site.recipe.n_samples
    y = np.concatenate([sound("raindrops", 6, sr), np.zeros(6 * sr, np.float32), sound("knocking", 6, sr)])
    path = write(tmp_path / "long.wav", y, sr, subtype="FLOAT")
    agree(page.drop(path), site, path)
    assert page.text("#span") == "0.0 s to 5.0 s"
    browser.evaluate("document.querySelector('#start').focus()")
    page.press("End", 35)
    part = write(tmp_path / "part.wav", y[-n:], sr, subtype="FLOAT")
    agree(page.wait(), site, part)
    page.press("ArrowLeft", 37)
    assert page.wait()["from"] == len(y) - n - sr // 10
    box = browser.evaluate("document.querySelector('#wave').getBoundingClientRect().toJSON()")
    middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        browser("Input.dispatchMouseEvent", type=kind, **middle)
    assert page.wait() == {"error": "This part is silent; move on to another."}
    assert page.text("#span") == "6.5 s to 11.5 s"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg"])
def test_of_more_than_ten_minutes_ten_are_decoded(page: Page, tmp_path: Path, suffix: str) -> None:
    y = np.resize(sound("knocking", 7, 8000), 700 * 8000)
    path = tmp_path / f"long{suffix}"
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        for block in np.split(y, 100):  # libsndfile overflows its stack on minutes of Vorbis at once
            file.write(block)
    assert "error" not in page.choose(path)
    assert page.text("#about") == "10:00 min at 8 kHz, heard at 16 kHz, the first 10 minutes of a longer recording"
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


@pytest.mark.parametrize("missing", ["model.onnx", "model.json", "runtime/ort-wasm-simd-threaded.wasm"])
def test_a_site_that_lacks_a_file_says_so(browser: Browser, site: Site, tmp_path: Path, missing: str) -> None:
    shutil.copytree(site.folder, tmp_path / "site")
    (tmp_path / "site" / missing).unlink()
    with serving(tmp_path / "site") as (address, _):
        browser.open(f"{address}/")
        browser.wait_for("document.querySelector('#status.error')")
        status = browser.evaluate("document.querySelector('#status').textContent")
    assert status.startswith("The model cannot be loaded (")
    assert status.endswith("). Write the site again with cumel web.")


def test_opened_as_a_file_it_says_what_to_do(browser: Browser, site: Site) -> None:
    browser.open((site.folder / "index.html").as_uri())
    browser.wait_for("getComputedStyle(document.querySelector('#unserved')).opacity === '1'")
    assert "python -m http.server -d site" in browser.evaluate("document.querySelector('#unserved').innerText")
    assert not browser.evaluate("document.querySelector('#drop').checkVisibility()")
