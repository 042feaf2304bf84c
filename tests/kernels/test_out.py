"""`out=`: results are written where the caller wants them, with the same bits, and what does not fit is refused."""

from typing import Any

import numpy as np
import pytest
import torch

from cumel.kernels import CumelError
from cumel.kernels.kinds import FEATURES, KINDS

from support.signals import SMALL, signal

CLIP = signal("noise", 4000, SMALL.sr)
LENGTHS = [4000, 1500]


@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "padded"])
def test_out_has_the_bits_of_the_result(feature: Any, lengths: list[int] | None) -> None:
    y = np.stack([CLIP, CLIP[::-1]])
    expected = feature(y, SMALL, lengths)
    assert expected.shape[1:] == (feature.n_rows(SMALL), SMALL.n_frames(4000))
    assert expected.dtype == feature.dtype
    frames = np.full((2, *expected.shape[:0:-1]), 7, expected.dtype)  # rows of frames, as a store has them
    out = frames.transpose(0, 2, 1)
    assert feature(y, SMALL, lengths, out=out) is out
    np.testing.assert_array_equal(out, expected)
    tensor = torch.full(expected.shape, 7, dtype=getattr(torch, feature.dtype))
    feature(torch.from_numpy(y), SMALL, lengths, out=tensor)
    np.testing.assert_array_equal(tensor.numpy(), expected)


def test_out_of_one_clip_of_packed_clips_and_of_half_precision() -> None:
    log_mel = KINDS["logmel"]
    out = np.empty((SMALL.n_frames(4000), SMALL.n_mels), np.float32)
    log_mel(CLIP, SMALL, out=out.T)
    np.testing.assert_array_equal(out.T, log_mel(CLIP, SMALL))
    packed = np.empty((2, SMALL.n_mels, SMALL.n_frames(2500)), np.float16)
    log_mel(CLIP, SMALL, [2500, 1500], dtype="float16", out=packed)
    np.testing.assert_array_equal(packed, log_mel(CLIP, SMALL, [2500, 1500], dtype="float16"))
    empty = np.empty((0, *out.T.shape), np.float32)
    assert log_mel(CLIP[None][:0], SMALL, out=empty) is empty


@pytest.mark.parametrize("function", ["spectrogram", "melspectrogram", "log_mel"])
def test_out_may_share_memory_with_the_samples(function: str) -> None:
    feature, clips = FEATURES[function], np.stack([CLIP, CLIP[::-1], -CLIP])
    expected = feature(clips, SMALL)
    memory = np.zeros(clips.size + expected.size, np.float32)
    y, out = memory[: clips.size].reshape(clips.shape), memory[8000:][: expected.size].reshape(expected.shape)
    y[:] = clips
    np.testing.assert_array_equal(feature(y, SMALL, out=out), expected)


def test_out_of_a_derived_array() -> None:
    class Derived(np.ndarray):
        pass

    expected = KINDS["logmel"](CLIP, SMALL)
    out = np.empty_like(expected)
    assert KINDS["logmel"](CLIP.view(Derived), SMALL, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_what_does_not_fit_is_refused() -> None:
    log_mel, right = KINDS["logmel"], np.zeros((SMALL.n_mels, SMALL.n_frames(4000)), np.float32)
    for wrong, why in (
        (right[:, 1:], "out has shape"),
        (right.astype(np.float64), "dtype float64"),
        (torch.from_numpy(right), "kind of y"),
        (right.tolist(), "got list"),
        (right[::-1], "strides"),
        (np.zeros(right.shape, [("byte", "u1"), ("value", "f4")])["value"], "whole values"),
        (np.broadcast_to(right[:1], right.shape), "writeable"),
        (np.lib.stride_tricks.as_strided(right, strides=(0, 4)), "expanded"),
    ):
        with pytest.raises(CumelError, match=why):
            log_mel(CLIP, SMALL, out=wrong)
    with pytest.raises(CumelError, match="dense"):
        log_mel(torch.from_numpy(CLIP), SMALL, out=torch.from_numpy(right).to_sparse())
    with pytest.raises(CumelError, match="no gradient"):
        log_mel(torch.from_numpy(CLIP).requires_grad_(), SMALL, out=torch.from_numpy(right))
