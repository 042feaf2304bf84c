"""Real recordings for quantisation: some to measure ranges with, others to judge the result by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...esc50.audio import fit_length, load_all
from ...esc50.system import CORES
from ...esc50.training import Recipe
from ...kernels import CumelError, InputError

LEAST = 16  # recordings
MOST = 400  # evenly picked from more; ranges hardly grow beyond
HELD_OUT = 4  # one recording in so many judges, and is not measured


def calibration_clips(paths: Sequence[Path], recipe: Recipe) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read recordings, each fitted to the length of the model's clips.

    Returns
    -------
    measured, held_out : ndarray [n_clips, n_samples], float32

    Raises
    ------
    CumelError
        For fewer than LEAST recordings, and for one that cannot be read.
    """
    if len(paths) < LEAST:
        raise CumelError(f"calibration: {len(paths)} recordings; give {LEAST} or more of the kind that is to be heard")
    picked = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, min(len(paths), MOST)).astype(int))]
    clips = np.empty((len(picked), recipe.n_samples), np.float32)
    for i, loaded in enumerate(load_all(picked, recipe.features.sr, CORES)):
        if isinstance(loaded, InputError):
            raise CumelError(f"calibration: {loaded}")
        clips[i] = fit_length(loaded[0], recipe.n_samples)
    judges = np.arange(len(clips)) % HELD_OUT == HELD_OUT - 1
    return clips[~judges], clips[judges]
