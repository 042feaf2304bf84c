"""Recordings of any rate, length, channel count and format to labels with probabilities, through an exported model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..esc50 import audio
from ..esc50.cores import CORES
from ..esc50.dataset import FEATURES
from ..esc50.progress import bar
from ..esc50.recipes import Recipe
from ..kernels import CumelError, FeatureConfig, InputError
from .metadata import Metadata
from .session import Session

BATCH = 16  # files that are held and classified at once
# Samples that, with a second more, go to the resampler beyond those that the model hears. Its filter reaches less far,
# so what comes out is bit-identical to resampling the whole file, which may last hours.
REACH = 1000


@dataclass(frozen=True)
class Model:
    """An exported model, ready to classify."""

    path: Path
    session: Session
    metadata: Metadata

    @property
    def recipe(self) -> Recipe:
        """How its features are made."""
        return self.metadata.recipe

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its classes."""
        return self.metadata.labels


@dataclass(frozen=True)
class _Clip:
    """One recording, fitted to the model."""

    y: audio.Samples
    seconds: float  # of the file
    sr: int  # of the file, in Hz


def load_model(path: Path | str, *, provider: str = "auto", require_gpu: bool = False) -> Model:
    """Load a model that `export` wrote, with the configuration that it carries.

    Parameters
    ----------
    path : path
    provider, require_gpu
        As for `Session`.

    Raises
    ------
    CumelError
        When the file is missing, damaged, not ours, or its metadata does not fit its graph.
    UnavailableError
        When CUDA is demanded and cannot be had.
    """
    session = Session(path, provider, require_gpu)
    try:
        metadata = Metadata.from_props(session.metadata)
        expected = (metadata.input, [*metadata.recipe.input_shape], [len(metadata.labels)])
        found = (session.input.name, session.input.shape[1:], session.output.shape[1:])
        if found != expected:
            raise CumelError(f"metadata: tells of input, shape and output {expected}, the graph has {found}")
    except CumelError as error:
        raise CumelError(f"{path}: not a usable model: {error}; `cumel export` writes one") from None
    return Model(Path(path), session, metadata)


def predict(
    model: Model, paths: Sequence[Path | str], *, top: int = 5, cfg: FeatureConfig | None = None
) -> dict[str, Any]:
    """Classify recordings; one that cannot be classified gets its reason, and the others go on.

    Each is decoded, mixed down, resampled to the model's rate, and cut or mirrored to its length, as in training.

    Parameters
    ----------
    model : Model
    paths : sequence of path
    top : int
        Labels per file, the most probable first; at most all of them.
    cfg : FeatureConfig, optional
        Features that the caller expects the model to have.

    Returns
    -------
    dict
        ``model``, ``provider`` (asked for, used, why), ``failed`` (a count), and ``results``: for each file, in order,
        ``file``, its ``seconds`` and ``sr``, ``top`` (a list of ``label`` and ``probability``), and ``error``, a text
        or None.

    Raises
    ------
    CumelError
        For `top` below 1, and when `cfg` is not what the model was trained on.
    """
    if top < 1:
        raise CumelError(f"top={top}: must be 1 or more")
    differing = [] if cfg is None else model.recipe.features.differences(cfg)
    if differing:
        raise CumelError(f"{model.path}: was trained on {'; '.join(differing)}; leave the feature options out")
    results: list[dict[str, Any]] = []
    progress = bar("classify", len(paths), "files") if len(paths) > BATCH else nullcontext(lambda _: None)
    with progress as advance, ThreadPoolExecutor(CORES) as pool:
        for start in range(0, len(paths), BATCH):
            files = [Path(path) for path in paths[start : start + BATCH]]
            results += _classify(model, files, list(pool.map(partial(_read, recipe=model.recipe), files)), top)
            advance(len(files))
    failed = sum(result["error"] is not None for result in results)
    return {"model": str(model.path), "provider": model.session.report(), "results": results, "failed": failed}


def _read(path: Path, recipe: Recipe) -> _Clip | InputError:
    """Decode and fit one recording, or say why it cannot be classified."""
    cfg = recipe.features
    try:
        y, sr = audio.load(path)
        seconds = len(y) / sr
        if sr != cfg.sr:
            needed = math.ceil(recipe.n_samples * sr / cfg.sr)
            y = audio.resample(y[: needed + sr + REACH], sr, cfg.sr)
        if len(y) < cfg.n_fft:
            raise InputError(
                f"{path}: {len(y)} samples ({1000 * len(y) / cfg.sr:.1f} ms) at {cfg.sr} Hz is less than one window of "
                f"{cfg.n_fft} samples; give at least {1000 * cfg.n_fft / cfg.sr:.1f} ms"
            )
        whole = len(y) <= recipe.n_samples
        y = audio.fit_length(y, recipe.n_samples)
        if not y.any():
            where = "" if whole else f" of the first {recipe.seconds:g} s, which is what the model hears,"
            raise InputError(f"{path}: every sample{where} is zero: there is nothing to classify")
        return _Clip(y, seconds, sr)
    except InputError as error:
        return error


def _classify(model: Model, files: list[Path], clips: list[_Clip | InputError], top: int) -> list[dict[str, Any]]:
    """Run one batch through the model; returns a result per file, in order."""
    recipe, images = model.recipe, {}
    for place, (path, clip) in enumerate(zip(files, clips, strict=True)):
        if isinstance(clip, _Clip):
            try:
                images[place] = FEATURES[recipe.kind](clip.y[None], recipe.features)
            except InputError:  # the one thing that decoding cannot see
                clips[place] = InputError(f"{path}: so loud that its spectrum overflows float32; scale it to -1..1")
    scores = {}
    if images:
        scores = dict(zip(images, model.session.run(np.stack([*images.values()]).astype(np.float32)), strict=True))
    results = []
    for place, (path, clip) in enumerate(zip(files, clips, strict=True)):
        result: dict[str, Any] = {"file": str(path), "seconds": None, "sr": None, "top": [], "error": None}
        if isinstance(clip, InputError):
            results.append(result | {"error": str(clip)})
            continue
        best = np.argsort(-scores[place], kind="stable")[:top]
        ranked = [{"label": model.labels[i], "probability": float(scores[place][i])} for i in best]
        results.append(result | {"seconds": clip.seconds, "sr": clip.sr, "top": ranked})
    return results
