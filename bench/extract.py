"""Times files on disk to features on disk: `cumel extract`, and librosa under joblib on all cores, on the same clips.

Both are checked against each other first. On the CPU the bound is the time of decoding alone plus that of the features
alone, each on all cores: no pipeline that does both can be faster. With a CUDA device it is the longer of decoding and
copying: samples to the device and features from it, in pinned memory, both ways at once.
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
AT_ONCE = 64  # clips in a batch of the features alone
FASTER = 2.5  # demanded multiple of the speed of librosa on two cores
OF_BOUND = {"cpu": 0.85, "cuda": 0.60}  # demanded share of the bound


def librosas(path: Path, out: Path) -> None:
    """Load one recording, compute its features and save them, as one would with librosa."""
    y, _ = librosa.load(path, sr=CFG.sr)
    np.save(out / f"{path.stem}.npy", librosa_log_mel(y, CFG))


def samples_of(path: Path) -> np.ndarray:
    """Decode one recording as `cumel extract` does."""
    with Recording(path) as recording:
        return recording.read(CFG.sr, dtype=recording.header.dtype(CFG.sr)).y


@contextmanager
def single_threads() -> Iterator[Callable[..., list]]:
    """Yield a map over one thread per core, each of which has one thread of torch."""
    before = torch.get_num_threads()
    with ThreadPoolExecutor(CORES, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield lambda function, items: list(pool.map(function, items))
    torch.set_num_threads(before)


def features(clips: list[np.ndarray]) -> Callable[[], None]:
    """Return a function that computes the features alone, many clips of one length at once on all cores."""
    batches = [np.stack(clips[i : i + AT_ONCE]) for i in range(0, len(clips), AT_ONCE)]

    def compute() -> None:
        torch.set_num_threads(CORES)
        for batch in batches:
            log_mel(batch, CFG)

    return compute


def copies(clips: list[np.ndarray], device: torch.device) -> Callable[[], None]:
    """Return a function that copies as many bytes as an extraction, in both directions at once."""
    n_values = CFG.n_mels * sum(CFG.n_frames(len(y)) for y in clips)
    up = torch.from_numpy(np.concatenate(clips)).pin_memory()
    down = torch.empty(n_values, device=device)
    on_device, on_host = torch.empty_like(up, device=device), torch.empty(n_values, pin_memory=True)
    streams = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def copy() -> None:
        for stream, target, source in zip(streams, (on_device, on_host), (up, down), strict=True):
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
        references = folder / "librosa"
        references.mkdir()
        clips = list(map(samples_of, paths))

        def ours() -> None:
            shutil.rmtree(folder / "store", ignore_errors=True)
            extract(paths, folder / "store", CFG, device=device, workers=CORES, quiet=True)

        with joblib.Parallel(n_jobs=CORES) as workers, single_threads() as threads:
            calls = {
                PEER: lambda: workers(joblib.delayed(librosas)(path, references) for path in paths),
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
            worst = max(float(np.abs(store[path] - np.load(references / f"{path.stem}.npy")).max()) for path in paths)
            if not worst <= TONAL_DB:
                raise SystemExit(f"{OURS}: {worst:.1e} dB from librosa, more than {TONAL_DB}: not timed")
            times = compare(calls, rounds=options.rounds)
    if device.type == "cpu":
        name, join, parts = "bound: decode and features", np.add, (times[DECODE], times[FEATURES])
    else:
        name, join, parts = "bound: decode or copies", np.maximum, (times[DECODE], times[COPIES])
    n_rounds = min(len(part.rounds) for part in parts)
    bound = Times(list(join(*(part.medians[:n_rounds] for part in parts))[:, None]))
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
    own, least = rows[list(times).index(OURS)], OF_BOUND[device.type]
    print(f"demanded: {FASTER} x librosa on two cores, {least:.0%} of the bound")
    met = own["paired_speed_of_librosa"] >= FASTER and own["paired_of_bound"] >= least
    verdict = "met" if met else "missed"
    print(
        f"{verdict}: {own['paired_speed_of_librosa']:.2f} x librosa, {own['paired_of_bound']:.0%} of the bound, "
        "medians over rounds of each round's ratio"
    )


if __name__ == "__main__":
    main()
