"""A recording that is taken piece by piece has the numbers of the whole one."""

import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from cumel.esc50 import audio
from cumel.esc50.audio import Recording, recording, resampling
from cumel.esc50.audio.windowing import spans
from cumel.esc50.extraction import job, long, short
from cumel.esc50.extraction.job import KINDS
from cumel.esc50.extraction.local import extract
from cumel.esc50.store import Store
from cumel.kernels import PRESETS, FeatureConfig, Normalize, stft
from cumel.kernels.tensors import chunk_frames

from support.recordings import TINY, write

CPU = torch.device("cpu")
MFCC_ATOL = 1e-4  # a matrix product of other shape; 3.1e-5 measured
CFG = TINY.replace(n_fft=400, win_length=300, hop_length=100, n_mfcc=13)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(recording, "BLOCK_BYTES", 30_000)
    for module in (job, long):
        monkeypatch.setattr(module, "PIECE_BYTES", 100_000)


def noise(n: int, channels: int = 1) -> np.ndarray:
    """Noise whose level wanders over 100 dB."""
    rng = np.random.default_rng(n)
    level = np.interp(np.arange(n), np.linspace(0, n, 9), 10.0 ** rng.uniform(-5, 0, 9))
    return np.clip(rng.normal(0, 0.2, (n, channels)) * level[:, None], -1, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"top_db": None, "ref": 0.3}, {"pad_mode": "reflect", "power": 1, "ref": 2.0}])
def test_every_kind(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    cfg = CFG.replace(**changes)
    assert (8000 * 60) // cfg.hop_length > 4 * chunk_frames(cfg)
    path = write(tmp_path / "long.wav", noise(8000 * 60 + 17)[:, 0])
    report = extract([path], tmp_path / "out", cfg, kind=kind, device=CPU)
    assert report["audio_seconds"] == pytest.approx(60, abs=0.01)
    expected = KINDS[kind](audio.load(path)[0], cfg)
    if kind == "mfcc":
        np.testing.assert_allclose(Store(tmp_path / "out")[0], expected, atol=MFCC_ATOL, rtol=0)
    else:
        np.testing.assert_array_equal(Store(tmp_path / "out")[0], expected)


PER_BAND = CFG.replace(mean=tuple(np.linspace(-60, -20, CFG.n_mels)), std=tuple(np.linspace(5, 9, CFG.n_mels)))
FRONT_ENDS = PRESETS | {
    "limited_then_normalized": CFG.replace(normalize=Normalize(per="clip", ddof=1, eps=0.1)),
    "per_band": PER_BAND,
    "per_band_unlimited": PER_BAND.replace(top_db=None),
    "loud_amin": CFG.replace(amin=10.0, ref=20.0, mean=3.0, std=0.5),
    "long_padding": CFG.replace(padding=(50_000, 70_001), pad_mode="symmetric"),
    "clip_pre_emphasised": CFG.replace(preemphasis=0.9, preemphasis_of="clip", pad_mode="reflect", hop_length=500),
    "without_a_plan": CFG.replace(n_fft=509, preemphasis=0.9, preemphasis_of="valid", remove_dc=True),
}


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_every_front_end(tmp_path: Path, name: str) -> None:
    cfg = FRONT_ENDS[name]
    y = np.concatenate([np.zeros(3000), 0.25 + noise(chunk_frames(cfg) * cfg.hop_length * 2 + 171)[:, 0] / 2])
    path = tmp_path / "long.wav"
    soundfile.write(path, y, cfg.sr, subtype="PCM_16")
    with Recording(path) as recorded:
        y, _ = recorded.read(dtype="int16")
    for kind in ("logmel", "image") if name in PRESETS else ("logmel", "mfcc", "image"):
        extract([path], tmp_path / kind, cfg, kind=kind, device=CPU)
        stored, expected = Store(tmp_path / kind)[0], KINDS[kind](y, cfg)
        if kind == "image" or (kind == "logmel" and not cfg.is_per_band):
            np.testing.assert_array_equal(stored, expected)
        else:
            assert np.abs(stored - expected).max() <= 2e-6 * max(1.0, np.abs(expected).max())


def test_half_precision_and_silence(tmp_path: Path) -> None:
    paths = [write(tmp_path / "silent.wav", np.zeros(90_000)), write(tmp_path / "noise.wav", noise(90_000))]
    report = extract(paths, tmp_path / "out", CFG, dtype="float16", device=CPU)
    assert report["silent"] == [str(paths[0])]
    for path in paths:
        expected = KINDS["logmel"](audio.load(path)[0], CFG).astype(np.float16)
        np.testing.assert_array_equal(Store(tmp_path / "out")[path], expected)


FORMATS = [
    ("wav", "PCM_16"),
    ("wav", "FLOAT"),
    ("flac", "PCM_24"),
    ("flac", "PCM_16"),
    ("ogg", "VORBIS"),
    ("mp3", None),
]


@pytest.mark.pairwise
@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
@pytest.mark.parametrize(("channels", "sr"), [(1, 8000), (2, 8000), (1, 11025), (2, 48000), (6, 16000)])
def test_a_stream_has_the_samples_of_the_file(
    tmp_path: Path, suffix: str, subtype: str | None, channels: int, sr: int
) -> None:
    if suffix == "mp3" and channels > 2:
        channels = 2
    path = tmp_path / f"noise.{suffix}"
    soundfile.write(path, noise(sr * 4 + 31, channels), sr, subtype=subtype)
    expected, _ = audio.load(path, 8000)
    with Recording(path) as opened:
        dtype = opened.header.dtype(8000)
        blocks = list(opened.blocks(8000, dtype=dtype))
    with Recording(path) as opened:
        whole, _ = opened.read(8000, dtype=dtype)
    for y in (np.concatenate(blocks), whole):
        assert y.dtype == ("int16" if subtype == "PCM_16" and (channels, sr) == (1, 8000) else "float32")
        scaled = y * np.float32(1 / 32768) if y.dtype == np.int16 else y
        np.testing.assert_array_equal(scaled, expected)
    assert len(blocks) > 3


@pytest.mark.parametrize(("sr", "target"), [(48000, 44100), (44100, 16000), (8000, 44100), (22050, 44100)])
def test_blocks_resample_as_the_whole(sr: int, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "PIECE_SAMPLES", 20_000)
    y = noise(100_003)[:, 0].astype(np.float32)
    whole = resampling.resample_on(CPU, y, sr, target)
    assert len(whole) == -(-len(y) * target // sr)
    for size in (777, 50_000):
        blocks = (y[first : first + size] for first in range(0, len(y), size))
        np.testing.assert_array_equal(np.concatenate(list(resampling.resample_blocks(CPU, blocks, sr, target))), whole)


def test_spans_cover_the_frames_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    n_tried = 0
    for n, n_fft, hop, center, pad_mode in product(
        (1, 2, 5, 255, 256, 257, 1003), (256, 255), (64, 300), (True, False), ("constant", "reflect")
    ):
        cfg = FeatureConfig(sr=8000, n_fft=n_fft, hop_length=hop, n_mels=4, center=center, pad_mode=pad_mode)
        if cfg.n_frames(n) == 0:
            continue
        y = rng.normal(0, 1, n).astype(np.float32)
        expected = stft(y, cfg)
        for step in (1, 3, 100):
            blocks = (y[first : first + 37] for first in range(0, n, 37))
            frames = [stft(span.y, span.cfg) for span in spans(blocks, cfg, step)]
            np.testing.assert_allclose(np.concatenate(frames, axis=1), expected, atol=1e-5)
            n_tried += 1
    assert n_tried > 100


def test_many_at_once_and_bad_ones_among_them(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.wav", noise(60_000 + 999 * i)) for i in range(8)]
    bad = noise(70_000)[:, 0]
    bad[66_000] = np.nan
    write(paths[2], bad, subtype="FLOAT")
    write(paths[5], np.full(70_000, 3e38), subtype="FLOAT")
    report = extract(paths, tmp_path / "out", CFG, device=CPU, workers=4)
    assert [row["error"] for row in report["failures"]] == [
        f"{paths[2]}: sample 66000 is NaN or infinite (1 such); repair it, or leave it out",
        f"{paths[5]}: clip 0 of 1 holds NaN or infinity, or overflows float32; mend it or drop it",
    ]
    store = Store(tmp_path / "out")
    for path in [path for path in paths if path not in (paths[2], paths[5])]:
        np.testing.assert_array_equal(store[path], KINDS["logmel"](audio.load(path)[0], CFG))
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == ["", ".json", ".npy", ".parquet", ".parquet"]


def test_a_value_that_does_not_fit_leaves_the_shard_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write(tmp_path / f"{i}.wav", noise(80_000 + i)) for i in range(3)]
    stored, calls = job.Job.as_stored, []

    def fails_late(self: job.Job, frames: np.ndarray) -> np.ndarray:
        calls.append(len(frames))
        if len(calls) == 3:  # the first recording's pieces came before
            frames = np.full_like(frames, np.inf)
        return stored(self, frames)

    monkeypatch.setattr(job.Job, "as_stored", fails_late)
    report = extract(paths, tmp_path / "out", CFG, device=CPU, workers=1)
    assert ["not a number" in row["error"] for row in report["failures"]] == [True]
    store = Store(tmp_path / "out")
    fine = [path for path in paths if store.row(path)["status"] == "ok"]
    assert len(fine) == 2
    for path in fine:
        np.testing.assert_array_equal(store[path], KINDS["logmel"](audio.load(path)[0], CFG))


def test_no_room_for_a_long_recording_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(Exception, match=r"cannot be written \(No space left on device\); free some space"):
        extract([write(tmp_path / "a.wav", noise(80_000))], tmp_path / "out", CFG, device=CPU)
