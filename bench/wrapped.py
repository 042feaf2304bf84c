"""Times Hugging Face's feature extractors beside the same ones wrapped: their whole call, with padding and masks.

NumPy clips in, what the extractor returns out. Results are compared first: keys and masks must be equal, features equal
but for rounding. One thread.
"""

import argparse
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cumel.kernels import PRESETS
from cumel.pretrained import wrap

from frontends import BATCHES, OURS, clips
from originals import extractor_of, limits
from timing import compare, machine, write_rows


class Extractor(NamedTuple):
    """A class of transformers, the preset of its front end, and the seconds of clips that it is timed with."""

    module: str
    name: str
    preset: str
    seconds: tuple[int, ...]


EXTRACTORS = {
    "Whisper": Extractor("whisper", "WhisperFeatureExtractor", "whisper", (5, 30)),
    "Parakeet": Extractor("parakeet", "ParakeetFeatureExtractor", "parakeet", (30,)),
    "SeamlessM4T": Extractor("seamless_m4t", "SeamlessM4TFeatureExtractor", "seamless", (30,)),
    "Speech2Text": Extractor("speech_to_text", "Speech2TextFeatureExtractor", "speech2text", (30,)),
    "AST": Extractor("audio_spectrogram_transformer", "ASTFeatureExtractor", "ast", (10,)),
    "CLAP": Extractor("clap", "ClapFeatureExtractor", "clap_fused", (10,)),
    "Phi-4": Extractor("phi4_multimodal", "Phi4MultimodalFeatureExtractor", "phi4", (30,)),
}


def call(extractor: Any, ys: NDArray[np.float32]) -> Callable[[], Mapping[str, Any]]:
    """Return the extractor's call with clips as a list."""
    several = list(ys)
    return lambda: extractor(several, sampling_rate=extractor.sampling_rate)


def demand_equal(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Exit where a wrapped extractor's result is not the original's."""
    if list(theirs) != list(ours):
        raise SystemExit(f"{name}: has {', '.join(ours)}, where the original has {', '.join(theirs)}")
    cfg = PRESETS[EXTRACTORS[name].preset]
    for key, value in theirs.items():
        their, our = np.asarray(value), np.asarray(ours[key])
        if their.shape != our.shape:
            raise SystemExit(f"{name}: {key} has shape {our.shape}, where the original's is {their.shape}")
        largest = np.abs(their.astype(np.float64) - our).max()
        if not largest <= (limits(cfg, their)[0] if their.dtype.kind == "f" else 0):  # nor is NaN
            raise SystemExit(f"{name}: {key} differs by {largest:.1e} from the original")


def measure(name: str, seconds: int, n_clips: int) -> list[dict[str, Any]]:
    """Compare, time both in turn, return a row of each."""
    how = EXTRACTORS[name]
    theirs = extractor_of(how.module, how.name)
    ys = clips(theirs.sampling_rate, seconds, n_clips)
    ways = {"transformers": call(theirs, ys), OURS: call(wrap(theirs), ys)}
    results = []
    for way in ways.values():
        np.random.seed(0)  # noqa: NPY002 - CLAP draws one clip of a batch from NumPy's own generator
        results.append(way())
    demand_equal(name, *results)
    times = compare(ways)
    return [
        {
            "extractor": name,
            "seconds": seconds,
            "batch": n_clips,
            "peer": peer,
            "package": "" if peer == OURS else f"transformers {version('transformers')}",
            **times[peer].columns("ms_per_clip", 1e3 / n_clips),
            "paired_speed_of_cumel": times[peer].ratio(times[OURS]),
        }
        for peer in ways
    ]


def main() -> None:
    """Compare, time, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extractors", nargs="*", choices=sorted(EXTRACTORS), default=EXTRACTORS, metavar="EXTRACTOR")
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)  # NumPy's BLAS
    where = machine(packages=("torch", "numpy"))
    for name in options.extractors:
        for seconds in EXTRACTORS[name].seconds:
            for n_clips in options.batches:
                write_rows("wrapped", measure(name, seconds, n_clips), where)


if __name__ == "__main__":
    main()
