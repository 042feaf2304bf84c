"""Where `cumel web` gets ONNX Runtime Web from: a folder, the cache, npm, or a clear no."""

import tarfile
from pathlib import Path
from typing import Any

import pytest

from cumel.esc50.cli import main
from cumel.export.web import runtime, write_site
from cumel.export.web.runtime import FILES, PACKAGE, SHA512, TARBALL, VERSION, runtime_files
from cumel.kernels import CumelError, UnavailableError

from support.npm_package import CONTENT
from support.onnx_models import save_waveform
from support.recordings import tiny_recipe


@pytest.fixture
def npm(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an npm first that packs the small package and notes every call; returns its notes."""
    with tarfile.open(tmp_path / TARBALL, "w:gz") as archive:
        archive.add(package, "package")
    monkeypatch.setitem(SHA512, TARBALL, runtime.sha512((tmp_path / TARBALL).read_bytes()))
    return npm_that(f'cp "{tmp_path / TARBALL}" .', tmp_path, monkeypatch)


def npm_that(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program, notes = tmp_path / "bin" / "npm", tmp_path / "calls"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "$@" >> "{notes}"\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return notes


def test_npm_is_asked_once(npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime_files() == CONTENT
    assert npm.read_text().startswith(f"pack {PACKAGE}@{VERSION}")
    monkeypatch.setenv("PATH", "")
    assert runtime_files() == CONTENT
    assert len(npm.read_text().splitlines()) == 1
    assert {path.name for path in (tmp_path / "cache" / "cumel" / f"{PACKAGE}-{VERSION}").iterdir()} == set(FILES)


def test_a_damaged_cache_is_fetched_again(npm: Path, tmp_path: Path) -> None:
    runtime_files()
    cached = tmp_path / "cache" / "cumel" / f"{PACKAGE}-{VERSION}" / FILES[-1]
    cached.write_bytes(cached.read_bytes()[:-1])
    assert runtime_files() == CONTENT
    assert cached.read_bytes() == CONTENT[FILES[-1]]
    assert len(npm.read_text().splitlines()) == 2


@pytest.mark.usefixtures("npm")
def test_without_a_place_for_the_cache_npm_is_asked_each_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert runtime_files() == CONTENT
    assert runtime_files() == CONTENT
    assert len((tmp_path / "calls").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo 'npm error code ENOTFOUND' >&2; exit 1", r"npm cannot fetch onnxruntime-web \S+ \(code ENOTFOUND\)"),
        ("exit 1", r"npm cannot fetch onnxruntime-web"),
        (":", r"npm cannot fetch onnxruntime-web"),
        (f"echo other > {TARBALL}", r"npm fetched something else: .*: its SHA-512 is not that of onnxruntime-web"),
    ],
)
def test_without_the_package_nothing_is_written_and_both_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, complaint: str
) -> None:
    model = save_waveform(tmp_path / "model.onnx", tiny_recipe())
    npm_that(script, tmp_path, monkeypatch)
    with pytest.raises(UnavailableError, match=complaint) as caught:
        write_site(model, tmp_path / "site")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "site").exists()
    assert not (tmp_path / "cache").exists()
    assert main(["web", str(model), "--out", str(tmp_path / "site")]) == 3


def test_without_npm_both_ways_out_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UnavailableError, match=r"there is no npm: let npm reach its registry, or unpack .* --runtime"):
        runtime_files()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "package.json").unlink(), "is no unpacked npm package; give the folder"),
        (lambda folder: (folder / "package.json").write_text("[]"), "is no unpacked npm package"),
        (
            lambda folder: (folder / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.0.0"}'),
            rf"holds onnxruntime-web 1\.0\.0, and this version works with onnxruntime-web {VERSION}",
        ),
        (lambda folder: (folder / "dist" / FILES[0]).unlink(), "No such file or directory; unpack the whole package"),
        (lambda folder: (folder / "dist" / FILES[0]).write_text("x"), "its SHA-512 is not that of .*; unpack the"),
    ],
)
def test_another_package_is_refused(package: Path, spoil: Any, complaint: str) -> None:
    spoil(package)
    with pytest.raises(CumelError, match=complaint):
        runtime_files(package)


def test_the_cache_may_be_anywhere_but_at_a_relative_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert runtime._cache() == Path("/home/someone/.cache/cumel") / f"{PACKAGE}-{VERSION}"
