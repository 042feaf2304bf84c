"""A clip on the emulated CUDA path has the same bits in any company; silence, short clips, NaN and infinity."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from cumel.kernels import CumelError, FeatureConfig, InputError, cuda, plan
from cumel.kernels.cuda import Clips

from simt.emulator import compile_many
from support.emulation import FEATURES, INT16, PLANS, Emulated, kernels, together
from support.signals import CONFIGS, Oracle, signal

SILENCE_DB = -100.0
PAST_ATOL = 2e-5  # dB, of silence and of a clip's floor; 0.8e-5: a step of float32 at -100 dB
every_plan = pytest.mark.parametrize("name", PLANS)
# By default, every plan has the features with the longest ways, and one with a plan and the one without have them all.
every_feature_of_every_plan = pytest.mark.parametrize(
    ("feature", "name"),
    [
        pytest.param(feature, name, marks=[] if usual else [pytest.mark.exhaustive])
        for feature, name in product(FEATURES, PLANS)
        for usual in [feature in ("log_mel", "mel_image") or name in ("compact", "odd")]
    ],
)
emulated = Emulated()


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Use all processors, once."""
    every = {kernel for name in PLANS for kernel in kernels(CONFIGS[name])}
    compile_many(
        every | {kernel for name, feature in INT16 for kernel in kernels(CONFIGS[name], [feature], int16=True)}
    )


def some_clips(cfg: FeatureConfig, dtype: type = np.float32) -> list[np.ndarray]:
    """Return clips that begin at odd samples when packed, but for the first, and do not fill their last blocks."""
    even, hop = cfg.n_fft // 2 * 2, cfg.hop_length
    lengths = (even + 36 * hop + 1, even, even + 20 * (hop // 2), even + 2)
    y = (6000 * np.random.default_rng(3).standard_normal(max(lengths) + 7)).astype(np.int16)
    if dtype == np.float32:
        y = y.astype(np.float32) / 32768
    return [y[n % 7 : n % 7 + n].copy() for n in lengths]


def check_each(feature: str, cfg: FeatureConfig, dtype: type = np.float32, **sizes: Any) -> None:
    """Compare clips that are computed together with each of them alone, bit for bit."""
    clips = some_clips(cfg, dtype)
    alone = [emulated(feature, clip, cfg) for clip in clips]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sizes.items():
            patch.setattr(cuda if name == "SCRATCH_BYTES" else plan, name, value)
        for packed in (False, True):
            y, lengths = together(clips, packed=packed)
            out = emulated(feature, y, cfg, lengths)
            for ours, expected in zip(out, alone, strict=True):
                np.testing.assert_array_equal(ours[:, : expected.shape[1]], expected)
    emulated.launcher.workspace(1)  # is clean


@every_feature_of_every_plan
def test_a_clip_in_a_batch_is_the_clip_alone(feature: str, name: str) -> None:
    check_each(feature, CONFIGS[name])


@pytest.mark.parametrize(("name", "feature"), dict.fromkeys(INT16))
def test_a_clip_of_int16_in_a_batch_is_the_clip_alone(name: str, feature: str) -> None:
    check_each(feature, CONFIGS[name], np.int16)


@every_feature_of_every_plan
def test_the_size_of_blocks_changes_nothing(feature: str, name: str) -> None:
    """Large batches have more frames in a block; around cuFFT, what does not fit in the scratch memory has fewer."""
    cfg = CONFIGS[name]
    if PLANS[name]:
        check_each(feature, cfg, FEW_BLOCKS=0)
    if feature in ("log_mel", "half", "mel_image"):  # finished by a second launch, a share of a clip to each block
        check_each(feature, cfg, ONE_BLOCK_BYTES=0, SHARE=4 * plan.WARP * plan.WARPS + 36)
    for frames in () if PLANS[name] else (1, 5):
        check_each(feature, cfg, SCRATCH_BYTES=4 * cfg.n_fft * frames)


@every_feature_of_every_plan
def test_lengths_on_the_device_are_read_there(feature: str, name: str) -> None:
    """They give the same bits, and a clip is NaN whose length is out of range; `mel_image` names it."""
    cfg, dtype = CONFIGS[name], {"dtype": torch.float16} if feature == "half" else {}
    y, lengths = together(some_clips(cfg), packed=False)
    compute, samples = getattr(emulated.frontend, "log_mel" if dtype else feature), torch.from_numpy(y)
    expected = emulated(feature, y, cfg, lengths)
    out = compute(Clips.of(samples, torch.tensor(lengths), cfg), cfg, **dtype).numpy()
    np.testing.assert_array_equal(out, expected)
    for wrong in (0, -1, y.shape[1] + 1, 2**40, -(2**63), 2**63 - 1):
        clips = Clips.of(samples, torch.tensor([lengths[0], wrong, *lengths[2:]]), cfg)
        if feature == "mel_image":
            with pytest.raises(CumelError, match=rf"^lengths\[1\]={wrong}: must be between 1 and the {y.shape[1]}"):
                compute(clips, cfg)
            continue
        out = compute(clips, cfg, **dtype).numpy()
        assert np.isnan(out[1]).all()
        np.testing.assert_array_equal(out[[0, 2, 3]], expected[[0, 2, 3]])
    emulated.launcher.workspace(4)  # is clean


@every_plan
def test_where_samples_lie_changes_nothing(name: str) -> None:
    cfg = CONFIGS[name]
    for dtype in (np.float32, np.int16):
        clip = some_clips(cfg, dtype)[0]
        expected = emulated("log_mel", clip, cfg)
        for offset in range(1, 5):
            memory = torch.zeros(len(clip) + 4, dtype=torch.from_numpy(clip).dtype)
            memory[offset : offset + len(clip)] = torch.from_numpy(clip)
            view = memory[offset : offset + len(clip)].numpy()
            assert view.ctypes.data % 16 == offset * view.itemsize % 16
            np.testing.assert_array_equal(emulated("log_mel", view, cfg), expected)


@every_plan
@pytest.mark.parametrize("top_db", [None, 30.0])
def test_frames_past_the_end_are_silent(name: str, top_db: float | None) -> None:
    cfg = CONFIGS[name].replace(top_db=top_db, ref=0.5)
    clips = some_clips(cfg)
    y, lengths = together(clips, packed=False)
    outputs = {feature: emulated(feature, y, cfg, lengths) for feature in FEATURES}
    for i, n_frames in enumerate(map(cfg.n_frames, lengths[1:]), 1):
        assert n_frames < outputs["stft"].shape[2]
        for feature in ("stft", "spectrogram", "melspectrogram", "mel_image"):
            assert outputs[feature][i, :, :n_frames].any()
            assert not outputs[feature][i, :, n_frames:].any()
        db = outputs["log_mel"][i]
        silence = SILENCE_DB - cfg.db_of_ref
        floor = silence if top_db is None else max(silence, db.max() - top_db)
        np.testing.assert_allclose(db[:, n_frames:], floor, rtol=0, atol=PAST_ATOL)
        np.testing.assert_array_equal(outputs["half"][i], db.astype(np.float16))


@every_plan
def test_silence(name: str) -> None:
    cfg = CONFIGS[name].replace(top_db=80.0, ref=1.0, amin=1e-10)
    for n_samples in (1, 5 * cfg.n_fft):
        y = np.zeros((2, n_samples), np.float32)
        np.testing.assert_allclose(emulated("log_mel", y, cfg), SILENCE_DB, rtol=0, atol=PAST_ATOL)
        for feature in ("stft", "spectrogram", "melspectrogram", "mel_image"):
            assert not emulated(feature, y, cfg).any()


@every_plan
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_clips_shorter_than_a_frame(name: str, pad_mode: str) -> None:
    """Mirrored many times; a clip of one sample is constant."""
    cfg = CONFIGS[name].replace(center=True, pad_mode=pad_mode)
    for n_samples in (1, 2, 3, 10, cfg.n_fft // 2 - 1, cfg.n_fft // 2, cfg.n_fft // 2 + 1, cfg.n_fft - 1):
        for kind in ("noise", "tone"):
            y = signal(kind, n_samples, cfg.sr) + np.float32(0.1)
            Oracle(y, cfg).check_all(lambda feature: emulated(feature, y, cfg))  # noqa: B023


@every_plan
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_clip(name: str, value: float) -> None:
    cfg = CONFIGS[name].replace(top_db=None)
    y = np.stack([0.1 * signal("noise", 20 * cfg.n_fft, cfg.sr)] * 3)
    y[1, 10 * cfg.n_fft] = value
    broken = np.arange(cfg.n_frames(y.shape[1])) * cfg.hop_length + np.arange(cfg.n_fft)[:, None] - cfg.edges[0]
    broken = (broken == 10 * cfg.n_fft).any(axis=0)
    for feature in ("stft", "spectrogram", "melspectrogram", "log_mel", "mfcc"):
        out, expected = emulated(feature, y, cfg), emulated(feature, y[0], cfg)
        np.testing.assert_array_equal(out[[0, 2]], [expected, expected])
        np.testing.assert_array_equal(out[1][:, ~broken], expected[:, ~broken])
        assert not np.isfinite(out[1][:, broken]).all(axis=0).any()
    limited = cfg.replace(top_db=80.0)
    for feature in ("log_mel", "half", "mfcc"):
        out = emulated(feature, y, limited)
        assert np.isnan(out[1]).all()
        np.testing.assert_array_equal(out[0], emulated(feature, y[0], limited))
        np.testing.assert_array_equal(out[2], out[0])
    with pytest.raises(InputError, match=r"^clip 1 of 3 holds NaN or infinity"):
        emulated("mel_image", y, limited)
    images, loudest = emulated.frontend.unchecked_image(Clips.of(torch.from_numpy(y), None, limited), limited)
    assert loudest.isfinite().tolist() == [True, False, True]
    np.testing.assert_array_equal(images[[0, 2]], [emulated("mel_image", y[0], limited)] * 2)
    emulated.launcher.workspace(3)  # is clean
    np.testing.assert_array_equal(emulated("mel_image", y[0], limited), emulated("mel_image", y[[0, 2]], limited)[1])
