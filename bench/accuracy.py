"""How far every backend's decibels are from librosa's in float64: each preset, each kind of signal, five seconds.

All errors are reported, also those of values so far below the maximum that float32 knows nothing of them (panns has no
top_db). Ours must stay within the tolerances of the tests; of the peers we only report. librosa multiplies float32
samples by a float64 window and so transforms them in float64: its "float32" is the result's.
"""

import argparse
from collections.abc import Callable
from importlib.metadata import packages_distributions
from typing import Any, NamedTuple

import numpy as np
import torch

from cumel.kernels import PRESETS, FeatureConfig, log_mel, mel_image, reference

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
from timing import demand, machine, write_rows

SECONDS = 5.0


class Output(NamedTuple):
    """What a backend makes of one clip."""

    db: np.ndarray  # [n_mels, n_frames]
    image: np.ndarray  # [n_mels, n_frames] uint8


Backend = Callable[[np.ndarray], Output]  # of one clip [n_samples], float32 or int16


def as_float(y: np.ndarray) -> np.ndarray:
    """Scale int16, which only ours read as it is."""
    return y / np.float32(32768) if y.dtype == np.int16 else y


def in_torch(of_clips: LogMel, device: str) -> Backend:
    """Turn what `peers` builds into a backend."""

    def compute(y: np.ndarray) -> Output:
        db = of_clips(torch.from_numpy(as_float(y))[None].to(device))[0].cpu().numpy()
        return Output(db, reference.stretch(db))

    return compute


def public(cfg: FeatureConfig, device: str) -> Backend:
    """Build our public functions on a device."""
    return lambda y: Output(log_mel(y, cfg, device=device), mel_image(y, cfg, device=device))


def emulation(cfg: FeatureConfig) -> Backend:
    """Build our CUDA source, compiled for the CPU."""
    of_clip, features = Emulated(), ("log_mel", "mel_image")
    compile_many({kernel for int16 in (False, True) for kernel in kernels(cfg, features, int16=int16)})
    return lambda y: Output(*(of_clip(feature, y, cfg) for feature in features))


def in_onnx(cfg: FeatureConfig) -> Backend:
    """Build our front end as a graph, for ONNX Runtime on the CPU."""
    import onnx
    import onnxruntime
    from onnxscript import ir

    from cumel.export.graph.frontend import LOG_MEL, WAVEFORM, standalone
    from cumel.export.runtime.routes import FEATURES

    proto = ir.to_proto(standalone(cfg, round(SECONDS * cfg.sr), "image"))
    proto.graph.output.append(onnx.ValueInfoProto(name=LOG_MEL))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])

    def compute(y: np.ndarray) -> Output:
        db, image = session.run([LOG_MEL, FEATURES], {WAVEFORM: as_float(y)[None]})
        return Output(db[0], image[0, 0].astype(np.uint8))

    return compute


def backends(cfg: FeatureConfig, device: str) -> dict[str, Backend]:
    """Build what computes on a device: first the peers, then ours, whose names begin with cumel."""
    theirs = {name: in_torch(compute, device) for name, compute in others(cfg, device, 1).items()}
    if device == "cuda":
        return theirs | {"cumel CUDA": public(cfg, device)}
    ours = {
        "cumel CPU": public(cfg, device),
        "cumel CUDA source, emulated": emulation(cfg),
        "cumel in ONNX": in_onnx(cfg),
    }
    return {"librosa float32": in_torch(librosas_log_mel(cfg), device), **theirs, **ours}


def row(backend: str, preset: str, kind: str, got: Output, expected: np.ndarray) -> dict[str, Any]:
    """Compare with librosa's decibels `expected`."""
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
    """Tell whether the tests would take this from one of ours.

    Down to 80 dB below a filter's ceiling, and the limit grows with that depth; the tests' NOISY_DB holds for their
    shorter clips, and five seconds of noise reach deeper in a filter of one bin.
    """
    try:
        oracle.check_log_mel(got.db, expected=expected)
        oracle.check_image(got.image, few=kind in ("noise", "quiet"))
    except AssertionError:
        return False
    return True


def compare_preset(preset: str, device: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of one preset, and those of our backends that are too far off."""
    cfg, rows, broken = PRESETS[preset], [], []
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
    """Name the worst case of each backend."""
    lines = []
    for name in dict.fromkeys(row["backend"] for row in rows):
        most = max((row for row in rows if row["backend"] == name), key=lambda row: row["max_db"])
        lines.append(f"{name}: {most['max_db']:.2g} dB, {most['preset']}, {most['signal']}, {most['worst_at']}")
    return lines


def main() -> None:
    """Compare, append the rows, name the worst, and fail for what breaks a tolerance."""
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
