"""Is this machine ready? A line for each thing that could be wrong, and what to do about it."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from ...kernels import native
from ...kernels.cores import limited
from ..system import CORES
from . import show
from .options import AsJson

PACKAGES = (
    "cumel", "numpy", "torch", "torchaudio", "cupy-cuda13x", "cupy-cuda12x", "onnx", "onnxruntime-gpu", "onnxruntime",
    "librosa", "soundfile", "soxr", "pyarrow",
)  # fmt: skip


def doctor(
    as_json: AsJson = False,
    require_gpu: Annotated[bool, typer.Option("--require-gpu", help="Exit with code 3 when no GPU is ready.")] = False,
) -> None:
    """Say what this machine has, what it lacks, and what to do about it."""
    report = examine()
    show.diagnosis(report, as_json)
    raise typer.Exit(3 if not report["healthy"] or (require_gpu and not report["gpu"]) else 0)


def examine() -> dict[str, Any]:
    """Look at the packages, the CPU and the GPU.

    Returns
    -------
    dict
        ``checks``, a list of name, state (ok, note or bad) and text; ``gpu`` and ``healthy``, two truths.
    """
    from .extras import examine_extras, installed

    versions = {name: number for name in PACKAGES if (number := installed(name)) is not None}
    checks = [_check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    checks += [_check(name, "ok", number) for name, number in versions.items()]
    checks += [_check(*check) for check in examine_extras()]
    checks += _clash(versions)
    checks.append(_cpu_path())
    checks += _sound() if "soundfile" in versions else []
    gpu = _gpu() if "torch" in versions else []
    checks += gpu
    checks.append(_check("cores", "ok", f"{CORES}{', by a CPU quota' if limited() else ''}"))
    return {
        "checks": checks,
        "gpu": any(check["name"].startswith("cuda:") and check["state"] == "ok" for check in gpu),
        "healthy": all(check["state"] != "bad" for check in checks),
    }


def _check(name: str, state: str, text: str) -> dict[str, str]:
    return {"name": name, "state": state, "text": text}


def _clash(versions: dict[str, str]) -> list[dict[str, str]]:
    """Report two packages of ONNX Runtime: they share one import folder, and the second install breaks the first."""
    if {"onnxruntime", "onnxruntime-gpu"} <= versions.keys():
        text = "onnxruntime and onnxruntime-gpu overwrite each other; uninstall both, then install one"
        return [_check("onnx runtime", "bad", text)]
    return []


def _cpu_path() -> dict[str, str]:
    """Name what computes features on the CPU."""
    if native.available():
        return _check("CPU path", "ok", f"compiled, with {native.target()} instructions")
    instead = "torch" if find_spec("torch") else "NumPy"
    return _check("CPU path", "note", f"{instead}, at about a third of the speed: {native.reason()}")


def _sound() -> list[dict[str, str]]:
    from ..audio import ffmpeg

    program = ffmpeg()
    text = "not installed: M4A, AAC and the sound of videos cannot be read" if program is None else program
    return [_libsndfile(), _check("ffmpeg", "note" if program is None else "ok", text)]


def _libsndfile() -> dict[str, str]:
    import soundfile

    formats = soundfile.available_formats()
    missing = [name for name in ("WAV", "FLAC", "OGG", "MP3", "AIFF") if name not in formats]
    if missing:
        text = f"libsndfile {soundfile.__libsndfile_version__} cannot read {', '.join(missing)}; upgrade soundfile"
        return _check("audio formats", "note", text)
    return _check("audio formats", "ok", f"libsndfile {soundfile.__libsndfile_version__}: WAV, FLAC, OGG, MP3, AIFF")


def _gpu() -> list[dict[str, str]]:
    from .doctor_gpu import examine_gpu

    return [_check(*check) for check in examine_gpu()]
