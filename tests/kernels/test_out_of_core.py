"""Clips through a device piece by piece: the bits of one piece, and no more on the device than the limits allow."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cumel.kernels import FeatureConfig, InputError, Normalize, cuda, kinds, out_of_core, plan
from cumel.kernels.cuda import Clips
from cumel.kernels.plan import Stage

from simt.emulator import compile_many
from support.emulation import FEATURES, PLANS, Emulated, kernels, together
from support.signals import CONFIGS, signal

STREAMED = [feature for feature in FEATURES if feature != "half"]
CPU = torch.device("cpu")
SOME = {name: CONFIGS[name] for name in ("small", "whisper", "esc50", "odd")}
EACH = tuple(np.linspace(-50.0, 0.0, SOME["small"].n_mels))
FRONT_END: dict[str, Any] = {"remove_dc": True, "preemphasis": 0.97, "window": "hamming", "win_length": 201}
FRONT_END |= {"align": "left", "pad_mode": "symmetric", "log": "ln"}
SOME |= {
    "uncentred": SOME["esc50"].replace(center=False),
    "unlimited": SOME["small"].replace(top_db=None),
    "mirrored": SOME["small"].replace(pad_mode="reflect", top_db=33.3),
    "gaps": SOME["small"].replace(hop_length=600, pad_mode="reflect"),
    "statistics": SOME["small"].replace(**FRONT_END, preemphasis_of="clip", normalize=Normalize(ddof=1, eps=1e-5)),
    "one deviation": SOME["small"].replace(**FRONT_END, normalize=Normalize(per="clip", eps=1e-7, eps_in="var")),
    "dropped": SOME["small"].replace(
        preemphasis=0.97, preemphasis_of="valid", pad_mode="reflect", mean=EACH, top_db=40.0
    ),
}
# By default, every config has its log-mel, and one with a plan and the one without have all features.
every_feature_of_some = pytest.mark.parametrize(
    ("feature", "name"),
    [
        pytest.param(feature, name, marks=[] if usual else [pytest.mark.exhaustive])
        for feature, name in product(STREAMED, SOME)
        for usual in [feature == "log_mel" or name in ("small", "odd")]
    ],
)
PIECE = 3  # frames whose samples fit on the device
HOURS = 2
RESIDENT_BYTES = 1e9  # most bytes in memory, for a clip of so many hours


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Use all processors, once."""
    compile_many({kernel for cfg in SOME.values() for kernel in kernels(cfg, STREAMED)})


class Watched:
    """An emulated front end that knows how many bytes of samples and of features it had at a time."""

    def __init__(self) -> None:
        self.frontend = Emulated().frontend
        self.n_calls, self.samples, self.features = 0, 0, 0

    def __getattr__(self, feature: str) -> Callable[..., Tensor]:
        def compute(clips: Clips | Tensor, cfg: FeatureConfig, **options: Any) -> Tensor:
            out = getattr(self.frontend, feature)(clips, cfg, **options)
            self.n_calls += 1
            if isinstance(clips, Clips):
                self.samples = max(self.samples, clips.samples.nbytes)
            self.features = max(self.features, out.nbytes, 0 if isinstance(clips, Clips) else clips.nbytes)
            return out

        return compute


def bytes_of(feature: str, cfg: FeatureConfig) -> int:
    """Of a frame of features on the device."""
    stage = FEATURES[feature][0]
    return plan.n_rows(cfg, stage) * (8 if stage == Stage.SPECTRUM else 4)


def check(
    feature: str, y: np.ndarray, lengths: list[int], cfg: FeatureConfig, sample_bytes: int, feature_bytes: int
) -> Watched:
    """Compare with the same in one piece, bit for bit."""
    clips = Clips.of(torch.from_numpy(y), lengths, cfg)
    watched = Watched()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(out_of_core, "SAMPLE_BYTES", sample_bytes)
        patch.setattr(out_of_core, "FEATURE_BYTES", feature_bytes)
        streamed = out_of_core.stream(watched, CPU, kinds.FEATURES[feature], clips, cfg)
    assert watched.n_calls > 1
    assert watched.samples <= sample_bytes
    assert watched.features <= feature_bytes
    expected = getattr(Emulated().frontend, feature)(clips, cfg)
    assert streamed.dtype == expected.dtype
    np.testing.assert_array_equal(streamed.numpy(), expected.numpy())
    return watched


def samples_of(cfg: FeatureConfig, n_frames: int) -> int:
    """Samples of a clip of so many frames, and half a hop more; of the shortest clip that there is, at least."""
    first = cfg.frame_length - sum(cfg.edges) + cfg.n_dropped
    return max(cfg.least_samples, first + (n_frames - 1) * cfg.hop_length + cfg.hop_length // 2)


@every_feature_of_some
def test_pieces_meet_without_a_seam(feature: str, name: str) -> None:
    """Pieces are as long as the limit of samples allows, or that of features; the last of them is one frame, or not."""
    cfg = SOME[name]
    sample_bytes, frame_bytes = 4 * (cfg.n_fft + PIECE * cfg.hop_length), bytes_of(feature, cfg)
    for n_frames in (7 * PIECE + 1, 7 * PIECE + 2, 8 * PIECE):
        y = signal("noise", samples_of(cfg, n_frames), cfg.sr)
        y[: len(y) // 2] *= 1e-3  # the maximum lies in a later piece
        assert cfg.n_frames(len(y)) == n_frames
        check(feature, y[None], [len(y)], cfg, sample_bytes, 1000 * frame_bytes)
        check(feature, y[None], [len(y)], cfg, 4 * len(y), (PIECE + 1) * frame_bytes)


@every_feature_of_some
def test_batches_of_long_and_short_clips(feature: str, name: str) -> None:
    """Short clips go together, long ones in pieces."""
    cfg = SOME[name]
    lengths = [samples_of(cfg, n) for n in (2, 1, 19, 1, 2, 3, 11, 12, 1)]
    clips = [signal("noise", n + i, cfg.sr)[i:].copy() for i, n in enumerate(lengths)]
    for packed, frames in product((False, True), (1000, 2)):
        y, lengths = together(clips, packed=packed)
        sample_bytes = 4 * max(3 * lengths[0], cfg.n_fft + PIECE * cfg.hop_length)
        check(feature, y, lengths, cfg, sample_bytes, max(frames, PIECE) * bytes_of(feature, cfg))


def test_short_clips_go_together() -> None:
    cfg = SOME["small"]
    y = np.stack([signal("noise", 1000, cfg.sr)] * 7)
    watched = check("log_mel", y, [1000] * 7, cfg, 3 * y[0].nbytes, 1000 * bytes_of("log_mel", cfg))
    assert (watched.n_calls, watched.samples) == (3, 3 * y[0].nbytes)
    n_frames = cfg.n_frames(1000)
    watched = check("log_mel", y, [1000] * 7, cfg, y.nbytes, 2 * n_frames * bytes_of("log_mel", cfg))
    assert (watched.n_calls, watched.features) == (4, 2 * n_frames * bytes_of("log_mel", cfg))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("top_db", [None, 80.0])
def test_nan_and_infinity(value: float, top_db: float | None) -> None:
    cfg = SOME["small"].replace(top_db=top_db)
    y = signal("noise", 9000, cfg.sr)
    y[5000] = value
    check("log_mel", y[None], [9000], cfg, 2000, 10**6)


def test_samples_of_a_piece_are_those_that_it_hears() -> None:
    """NaN everywhere else is not heard."""
    cfg = SOME["mirrored"]
    y = torch.from_numpy(signal("noise", 5000, cfg.sr))
    clip, whole = Clips.of(y[None], [5000], cfg), Emulated()("stft", y.numpy(), cfg)
    for piece in out_of_core._pieces(CPU, clip, cfg, PIECE):
        memory = torch.full((7000,), torch.nan)
        memory[1000 : 1000 + len(piece.samples)] = piece.samples
        moved = piece._replace(samples=memory, start=piece.start + 1000)
        alone = piece._replace(samples=piece.samples.clone())  # the emulator guards its ends
        frames = slice(piece.first_frame, piece.first_frame + piece.width)
        for one in (moved, alone):
            np.testing.assert_array_equal(Emulated().frontend.stft(one, cfg)[0].numpy(), whole[:, frames])


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16])
@pytest.mark.parametrize("feature", STREAMED)
@pytest.mark.parametrize("name", ["esc50", "whisper", "mirrored", "odd"])
def test_hours_fit_on_a_device(name: str, feature: str, dtype: torch.dtype) -> None:
    """Of two clips, one is half as long, and its row padded."""
    cfg = SOME[name]
    longest = HOURS * 3600 * cfg.sr
    frame_bytes = bytes_of(feature, cfg)
    for n_samples in (longest, longest // 2):
        samples = torch.zeros((), dtype=dtype).expand(longest)
        clip = Clips(samples, 1, n_samples, longest, cfg.n_frames(longest))
        n_frames = 0
        for piece in out_of_core._pieces(CPU, clip, cfg, out_of_core.FEATURE_BYTES // frame_bytes):
            assert (piece.n_samples, piece.first_frame) == (clip.n_samples, n_frames)
            n_frames += piece.width
            assert piece.samples.nbytes <= out_of_core.SAMPLE_BYTES
            assert piece.width * frame_bytes <= out_of_core.FEATURE_BYTES
            scratch = 0 if PLANS.get(name, 1) else 3 * cuda.SCRATCH_BYTES
            assert piece.samples.nbytes + 2 * piece.width * frame_bytes + scratch < RESIDENT_BYTES
            first = piece.first_frame * cfg.hop_length - cfg.edges[0]
            last = first + (piece.width - 1) * cfg.hop_length + cfg.n_fft
            low = -piece.start
            assert low <= max(first, 0)
            assert low + len(piece.samples) >= min(last, n_samples)
        assert n_frames == clip.width


def test_a_bad_clip_is_named_by_its_place_in_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = CONFIGS["small"]
    batch = np.stack([signal("noise", 3000, cfg.sr)] * 5)
    batch[3, 1000] = np.nan
    monkeypatch.setattr(out_of_core, "SAMPLE_BYTES", 2 * batch[0].nbytes)
    clips = Clips.of(torch.from_numpy(batch), [3000] * 5, cfg)
    with pytest.raises(InputError, match=r"^clip 3 of 5 holds NaN"):
        out_of_core.stream(Emulated().frontend, CPU, kinds.FEATURES["mel_image"], clips, cfg)
    monkeypatch.setattr(out_of_core, "SAMPLE_BYTES", batch[0].nbytes // 2)  # each clip in pieces
    with pytest.raises(InputError, match=r"^clip 3 of 5 holds NaN"):
        out_of_core.stream(Emulated().frontend, CPU, kinds.FEATURES["mel_image"], clips, cfg)
