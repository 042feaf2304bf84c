"""The front end as a graph: librosa's decibels on every config, any length as training fits it."""

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings, strategies as st
from onnxscript import ir

from cumel.esc50.audio import fit_length
from cumel.export.check.frontend import check_frontend
from cumel.export.graph import FEATURES_NAME
from cumel.export.graph.frontend import LOG_MEL, standalone
from cumel.kernels import PRESETS, CumelError, FeatureConfig, dft
from cumel.kernels.dft import Dense, Factored, transform

from support.drawn import any_config
from support.onnx_models import metadata
from support.recordings import TINY, tiny_recipe
from support.signals import (
    CASES,
    IN_DB,
    NOISY,
    NOISY_DB,
    TONAL_DB,
    Oracle,
    librosa_db,
    librosa_mel,
    oracle as oracle_of,
    signal,
)

# dB between a clip alone and the same clip in a batch: products of other sizes may add up in another order.
BATCHED_DB = 2e-5  # 0.8e-5: whisper, one step of float32 at -100 dB; 0 else


def session_of(model: ir.Model, *outputs: str) -> onnxruntime.InferenceSession:
    proto = ir.to_proto(model)
    for name in outputs:
        proto.graph.output.append(onnx.ValueInfoProto(name=name))
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


@cache
def session(cfg: FeatureConfig, n_samples: int, kind: str = "logmel") -> onnxruntime.InferenceSession:
    return session_of(standalone(cfg, n_samples, kind))


def run(y: np.ndarray, cfg: FeatureConfig, n_samples: int | None = None, kind: str = "logmel") -> np.ndarray:
    """Features [batch, n_mels, n_frames] of one clip or a batch; int16 as a caller scales it."""
    y = y / np.float32(32768) if y.dtype == np.int16 else y
    batch = np.atleast_2d(y).astype(np.float32)
    (features,) = session(cfg, n_samples or batch.shape[1], kind).run([FEATURES_NAME], {"waveform": batch})
    assert features.shape[:3] == (len(batch), 1, cfg.n_mels)
    return features[:, 0]


@pytest.mark.pairwise
@pytest.mark.parametrize(("name", "kind", "length"), CASES)
def test_decibels_are_librosas(name: str, kind: str, length: str) -> None:
    oracle = oracle_of(name, kind, length)
    limit = NOISY_DB if kind in NOISY else TONAL_DB
    got = run(oracle.y, oracle.cfg)[0]
    oracle.check_log_mel(got, limit)
    if len(oracle.y) >= oracle.cfg.n_fft:  # librosa warns of shorter ones
        oracle.check_log_mel(got, limit, librosa_db(librosa_mel(oracle.y, oracle.cfg), oracle.cfg))


@pytest.mark.parametrize("name", ["esc50", "compact", "whisper", "magnitude", "prime", "hop441", "uncentred"])
@pytest.mark.parametrize("kind", ["noise", "quiet", "chirp", "silence"])
def test_images_are_the_baselines(name: str, kind: str) -> None:
    oracle = oracle_of(name, kind, "odd")
    image = run(oracle.y, oracle.cfg, kind="image")[0]
    assert (image == np.floor(image)).all()
    assert image.min() == 0
    assert image.max() == (255 if np.ptp(oracle.log_mel) > 1 else 0)
    oracle.check_image(image.astype(np.uint8), few=kind in ("noise", "quiet"))


@settings(max_examples=40)
@given(cfg=any_config(), n_samples=st.integers(1, 4000), kind=st.sampled_from(["noise", "tone"]))
def test_any_config(cfg: FeatureConfig, n_samples: int, kind: str) -> None:
    if cfg.n_frames(n_samples) == 0:
        n_samples = cfg.least_samples
    oracle = Oracle(signal(kind, n_samples, cfg.sr), cfg)
    (got,) = session_of(standalone(cfg, n_samples)).run(None, {"waveform": oracle.y[None]})
    oracle.check_log_mel(got[0, 0].T if cfg.time_major else got[0, 0])


@pytest.mark.parametrize("cfg", [TINY, TINY.replace(pad_mode="reflect"), TINY.replace(center=False)], ids=str)
def test_any_length_is_fitted_as_in_training(cfg: FeatureConfig) -> None:
    n_samples = 1000
    for n in (*range(1, 20), 255, 256, 333, 334, 499, 500, 501, 998, 999, 1000, 1001, 1999, 2000, 2001, 60 * cfg.sr):
        y = np.random.default_rng(n).standard_normal((2, n)).astype(np.float32)
        fitted = np.stack([fit_length(clip, n_samples) for clip in y])
        np.testing.assert_array_equal(run(y, cfg, n_samples), run(fitted, cfg, n_samples), err_msg=f"{n} samples")


@pytest.mark.parametrize("name", sorted(IN_DB))
def test_a_clip_in_a_batch_is_the_clip_alone(name: str) -> None:
    cfg = IN_DB[name]
    y = np.random.default_rng(0).standard_normal((5, cfg.sr)).astype(np.float32) * np.logspace(-4, 0, 5)[:, None]
    together = run(y, cfg)
    for i in range(5):
        np.testing.assert_allclose(together[i], run(y[i], cfg)[0], rtol=0, atol=BATCHED_DB)


def test_frames_are_static_and_features_are_named() -> None:
    for kind in ("logmel", "image"):
        model = onnx.shape_inference.infer_shapes(ir.to_proto(standalone(TINY, 8000, kind)), strict_mode=True)
        (output,) = model.graph.output
        assert output.name == FEATURES_NAME
        axes = [axis.dim_param or axis.dim_value for axis in output.type.tensor_type.shape.dim]
        assert axes == ["batch", 1, 16, 63]
    y = signal("noise", 8000, 8000)
    log_mel, image = session_of(standalone(TINY, 8000, "image"), LOG_MEL).run(
        [LOG_MEL, FEATURES_NAME], {"waveform": y[None]}
    )
    np.testing.assert_array_equal(log_mel[0], run(y, TINY)[0])
    assert image.max() == 255


@pytest.mark.parametrize(("n_fft", "kind"), [(2048, Factored), (400, Factored), (509, Dense), (1018, Factored)])
def test_the_split_follows_the_factors(n_fft: int, kind: type) -> None:
    made = transform(FeatureConfig(sr=16000, n_fft=n_fft, n_mels=20))
    assert isinstance(made, kind)
    constants = [x for x in vars(made).values() if isinstance(x, np.ndarray)]
    assert all(x.dtype == np.float32 for x in constants)
    if isinstance(made, Factored):
        assert made.window.size == n_fft


def test_bins_above_the_filters_cost_nothing() -> None:
    full, low = (transform(FeatureConfig(sr=44100, fmax=fmax)) for fmax in (None, 8300.0))
    assert isinstance(full, Factored)
    assert isinstance(low, Factored)
    assert len(low.mel) < 0.5 * len(full.mel)


def test_an_n_fft_that_takes_too_much_is_refused() -> None:
    with pytest.raises(CumelError, match=r"n_fft=65537: its transform .* takes \d+ MiB of constants, 64 at most"):
        transform(FeatureConfig(sr=44100, n_fft=65537))
    assert dft.MAX_BYTES == 64 << 20


def damaged(model: ir.Model, **factors: Any) -> ir.Model:
    """Scale the constants of the given sizes."""
    for value in model.graph.initializers.values():
        array = value.const_value.numpy()
        for shape, factor in factors.values():
            if array.shape == shape:
                value.const_value = ir.tensor((array * np.float32(factor)).astype(array.dtype), name=value.name)
    return model


@pytest.mark.parametrize("kind", ["quick", "baseline"])
def test_an_exports_check_sees_a_wrong_front_end(kind: str) -> None:
    recipe = tiny_recipe(kind)
    model = standalone(recipe.features, recipe.n_samples, recipe.kind)
    report = check_frontend(model, metadata(recipe, takes="waveform"))
    assert 0 < report["noise_db"] < NOISY_DB
    assert report["noise_db"] < report["tonal_db"] < TONAL_DB
    mel = transform(recipe.features).mel
    with pytest.raises(CumelError, match=r"front end: noise: up to \S+ dB off, \S+ times what float32 explains"):
        check_frontend(damaged(model, mel=(mel.shape, 1.0001)), metadata(recipe, takes="waveform"))


@pytest.mark.parametrize("name", ["whisper", "kaldi", "parakeet", "clvp", "pop2piano", "vggish"])
def test_the_check_of_features_in_other_units(name: str) -> None:
    """A network's clip is as if alone; with the wrong last step the check fails."""
    recipe = tiny_recipe().replace(features=PRESETS[name], seconds=0.7, augment="none")
    model = standalone(recipe.features, recipe.n_samples)
    report = check_frontend(model, metadata(recipe, takes="waveform"))
    assert report.keys() == {"noise", "tonal"}
    other = standalone(recipe.features.replace(mean=0.1), recipe.n_samples)
    with pytest.raises(CumelError, match=r"front end: noise: up to \S+ off, \S+ times what float32 explains"):
        check_frontend(other, metadata(recipe, takes="waveform"))


def test_an_exports_check_sees_a_wrong_stretch() -> None:
    recipe = tiny_recipe("baseline")
    model = standalone(recipe.features, recipe.n_samples, "image")
    for value in model.graph.initializers.values():
        if value.const_value.numpy().shape == () and value.const_value.numpy() == 255:
            value.const_value = ir.tensor(np.float32(240), name=value.name)
    with pytest.raises(CumelError, match=r"the image is not its decibels stretched over 0\.\.255"):
        check_frontend(model, metadata(recipe, takes="waveform"))
