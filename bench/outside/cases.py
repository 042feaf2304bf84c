"""Batches of clips that show what a runtime makes of a file: of all lengths, silent, ragged, and made sounds."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cumel.esc50.datasets.synth.sounds import SOUNDS
from cumel.esc50.datasets.synth.synthesizer import make_sound

Feeds = dict[str, NDArray]  # arrays by the names of a model's inputs
BATCH = 10  # clips of the made sounds in one case
SILENCE = 0.0


def of_any_length(sr: int, n_samples: int) -> list[Feeds]:
    """Return 13 batches of 1, 3 and 16 clips, of one sample to a minute, around a model's own length."""
    tenth, minute = n_samples // 16, 61 * sr
    shapes = [(1, n) for n in (1, 2, tenth, n_samples - 160, n_samples, n_samples + 1, minute)]
    shapes += [(3, tenth), (3, n_samples), (3, minute), (16, tenth), (16, n_samples)]
    return [*_batches(shapes, sr), {"waveform": np.full((1, n_samples), SILENCE, np.float32)}]


def of_one_length(sr: int, samples: int) -> list[Feeds]:
    """Return batches of 1, 3 and 16 clips, and a silent one."""
    made = _batches([(batch, samples) for batch in (1, 3, 16)], sr)
    return [*made, {"waveform": np.full((1, samples), SILENCE, np.float32)}]


def ragged(sr: int, n_samples: int) -> list[Feeds]:
    """Return padded batches with the length of each clip; what lies behind a clip is loud noise."""
    rng = np.random.default_rng(1)
    lengths = np.geomspace(1, 2 * n_samples, 16).astype(np.int64)
    batches = [lengths[-1:], lengths[:3], lengths]
    found = []
    for own in batches:
        (feeds,) = _batches([(len(own), int(own.max()))], sr)
        behind = np.arange(own.max()) >= own[:, None]
        noise = rng.uniform(-1, 1, behind.shape).astype(np.float32)
        found.append({"waveform": np.where(behind, noise, feeds["waveform"]), "lengths": own})
    return found


def sounds(sr: int, n_samples: int, n: int) -> list[Feeds]:
    """Return made sounds of all classes, as `cumel` makes them for its demo, in batches of 10."""
    rng, names = np.random.default_rng(2), list(SOUNDS)
    clips = np.stack([make_sound(names[i % len(names)], rng, n_samples, sr) for i in range(n)])
    return [{"waveform": clips[i : i + BATCH]} for i in range(0, n, BATCH)]


def alone(session: Any, feeds: Feeds) -> NDArray[np.float32]:
    """Return what a session of ONNX Runtime answers to clips [batch, n_classes], each alone and of its own length."""
    y, lengths = feeds["waveform"], feeds.get("lengths")
    found = []
    for i, clip in enumerate(y):
        n = len(clip) if lengths is None else int(lengths[i])
        own = {} if lengths is None else {"lengths": lengths[i : i + 1]}
        found.append(np.asarray(session.run(None, {"waveform": clip[None, :n]} | own)[0]))
    return np.concatenate(found)


def write(folder: Path, cases: list[Feeds]) -> Path:
    """Write cases as answer.py reads them."""
    for number, feeds in enumerate(cases):
        place = folder / str(number)
        place.mkdir(parents=True)
        for name, array in feeds.items():
            np.save(place / f"{name}.npy", array)
    return folder


def _batches(shapes: list[tuple[int, int]], sr: int) -> list[Feeds]:
    rng, names = np.random.default_rng(0), list(SOUNDS)
    found = []
    for n_clips, n in shapes:
        made = [np.resize(make_sound(str(name), rng, 5 * sr, sr), n) for name in rng.choice(names, n_clips)]
        found.append({"waveform": np.stack(made).astype(np.float32)})
    return found
