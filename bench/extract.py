"""Files on disk to features on disk: `cumel extract` and librosa under joblib on all cores, on the same clips.

Both are checked against each other first. The bound is what decoding alone and the features alone take, one after the
other, on all cores: no pipeline that does both can be faster.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import joblib
import librosa
import numpy as np
import torch

from cumel.esc50.audio.reading import read
from cumel.esc50.cores import CORES
from cumel.esc50.extraction.extract import extract
from cumel.esc50.store import Store
from cumel.esc50.synth import synthesize
from cumel.esc50.verify import MAX_DB, librosa_log_mel
from cumel.kernels import PRESETS, log_mel

from timing import compare, write_rows

CFG = PRESETS["esc50"]
CPU = torch.device("cpu")
PEER, OURS, DECODE, FEATURES = "librosa under joblib", "cumel extract", "decode alone", "features alone"
FASTER, OF_BOUND = 2.5, 0.85  # what is demanded on two cores


def librosas(path: Path, out: Path) -> None:
    """Load, compute and save one recording, as one does with librosa."""
    y, _ = librosa.load(path, sr=CFG.sr)
    np.save(out / f"{path.stem}.npy", librosa_log_mel(y, CFG))


def samples_of(path: Path) -> np.ndarray:
    """Decode one recording as `cumel extract` does."""
    clip = read(path, CFG.sr, lambda _: True)
    assert clip is not None
    return clip.y


@contextmanager
def single_threads() -> Iterator[Callable[..., list]]:
    """Map over a thread per core, in which torch keeps to its own."""
    before = torch.get_num_threads()
    with ThreadPoolExecutor(CORES, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield lambda function, items: list(pool.map(function, items))
    torch.set_num_threads(before)


def main() -> None:
    """Check, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = synthesize(folder / "data", clips_per_class=max(1, -(-options.files // 50)))
        paths = sorted((data / "audio").iterdir())[: options.files]
        theirs = folder / "librosa"
        theirs.mkdir()
        clips = list(map(samples_of, paths))

        def ours() -> None:
            shutil.rmtree(folder / "store", ignore_errors=True)
            extract(paths, folder / "store", CFG, device=CPU, workers=CORES, quiet=True)

        with joblib.Parallel(n_jobs=CORES) as workers, single_threads() as threads:
            calls = {
                PEER: lambda: workers(joblib.delayed(librosas)(path, theirs) for path in paths),
                OURS: ours,
                DECODE: lambda: threads(lambda path: samples_of(path).size, paths),
                FEATURES: lambda: threads(lambda y: log_mel(y, CFG).shape, clips),
            }
            calls[PEER]()
            ours()
            store = Store(folder / "store")
            worst = max(float(np.abs(store[path] - np.load(theirs / f"{path.stem}.npy")).max()) for path in paths)
            if not worst <= MAX_DB:
                raise SystemExit(f"{OURS}: {worst:.1e} dB from librosa, more than {MAX_DB}: not timed")
            times = {name: np.array(seconds) for name, seconds in compare(calls, options.rounds).items()}
    bound = times[DECODE] + times[FEATURES]
    rows = [
        {
            "op": "extract esc50, WAV",
            "peer": name,
            "threads": CORES,
            "files": len(paths),
            "files_per_s": len(paths) / float(np.median(seconds)),
            "speed_of_librosa": float(np.median(times[PEER] / seconds)),
            "of_bound": float(np.median(bound / seconds)),
            "max_db": worst,
        }
        for name, seconds in [*times.items(), ("bound: decode and features", bound)]
    ]
    write_rows("extract", rows)
    mine = rows[list(times).index(OURS)]
    print(f"demanded on two cores: {FASTER} x librosa, {OF_BOUND:.0%} of the bound")
    met = mine["speed_of_librosa"] >= FASTER and mine["of_bound"] >= OF_BOUND
    verdict = "met" if met else "missed"
    print(f"{verdict}: {mine['speed_of_librosa']:.2f} x librosa, {mine['of_bound']:.0%} of the bound")


if __name__ == "__main__":
    main()
