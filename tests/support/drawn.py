"""Configs that hypothesis draws, of any sizes that make sense."""

import warnings
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cumel.kernels import FeatureConfig
from cumel.kernels.filterbank import mel_matrix
from cumel.kernels.rules import WINDOWS, Normalize


def free_fields(n_fft: int, n_mels: int) -> st.SearchStrategy[dict]:
    """Draw the fields of a config that no kernel is compiled for."""
    return st.fixed_dictionaries(
        {
            "hop_length": st.integers(max(1, n_fft // 16), 2 * n_fft),
            "win_length": st.none() | st.integers(1, n_fft),
            "window": st.sampled_from(sorted(set(WINDOWS) - {"povey"})),
            "center": st.booleans(),
            "pad_mode": st.sampled_from(["constant", "reflect"]),
            "norm": st.sampled_from(["slaney", None, 0.5, 1, 2, "inf"]),
            "ref": st.just(1.0) | st.floats(1e-3, 1e3),
            "amin": st.sampled_from([1e-10, 1e-5, 10.0]),
            "top_db": st.none() | st.floats(0, 120),
            "n_mfcc": st.integers(1, n_mels),
            "lifter": st.just(0.0) | st.floats(1, 40),
        }
    )


NORMALIZE = st.none() | st.builds(
    Normalize,
    per=st.sampled_from(["band", "clip"]),
    variance=st.booleans(),
    ddof=st.integers(0, 1),
    eps=st.sampled_from([0.0, 1e-7, 1e-3]),
    eps_in=st.sampled_from(["std", "var"]),
)


def _fields_beyond_librosa(n_fft: int, n_mels: int) -> dict[str, st.SearchStrategy[Any]]:
    """Draw what pretrained models do and librosa does not."""
    each = np.linspace(1.0, 3.0, n_mels)
    return {
        "scale": st.sampled_from([1.0, 32768.0]),
        "remove_dc": st.booleans(),
        "preemphasis": st.sampled_from([0.0, 0.5, 0.97, 1.0]),
        "preemphasis_of": st.sampled_from(["frame", "clip", "valid"]),
        "window": st.sampled_from(sorted(WINDOWS)),
        "periodic": st.booleans(),
        "align": st.sampled_from(["center", "left"]),
        "padding": st.none() | st.tuples(st.integers(0, 2 * n_fft), st.integers(-n_fft, 2 * n_fft)),
        "pad_mode": st.sampled_from(["constant", "reflect", "symmetric"]),
        "bin_offset": st.sampled_from([0.0, 1e-9]),
        "triangles": st.sampled_from(["hz", "mel", "left"]),
        "offset": st.sampled_from([0.0, 2.0**-24, 1e-2]),
        "log": st.sampled_from(["db", "ln", "log10", None]),
        "normalize": NORMALIZE,
        "mean": st.sampled_from([0.0, -4.0, tuple(each - 2.0)]),
        "std": st.sampled_from([1.0, 5.0, tuple(each)]),
        "time_major": st.booleans(),
        "lifter_from": st.integers(0, 1),
    }


@st.composite
def librosa_config(draw: st.DrawFn) -> FeatureConfig:
    """Draw a config that librosa can express: any sizes, in which every mel filter is wide enough to have a bin."""
    n_fft = draw(st.integers(16, 1100))
    sr = draw(st.integers(8000, 48000))
    n_mels = draw(st.integers(1, max(1, min(40, n_fft // 16))))
    return FeatureConfig(
        sr=sr,
        n_fft=n_fft,
        power=draw(st.sampled_from([1, 2.0])),
        n_mels=n_mels,
        fmin=draw(st.floats(0, 0.1 * sr)),
        fmax=draw(st.none() | st.floats(0.4 * sr, 0.5 * sr)),
        htk=draw(st.booleans()),
        **draw(free_fields(n_fft, n_mels)),
    )


@st.composite
def any_config(draw: st.DrawFn) -> FeatureConfig:
    """Draw a config of which any fields go beyond librosa; no mel filter misses all bins."""
    cfg = draw(librosa_config())
    further = _fields_beyond_librosa(cfg.n_fft, cfg.n_mels)
    names = draw(st.sets(st.sampled_from(sorted(further))))  # Often many fields, and often few, keep their defaults.
    changes = {name: draw(further[name]) for name in sorted(names)}
    if changes.get("padding") is not None:
        changes["center"] = True
    if changes.get("log", "db") != "db":
        changes["ref"] = 1.0
    if changes.get("offset") and draw(st.booleans()):
        changes["amin"] = 0.0
    cfg = cfg.replace(**changes)
    with warnings.catch_warnings(record=True) as empty:
        warnings.simplefilter("always")
        mel_matrix.__wrapped__(cfg)
    return cfg.replace(triangles="hz") if empty else cfg
