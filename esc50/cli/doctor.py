"""Is this machine ready? A line for each thing that could be wrong, and what to do about it."""

from __future__ import annotations

import platform
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from . import show
from .options import AsJson

PACKAGES = (
    "cumel", "numpy", "torch", "torchaudio", "cupy-cuda13x", "cupy-cuda12x", "onnx", "onnxruntime-gpu", "onnxruntime",
    "librosa", "soundfile", "soxr", "pyarrow",
)  # fmt: skip
IMPORTED = ("torch", "torchaudio", "soundfile", "soxr", "pyarrow")  # those with libraries that may not load
FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF")


def doctor(
    as_json: AsJson = False,
    require_gpu: Annotated[bool, typer.Option("--require-gpu", help="Exit with code 3 when no GPU is ready.")] = False,
) -> None:
    """Say what this machine has, what it lacks, and what to do about it."""
    report = examine()
    show.diagnosis(report, as_json)
    raise typer.Exit(3 if not report["healthy"] or (require_gpu and not report["gpu"]) else 0)


def examine() -> dict[str, Any]:
    """Look at the packages, the CPU, the GPU, ONNX Runtime's providers, memory and disks.

    Returns
    -------
    dict
        ``checks``, a list of name, state (ok, missing or bad) and text; ``gpu`` and ``healthy``, two truths; and what
        programs read: ``versions`` of packages, ``extras`` with whether each is complete, ``cpu_path``, ``formats``,
        ``providers`` of ONNX Runtime, ``cores``, ``memory`` and ``disk``.
    """
    from .doctor_gpu import examine_gpu
    from .doctor_machine import examine_machine
    from .doctor_onnx import examine_onnx
    from .extras import PACKAGE, examine_extras, installed

    versions = {name: number for name in PACKAGES if (number := installed(name)) is not None}
    modules = {name: _module(name) for name in IMPORTED if name in versions}
    packages = [("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    packages += [_package(name, number, modules.get(name)) for name, number in versions.items()]
    extras, path, gpu = examine_extras(), _cpu_path(), examine_gpu(_usable(modules.get("torch")))
    soundfile = _usable(modules.get("soundfile"))
    onnx, providers = examine_onnx(versions)
    machine, sizes = examine_machine()
    checks = [*packages, *extras, path, *_sound(soundfile), *gpu, *onnx, *machine]
    return {
        "checks": [dict(zip(("name", "state", "text"), check, strict=True)) for check in checks],
        "gpu": any(name.startswith("cuda:") and state == "ok" for name, state, _ in gpu),
        "healthy": all(state != "bad" for _, state, _ in checks),
        "versions": {"python": platform.python_version(), **versions},
        "extras": {name.removeprefix(f"{PACKAGE}[").removesuffix("]"): state == "ok" for name, state, _ in extras},
        "cpu_path": path[2],
        "formats": [] if soundfile is None else sorted(soundfile.available_formats()),
        "providers": providers,
        **sizes,
    }


def _module(name: str) -> Any:
    """Import a package; returns what it raised where it cannot be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(name)
    except Exception as error:  # a library that does not load is an OSError, a wrong version may raise anything
        return error


def _usable(module: Any) -> Any:
    return None if isinstance(module, Exception) else module


def _package(name: str, number: str, module: Any) -> tuple[str, str, str]:
    """Say which version a package has, or that it is broken."""
    if not isinstance(module, Exception):
        return name, "ok", number
    what = "torch and torchaudio anew, both from one index" if name == "torchaudio" else "it anew"
    return name, "bad", f"{number} cannot be imported ({' '.join(str(module).split())}): install {what}"


def _cpu_path() -> tuple[str, str, str]:
    """Name what computes features on the CPU."""
    from ...kernels import native

    if native.available():
        return "CPU path", "ok", f"compiled, with {native.target()} instructions"
    instead = "torch" if find_spec("torch") else "NumPy"
    return "CPU path", "missing", f"{instead}, at about a third of the speed: {native.reason()}"


def _sound(soundfile: Any) -> list[tuple[str, str, str]]:
    """Say which formats are read."""
    if soundfile is None:
        return [("audio formats", "missing", "no recording can be read: pip install 'cumel[audio]'")]
    from ..audio import ffmpeg

    known, library = soundfile.available_formats(), f"libsndfile {soundfile.__libsndfile_version__}"
    if lacking := [name for name in FORMATS if name not in known]:
        read = ("audio formats", "missing", f"{library} cannot read {', '.join(lacking)}; upgrade soundfile")
    else:
        read = ("audio formats", "ok", f"{library}: {', '.join(FORMATS)} and {len(known) - len(FORMATS)} more")
    if program := ffmpeg():
        return [read, ("ffmpeg", "ok", program)]
    text = "not installed: M4A, AAC and the sound of videos cannot be read; install the program ffmpeg"
    return [read, ("ffmpeg", "missing", text)]
