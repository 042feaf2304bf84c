"""The pipeline: order, bounds, failures; and batches for a device, computed on the CPU."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cumel.esc50.audio import Waveform
from cumel.esc50.extraction import gpu as module, local as extraction
from cumel.esc50.extraction.gpu import batches, on_device
from cumel.esc50.extraction.job import KINDS, Job, Result
from cumel.esc50.extraction.local import extract
from cumel.esc50.extraction.short import begin, groups, take
from cumel.esc50.inputs import Keys
from cumel.esc50.store import Store
from cumel.esc50.system.pipeline import Hold, ahead, ordered
from cumel.kernels import log_mel

from support.recordings import TINY, tone, write

CPU = torch.device("cpu")


def test_results_come_in_order_within_the_bound() -> None:
    held, most, lock = 0, 0, threading.Lock()

    def work(item: int, hold: Hold) -> int:
        nonlocal held, most
        hold(10)
        with lock:
            held += 10
            most = max(most, held)
        time.sleep(0.001 * (item % 5))
        return item

    out = []
    for item in ordered(range(200), work, 4, 50):
        out.append(item)
        with lock:
            held -= 10
    assert out == list(range(200))
    assert 20 < most <= 60  # the bound, and the one whose turn it is


def test_one_that_is_larger_than_the_bound_passes() -> None:
    def work(item: int, hold: Hold) -> int:
        hold(1000 if item % 3 == 0 else 1)
        hold(5)
        return item

    assert list(ordered(range(30), work, 4, 50)) == list(range(30))


def test_a_failure_ends_the_others() -> None:
    begun = []

    def work(item: int, hold: Hold) -> int:
        begun.append(item)
        hold(30)
        time.sleep(0.005)  # so that the failure is seen before many more begin, on a busy machine too
        if item == 3:
            raise OSError("broken")
        return item

    results = ordered(range(10_000), work, 2, 100)
    with pytest.raises(OSError, match="broken"):
        list(results)
    assert len(begun) < 100
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cumel-reader")]


def test_who_wants_no_more_waits_for_nobody() -> None:
    results = ordered(range(10_000), lambda item, hold: hold(60) or item, 4, 100)
    assert next(results) == 0
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cumel-reader")]


def test_running_ahead() -> None:
    made = []

    def source():
        for item in range(100):
            made.append(item)
            yield item

    results = ahead(source(), lambda _: 10, 50)
    assert next(results) == 0
    time.sleep(0.2)
    assert 2 <= len(made) <= 8
    assert list(results) == list(range(1, 100))


def test_groups_are_of_a_size_and_enough_for_all(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.wav", np.zeros(n)) for i, n in enumerate([100] * 40 + [10**6] * 3 + [100] * 40)]
    few = list(groups(paths, 1))
    assert [result.path for group in few for result in group] == paths
    assert [len(group) for group in few] == [20, 20, 2, 20, 20, 1]
    assert max(len(group) for group in groups(paths, 8)) == 2
    link, loop = tmp_path / "link.wav", tmp_path / "loop.wav"
    link.symlink_to(paths[2])
    loop.symlink_to(loop)
    size, mtime_ns = paths[2].stat().st_size, paths[2].stat().st_mtime_ns
    begun = list(groups([paths[2], link, loop, tmp_path / "gone.wav"], 8))
    assert [
        [result]
        for result in (
            Result(paths[2], str(paths[2]), size, mtime_ns, name="2.wav"),
            Result(link, str(link), size, mtime_ns, name="link.wav", real=str(paths[2])),
            Result(loop, str(loop), -1, 0, name="loop.wav"),
            Result(tmp_path / "gone.wav", str(tmp_path / "gone.wav"), -1, 0, name="gone.wav"),
        )
    ] == begun


def results_of(clips: list[np.ndarray | None], sr: int = TINY.sr) -> list[Result]:
    begun = [Result(Path(f"{i}.wav"), f"/{i}.wav", 0, 0) for i in range(len(clips))]
    return [
        result._replace(error="bad") if y is None else result._replace(clip=Waveform(y, sr))
        for result, y in zip(begun, clips, strict=True)
    ]


def test_batches_hold_one_dtype_and_so_many_samples() -> None:
    clips = [np.zeros(n, dtype) for n, dtype in [(5, "i2"), (9, "i2"), (2, "i2"), (2, "f4"), (20, "f4"), (1, "f4")]]
    grouped = batches(results_of([clips[0], None, *clips[1:], None]), 20)
    assert [[int(result.path.stem) for result in batch] for batch in grouped] == [[0, 1], [2, 3], [4], [5], [6, 7]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_each_clip_alone(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    clips = [(rng.normal(0, 3000, 400 + 313 * i)).astype(np.int16) for i in range(9)]
    clips += [rng.normal(0, 0.1, 900 + i).astype(np.float32) for i in range(3)]
    cfg = TINY.replace(n_mfcc=13)
    job = Job(kind, {"image": "uint8", "stft": "complex64"}.get(kind, "float32"), cfg, CPU, tmp_path)
    done = list(on_device(results_of([*clips[:4], None, *clips[4:]]), job, seconds=1.0))
    assert done.pop(4).error == "bad"
    assert len(done) == len(clips)
    for result, y in zip(done, clips, strict=True):
        (frames,) = result.parts
        np.testing.assert_array_equal(frames.T, KINDS[kind](y, cfg))
        assert (result.n_samples, result.n_frames, result.clip) == (len(y), len(frames), None)


def test_one_bad_clip_does_not_spoil_its_batch(tmp_path: Path) -> None:
    y = tone()
    job = Job("logmel", "float32", TINY.replace(center=False), CPU, tmp_path)
    done = list(on_device(results_of([y, y[:100], np.full(900, 3e38, np.float32), y[:5000]]), job))
    errors = [result.error for result in done]
    assert errors[0] is errors[3] is None
    assert "fewer than the 256 of one frame" in str(errors[1])
    assert str(errors[2]).startswith("2.wav: clip 0 of 1 holds NaN or infinity")
    np.testing.assert_array_equal(next(iter(done[3].parts)).T, log_mel(y[:5000], job.cfg))


def test_the_devices_path_makes_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    paths = [write(tmp_path / "in" / f"{i}.wav", rng.normal(0, 0.1, 800 * i + 1)) for i in range(1, 20)]
    paths[3].write_bytes(b"")
    monkeypatch.setattr(module, "BATCH_SECONDS", 3.0)
    extract(paths, tmp_path / "cpu", TINY, device=CPU, quiet=True)

    def as_on_a_gpu(run: extraction._Run, paths: list[Path], workers: int, helpers: extraction.Helpers):
        key_of = Keys()

        def read(path: Path, hold: Hold) -> Result:
            begun = begin(path, key_of)
            result = take(begun, hold, run.job, helpers)
            if result.error is not None:
                return result
            y, sr = soundfile.read(path, dtype="int16")
            return begun._replace(clip=Waveform(y, sr), n_bytes=y.nbytes, fingerprint=result.fingerprint, source_sr=sr)

        return ahead(on_device(ordered(paths, read, workers, 10**6), run.job), lambda result: result.n_bytes, 10**6)

    monkeypatch.setattr(extraction._Run, "_results", as_on_a_gpu)
    extract(paths, tmp_path / "batched", TINY, device=CPU, quiet=True)
    for name in ("features-00000.npy", "index.parquet"):
        assert (tmp_path / "cpu" / name).read_bytes() == (tmp_path / "batched" / name).read_bytes()
    assert len(Store(tmp_path / "batched")) == 19
