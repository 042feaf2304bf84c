"""The csv files of bench/results: their titles, the columns that tell rows apart, and how they were measured."""

from typing import NamedTuple

TIMED = (
    "Peers are checked against librosa or torch first, then timed in turn, round after round, so that drift hits all."
)
BANDS = "Times are medians; the range or whisker goes from the 20th to the 80th percentile."
PAIRED = "A `paired` ratio is the median over rounds of the ratio within a round, not that of the two medians shown."


class About(NamedTuple):
    """A csv file."""

    title: str
    keys: tuple[str, ...]  # columns that tell rows of one device apart; the last row of equal ones counts
    text: str


ABOUT = {
    "features": About(
        "Log-mel features of clips in memory",
        ("preset", "peer", "source", "threads", "batch"),
        f"Clips of 5 s to log-mel decibels, by bench/features.py. {TIMED} {BANDS} Errors are against librosa in "
        "float64; GB/s counts samples in and features out, and its share is of the device's own measured copy rate. "
        "The `same batch` speeds are paired: medians over rounds of the ratio to the peer at this batch, or at one "
        "clip where it takes no more. 0 threads: a GPU.",
    ),
    "scaling": About(
        "How cost grows",
        ("axis", "peer", "value"),
        f"Time of one call while one number changes and the others stay, by bench/scaling.py. {BANDS}",
    ),
    "scaling_exponents": About(
        "How cost grows: exponents",
        ("axis", "peer"),
        "Cost as value ^ exponent, a straight line fitted to the logarithms; the worst factor is how far the worst "
        "measured point is off it.",
    ),
    "accuracy": About(
        "Errors of every backend",
        ("backend", "preset", "signal"),
        "Decibels from librosa in float64, for every signal and preset, by bench/accuracy.py; the place is that of the "
        "worst value. Exact uint8: pixels of the stretched image that equal the reference's.",
    ),
    "extract": About(
        "Files on disk to features on disk",
        ("op", "peer", "threads"),
        "WAV clips of 5 s at 44.1 kHz, by bench/extract.py, against librosa under joblib on all cores, beside the "
        f"bound: decoding and features alone, one after the other. {TIMED} {PAIRED}",
    ),
    "inference_frontend": About(
        "The front end inside the ONNX file",
        ("op", "peer"),
        f"One clip, one thread, by bench/inference.py. {TIMED} {PAIRED}",
    ),
    "inference": About(
        "The exported model",
        ("op", "peer"),
        f"Waveform to probabilities, one clip, one thread, by bench/inference.py. {TIMED} {PAIRED}",
    ),
    "inference_parity": About(
        "Errors of the front end inside the ONNX file",
        ("preset",),
        "Largest dB from the float64 reference for each signal, by bench/inference.py.",
    ),
    "routes": About(
        "Clips in memory to probabilities, by both routes",
        ("op", "peer", "threads", "batch"),
        "`graph` has the front end inside the ONNX file, `kernels` runs cumel's own before it; by bench/routes.py. "
        f"{TIMED} {PAIRED} The difference is the largest of a probability from torch eager.",
    ),
    "frontends": About(
        "Front ends of pretrained models",
        ("preset", "seconds", "batch", "peer"),
        "Clips in memory to features, by the packages that the models were trained with, by bench/frontends.py. A peer "
        "is checked against ours first, then timed in turn with it, round after round. A peer that takes one clip at "
        f"a time has no batches. {BANDS} The `paired` speed is a median over rounds.",
    ),
    "runtimes": About(
        "Exported files in other runtimes",
        ("runtime", "version"),
        "Of the files of one network the first that runs, by bench/runtimes.py: the largest difference of a "
        "probability from ONNX Runtime's, and made sounds with the same label. What was refused is in the runtime's "
        "own words.",
    ),
    "parity": About(
        "Differences from the packages of pretrained models",
        ("preset", "peer"),
        "Of ours in float32, and of the float64 reference, in a front end's own values, by bench/parity.py: on a sweep "
        "with noise on an offset of 0.01, with a quiet first eighth; or on the clip of a golden array.",
    ),
    "wrapped": About(
        "Extractors of Hugging Face, wrapped",
        ("extractor", "seconds", "batch", "peer"),
        "Whole calls, with padding and masks, by bench/wrapped.py. Results are compared first, then both are timed in "
        f"turn, round after round. {BANDS} The `paired` speed is a median over rounds.",
    ),
    "hour": About(
        "One hour at once",
        ("preset", "peer"),
        "Median of three calls, and the memory of the first beyond the samples, each way in a process of its own, by "
        "bench/hour.py.",
    ),
    "train": About(
        "Training steps",
        ("op", "device_used", "precision", "processes", "batch"),
        "One optimiser step with its batch made anew, by bench/train.py.",
    ),
    "memory": About(
        "Memory of an extraction",
        ("op",),
        "The process tree's memory while `cumel extract` runs, sampled by bench/memory.py; the curve is over time.",
    ),
    "static": About(
        "The CUDA kernels, counted",
        ("op", "arch"),
        "Warp instructions per frame and the bounds that follow, out of the compiler alone, by bench/static.py: "
        "computed, not measured.",
    ),
    "gpu_levers": About("Variants of the kernel on a GPU", (), "Every row of bench/gpu.py."),
}


def about(name: str) -> About:
    """Describe a csv file; every row of an unknown one counts."""
    return ABOUT.get(name, About(name.replace("_", " "), (), f"The rows of {name}.csv."))
