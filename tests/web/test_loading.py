"""The page while its model loads, when it cannot be loaded, and without a network."""

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.browser import Browser, serving
from support.recordings import write
from support.web_pages import LISTEN, Page, Site, agree, sound

READY = "'ready' in document.documentElement.dataset"
KEPT = "navigator.serviceWorker.controller?.state === 'activated'"
STATUS, LOADING = (f"document.querySelector('{name}').textContent" for name in ("#status", "#loading"))
FACTS = "document.querySelector('#facts').textContent"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(site: Site, tmp_path: Path) -> Path:
    """Copy the site, to be changed."""
    return shutil.copytree(site.folder, tmp_path / "site")


@pytest.fixture
def early(browser: Browser, folder: Path) -> Iterator[None]:
    """Open the page while its model has not been loaded yet; it loads at the next try."""
    (folder / "model.json").rename(folder / "later.json")
    with serving(folder) as (address, _):
        browser.open(f"{address}/")
        browser.wait_for("document.querySelector('#loading.error')")
        browser.evaluate(LISTEN)
        (folder / "later.json").rename(folder / "model.json")
        yield


def settle(browser: Browser, condition: str) -> None:
    """Wait for a condition on a page that loads itself again in between."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(AssertionError):  # the page went away while it was asked
            if browser.evaluate(condition):
                return
        time.sleep(0.05)
    pytest.fail(f"never came true: {condition}")


def drop_nothing(browser: Browser) -> None:
    browser.evaluate("document.dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer() }))")


def retry(browser: Browser) -> None:
    browser.evaluate("document.querySelector('#retry').click()")
    browser.wait_for(READY)


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("model.onnx", "Write the site again with cumel web, then try again."),
        ("model.json", "Write the site again with cumel web, then try again."),
        ("runtime/ort-wasm-simd-threaded.wasm", "Try again; if it stays so, write the site again with cumel web."),
        ("runtime/ort.wasm.min.js", "Try again; if it stays so, write the site again with cumel web."),
    ],
)
def test_what_is_missing_is_said_and_can_be_tried_again(
    browser: Browser, site: Site, folder: Path, tmp_path: Path, missing: str, remedy: str
) -> None:
    path = write(tmp_path / "knocking.wav", sound("knocking", 5, site.recipe.features.sr), site.recipe.features.sr)
    (folder / missing).rename(tmp_path / "elsewhere")
    with serving(folder) as (address, _):
        browser.open(f"{address}/")
        browser.evaluate(LISTEN)
        browser.choose(path, "#file")
        for _ in range(2):
            browser.wait_for("document.querySelector('#loading.error')")
            said = browser.evaluate(LOADING)
            assert said.startswith("The model cannot be loaded (")
            assert said.endswith(f"). {remedy}")
            assert browser.evaluate(STATUS) == "knocking.wav is classified as soon as the model is loaded."
            assert browser.evaluate("document.querySelector('#record').disabled")
            browser.evaluate("document.querySelector('#retry').click()")
        browser.wait_for("document.querySelector('#loading.error')")
        (tmp_path / "elsewhere").rename(folder / missing)
        retry(browser)
        browser.wait_for("window.heard")
        agree(browser.evaluate("window.heard"), site, path)
        assert browser.evaluate(LOADING) == browser.evaluate(STATUS) == ""
        assert not browser.evaluate("document.querySelector('#record').disabled")
        assert not browser.evaluate("document.querySelector('#retry').checkVisibility()")


@pytest.mark.usefixtures("early")
def test_a_connection_that_comes_back_is_tried_at_once(browser: Browser) -> None:
    browser.evaluate("dispatchEvent(new Event('online'))")
    browser.wait_for(READY)


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize("how", ["choose", "drop"])
def test_a_file_that_is_opened_early_is_classified_later(
    browser: Browser, site: Site, tmp_path: Path, how: str
) -> None:
    sr = site.recipe.features.sr
    first, last = (write(tmp_path / f"{name}.wav", sound(name, 5, sr), sr) for name in ("raindrops", "knocking"))
    for path in (first, last):
        getattr(browser, how)(path, "#file" if how == "choose" else "#drop")
    retry(browser)
    browser.wait_for("window.heard")
    agree(browser.evaluate("window.heard"), site, last)


@pytest.mark.usefixtures("early")
def test_what_is_wrong_with_an_early_file_stays_said(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("no sound")
    browser.choose(path, "#file")
    retry(browser)
    browser.wait_for("document.querySelector('#status.error')")
    assert browser.evaluate(STATUS) == "text.wav cannot be decoded by this browser. Try WAV, FLAC, MP3 or OGG."


@pytest.mark.usefixtures("early")
def test_an_error_before_the_model_is_there_stays_said(browser: Browser) -> None:
    drop_nothing(browser)
    retry(browser)
    assert browser.evaluate(STATUS) == "That is no file; drop one from a folder."


def test_the_page_opens_and_hears_without_a_server(browser: Browser, site: Site, tmp_path: Path) -> None:
    sr = site.recipe.features.sr
    path = write(tmp_path / "knocking.flac", sound("knocking", 5, sr), sr)
    with serving(site.folder) as (address, _):
        Page(browser, address, site.recipe)
        browser.wait_for(KEPT)
    agree(Page(browser, address, site.recipe).choose(path), site, path)
    browser.open(f"{address}/index.html?query#part")
    browser.wait_for(READY)


def test_a_site_that_is_written_again_is_shown_at_the_next_visit(
    browser: Browser, sites, folder: Path, site: Site
) -> None:
    other = sites("esc50")
    with serving(folder) as (address, _):
        Page(browser, address, site.recipe)
        browser.wait_for(KEPT)
        former = browser.evaluate(FACTS)
        shutil.copytree(other.folder, folder, dirs_exist_ok=True)
        browser.open(f"{address}/")
        settle(browser, f"{READY} && {FACTS} !== {former!r}")
        assert "44.1 kHz" in browser.evaluate(FACTS)
        settle(browser, "caches.keys().then((names) => names.length === 1)")


def test_a_recording_on_show_outlives_a_site_that_is_written_again(
    browser: Browser, sites, folder: Path, site: Site, tmp_path: Path
) -> None:
    sr = site.recipe.features.sr
    path = write(tmp_path / "knocking.wav", sound("knocking", 5, sr), sr)
    with serving(folder) as (address, _):
        page = Page(browser, address, site.recipe)
        browser.wait_for(KEPT)
        agree(page.choose(path), site, path)
        shutil.copytree(sites("esc50").folder, folder, dirs_exist_ok=True)
        browser.evaluate("navigator.serviceWorker.getRegistration().then((found) => void found.update())")
        browser.wait_for("!document.querySelector('#newer').hidden")
        agree(page.choose(path), site, path)
        browser.evaluate("document.querySelector('#reload').click()")
        settle(browser, f"{READY} && {FACTS}.includes('44.1 kHz')")


def test_files_of_two_writings_are_not_kept_together(browser: Browser, folder: Path, site: Site) -> None:
    (folder / "style.css").write_text((folder / "style.css").read_text() + "body { color: red; }")
    with serving(folder) as (address, asked):
        Page(browser, address, site.recipe)
        browser.wait_for("'kept' in document.documentElement.dataset")  # it was registered
        settle(browser, "navigator.serviceWorker.getRegistration().then((found) => !found)")
        assert "/sw.js" in asked
        assert browser.evaluate("caches.keys()") == []


def test_the_content_policy_in_the_documentation_is_the_pages() -> None:
    page = (ROOT / "export" / "web" / "page" / "index.html").read_text()
    (policy,) = re.findall(r'"Content-Security-Policy" content="([^"]+)"', page)
    assert policy in (ROOT / "docs" / "web.md").read_text()
