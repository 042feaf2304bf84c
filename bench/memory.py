"""How much memory `cumel extract` takes, as a process: against the number of files, and against their length."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from cumel.kernels import PRESETS

from timing import write_rows

SR = PRESETS["esc50"].sr
LIMIT = 1.5e9  # bytes, demanded
CURVE = 10  # points of the curve that is printed
MINUTES, FILES = (5, 30, 120), (200, 2000, 20_000)
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
    """Return a process's memory in bytes: now, and at most so far."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.split(":") for line in lines)
    return {name: int(value.split()[0]) * 1024 for name, value in pairs if name in ("VmRSS", "VmHWM")}


def measure(source: Path, out: Path) -> dict[str, object]:
    """Extract `source` into `out`; returns the peak, the curve and the seconds."""
    command = [sys.executable, "-m", "cumel.esc50.cli", "extract", source, "--out", out, "--device", "cpu", "--quiet"]
    curve, peak, begin = [], 0, time.monotonic()
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            now = resident(process.pid)
            curve.append(now.get("VmRSS", 0))
            peak = max(peak, now.get("VmHWM", 0))
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    points = [curve[len(curve) * i // CURVE] for i in range(CURVE)]
    drawn = "".join(BLOCKS[min(int(point / max(peak, 1) * len(BLOCKS)), len(BLOCKS) - 1)] for point in points)
    return {"peak_mb": round(peak / 1e6), "curve": drawn, "seconds": round(time.monotonic() - begin, 1)}


def main() -> None:
    """Make the files, measure, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, nargs="*", default=MINUTES, help="of one recording")
    parser.add_argument("--files", type=int, nargs="*", default=FILES, help="of a second each")
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
    write_rows("memory", rows)
    worst = max(int(str(row["peak_mb"])) for row in rows) * 1e6
    print(f"{'within' if worst < LIMIT else 'BEYOND'} {LIMIT / 1e9} GB: {worst / 1e9:.2f} GB at most")


if __name__ == "__main__":
    main()
