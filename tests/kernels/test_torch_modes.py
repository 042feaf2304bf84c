"""What a program has set in torch changes no number: default dtype and device, inference mode, autocast, and others."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from cumel import kernels
from cumel.esc50.datasets import Dataset
from cumel.esc50.training.checkpoint import Checkpoint
from cumel.esc50.training.loop import train
from cumel.kernels import PRESETS, FeatureConfig, LogMel, cpu, tensors

from support.recordings import tiny_recipe, write_dataset

CONFIGS = (
    FeatureConfig(sr=16000, n_fft=512, hop_length=160, n_mels=40),
    FeatureConfig(sr=16000, n_fft=512, hop_length=160, n_mels=40, power=1, pad_mode="reflect", top_db=None),
    PRESETS["seamless"],  # normalized, frames in rows
    PRESETS["passt"].replace(mean=tuple(range(128))),  # pre-emphasis of the clip, a mean for each band
)
Y = (0.1 * np.random.default_rng(0).standard_normal((3, 5000))).astype(np.float32)
LENGTHS = [5000, 3001, 800]


@contextmanager
def holding(put: Callable, value: object, back: object) -> Iterator[None]:
    put(value)
    try:
        yield
    finally:
        put(back)


MODES: dict[str, Callable[[], AbstractContextManager]] = {
    "float64": lambda: holding(torch.set_default_dtype, torch.float64, torch.float32),
    "float16": lambda: holding(torch.set_default_dtype, torch.float16, torch.float32),
    "meta": lambda: holding(torch.set_default_device, "meta", None),
    "absent device": lambda: holding(torch.set_default_device, "cuda:7", None),
    "inference": torch.inference_mode,
    "no grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu"),
    "deterministic": lambda: holding(torch.use_deterministic_algorithms, True, False),
    "flush denormals": lambda: holding(torch.set_flush_denormal, True, False),
}


def forget() -> None:
    constants = (tensors.window_of, tensors.mel_weights, tensors.dct_weights, tensors.band_values)
    for cached in (*constants, cpu._tables, cpu._mirrored):
        cached.cache_clear()


def everything() -> dict[tuple, np.ndarray]:
    """Return every feature of clips in every form, and gradients where they are allowed."""
    out: dict[tuple, np.ndarray] = {}
    y = torch.from_numpy(Y)
    for cfg in CONFIGS:
        for name in ("stft", "spectrogram", "melspectrogram", "log_mel", "mfcc", "mel_image"):
            function = getattr(kernels, name)
            out[cfg, name, "array"] = function(Y, cfg)
            out[cfg, name, "padded"] = function(y, cfg, LENGTHS).numpy()
            out[cfg, name, "int16"] = function((Y * 32768).astype(np.int16), cfg)
            out[cfg, name, "packed"] = function(Y.ravel()[:8000], cfg, [5000, 3000])
            if not torch.is_inference_mode_enabled() and name != "mel_image":
                with torch.enable_grad():
                    source = y.clone().requires_grad_()
                    function(source, cfg, LENGTHS).abs().sum().backward()
                    out[cfg, name, "gradient"] = source.grad.numpy()
        layer = LogMel(cfg)
        out[cfg, "layer"] = layer(y, LENGTHS).numpy()
        if not torch.is_inference_mode_enabled():
            with torch.enable_grad():
                source = y.clone().requires_grad_()
                layer(source).sum().backward()
                out[cfg, "layer", "gradient"] = source.grad.numpy()
    return out


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_no_feature_depends_on_what_torch_is_set_to(mode: Callable[[], AbstractContextManager]) -> None:
    expected = everything()
    forget()
    with mode():
        found = everything()
    for actual in (found, everything()):  # Nothing that was made there spoils a later call.
        for key, value in actual.items():
            assert value.dtype == expected[key].dtype, key
            np.testing.assert_array_equal(value, expected[key], err_msg=str(key))


@pytest.mark.parametrize("name", ["float64", "meta", "inference", "no grad", "autocast"])
def test_training_does_not_depend_on_it_either(tmp_path: Path, name: str) -> None:
    data, recipe, cpu_device = (
        Dataset.read(write_dataset(tmp_path / "data")),
        tiny_recipe(epochs=1),
        torch.device("cpu"),
    )
    train(data, tmp_path / "plain", recipe, 1, cpu_device)
    with MODES[name]():
        train(data, tmp_path / "other", recipe, 1, cpu_device)
        there = Checkpoint.load(tmp_path / "other")
    plain = Checkpoint.load(tmp_path / "plain")
    for key, value in plain.model.items():
        assert torch.equal(value, there.model[key]), key
