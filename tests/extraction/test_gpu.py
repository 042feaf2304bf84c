"""Batches for a device, computed on the CPU as one: rates, memory that is decoded into, and values that do not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cumel.esc50.audio import Recording, Waveform
from cumel.esc50.audio.resampling import resample_on
from cumel.esc50.extraction import gpu as module, short
from cumel.esc50.extraction.gpu import batches, on_device
from cumel.esc50.extraction.job import KINDS, Job, Result
from cumel.esc50.extraction.long import Helpers
from cumel.esc50.extraction.short import begin, take
from cumel.esc50.inputs import Keys
from cumel.esc50.system.buffers import Buffers
from cumel.kernels import PRESETS, cuda, launcher, log_mel, mel_image
from cumel.kernels.arrays import rows_first

from support.emulation import Emulated
from support.recordings import TINY, tone, write

CPU = torch.device("cpu")
RESAMPLED_DB = 1e-4  # worst of noise 1.5e-5: mfcc, 48000 to 8000 Hz; the convolution adds in another order
DEVICE_DB = 1e-2  # the bound of `cumel verify`; no GPU yet


def results_of(clips: list[Waveform | None]) -> list[Result]:
    begun = [Result(Path(f"{i}.wav"), f"/{i}.wav", 0, 0) for i in range(len(clips))]
    return [
        one._replace(error="bad") if clip is None else one._replace(clip=clip)
        for one, clip in zip(begun, clips, strict=True)
    ]


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n_samples).astype(np.float32)


@pytest.mark.parametrize("kind", ["logmel", "stft", "image", "mfcc"])
@pytest.mark.parametrize("sr", [16000, 44100, 6000])
def test_a_batch_of_another_rate_is_each_clip_alone(kind: str, sr: int, tmp_path: Path) -> None:
    clips = [Waveform(noise(n, n), sr) for n in (4001, 700, 9000)]
    clips.insert(1, Waveform(noise(3000), TINY.sr))
    job = Job(
        kind, {"image": "uint8", "stft": "complex64"}.get(kind, "float32"), TINY.replace(n_mfcc=13), CPU, tmp_path
    )
    done = list(on_device(results_of(clips), job))
    for result, clip in zip(done, clips, strict=True):
        assert result.error is None
        y = clip.y if clip.sr == TINY.sr else resample_on(CPU, clip.y, clip.sr, TINY.sr)
        (frames,) = result.parts
        expected = KINDS[kind](y, job.cfg)
        assert (result.n_samples, result.n_frames, result.clip) == (len(y), expected.shape[1], None)
        atol = 1.0 if kind == "image" else RESAMPLED_DB
        np.testing.assert_allclose(frames.T.astype(expected.dtype), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["whisper", "kaldi", "seamless", "parakeet", "passt", "speechbrain", "gemma3n"])
@pytest.mark.parametrize("kind", ["logmel", "image"])
def test_a_batch_of_a_pretrained_models_front_end_is_each_clip_alone(name: str, kind: str, tmp_path: Path) -> None:
    cfg = PRESETS[name]
    clips = [Waveform(noise(n, n), cfg.sr) for n in (4001, 700, 9000, max(1, cfg.least_samples - 1))]
    done = list(on_device(results_of(clips), Job(kind, "uint8" if kind == "image" else "float32", cfg, CPU, tmp_path)))
    for result, clip in zip(done, clips, strict=True):
        if not cfg.n_frames(len(clip.y)):
            assert f"fewer than the {cfg.least_samples} of one frame" in str(result.error)
            continue
        (frames,) = result.parts
        np.testing.assert_array_equal(rows_first(frames.T, cfg), KINDS[kind](clip.y, cfg))


def test_a_batch_has_one_rate_and_its_samples_count_as_they_will_be() -> None:
    sizes = [(5, 8000), (5, 8000), (5, 4000), (5, 4000), (5, 4000), (40, 16000), (1, 16000)]
    clips = [Waveform(np.zeros(n, np.float32), sr) for n, sr in sizes]
    grouped = batches(results_of(clips), 20, 8000)
    assert [[int(result.path.stem) for result in batch] for batch in grouped] == [[0, 1], [2, 3], [4], [5], [6]]
    grouped = batches(results_of(clips), 20)
    assert [len(batch) for batch in grouped] == [2, 3, 1, 1]


def test_rates_without_a_practical_filter_are_each_files_own_error(tmp_path: Path) -> None:
    job = Job("logmel", "float32", TINY, CPU, tmp_path)
    done = list(
        on_device(results_of([Waveform(noise(900), 2_000_000 - 1), Waveform(noise(900), 1_999_999), None]), job)
    )
    assert [str(result.error)[:6] for result in done] == ["0.wav:", "1.wav:", "bad"]
    assert "no filter of a practical size" in str(done[0].error)


@pytest.mark.parametrize("loud", [False, True])
def test_float16_is_stored_and_what_does_not_fit_is_its_own_error(loud: bool, tmp_path: Path) -> None:
    """Judged where it was computed, for every clip by itself."""
    clips = [noise(3000), np.full(3000, 1000.0 if loud else 0.1, np.float32), noise(2000)]
    job = Job("mel", "float16", TINY, CPU, tmp_path)
    done = list(on_device(results_of([Waveform(y, TINY.sr) for y in clips]), job))
    assert [result.error is None for result in done] == [True, not loud, True]
    for result, y in zip(done, clips, strict=True):
        if result.error is None:
            (frames,) = result.parts
            assert frames.dtype == np.float16
            np.testing.assert_array_equal(frames, KINDS["mel"](y, TINY).T.astype(np.float16))
        else:
            assert result.error == "1.wav: a value is too large for float16, or not a number; use --dtype float32"


def test_what_is_silent_is_said_at_any_rate(tmp_path: Path) -> None:
    job = Job("logmel", "float32", TINY, CPU, tmp_path)
    clips = [Waveform(y, sr) for sr in (TINY.sr, 16000) for y in (np.zeros(9000, np.float32), noise(9000))]
    assert [result.silent for result in on_device(results_of(clips), job)] == [True, False, True, False]


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_samples_are_decoded_into_given_memory(channels: int, subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3000 * channels).reshape(-1, channels), TINY.sr, subtype=subtype)
    given: list[np.ndarray] = []

    def memory(n: int, dtype: str) -> np.ndarray:
        given.append(np.full(n, 77, dtype))
        return given[-1]

    with Recording(path) as recording:
        dtype = recording.header.dtype(TINY.sr)
        clip = recording.read(dtype=dtype, memory=memory)
    with Recording(path) as recording:
        expected = recording.read(dtype=dtype)
    assert len(given) == 1
    assert np.shares_memory(clip.y, given[0])
    assert clip.y.dtype == expected.y.dtype
    np.testing.assert_array_equal(clip.y, expected.y)


def test_a_gpus_recordings_are_decoded_into_pinned_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From where they are copied to the device one by one: no batch is put together in the host's memory."""
    given: list[np.ndarray] = []

    def pinned(n: int, dtype: str) -> np.ndarray:
        given.append(np.empty(n, dtype))
        return given[-1]

    monkeypatch.setattr(short, "pinned", pinned)
    path, helpers = write(tmp_path / "a.wav", tone()), Helpers(1, lambda: None)
    job = Job("logmel", "float32", TINY, torch.device("cuda"), tmp_path)
    result = take(begin(path, Keys()), lambda _: None, job, helpers)
    helpers.close()
    assert result.clip is not None
    assert np.shares_memory(result.clip.y, given[0])
    on_cpu = Job("logmel", "float32", TINY, CPU, tmp_path)
    (done,) = on_device([result], on_cpu)
    np.testing.assert_array_equal(next(iter(done.parts)).T, log_mel(result.clip.y, TINY))


def test_features_are_views_of_the_batch_and_stay_out_of_the_buffers(tmp_path: Path) -> None:
    job = Job("image", "uint8", TINY, CPU, tmp_path)
    for n_clips in (1, 3):
        parts = [
            next(iter(one.parts)) for one in on_device(results_of([Waveform(noise(4096), TINY.sr)] * n_clips), job)
        ]
        assert len({part.base.ctypes.data for part in parts}) == 1
        for part in parts:
            job.buffers.give(part)
    assert not any(job.buffers._ready.values())
    own = Buffers()
    own.give(own.take((256, 256), "uint8"))
    assert sum(map(len, own._ready.values())) == 1


@pytest.mark.parametrize("padded", [False, True])
def test_a_gpus_images_are_judged_with_the_batchs_own_copy(
    padded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the emulator: no clip is looked at before all are computed, and a wrong one says so itself."""
    clips = [noise(n, n) for n in (4001, 700, 3000)]
    clips[1][5] = np.nan
    emulated, shipped = Emulated(), module._computed

    def waits(*_: object) -> None:
        raise AssertionError("somebody waited")

    def computed(there: torch.Tensor, lengths: list[int], job: Job) -> tuple[torch.Tensor, torch.Tensor]:
        with monkeypatch.context() as patch:
            patch.setattr(cuda, "check_finite", waits)
            if padded:
                there = torch.nn.utils.rnn.pad_sequence(list(there.split(lengths)), batch_first=True)
            return shipped(there, lengths, replace(job, device=torch.device("cuda")))

    monkeypatch.setattr(launcher, "frontend", lambda _: emulated.frontend)
    monkeypatch.setattr(module, "_computed", computed)
    done = list(
        on_device(results_of([Waveform(y, TINY.sr) for y in clips]), Job("image", "uint8", TINY, CPU, tmp_path))
    )
    assert done[1].error == "1.wav: clip 0 of 1 holds NaN or infinity, or overflows float32; mend it or drop it"
    for result, y in ((done[0], clips[0]), (done[2], clips[2])):
        assert result.error is None
        np.testing.assert_allclose(next(iter(result.parts)).T.astype(int), mel_image(y, TINY).astype(int), atol=1)
    assert len(emulated.launcher.launched) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("sr", [TINY.sr, 16000])
def test_a_gpus_batches_are_the_cpus(sr: int, tmp_path: Path) -> None:
    clips = [Waveform(noise(n, n), sr) for n in (4001, 700, 9000)]
    device = torch.device("cuda", torch.cuda.current_device())
    for kind, stored in (("logmel", "float32"), ("mel", "float32"), ("image", "uint8")):
        made = {
            where.type: list(on_device(results_of(clips), Job(kind, stored, TINY, where, tmp_path)))
            for where in (CPU, device)
        }
        for ours, expected in zip(made["cuda"], made["cpu"], strict=True):
            assert ours.error is None
            atol = 1.0 if kind == "image" else DEVICE_DB
            frames, theirs = (next(iter(one.parts)).astype(np.float32) for one in (ours, expected))
            np.testing.assert_allclose(frames, theirs, rtol=1e-4, atol=atol)


def test_a_batch_is_begun_before_the_one_before_it_is_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    shipped = module._begin
    monkeypatch.setattr(module, "_begin", lambda batch, job: begun.append(len(batch)) or shipped(batch, job))
    job = Job("logmel", "float32", TINY, CPU, tmp_path)
    done = on_device(results_of([Waveform(noise(8000), TINY.sr)] * 6), job, seconds=2.0)
    next(done)
    assert begun == [2, 2]
    assert len(list(done)) == 5
