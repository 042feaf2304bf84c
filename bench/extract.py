"""Files on disk to features on disk: `cumel extract` and a loop over librosa, on the same clips, checked against it."""

import argparse
import shutil
import tempfile
from pathlib import Path

import librosa
import numpy as np
import torch

from cumel.esc50.cores import CORES
from cumel.esc50.extract import extract
from cumel.esc50.store import Store
from cumel.esc50.synth import synthesize
from cumel.esc50.verify import MAX_DB, librosa_log_mel
from cumel.kernels import PRESETS

from timing import compare, write_rows

CFG = PRESETS["esc50"]


def main() -> None:
    """Check, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = synthesize(folder / "data", clips_per_class=max(1, -(-options.files // 50)))
        paths = sorted((data / "audio").iterdir())[: options.files]

        def ours() -> None:
            shutil.rmtree(folder / "store", ignore_errors=True)
            extract(paths, folder / "store", CFG, device=torch.device("cpu"), workers=CORES)

        def librosas() -> None:
            for path in paths:
                y, _ = librosa.load(path, sr=CFG.sr)
                np.save(folder / f"{path.stem}.npy", librosa_log_mel(y, CFG))

        ours()
        librosas()
        store = Store(folder / "store")
        worst = max(float(np.abs(store[path] - np.load(folder / f"{path.stem}.npy")).max()) for path in paths)
        if not worst <= MAX_DB:
            raise SystemExit(f"cumel extract: {worst:.1e} dB from librosa, more than {MAX_DB}: not timed")
        times = compare({"librosa loop": librosas, "cumel extract": ours}, options.rounds)
    rows = []
    for name, seconds in times.items():
        rows.append(
            {
                "op": "extract esc50, WAV",
                "peer": name,
                "threads": 1 if name == "librosa loop" else CORES,
                "files": len(paths),
                "files_per_s": len(paths) / float(np.median(seconds)),
                "speed_of_librosa": float(np.median(np.array(times["librosa loop"]) / np.array(seconds))),
                "max_db": worst,
            }
        )
    write_rows("extract", rows)


if __name__ == "__main__":
    main()
