"""What `cumel web` writes and refuses, and where it gets the runtime from."""

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from cumel.esc50.cli import main
from cumel.export.web import site, write_site
from cumel.export.web.runtime import FILES, PACKAGE, VERSION
from cumel.kernels import CumelError, log_mel

from support.onnx_models import LABELS, save, save_waveform
from support.recordings import tiny_recipe, tone

FEATURES_DB = 1e-3  # largest difference of a feature, ONNX Runtime on the CPU against the kernels


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_waveform(tmp_path / "model.onnx", tiny_recipe())


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_site_holds_the_page_the_model_and_the_runtime(model: Path, package: Path, tmp_path: Path) -> None:
    report = write_site(model, tmp_path / "site", runtime=package)
    written = content(tmp_path / "site")
    assert report["files"] == {name: len(data) for name, data in written.items()}
    assert report["bytes"] == sum(report["files"].values())
    assert report["serve"] == f"python -m http.server -d {tmp_path / 'site'}"
    page = {path.name for path in Path(site.__file__).with_name("page").iterdir()}
    assert {"index.html", "style.css", "app.js", "worker.js"} <= page
    runtime_names = {f"runtime/{name.replace('.mjs', '.js')}" for name in FILES} | {"runtime/LICENSE.txt"}
    assert written.keys() == page | runtime_names | {"model.onnx", "model.json"}
    assert b"Permission is hereby granted" in written["runtime/LICENSE.txt"]
    about, recipe = json.loads(written["model.json"]), tiny_recipe()
    assert about["labels"] == list(LABELS)
    assert about["features"] == recipe.features.to_dict()
    assert (about["sr"], about["samples"], about["seconds"], about["kind"]) == (8000, 8000, 1.0, "logmel")
    assert "16 mel bands, 0-4000 Hz, of 1 s at 8 kHz" in about["facts"]


def test_the_sites_model_hands_out_its_features_and_is_else_the_same(
    model: Path, package: Path, tmp_path: Path
) -> None:
    write_site(model, tmp_path / "site", runtime=package)
    given, written = onnx.load(model), onnx.load(tmp_path / "site" / "model.onnx")
    assert [output.name for output in written.graph.output] == ["probabilities", "features"]
    y = tone()
    session = onnxruntime.InferenceSession(tmp_path / "site" / "model.onnx", providers=["CPUExecutionProvider"])
    (features,) = session.run(["features"], {"waveform": y[None]})
    np.testing.assert_allclose(features[0, 0], log_mel(y, tiny_recipe().features), rtol=0, atol=FEATURES_DB)
    del written.graph.output[1]
    assert written == given


def test_a_site_is_written_again_and_keeps_what_else_is_there(model: Path, package: Path, tmp_path: Path) -> None:
    write_site(model, tmp_path / "site", runtime=package)
    (tmp_path / "site" / "CNAME").write_text("sounds.example")
    (tmp_path / "site" / "app.js").write_text("old")
    before = content(tmp_path / "site")
    write_site(model, tmp_path / "site", runtime=package)
    after = content(tmp_path / "site")
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"app.js"}


def test_a_folder_with_other_things_needs_overwrite(model: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    out.mkdir()
    (out / "model.json").write_text('{"format": "another"}')
    (out / "mine.txt").write_text("mine")
    with pytest.raises(CumelError, match=r"site: holds files that `cumel web` did not write; .* or --overwrite"):
        write_site(model, out, runtime=package)
    assert {path.name for path in out.iterdir()} == {"model.json", "mine.txt"}
    write_site(model, out, runtime=package, overwrite=True)
    assert (out / "mine.txt").read_text() == "mine"
    write_site(model, out, runtime=package)


def test_an_empty_folder_and_what_a_killed_run_left_are_no_obstacle(model: Path, package: Path, tmp_path: Path) -> None:
    stage = tmp_path / "site" / site.STAGING_FOLDER
    stage.mkdir(parents=True)
    (stage / "half").write_text("ha")
    write_site(model, tmp_path / "site", runtime=package)
    assert not stage.exists()


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_what_was_there(
    model: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    out = tmp_path / "site"
    if there:
        write_site(model, out, runtime=package)
    before = content(out)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "model.onnx":
            write(path, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CumelError, match=r"site: cannot be written \(No space left on device\); free some space"):
        write_site(model, out, runtime=package)
    assert out.exists() == there
    assert content(out) == before


def _missing(path: Path) -> None:
    pass


def _text(path: Path) -> None:
    path.write_text("no model")


def _foreign(path: Path) -> None:
    save(path, tiny_recipe(), {})


def _image(path: Path) -> None:
    save(path, tiny_recipe())


def _low_rate(path: Path) -> None:
    recipe = tiny_recipe()
    save_waveform(path, recipe.replace(features=recipe.features.replace(sr=4000), seconds=2.0))


def _no_features(path: Path) -> None:
    model = onnx.load(save_waveform(path, tiny_recipe()))
    text = model.SerializeToString().replace(b"features", b"featured")
    model = onnx.load_from_string(text)
    for prop in model.metadata_props:
        prop.key, prop.value = prop.key.replace("featured", "features"), prop.value.replace("featured", "features")
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (_missing, r"model\.onnx: no such model; `cumel export` writes one"),
        (_text, r"model\.onnx: not a usable ONNX model \(.*\); export it again"),
        (_foreign, r"model\.onnx: not a usable model: carries no metadata of ours.*; `cumel export` writes one"),
        (_image, r"model\.onnx: takes images; a page needs one that `cumel export --input waveform` wrote"),
        (_low_rate, r"model\.onnx: takes 4000 Hz audio, and browsers resample to 8000\.\.192000 Hz"),
        (_no_features, r"model\.onnx: no value in it is called features; export it again"),
    ],
)
def test_an_unfit_model_is_refused_and_leaves_nothing(
    package: Path, tmp_path: Path, make: Any, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    make(path)
    with pytest.raises(CumelError, match=complaint) as caught:
        write_site(path, tmp_path / "site", runtime=package)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "site").exists()
    assert main(["web", str(path), "--out", str(tmp_path / "site"), "--runtime", str(package)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_file_is_no_place_for_a_site(model: Path, package: Path) -> None:
    with pytest.raises(CumelError, match=r"model\.onnx: is a file; give a folder"):
        write_site(model, model, runtime=package, overwrite=True)


def test_the_command_says_what_it_wrote(
    model: Path, package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["web", str(model), "--out", str(tmp_path / "my site"), "--runtime", str(package)]
    assert main(call) == 0
    shown = capsys.readouterr().out
    assert "runtime/ort-wasm-simd-threaded.wasm" in shown
    assert f"with {PACKAGE} {VERSION}" in shown
    assert shown.splitlines()[-1] == f"serve it: python -m http.server -d '{tmp_path / 'my site'}'"
    assert main([*call, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["site"], report["onnxruntime_web"]) == (str(tmp_path / "my site"), VERSION)
