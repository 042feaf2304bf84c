"""The constants that a config's kernels are compiled with, as common.cuh explains them."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from .config import FeatureConfig


class Stage(IntEnum):
    """Where the computation stops."""

    SPECTRUM = 0
    STRENGTH = 1
    MEL = 2
    DECIBEL = 3


class Form(IntEnum):
    """What a log-mel spectrogram becomes."""

    FLOAT = 0
    HALF = 1
    IMAGE = 2


REAL = ("PREEMPHASIS", "BIN_OFFSET", "MEL_OFFSET")  # The other constants are whole numbers.
NOTHING, OF_FRAME, OF_CLIP = range(3)  # values of PREEMPHASIS_OF
PER_NOTHING, PER_BAND, PER_CLIP = range(3)  # values of NORMALIZE
DEFAULTS: dict[str, float] = {
    "INT16": 0,
    "PREEMPHASIS": 0.0,
    "PREEMPHASIS_OF": NOTHING,
    "DROPPED": 0,
    "REMOVE_DC": 0,
    "SYMMETRIC": 0,
    "STAGE": Stage.MEL,
    "FORM": Form.FLOAT,
    "MAGNITUDE": 0,
    "BIN_OFFSET": 0.0,
    "MEL_OFFSET": 0.0,
    "LOG": 1,
}


def of_samples(cfg: FeatureConfig, *, int16: bool) -> dict[str, float]:
    """Return the constants of what is done to samples."""
    of = OF_FRAME if cfg.preemphasis_of == "frame" else OF_CLIP
    return {
        "INT16": int16,
        "PREEMPHASIS": cfg.preemphasis,
        "PREEMPHASIS_OF": of if cfg.preemphasis else NOTHING,
        "DROPPED": cfg.n_dropped,
        "REMOVE_DC": cfg.remove_dc,
        "SYMMETRIC": cfg.pad_mode == "symmetric",
    }


def of_values(cfg: FeatureConfig, stage: Stage, form: Form) -> dict[str, float]:
    """Return the constants of what is done to a spectrum, as far as the stage."""
    values: dict[str, float] = {"STAGE": stage, "FORM": form}
    if stage >= Stage.STRENGTH:
        values |= {"MAGNITUDE": cfg.power == 1, "BIN_OFFSET": cfg.bin_offset}
    return values | of_levels(cfg) if stage >= Stage.DECIBEL else values


def of_levels(cfg: FeatureConfig) -> dict[str, float]:
    """Return the constants of what becomes of mel values."""
    levels = cfg.levels
    return {"MEL_OFFSET": levels.offset, "LOG": levels.log}


def of_statistics(cfg: FeatureConfig, form: Form) -> dict[str, float]:
    """Return the constants of what follows a clip's levels."""
    by = cfg.normalize
    return {
        "STAGE": Stage.DECIBEL,
        "FORM": form,
        "DROPPED": cfg.n_dropped,
        "NORMALIZE": PER_NOTHING if by is None else PER_BAND if by.per == "band" else PER_CLIP,
        "VARIANCE": by is not None and by.variance,
    }


def literals(given: dict[str, float]) -> dict[str, str]:
    """Return `DEFAULTS` and what is given besides or instead, as CUDA C++ has such numbers."""
    return {
        name: f"{float(np.float32(value))!r}f" if name in REAL else str(int(value))
        for name, value in (DEFAULTS | given).items()
    }
