"""Measures how far every backend's decibels are from librosa's in float64, for each preset and kind of signal.

The clips last five seconds. All values count, even those so far below the maximum that float32 cannot represent them
(panns has no top_db). Our backends must stay within the tolerances of the tests; peers are only reported. librosa
multiplies float32 samples by a float64 window and so transforms them in float64: its "float32" is that of the result.
"""

import argparse
from collections.abc import Callable
from importlib.metadata import packages_distributions
from typing import Any, NamedTuple

import numpy as np
import torch

from cumel.kernels import FeatureConfig, log_mel, mel_image, reference

from from_tests import (
    KINDS,
    Emulated,
    Oracle,
    compile_many,
    kernels,
    librosa_input,
    signal,
)
from peers import TIMED, LogMel, librosas_log_mel, others, packages, true_log_mel, without_tf32
from timing import FRONT_ENDS, demand, machine, write_rows

SECONDS = 5.0


class Output(NamedTuple):
    """The output of a backend for one clip."""

    db: np.ndarray  # [n_mels, n_frames]
    image: np.ndarray  # [n_mels, n_frames] uint8


Backend = Callable[[np.ndarray], Output]  # takes one clip [n_samples], float32 or int16


def as_float(y: np.ndarray) -> np.ndarray:
    """Scale int16 to float32 for backends other than ours."""
    return y / np.float32(32768) if y.dtype == np.int16 else y


def in_torch(of_clips: LogMel, device: str) -> Backend:
    """Make a backend of a function on clips in torch."""

    def compute(y: np.ndarray) -> Output:
        db = of_clips(torch.from_numpy(as_float(y))[None].to(device))[0].cpu().numpy()
        return Output(db, reference.stretch(db))

    return compute


def public(cfg: FeatureConfig, device: str) -> Backend:
    """Make a backend of our public functions on a device."""
    return lambda y: Output(log_mel(y, cfg, device=device), mel_image(y, cfg, device=device))


def emulation(cfg: FeatureConfig) -> Backend:
    """Make a backend of our CUDA source, compiled for the CPU."""
    of_clip, features = Emulated(), ("log_mel", "mel_image")
    compile_many({kernel for int16 in (False, True) for kernel in kernels(cfg, features, int16=int16)})
    return lambda y: Output(*(of_clip(feature, y, cfg) for feature in features))


def in_onnx(cfg: FeatureConfig) -> Backend:
    """Make a backend of our front end as a graph, in ONNX Runtime on the CPU."""
    import onnx
    import onnxruntime
    from onnxscript import ir

    from cumel.export.graph import FEATURES_NAME
    from cumel.export.graph.frontend import LOG_MEL, standalone
    from cumel.export.graph.interface import WAVEFORM

    proto = ir.to_proto(standalone(cfg, round(SECONDS * cfg.sr), "image"))
    proto.graph.output.append(onnx.ValueInfoProto(name=LOG_MEL))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])

    def compute(y: np.ndarray) -> Output:
        db, image = session.run([LOG_MEL, FEATURES_NAME], {WAVEFORM: as_float(y)[None]})
        return Output(db[0], image[0, 0].astype(np.uint8))

    return compute


def backends(cfg: FeatureConfig, device: str) -> dict[str, Backend]:
    """Return the backends of a device: first the peers, then ours, whose names begin with cumel."""
    peers = {name: in_torch(compute, device) for name, compute in others(cfg, device, 1).items()}
    if device == "cuda":
        return peers | {"cumel CUDA": public(cfg, device)}
    own = {
        "cumel CPU": public(cfg, device),
        "cumel CUDA source, emulated": emulation(cfg),
        "cumel in ONNX": in_onnx(cfg),
    }
    return {"librosa float32": in_torch(librosas_log_mel(cfg), device), **peers, **own}


def row(backend: str, preset: str, kind: str, got: Output, expected: np.ndarray) -> dict[str, Any]:
    """Return a row of results/accuracy.csv; `expected` are librosa's decibels."""
    error = np.abs(got.db - expected)
    band, frame = np.unravel_index(np.argmax(error), error.shape)  # NaN counts as the largest
    depth = expected.max() - expected[band, frame]
    return {
        "backend": backend,
        "preset": preset,
        "signal": kind,
        "max_db": float(error.max()),
        "mean_db": float(error.mean()),
        "worst_at": f"band {band}, frame {frame}, {depth:.0f} dB below the maximum" if error.max() != 0 else "",
        "exact_uint8": float((got.image == reference.stretch(expected)).mean()),
    }


def within(got: Output, expected: np.ndarray, oracle: Oracle, kind: str) -> bool:
    """Return whether the tests would accept this output from one of our backends.

    They compare down to 80 dB below a filter's ceiling, with a limit that grows with that depth. Their stricter
    NOISY_DB holds only for shorter clips: five seconds of noise reach deeper in a filter of one bin.
    """
    try:
        oracle.check_log_mel(got.db, expected=expected)
        oracle.check_image(got.image, few=kind in ("noise", "quiet"))
    except AssertionError:
        return False
    return True


def compare_preset(preset: str, device: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of one preset, and the names of our backends that are too far off."""
    cfg, rows, broken = FRONT_ENDS[preset], [], []
    built = backends(cfg, device)
    for kind in KINDS:
        y = signal(kind, round(SECONDS * cfg.sr), cfg.sr)
        oracle, expected = Oracle(y, cfg), true_log_mel(librosa_input(y), cfg)
        for name, compute in built.items():
            got = compute(y)
            rows.append(row(name, preset, kind, got, expected))
            if name.startswith("cumel") and not within(got, expected, oracle, kind):
                broken.append(f"{name}, {preset}, {kind}")
    return rows, broken


def worst(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line about the worst case of each backend."""
    lines = []
    for name in dict.fromkeys(row["backend"] for row in rows):
        row = max((row for row in rows if row["backend"] == name), key=lambda row: row["max_db"])
        lines.append(f"{name}: {row['max_db']:.2g} dB, {row['preset']}, {row['signal']}, {row['worst_at']}")
    return lines


def main() -> None:
    """Compare, append the rows, print the worst, and fail when one of ours exceeds a tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    device = parser.parse_args().device
    demand(device)
    without_tf32()
    rows, broken = [], []
    for preset in TIMED:
        more, too_far = compare_preset(preset, device)
        rows += more
        broken += too_far
    names = list(dict.fromkeys(row["backend"] for row in rows))
    rows.sort(key=lambda row: names.index(row["backend"]))
    runtime = packages_distributions()["onnxruntime"][:1] if device == "cpu" else []
    write_rows("accuracy", rows, machine(device, [*packages(device), *runtime]))
    print("The worst of each:", *worst(rows), sep="\n  ")
    if broken:
        raise SystemExit(f"further from librosa than tests/support/signals.py allows: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
