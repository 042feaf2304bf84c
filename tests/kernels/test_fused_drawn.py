"""The CUDA path, on the emulator, for drawn configs and batches: each clip within the tolerances of `signals`."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cumel.kernels import FeatureConfig
from cumel.kernels.plan import RADICES

from simt.emulator import compile_many
from support.drawn import any_config, free_fields, librosa_config
from support.emulation import FEATURES, PLANS, Emulated, kernels, together
from support.pairwise import running
from support.signals import CONFIGS, SMALL, Oracle

DRAWN = [feature for feature in FEATURES if feature != "half"]
# Mel filters decide what is compiled: one that reads all bins, groups that are not full, and few of the bins.
ODD_MELS = [
    SMALL.replace(n_mels=1, n_mfcc=1),
    SMALL.replace(n_fft=400, n_mels=11, fmax=4000.0),
    SMALL.replace(n_fft=256, n_mels=5, fmin=200.0, fmax=1700.0, power=1),
    SMALL.replace(n_fft=4096, n_mels=33, fmin=300.0, fmax=3000.0, power=1),
]
Planned = list[tuple[FeatureConfig, bool]]  # configs, and whether samples are int16
PLANNED: Planned = [(cfg, False) for cfg in CONFIGS.values() if cfg.n_fft in RADICES] + [(CONFIGS["esc50"], True)]
ODD: Planned = [(cfg, False) for cfg in ODD_MELS]
emulated = Emulated()


@pytest.fixture(scope="module", autouse=True)
def compiled(request: pytest.FixtureRequest) -> None:
    """Use all processors, once."""
    planned = [one for configs in running(request, "configs") for one in configs]
    every = {kernel for cfg, int16 in planned for kernel in kernels(cfg, DRAWN, int16=int16)}
    around_cufft = [
        (CONFIGS["odd"].replace(power=power), int16) for power, int16 in ((1, False), (2, False), (2, True))
    ]
    compile_many(every | {kernel for cfg, int16 in around_cufft for kernel in kernels(cfg, DRAWN, int16=int16)})


def check_batch(cfg: FeatureConfig, data: st.DataObject, *, int16: bool) -> None:
    """Draw one to three clips, compute every feature of them together, and check each clip's."""
    shortest = cfg.least_samples
    lengths = st.lists(st.integers(shortest, shortest + 3 * cfg.n_fft), min_size=1, max_size=3)
    lengths = data.draw(lengths, "lengths")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))
    clips = [(0.3 * rng.standard_normal(n)).astype(np.float32) for n in lengths]
    if int16:
        clips = [(clip * 10000).astype(np.int16) for clip in clips]
    batch, lengths = together(clips, packed=data.draw(st.booleans(), "packed"))
    cfg = cfg.replace(time_major=False)  # The kernels know one layout.
    features = {feature: emulated(feature, batch, cfg, lengths) for feature in DRAWN}
    for i, clip in enumerate(clips):
        n_frames = cfg.n_frames(len(clip))
        Oracle(clip, cfg).check_all(lambda feature: features[feature][i, :, :n_frames])  # noqa: B023


@settings(max_examples=100)
@given(librosa_config(), st.data())
def test_any_config(cfg: FeatureConfig, data: st.DataObject) -> None:
    check_batch(cfg, data, int16=cfg.power == 2 and data.draw(st.booleans(), "int16"))


@pytest.mark.parametrize("configs", [[]], ids=["none is compiled ahead"])
@settings(max_examples=5)  # Nearly each has kernels of its own.
@given(any_config(), st.data())
def test_any_config_beyond_librosa(configs: Planned, cfg: FeatureConfig, data: st.DataObject) -> None:
    assert not configs
    check_batch(cfg, data, int16=data.draw(st.booleans(), "int16"))


@pytest.mark.parametrize(
    "configs", [PLANNED, pytest.param(ODD, marks=pytest.mark.exhaustive)], ids=["usual", "odd mels"]
)
@settings(max_examples=100)
@given(st.data())
def test_any_config_with_a_plan(configs: Planned, data: st.DataObject) -> None:
    cfg, int16 = data.draw(st.sampled_from(configs), "config")
    cfg = cfg.replace(**data.draw(free_fields(cfg.n_fft, cfg.n_mels), "free fields"))
    check_batch(cfg, data, int16=int16)


def test_every_plan_may_be_drawn() -> None:
    assert {cfg.n_fft for cfg, _ in PLANNED} == {*RADICES} == {n_fft for n_fft in PLANS.values() if n_fft}
