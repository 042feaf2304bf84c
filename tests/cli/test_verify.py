"""`cumel verify --against`: originals on a user's files, as a table and a picture; and what cannot be compared."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cumel.esc50 import against
from cumel.esc50.cli import main
from cumel.pretrained import original


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["verify", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(5)
    for name, sr, n in (("a.wav", 16000, 16000), ("b.flac", 44100, 30000)):
        soundfile.write(place / name, 0.1 * rng.standard_normal(n) + 0.01, sr)
    return place


def described(place: Path, kind: str, **values: object) -> Path:
    path = place / "preprocessor_config.json"
    path.write_text(json.dumps({"feature_extractor_type": f"{kind}FeatureExtractor"} | values))
    return path


@pytest.mark.parametrize("kind", ["Whisper", "Parakeet", "AST", "SeamlessM4T", "SpeechT5"])
def test_every_value_of_an_extractor(
    kind: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "worst.png"
    code, out, _ = ask(capsys, "--against", described(tmp_path, kind), folder, "--json", "--picture", picture)
    report = json.loads(out)
    assert (code, report["passed"], report["files"], report["failed"]) == (0, True, 2, 0)
    assert report["reference"].startswith("transformers ")
    assert report["reference"].endswith(f", {kind}FeatureExtractor")
    assert 0 < report["max"] < against.MOST
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_kaldis_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "--against", "kaldi", folder, "--preset", "kaldi_no_snip", "--n-mels", 40)
    assert code == 0
    assert "100 x 40" in out
    assert "2 files against torchaudio " in out


def test_another_front_end_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kaldis, louder = original("kaldi"), original("kaldi")
    monkeypatch.setattr(against, "MEDIAN", 1e-5)
    for wrong in (
        louder._replace(ours=lambda y: kaldis.ours(y * np.float32(1.001))),
        louder._replace(ours=lambda y: kaldis.ours(np.roll(y, 3))),
        louder._replace(ours=lambda y: {"fbank": kaldis.ours(y)["fbank"][:-1]}),
    ):
        report = against.verify_against(sorted(folder.iterdir()), wrong)
        assert not report["passed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "{folder}/absent.json"], "there is no such file"),
        (["--against", "{json}", "--n-mels", "40"], "describes its own features; leave their options away"),
        (["--against", "kaldi", "--preset", "whisper"], "Kaldi has no such front end: win_length=None, not 400; "),
        (["--picture", "x.png"], "--picture: draws what --against compares; give both"),
        (["--against", "{conf}"], "only a preprocessor_config.json names a class that computes it"),
    ],
)
def test_what_cannot_be_compared(
    arguments: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fbank.conf").write_text("--num-mel-bins=80\n")
    places = {"folder": tmp_path, "json": described(tmp_path, "Whisper"), "conf": tmp_path / "fbank.conf"}
    code, _, err = ask(capsys, folder, *(argument.format(**places) for argument in arguments))
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("cumel: ")]
    assert message in line
