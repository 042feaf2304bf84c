"""What the message about a dtype says to do gives the right numbers; config and layer take any library's values."""

import enum
import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import librosa
import numpy as np
import pytest
import torch

from cumel.kernels import CumelError, FeatureConfig, LogMel, log_mel, melspectrogram
from cumel.kernels.rules import REAL, WHOLE

from support.signals import SMALL, librosa_mel

CLIP = np.clip(0.2 * np.random.default_rng(0).standard_normal(5000), -0.99, 0.99)
FULL_DB = 1e-3  # 24 bits and more; 1e-4
COARSE_DB = {8: 1.0, 16: 0.01}  # the cost of rounding to so many bits; 0.36, 0.002


def whole(bits: int, dtype: str, *, middle: bool = False) -> np.ndarray:
    """Return the clip as integers, at full scale of so many bits."""
    return np.round((CLIP + middle) * 2.0 ** (bits - 1)).astype(dtype)


NUMBERS = (np.int64, np.float32, float, Fraction, Decimal, torch.tensor, np.array)
ARRAYS: dict[str, tuple[np.ndarray, float]] = {
    "int8": (whole(8, "i1"), COARSE_DB[8]),
    "uint8": (whole(8, "u1", middle=True), COARSE_DB[8]),
    "uint16": (whole(16, "u2", middle=True), COARSE_DB[16]),
    "uint32": (whole(32, "u4", middle=True), FULL_DB),
    "int32": (whole(32, "i4"), FULL_DB),
    "24 bits in int32": (whole(24, "i4") * 256, FULL_DB),
    "int64": (whole(64, "i8"), FULL_DB),
    "32 bits in int64": (whole(32, "i8"), FULL_DB),
    "16 bits in int32": (whole(16, "i4"), COARSE_DB[16]),
    "16 bits in int64": (whole(16, "i8"), COARSE_DB[16]),
    "float16": (CLIP.astype("f2"), 0.1),
    "float64": (CLIP, FULL_DB),
    "longdouble": (CLIP.astype("g"), FULL_DB),
    "complex64": (CLIP.astype("c8"), FULL_DB),
    "complex128": (CLIP + 0j, FULL_DB),
    "big-endian float32": (CLIP.astype(">f4"), FULL_DB),
    "big-endian float64": (CLIP.astype(">f8"), FULL_DB),
    "big-endian int16": (whole(16, ">i2"), COARSE_DB[16]),
    "big-endian int32": (whole(32, ">i4"), FULL_DB),
    "big-endian uint16": (whole(16, ">u2", middle=True), COARSE_DB[16]),
}


def followed(y: Any) -> np.ndarray:
    """Do what the message says."""
    with pytest.raises(CumelError) as caught:
        log_mel(y, SMALL)
    expression = re.search(r"or int16 \((.+) (?:converts|takes)", str(caught.value))
    assert expression, str(caught.value)
    return np.asarray(log_mel(eval(expression[1], {"y": y, "torch": torch}), SMALL))


@pytest.mark.parametrize("name", ARRAYS)
def test_the_remedy_of_a_dtype_gives_the_right_numbers(name: str) -> None:
    y, tolerance = ARRAYS[name]
    expected = librosa.power_to_db(librosa_mel(CLIP, SMALL))
    assert np.abs(followed(y) - expected).max() <= tolerance
    if y.dtype.isnative and y.dtype != np.longdouble:
        assert np.abs(followed(torch.from_numpy(y)) - expected).max() <= tolerance


def test_bfloat16_has_its_remedy() -> None:
    y = torch.from_numpy(CLIP).bfloat16()
    np.testing.assert_array_equal(followed(y), log_mel(y.float().numpy(), SMALL))


class Window(str, enum.Enum):  # noqa: UP042
    HANN = "hann"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *(("sr", kind(16000), 16000) for kind in NUMBERS),
        *(("n_fft", value, 512) for value in (np.uint16(512), 512.0, np.array([512]), torch.tensor([512.0]))),
        *(("win_length", value, 400) for value in (400.0, np.int32(400))),
        *(("fmin", value, 20.0) for value in (20, np.float32(20), np.int8(20), torch.tensor(20.0))),
        *(("window", value, "hann") for value in (np.str_("hann"), Window.HANN, np.array("hann"))),
        *(("center", value, False) for value in (np.False_, torch.tensor(False))),
        *(("norm", value, 1.0) for value in (1, np.float64(1))),
        *(("norm", value, math.inf) for value in (np.str_("inf"), np.float32("inf"))),
        *(("power", value, 1.0) for value in (1, np.int64(1))),
        *(("top_db", value, 60.0) for value in (60, np.float16(60), np.array(60))),
    ],
)
def test_values_of_any_library_become_pythons_own(name: str, value: Any, expected: Any) -> None:
    cfg = FeatureConfig(**{name: value})
    found = getattr(cfg, name)
    assert found == expected
    assert type(found) is type(expected)
    assert FeatureConfig.from_json(cfg.to_json()) == cfg == FeatureConfig(**{name: expected})


@pytest.mark.parametrize("name", WHOLE + REAL)
@pytest.mark.parametrize("value", [True, np.True_, 10**400, -math.inf, math.nan, "many", np.zeros(2), 1j])
def test_values_that_are_none_are_one_short_line(name: str, value: Any) -> None:
    with pytest.raises(CumelError) as caught:
        FeatureConfig(**{name: value})
    assert str(caught.value).startswith(f"{name}=")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("ref", [np.max, max, "max", np.median, np.mean])
@pytest.mark.parametrize("power", [1, 2])
def test_the_message_about_ref_gives_librosas_numbers(ref: Any, power: int) -> None:
    with pytest.raises(CumelError, match=r"^ref=") as caught:
        FeatureConfig(ref=ref)
    cfg, y = SMALL.replace(power=power), CLIP.astype(np.float32)
    expression = re.search(r"take (.+?)(?: of each clip's (db) = (.+)| per clip)$", str(caught.value))
    assert expression
    names: dict[str, Any] = {"np": np, "y": y, "cfg": cfg, "log_mel": log_mel, "melspectrogram": melspectrogram}
    if expression[2]:
        names["db"] = eval(expression[3], names)
    function = np.max if isinstance(ref, str) or ref is max else ref
    convert = librosa.power_to_db if power == 2 else librosa.amplitude_to_db
    expected = convert(librosa_mel(CLIP, cfg), ref=function, amin=cfg.least)
    np.testing.assert_allclose(eval(expression[1], names), expected, rtol=0, atol=FULL_DB)


def test_the_layer_takes_what_the_function_takes() -> None:
    layer, y = LogMel(SMALL), CLIP.astype(np.float32)
    batch, lengths = np.stack([y, y[::-1]]), [5000, 3000]
    for given in (y, batch, (y * 32768).astype(np.int16), batch[None], batch[:, ::-1]):
        found = layer(given)
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, log_mel(given, SMALL))
    tensor = torch.from_numpy(batch)
    expected = log_mel(tensor, SMALL, lengths)
    for sizes in (
        lengths,
        tuple(lengths),
        np.array(lengths, ">i4"),
        torch.tensor(lengths),
        np.array(lengths, np.uint16),
    ):
        assert torch.equal(layer(tensor, sizes), expected)
    np.testing.assert_array_equal(layer(y, [2000, 3000]), log_mel(y, SMALL, [2000, 3000]))
    assert torch.equal(layer(torch.from_numpy(y), [2000, 3000]), log_mel(torch.from_numpy(y), SMALL, [2000, 3000]))
    for wrong in ([5000], [5000.0, 3000.0], ["a", "b"], [True, True]):
        with pytest.raises(CumelError, match=r"^lengths"):
            layer(tensor, wrong)


@pytest.mark.parametrize("cfg", [["esc50"], {"sr": 16000}, 16000, None])
def test_another_thing_than_a_config_is_named(cfg: Any) -> None:
    with pytest.raises(CumelError, match=r"^cfg: expected a FeatureConfig"):
        log_mel(CLIP.astype(np.float32), cfg)
    with pytest.raises(CumelError, match=r"^cfg: expected a FeatureConfig"):
        LogMel(cfg)
    with pytest.raises(CumelError, match=r"^dtype=half a float: must be float32 or float16"):
        log_mel(CLIP.astype(np.float32), SMALL, dtype="half a float")
