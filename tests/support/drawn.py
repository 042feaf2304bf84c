"""Configs that hypothesis draws, of any sizes that make sense."""

from hypothesis import strategies as st

from cumel.kernels import FeatureConfig
from cumel.kernels.rules import WINDOWS


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


@st.composite
def any_config(draw: st.DrawFn) -> FeatureConfig:
    """Draw a config: any sizes, within which no mel filter is so narrow that it misses every bin."""
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
