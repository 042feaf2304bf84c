"""Measures the memory of a `cumel extract` process against the number of files and against their length."""

import argparse
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile

from cumel.esc50.extraction.resume.fingerprint import fingerprint
from cumel.esc50.store.seals import write_sealed
from cumel.esc50.store.shards import INDEX, ROW_SCHEMA, sidecar_path
from cumel.esc50.store.writer import SHARD_ROWS
from cumel.kernels import PRESETS

from timing import write_rows

SR = PRESETS["esc50"].sr
LIMIT = 1.5e9  # demanded limit in bytes
CURVE = 10  # points in the printed curve
MINUTES, FILES = (5, 30, 120), (200, 2000, 20_000)
NAMES = 2_000_000  # files that are listed and compared with a store; few of them are extracted
FOLDER_FILES = 1000
LINKS = 50_000  # most links to one file; some file systems allow 65,000
SMALL = ["--sr", "8000", "--n-fft", "256", "--hop-length", "128", "--n-mels", "16", "--fmin", "0", "--fmax", "none"]
ROW = {"sr": 8000, "n_samples": 0, "shard": -1, "offset": 0, "n_frames": 0, "status": "silent"}
BLOCKS = "▁▂▃▄▅▆▇█"


def recording(path: Path, seconds: float, sr: int = SR, channels: int = 1) -> Path:
    """Write noise, a minute at a time."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", sr, channels, "PCM_16") as file:
        left = round(seconds * sr)
        while left:
            n = min(left, 60 * sr)
            file.write(rng.normal(0, 0.1, (n, channels)).astype(np.float32))
            left -= n
    return path


def resident(pid: int) -> dict[str, int]:
    """Return a process's memory in bytes: VmRSS now, and its peak VmHWM."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.split(":") for line in lines)
    return {name: int(value.split()[0]) * 1024 for name, value in pairs if name in ("VmRSS", "VmHWM")}


def measure(source: Path, out: Path, *options: str, until: Callable[[], bool] = lambda: False) -> dict[str, object]:
    """Extract `source` into `out`, and return peak, curve and seconds. `until` interrupts it, as Ctrl-C would."""
    command = [sys.executable, "-m", "cumel", "extract", source, "--out", out, "--device", "cpu", "--quiet"]
    curve, peak, begin, stopped = [], 0, time.monotonic(), False
    with subprocess.Popen([*command, *options]) as process:
        while process.poll() is None:
            now = resident(process.pid)
            curve.append(now.get("VmRSS", 0))
            peak = max(peak, now.get("VmHWM", 0))
            if not stopped and until():
                process.send_signal(signal.SIGINT)
                stopped = True
            time.sleep(0.02)
    if process.returncode not in ((0, 130) if stopped else (0,)):
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    points = [curve[len(curve) * i // CURVE] for i in range(CURVE)]
    drawn = "".join(BLOCKS[min(int(point / max(peak, 1) * len(BLOCKS)), len(BLOCKS) - 1)] for point in points)
    return {"peak_mb": round(peak / 1e6), "curve": drawn, "seconds": round(time.monotonic() - begin, 1)}


def many_names(folder: Path, n: int) -> Path:
    """Make a folder of `n` links to a few recordings."""
    folder.mkdir()
    originals = [
        recording(folder.with_name(f"{folder.name}-{i}.wav"), 0.2 + i / 100, 8000) for i in range(-(-n // LINKS))
    ]
    for i in range(n):
        place = folder / f"session-{i // FOLDER_FILES:05}"
        if i % FOLDER_FILES == 0:
            place.mkdir()
        os.link(originals[i // LINKS], place / f"recording-{i:08}.wav")
    return folder


def stored(source: Path, out: Path) -> Path:
    """Make a store with a row for each recording in `source`: silent, without a frame."""
    first = next(source.rglob("*.wav"))
    measure(first, out, *SMALL)
    rows, number = [], itertools.count(1)
    prints: dict[int, int | None] = {}  # fingerprints by inode

    def write() -> None:
        write_sealed(
            sidecar_path(out, next(number), again=False), ROW_SCHEMA, [pa.Table.from_pylist(rows, schema=ROW_SCHEMA)]
        )
        rows.clear()

    for place in sorted(source.iterdir()):
        for path in sorted(place.iterdir()):
            status = path.stat()
            row = {"path": str(path), "name": str(path.relative_to(source)), "also": [], "size": status.st_size}
            if status.st_ino not in prints:
                prints[status.st_ino] = fingerprint(path)
            rows.append(row | {"mtime_ns": status.st_mtime_ns, "fingerprint": prints[status.st_ino]} | ROW)
            if len(rows) == SHARD_ROWS:
                write()
    write()
    (out / INDEX).unlink()
    return out


def main() -> None:
    """Make the files, measure, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, nargs="*", default=MINUTES, help="minutes of one recording")
    parser.add_argument("--files", type=int, nargs="*", default=FILES, help="numbers of files of one to two seconds")
    parser.add_argument(
        "--names", type=int, nargs="*", default=[NAMES], help="numbers of files that are mostly listed only"
    )
    parser.add_argument("--place", type=Path, help="folder for the files, two gigabytes")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        folder = Path(place)
        for minutes in options.minutes:
            for sr, channels in ((SR, 1), (48_000, 2)) if minutes == max(options.minutes) else ((SR, 1),):
                path = recording(folder / f"{minutes}-{sr}.wav", minutes * 60, sr, channels)
                what = f"one file of {minutes} min, {sr} Hz, {channels} channels"
                rows.append({"op": what} | measure(path, folder / path.stem))
                path.unlink()
        originals = [recording(folder / f"{i}.wav", 1 + i / 10) for i in range(10)]
        for n in options.files:
            many = folder / f"files{n}"
            many.mkdir()
            for i in range(n):
                os.link(originals[i % 10], many / f"{i:06}.wav")
            rows.append({"op": f"{n} files of 1 to 2 s"} | measure(many, folder / f"out{n}"))
        for n in options.names:
            many, new = many_names(folder / f"names{n}", n), folder / f"new{n}"
            first = sidecar_path(new, 0, again=False)
            rows.append({"op": f"{n} files, up to the first shard"} | measure(many, new, *SMALL, until=first.exists))
            store = stored(many, folder / f"stored{n}")
            rows.append({"op": f"{n} files that have rows"} | measure(many, store, *SMALL))
            many.rename(folder / f"moved{n}")
            rows.append({"op": f"{n} files that moved"} | measure(folder / f"moved{n}", store, *SMALL))
    write_rows("memory", rows)
    worst = max(int(str(row["peak_mb"])) for row in rows) * 1e6
    print(f"{'within' if worst < LIMIT else 'BEYOND'} {LIMIT / 1e9} GB: {worst / 1e9:.2f} GB at most")


if __name__ == "__main__":
    main()
