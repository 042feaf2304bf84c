"""Features of many recordings into a store; a recording that fails becomes a row with its reason."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..kernels import CumelError, FeatureConfig, InputError, log_mel, mel_image, melspectrogram, mfcc, stft
from .audio import load_all
from .device import describe
from .progress import bar
from .resampling import resample_on
from .store import CONFIG, INDEX, StoreConfig, is_store, key_of, read_index, write_index, write_shard

KINDS: dict[str, Callable] = {
    "logmel": log_mel,
    "mel": melspectrogram,
    "stft": stft,
    "mfcc": mfcc,
    "image": mel_image,
}
SHARD_BYTES = 128 << 20
PACKAGES = ("cumel", "numpy", "soundfile", "soxr", "torch", "torchaudio")


def extract(
    paths: list[Path],
    out: Path,
    cfg: FeatureConfig,
    *,
    kind: str = "logmel",
    dtype: str = "float32",
    device: torch.device,
    workers: int = 2,
    overwrite: bool = False,
    retry_errors: bool = False,
) -> dict[str, Any]:
    """Extract the features of `paths`, in order, into the store `out`.

    Parameters
    ----------
    paths : list of path
    out : Path
        Folder of the store.
    cfg : FeatureConfig
    kind : {"logmel", "mel", "stft", "mfcc", "image"}
    dtype : {"float32", "float16"}
        Of the shards; an image is always uint8, an STFT complex64.
    device : torch.device
    workers : int
        Threads that decode.
    overwrite : bool
        Start over where `out` holds a store.
    retry_errors : bool
        Where `out` holds a store, take only what failed before or was not reached.

    Returns
    -------
    dict
        The report: counts, seconds of audio and of work, and the list of failures (path, error).

    Raises
    ------
    CumelError
        For an unknown kind or dtype, a config that no clip could satisfy, or a store that may not be touched.
    """
    if kind not in KINDS:
        raise CumelError(f"--features {kind}: must be one of {', '.join(KINDS)}")
    if dtype not in ("float32", "float16"):
        raise CumelError(f"--dtype {dtype}: must be float32 or float16")
    if not paths:
        raise CumelError("no recordings given; name files or folders")
    KINDS[kind](np.zeros(cfg.n_fft, np.float32), cfg)  # a config that is wrong for every clip fails here, once
    stored = {"image": "uint8", "stft": "complex64"}.get(kind, dtype)
    if dtype == "float16" and stored != "float16":
        raise CumelError(f"--dtype float16: --features {kind} is stored as {stored}; leave --dtype away")
    versions = {name: version(name) for name in PACKAGES}
    config = StoreConfig(kind, stored, cfg, versions, describe(device))
    kept = _prepare(out, config, overwrite, retry_errors)
    if retry_errors:
        done = {row["path"] for row in kept if row["status"] != "error"}
        paths = [path for path in paths if key_of(path) not in done]
        again = {key_of(path) for path in paths}
        kept = [row for row in kept if row["path"] not in again]

    on_gpu = device.type == "cuda"  # then mismatched rates are resampled there as well
    started = time.monotonic()
    writer = _Writer(out, kept)
    with writer.flushed(), bar("extracting", len(paths), "files") as advance:
        for path, loaded in zip(paths, load_all(paths, None if on_gpu else cfg.sr, workers), strict=True):
            try:
                if isinstance(loaded, InputError):
                    raise loaded
                y, sr = loaded
                y = y if sr == cfg.sr else resample_on(device, y, sr, cfg.sr)
                features = KINDS[kind](y, cfg, device=device)
                with np.errstate(over="ignore"):  # becomes infinite, and is seen below
                    features = features.astype(stored, copy=False)
                if not np.isfinite(features).all():
                    raise CumelError(f"a value is too large for {stored}, or not a number; use --dtype float32")
            except CumelError as error:  # unreadable, or too short for the config
                writer.fail(path, error if error is loaded else InputError(f"{path}: {error}"))
            else:
                writer.add(path, cfg.sr, y, features)
            advance(note=f"{writer.errors} failed" if writer.errors else "")
    return writer.report(len(paths), time.monotonic() - started) | {
        "device": describe(device),
        "resampler": "torchaudio, kaiser_best" if on_gpu else "soxr, HQ",
        "store": str(out),
    }


def _prepare(out: Path, config: StoreConfig, overwrite: bool, retry_errors: bool) -> list[dict[str, Any]]:
    """Make `out` ready; returns the rows that an existing store keeps."""
    if out.exists() and not out.is_dir():
        raise CumelError(f"{out}: is a file; --out names a folder")
    if (out / CONFIG).exists():
        if not is_store(out):
            raise CumelError(f"{out}: its {CONFIG} is not a store's; choose another --out")
        if overwrite or not (out / INDEX).exists():  # without an index nothing was finished
            for old in [*out.glob(f"features-{'[0-9]' * 5}.npy"), out / INDEX, out / CONFIG]:
                old.unlink(missing_ok=True)
        else:
            differing = StoreConfig.load(out).differences(config)
            if differing:
                raise CumelError(f"{out}: holds features with {'; '.join(differing)}; --overwrite starts over")
            if not retry_errors:
                raise CumelError(
                    f"{out}: holds such features already; --retry-errors adds what failed or is missing, "
                    "--overwrite starts over"
                )
            return read_index(out)
    elif retry_errors:
        raise CumelError(f"{out}: holds no features to retry; leave --retry-errors away")
    elif out.exists() and any(out.iterdir()):
        raise CumelError(f"{out}: is not empty and holds no store; choose another --out")
    config.save(out)
    return []


class _Writer:
    """Collects clips into shards and keeps the index in step with them."""

    def __init__(self, out: Path, kept: list[dict[str, Any]]) -> None:
        self.out = out
        self.rows = kept
        self.failures: list[dict[str, str]] = []
        self.silent: list[str] = []
        self.seconds = 0.0
        self.shard = 1 + max((row["shard"] for row in kept), default=-1)
        self.parts: list[NDArray] = []
        self.frames = self.bytes = 0

    @property
    def errors(self) -> int:
        return len(self.failures)

    def add(self, path: Path, sr: int, y: NDArray[np.float32], features: NDArray) -> None:
        silent = not y.any()
        if silent:
            self.silent.append(str(path))
        place = {"shard": self.shard, "offset": self.frames, "n_frames": features.shape[-1], "error": None}
        self.rows.append(_file(path) | {"sr": sr, "n_samples": len(y), "status": "silent" if silent else "ok"} | place)
        self.parts.append(features)
        self.frames += features.shape[-1]
        self.bytes += features.nbytes
        self.seconds += len(y) / sr
        if self.bytes >= SHARD_BYTES:
            self.flush()

    def fail(self, path: Path, error: CumelError) -> None:
        self.failures.append({"path": str(path), "error": str(error)})
        place = {"shard": -1, "offset": 0, "n_frames": 0, "error": str(error)}
        self.rows.append(_file(path) | {"sr": 0, "n_samples": 0, "status": "error"} | place)

    @contextmanager
    def flushed(self) -> Iterator[None]:
        """Write what there is at the end, and also when the user interrupts."""
        try:
            yield
        except KeyboardInterrupt:
            self.flush()
            raise KeyboardInterrupt(f"{self.out} keeps {len(self.rows)} files; --retry-errors goes on") from None
        self.flush()

    def flush(self) -> None:
        try:
            if self.parts:
                write_shard(self.out, self.shard, self.parts)
            write_index(self.out, self.rows)
        except CumelError as error:
            free = shutil.disk_usage(self.out).free >> 20
            raise CumelError(f"{error} ({free} MB free; the shards before this one are kept)") from None
        self.parts, self.frames, self.bytes, self.shard = [], 0, 0, self.shard + 1

    def report(self, n_files: int, seconds: float) -> dict[str, Any]:
        return {
            "files": n_files,
            "extracted": n_files - self.errors,
            "failed": self.errors,
            "silent": self.silent,
            "audio_seconds": round(self.seconds, 2),
            "seconds": round(seconds, 2),
            "failures": self.failures,
        }


def _file(path: Path) -> dict[str, Any]:
    try:
        status = path.stat()
    except OSError:
        return {"path": key_of(path), "size": -1, "mtime_ns": 0}
    return {"path": key_of(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``i/n`` as (i, n), with 1 <= i <= n."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise CumelError(f"--shard {text}: must be i/n with 1 <= i <= n, as in 2/8")
    return int(i), int(n)


def my_share(paths: Iterable[Path], shard: str | None) -> list[Path]:
    """Keep every n-th of `paths`, from the i-th on, for a shard ``i/n``; all of them without one."""
    if shard is None:
        return list(paths)
    i, n = parse_shard(shard)
    return list(paths)[i - 1 :: n]
