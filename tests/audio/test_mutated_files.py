"""Hundreds of recordings with a few bytes changed: each is an error of one line, or exactly what it decodes to."""

import collections
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cumel.esc50.audio import load, resample
from cumel.esc50.audio.formats.integrity import check_whole
from cumel.esc50.audio.formats.mp3 import examine
from cumel.esc50.store import Store
from cumel.kernels import log_mel

from support.recordings import TINY, write

N_EACH = 8  # files for every mutation of every format
N_SAMPLES = 3000
SECONDS = 120  # a run that takes longer hangs; it takes about 10
FORMATS = [
    ("wav", "PCM_16", 1),
    ("wav", "FLOAT", 2),
    ("wav", "MS_ADPCM", 1),
    ("flac", "PCM_16", 2),
    ("ogg", "VORBIS", 1),
    ("ogg", "OPUS", 2),
    ("aiff", "PCM_24", 2),
    ("mp3", "MPEG_LAYER_III", 1),
]
HEADER_BYTES = 100
GAP = 480 + 2 * 576  # samples behind a gap in an MP3: the decoder alone forgets there, and of MPEG-2 decodes two wrong
SILENCED = 1e-6  # what the decoder alone makes of a frame of MPEG-2 that lacks what was before it
SIZES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\1\0\0\0", b"\0\0\0\1")

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]


def flip(raw: bytes, rng: Rng, until: int | None = None) -> bytes:
    changed = bytearray(raw)
    for at in rng.integers(min(until or len(raw), len(raw)), size=rng.integers(1, 5)):
        changed[at] = rng.integers(256)
    return bytes(changed)


def lie(raw: bytes, rng: Rng) -> bytes:
    at = rng.integers(HEADER_BYTES)
    return raw[:at] + SIZES[rng.integers(len(SIZES))] + raw[at + 4 :]


def cut(raw: bytes, rng: Rng) -> bytes:
    return raw[: rng.integers(len(raw))]


def drop(raw: bytes, rng: Rng) -> bytes:
    at = rng.integers(len(raw))
    return raw[:at] + raw[at + rng.integers(1, 400) :]


def insert(raw: bytes, rng: Rng) -> bytes:
    at = rng.integers(len(raw))
    return raw[:at] + rng.bytes(rng.integers(1, 60)) + raw[at:]


def repeat(raw: bytes, rng: Rng) -> bytes:
    at, n = rng.integers(len(raw)), rng.integers(1, 2000)
    return raw[: at + n] + raw[at:]


def blank(raw: bytes, rng: Rng) -> bytes:
    at, n = rng.integers(len(raw)), rng.integers(1, 500)
    return (raw[:at] + bytes(n) + raw[at + n :])[: len(raw)]


MUTATIONS: dict[str, Mutation] = {
    "header": lambda raw, rng: flip(raw, rng, HEADER_BYTES),
    "flip": flip,
    "lie": lie,
    "cut": cut,
    "drop": drop,
    "insert": insert,
    "repeat": repeat,
    "blank": blank,
}


@pytest.fixture(scope="module")
def mutants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of mutated recordings."""
    folder, rng = tmp_path_factory.mktemp("mutants"), np.random.default_rng(20)
    for suffix, subtype, channels in FORMATS:
        y = rng.normal(0, 0.1, (N_SAMPLES, channels))
        raw = write(folder / f"whole.{suffix}", y, 8000, subtype=subtype).read_bytes()
        (folder / f"whole.{suffix}").unlink()
        (folder / "originals").mkdir(exist_ok=True)
        (folder / "originals" / f"{subtype}.{suffix}").write_bytes(raw)
        for name, mutate in MUTATIONS.items():
            for number in range(N_EACH):
                (folder / f"{subtype}-{name}-{number}.{suffix}").write_bytes(mutate(raw, rng))
    return folder


def check_samples(path: Path, y: np.ndarray) -> None:
    """Check that soundfile alone reads the same; where a length or a tag is not right it may read less or more."""
    with path.open("rb") as file:
        if check_whole(path, file) is not None:
            subtype = path.stem.split("-")[0]
            path = path.parent / "originals" / f"{subtype}{path.suffix}"
    try:
        with soundfile.SoundFile(path) as sound:  # `soundfile.read` seeks first, and rounds a damaged MP3 differently
            alone = sound.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        assert path.suffix == ".mp3"
        alone = np.empty((0, 1), np.float32)
    alone = alone.mean(axis=1) if alone.shape[1] > 1 else alone[:, 0]
    with path.open("rb") as file:
        mp3 = examine(path, file) if path.suffix == ".mp3" else None
    if mp3 is None or mp3.tag is not None:
        np.testing.assert_array_equal(y, alone, err_msg=path.name)
        return
    assert len(y) == mp3.n_samples
    differ = []
    for skipped in {0, mp3.skipped}:  # The rest of the tag decides what the decoder leaves out.
        n = max(0, min(len(y), len(alone) - skipped))
        differ.append(np.count_nonzero(np.abs(y[:n] - alone[skipped : skipped + n]) > SILENCED))
    assert min(differ) <= GAP * (len(mp3.stretches) - 1), path.name


def test_a_mutant_is_an_error_or_what_its_bytes_decode_to(mutants: Path, tmp_path: Path) -> None:
    """In a process of its own: one that libsndfile crashes, or that hangs, fails the test, not the suite."""
    call = [sys.executable, "-m", "cumel", "extract", mutants, "--out", tmp_path / "store", "--json"]
    options = [f"--{name}={getattr(TINY, name.replace('-', '_'))}" for name in ("sr", "n-fft", "hop-length", "n-mels")]
    options += ["--fmin=0", "--fmax=none", "--top-db=none", "--device=cpu"]
    done = subprocess.run([*call, *options], capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 1, done.stderr.decode()[-2000:]
    report = json.loads(done.stdout)

    paths = sorted(path for path in mutants.rglob("*") if path.is_file())
    assert report["files"] == len(paths) >= 300 + len(FORMATS)
    store, outcomes = Store(tmp_path / "store"), collections.Counter()
    cfg = store.config.features
    for path in paths:
        row = store.row(path)
        outcomes[path.suffix, path.stem.split("-")[1] if "-" in path.stem else "none", row["status"] != "error"] += 1
        if row["status"] == "error":
            assert row["error"].startswith(f"{path}: ")
            assert "\n" not in row["error"]
        else:
            y, sr = load(path)
            check_samples(path, y)
            y = y if sr == cfg.sr else resample(y, sr, cfg.sr)
            assert row["n_samples"] == len(y)
            np.testing.assert_array_equal(store[path], log_mel(y, cfg), err_msg=path.name)

    for (suffix, mutation, good), n in outcomes.items():
        assert not (good and mutation == "cut"), f"{n} cut {suffix} passed for whole ones"
        assert not (good and suffix == ".flac" and mutation == "flip"), f"{n} damaged {suffix} passed for whole ones"
    assert sum(n for (_, mutation, good), n in outcomes.items() if mutation == "none" and good) == len(FORMATS)
    assert {suffix for suffix, mutation, good in outcomes if good and mutation != "none"} == {
        f".{f}" for f, *_ in FORMATS
    }
    assert {suffix for suffix, _, good in outcomes if not good} == {f".{suffix}" for suffix, *_ in FORMATS}
