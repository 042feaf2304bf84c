"""Log-mel of 5 s clips at 44.1 kHz, the esc50 preset: librosa, torchaudio and ours, checked and then timed in turn.

Rounds interleave the peers, so that a machine whose speed drifts treats them alike; the ratio is taken round by round.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from threadpoolctl import threadpool_limits

from cumel.esc50.verify import librosa_log_mel
from cumel.kernels import PRESETS, log_mel

from peers import torchaudio_log_mel
from timing import compare, spread, write_rows

NOISE_DB = 1e-3  # every peer against librosa in float64, before it is timed
BATCH = 16
CFG = PRESETS["esc50"]


def clips(folder: Path | None) -> np.ndarray:
    """BATCH clips of 5 s: recordings of `folder`, or noise."""
    n_samples = 5 * CFG.sr
    if folder is None:
        return (0.1 * np.random.default_rng(0).standard_normal((BATCH, n_samples))).astype(np.float32)
    files = sorted(path for path in folder.iterdir() if soundfile.info(path).frames >= n_samples)[:BATCH]
    return np.stack([soundfile.read(path, dtype="float32", frames=n_samples)[0] for path in files])


def main() -> None:
    """Check every peer, time them, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--data", type=Path, help="folder of recordings at 44.1 kHz; noise when absent")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)  # librosa's BLAS
    y = clips(options.data)
    batch = torch.from_numpy(y)
    theirs = torchaudio_log_mel(CFG, "cpu")
    peers: dict[str, tuple[Callable[[], object], int]] = {
        "librosa": (lambda: librosa_log_mel(y[0], CFG), 1),
        "torchaudio": (lambda: theirs(batch), BATCH),
        "cumel, one clip": (lambda: log_mel(batch[0], CFG), 1),
        "cumel": (lambda: log_mel(batch, CFG), BATCH),
    }
    truth = np.stack([librosa_log_mel(one.astype(np.float64), CFG) for one in y])
    errors = {
        "librosa": np.abs(librosa_log_mel(y[0], CFG) - truth[0]),
        "torchaudio": np.abs(theirs(batch).numpy() - truth),
        "cumel, one clip": np.abs(log_mel(y[0], CFG) - truth[0]),
        "cumel": np.abs(log_mel(y, CFG) - truth),
    }
    limit = NOISE_DB if options.data is None else 1e-2
    for name in peers:
        if not errors[name].max() <= limit:
            raise SystemExit(f"{name}: {errors[name].max():.1e} dB from librosa, more than {limit}: not timed")
    times = compare({name: call for name, (call, _) in peers.items()}, options.rounds)
    rows = []
    for name, (_, n_clips) in peers.items():
        per_clip = np.array(times[name]) / n_clips
        rows.append(
            {
                "op": "log_mel esc50",
                "peer": name,
                "threads": options.threads,
                "batch": n_clips,
                "ms_per_clip": float(np.median(per_clip)) * 1e3,
                "spread_ms": spread(list(per_clip)) * 1e3,
                "speed_of_librosa": float(np.median(np.array(times["librosa"]) / per_clip)),
                "speed_of_torchaudio": float(np.median(np.array(times["torchaudio"]) / BATCH / per_clip)),
                "max_db": float(errors[name].max()),  # from librosa in float64
                "mean_db": float(errors[name].mean()),
            }
        )
    write_rows("features", rows)


if __name__ == "__main__":
    main()
