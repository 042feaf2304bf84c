"""Configuration files of pretrained models -> `FeatureConfig`. Nothing is downloaded, no model's name looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ..kernels import CumelError, FeatureConfig
from . import conf, extractors, nemo

NAMES = ("preprocessor_config.json", "processor_config.json", "model_config.yaml", "fbank.conf", "conf/fbank.conf")


def config(path: str | PathLike[str]) -> FeatureConfig:
    """Read the front end that a pretrained model's files describe.

    Parameters
    ----------
    path : path
        A Hugging Face ``preprocessor_config.json`` (or ``processor_config.json``), read by its class and its numbers; a
        NeMo ``model_config.yaml``; Kaldi's ``fbank.conf``; or a folder with one of them.

    Returns
    -------
    FeatureConfig
        The front end alone. What lies around it, such as padding to 30 s or stacked frames, is left to `wrap`.

    Raises
    ------
    CumelError
        For a file that is absent or malformed, a class that is not known, numbers that contradict each other, and for
        dither, energy and VTLN.

    Examples
    --------
    >>> import json, tempfile
    >>> from cumel import PRESETS
    >>> with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    ...     json.dump({"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128}, file)
    ...     file.flush()
    ...     config(file.name) == PRESETS["whisper128"]
    True
    """
    file = found(Path(path))
    readers: dict[str, Callable[[str], FeatureConfig]] = {
        ".json": lambda text: extractors.config_of(_object(text)),
        ".yaml": nemo.config_of,
        ".yml": nemo.config_of,
        ".conf": conf.config_of,
    }
    if file.suffix not in readers:
        raise CumelError(f"{file}: must end in {', '.join(readers)}, as {', '.join(NAMES[:4])} do")
    try:
        return readers[file.suffix](file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise CumelError(f"{file}: is no text in UTF-8") from None
    except CumelError as error:
        raise CumelError(f"{file}: {error}") from None
    except OSError as error:
        raise CumelError(f"{file}: cannot be read ({error.strerror})") from None


def found(path: Path) -> Path:
    """Return the file itself, or the first of NAMES in a folder."""
    if not path.is_dir():
        if not path.exists():
            raise CumelError(f"{path}: there is no such file")
        return path
    for name in NAMES:
        if (path / name).is_file():
            return path / name
    raise CumelError(f"{path}: the folder has none of {', '.join(NAMES)}")


def _object(text: str) -> Mapping[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CumelError(f"not JSON ({error})") from None
    if not isinstance(values, dict):
        raise CumelError(f"expected an object of named values, got {type(values).__name__}")
    return values
