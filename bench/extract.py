"""Files on disk to features on disk: `cumel extract` and librosa under joblib on all cores, on the same clips.

Both are checked against each other first. On the CPU the bound is what decoding alone and the features alone take, one
after the other, on all cores: no pipeline that does both can be faster. With a CUDA device it is the slower of decoding
and copying: the samples to the device and the features from it, out of pinned memory, both ways at once.
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

from cumel.esc50.audio import Recording
from cumel.esc50.datasets.synth.dataset import synthesize
from cumel.esc50.extraction.local import extract
from cumel.esc50.store import Store
from cumel.esc50.system.device import choose
from cumel.esc50.system.pipeline import CORES
from cumel.esc50.verify import librosa_log_mel
from cumel.kernels import PRESETS, log_mel
from cumel.kernels.tolerance import TONAL_DB

from timing import Times, compare, machine, write_rows

CFG = PRESETS["esc50"]
PEER, OURS = "librosa under joblib", "cumel extract"
DECODE, FEATURES, COPIES = "decode alone", "features alone", "copies alone"
AT_ONCE = 64  # clips
FASTER = 2.5  # of librosa, demanded on two cores
OF_BOUND = {"cpu": 0.85, "cuda": 0.60}  # demanded


def librosas(path: Path, out: Path) -> None:
    """Load, compute and save one recording, as one does with librosa."""
    y, _ = librosa.load(path, sr=CFG.sr)
    np.save(out / f"{path.stem}.npy", librosa_log_mel(y, CFG))


def samples_of(path: Path) -> np.ndarray:
    """Decode one recording as `cumel extract` does."""
    with Recording(path) as recording:
        return recording.read(CFG.sr, dtype=recording.header.dtype(CFG.sr)).y


@contextmanager
def single_threads() -> Iterator[Callable[..., list]]:
    """Map over a thread per core, in which torch keeps to its own."""
    before = torch.get_num_threads()
    with ThreadPoolExecutor(CORES, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield lambda function, items: list(pool.map(function, items))
    torch.set_num_threads(before)


def features(clips: list[np.ndarray]) -> Callable[[], None]:
    """Return what computes the features alone in our fastest way: many clips of one length at once, on all cores."""
    batches = [np.stack(clips[i : i + AT_ONCE]) for i in range(0, len(clips), AT_ONCE)]

    def compute() -> None:
        torch.set_num_threads(CORES)
        for batch in batches:
            log_mel(batch, CFG)

    return compute


def copies(clips: list[np.ndarray], device: torch.device) -> Callable[[], None]:
    """Return what copies as many bytes as an extraction does, in both directions at once."""
    n_values = CFG.n_mels * sum(CFG.n_frames(len(y)) for y in clips)
    up = torch.from_numpy(np.concatenate(clips)).pin_memory()
    down = torch.empty(n_values, device=device)
    there, home = torch.empty_like(up, device=device), torch.empty(n_values, pin_memory=True)
    streams = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def copy() -> None:
        for stream, target, source in zip(streams, (there, home), (up, down), strict=True):
            with torch.cuda.stream(stream):
                target.copy_(source, non_blocking=True)
        torch.cuda.synchronize(device)

    return copy


def main() -> None:
    """Check, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    options = parser.parse_args()
    device = choose(options.device)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = synthesize(folder / "data", clips_per_class=max(1, -(-options.files // 50)))
        paths = sorted((data / "audio").iterdir())[: options.files]
        theirs = folder / "librosa"
        theirs.mkdir()
        clips = list(map(samples_of, paths))

        def ours() -> None:
            shutil.rmtree(folder / "store", ignore_errors=True)
            extract(paths, folder / "store", CFG, device=device, workers=CORES, quiet=True)

        with joblib.Parallel(n_jobs=CORES) as workers, single_threads() as threads:
            calls = {
                PEER: lambda: workers(joblib.delayed(librosas)(path, theirs) for path in paths),
                OURS: ours,
                DECODE: lambda: threads(lambda path: samples_of(path).size, paths),
            }
            if device.type == "cpu":
                calls[FEATURES] = features(clips)
            else:
                calls[COPIES] = copies(clips, device)
            calls[PEER]()
            ours()
            store = Store(folder / "store")
            worst = max(float(np.abs(store[path] - np.load(theirs / f"{path.stem}.npy")).max()) for path in paths)
            if not worst <= TONAL_DB:
                raise SystemExit(f"{OURS}: {worst:.1e} dB from librosa, more than {TONAL_DB}: not timed")
            times = compare(calls, rounds=options.rounds)
    if device.type == "cpu":
        name, join, others = "bound: decode and features", np.add, (times[DECODE], times[FEATURES])
    else:
        name, join, others = "bound: decode or copies", np.maximum, (times[DECODE], times[COPIES])
    n_rounds = min(len(one.rounds) for one in others)
    bound = Times(list(join(*(one.medians[:n_rounds] for one in others))[:, None]))
    rows = [
        {
            "op": "extract esc50, WAV",
            "peer": peer,
            "threads": CORES,
            "files": len(paths),
            **seconds.columns("ms_per_file", 1e3 / len(paths)),
            "files_per_s": len(paths) / seconds.median,
            "paired_speed_of_librosa": times[PEER].ratio(seconds),
            "paired_of_bound": bound.ratio(seconds),
            "max_db": worst,
        }
        for peer, seconds in [*times.items(), (name, bound)]
    ]
    write_rows("extract", rows, machine(str(device)))
    mine, least = rows[list(times).index(OURS)], OF_BOUND[device.type]
    print(f"demanded: {FASTER} x librosa on two cores, {least:.0%} of the bound")
    met = mine["paired_speed_of_librosa"] >= FASTER and mine["paired_of_bound"] >= least
    verdict = "met" if met else "missed"
    print(
        f"{verdict}: {mine['paired_speed_of_librosa']:.2f} x librosa, {mine['paired_of_bound']:.0%} of the bound, "
        "medians over rounds of each round's ratio"
    )


if __name__ == "__main__":
    main()
