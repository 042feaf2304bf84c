"""A site in a browser, for the tests of the page: fixtures, which conftest.py registers, and what they return."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from cumel.esc50.audio import fit_length, load
from cumel.esc50.datasets.synth.synthesizer import make_sound
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.recipes import RECIPES, Recipe
from cumel.export import export_onnx
from cumel.export.prediction.classifier import load_model, predict
from cumel.export.web import write_site
from cumel.export.web.runtime import runtime_files
from cumel.kernels import PRESETS, UnavailableError, log_mel

from support.browser import Browser, chromium, lack, serving
from support.recordings import tiny_checkpoint, tone, write

LABELS = tuple(f"label_{i}" for i in range(10))
PARITY = 1e-3  # difference of a probability
FEATURES_DB = 1e-2  # difference of a feature, for a recording at the model's rate
LISTEN = """document.addEventListener("heard", ({ detail }) => {
  window.heard = { ...detail, probabilities: [...detail.probabilities], features: [...detail.features] };
})"""


@dataclass(frozen=True)
class Site:
    folder: Path
    recipe: Recipe
    model: Path


class Page:
    """The page of a site, ready to hear."""

    def __init__(self, browser: Browser, address: str, recipe: Recipe) -> None:
        self.browser, self.address, self.recipe = browser, address, recipe
        browser.open(f"{address}/")
        browser.wait_for("'ready' in document.documentElement.dataset || document.querySelector('.error')")
        assert (self.status, self.text("#loading")) == ("", "")
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


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium whose microphone plays a tone of 1 kHz."""
    program, folder = chromium(), tmp_path_factory.mktemp("chromium")
    sound = write(folder / "tone.wav", tone(20, 48000, 1000), 48000)
    flags = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={sound}")
    started = Browser(program, folder / "profile", *flags)
    started.call("Browser.grantPermissions", permissions=["audioCapture"])
    yield started
    started.close()


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Callable[[str], Site]:
    """Write a site, once for each feature preset."""

    @functools.cache
    def site_of(preset: str) -> Site:
        folder = tmp_path_factory.mktemp("site")
        recipe = RECIPES["quick"].replace(features=PRESETS[preset])
        run = lively_run(folder / "run", recipe)
        model = Path(export_onnx(run, folder / "model.onnx")["model"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache))
            patch.setenv("PATH", "")  # what is cached needs no npm
            write_site(model, folder / "site")
        return Site(folder / "site", recipe, model)

    return site_of


@pytest.fixture
def site(request: pytest.FixtureRequest, sites: Callable[[str], Site]) -> Site:
    return sites(getattr(request, "param", "compact"))


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
    """Compare an answer with `predict`, which takes the features of the kernels, and the features with those."""
    model = load_model(site.model, provider="cpu", route="kernels")
    (result,) = predict(model, [path], top=len(LABELS))["results"]
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
