"""Front ends as others compute them, beside ours: what `cumel verify --against` compares."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import CumelError, FeatureConfig, need
from . import kaldi
from .extractors import of_extractor
from .files import config, found
from .wrapping import wrap

Results = dict[str, NDArray[Any]]  # by the names that the original gives them; features are the first


class Original(NamedTuple):
    """A front end twice: by the package that models were trained with, and by ours."""

    name: str
    cfg: FeatureConfig
    theirs: Callable[[NDArray[np.float32]], Results]
    ours: Callable[[NDArray[np.float32]], Results]


def original(what: str | PathLike[str], cfg: FeatureConfig | None = None) -> Original:
    """Return the original that a name or a file means.

    Parameters
    ----------
    what : path, or "kaldi"
        A ``preprocessor_config.json``, which transformers computes; or "kaldi", which torchaudio does.
    cfg : FeatureConfig, optional
        The front end to compare with Kaldi's; absent: Kaldi's 80 bands.

    Raises
    ------
    CumelError
        For a file that `config` refuses, and for a front end that Kaldi's functions do not have.
    MissingExtraError
        Without the package.
    """
    return _torchaudios(cfg) if what == "kaldi" else _transformers(Path(what))


def _transformers(path: Path) -> Original:
    file = found(path)
    cfg = config(file)
    if file.suffix != ".json":
        raise CumelError(f"{file}: only a preprocessor_config.json names a class that computes it")
    values = of_extractor(json.loads(file.read_text(encoding="utf-8")))
    package = need("transformers", __name__)
    theirs = getattr(package, values["feature_extractor_type"]).from_dict(values)
    ours = wrap(theirs)

    def of(extractor: Any) -> Callable[[NDArray[np.float32]], Results]:
        names = signature(extractor.__call__).parameters
        rated = {"sampling_rate": cfg.sr} if "sampling_rate" in names else {}
        clip = "audio_target" if "audio_target" in names else next(iter(names))

        def compute(y: NDArray[np.float32]) -> Results:
            called = extractor(**{clip: y}, **rated)  # lists, arrays or tensors, as no kind is asked for
            return {name: np.asarray(value) for name, value in called.items() if not np.isscalar(value)}

        return compute

    name = f"transformers {version('transformers')}, {type(theirs).__name__}"
    return Original(name, cfg, of(theirs), of(ours))


def _torchaudios(cfg: FeatureConfig | None) -> Original:
    cfg = kaldi.fbank_config(num_mel_bins=80) if cfg is None else cfg
    arguments = kaldi.arguments(cfg)
    theirs, torch = need("torchaudio.compliance.kaldi", __name__), need("torch", __name__)

    def compute(fbank: Callable[..., Any], y: NDArray[np.float32]) -> Results:
        return {"fbank": fbank(torch.from_numpy(y * np.float32(cfg.scale))[None], **arguments).numpy()}

    name = f"torchaudio {version('torchaudio')}, compliance.kaldi.fbank"
    return Original(name, cfg, lambda y: compute(theirs.fbank, y), lambda y: compute(kaldi.fbank, y))
