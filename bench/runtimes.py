"""Runs exported files in all runtimes that pip and npm install, and compares them with the installed ONNX Runtime.

Every runtime has an environment of its own, which is made when it is missing. A file runs where every case has an
answer, and `AGREEMENT` of the labels are the same. Of the files of one network the first that runs is in the table of
docs/onnx-runtimes.md.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from cumel import Interface, export_onnx
from cumel.esc50.training import RECIPES, Checkpoint
from cumel.export.graph.interface import OPSETS
from cumel.export.runtime import read_exported

from from_tests import lively_run
from outside import cases, known, places
from timing import machine, write_rows

AGREEMENT = 0.9  # bfloat16, OpenVINO's default on many processors, changes a few labels
N_SOUNDS = 100
INTERFACES = ({}, {"opset": 17}, {"samples": True}, {"samples": True, "opset": 17}, {"lengths": True, "opset": 17})

Answers = list[NDArray[np.float32]]


class File(NamedTuple):
    """An exported file, with cases for it, and what ONNX Runtime answers to each clip of them alone."""

    way: str  # the options of `cumel export` that it was made by
    path: Path
    cases: Path
    expected: Answers
    n_sounds: int  # the last cases are made sounds, so many clips

    def compared(self, answers: Answers) -> tuple[float, int]:
        """Return the largest difference of a probability, and of how many sounds the label is the same."""
        for got, wanted in zip(answers, self.expected, strict=True):
            if got.shape != wanted.shape:
                raise known.RefusedError(f"its answer has the shape {got.shape}, not {wanted.shape}")
        got, wanted = np.concatenate(answers), np.concatenate(self.expected)
        same = got.argmax(axis=1) == wanted.argmax(axis=1)
        difference = float(np.abs(got - wanted).max())
        if not np.isfinite(got).all() or same.mean() < AGREEMENT:
            words = f"wrong answers: {same.sum()} of {len(same)} labels are the same, up to {difference:.2f} off"
            raise known.RefusedError(words)
        return difference, int(same[len(same) - self.n_sounds :].sum())


def exported(run: Path, folder: Path) -> list[Path]:
    """Export a run in all the ways that other runtimes may need."""
    n_samples, paths = Checkpoint.load(run).recipe.n_samples, []
    for number, changes in enumerate(INTERFACES):
        changes = changes | ({"samples": n_samples} if "samples" in changes else {})
        paths.append(folder / f"{number}.onnx")
        export_onnx(run, paths[-1], Interface(**changes))
    return paths


def opened(path: Path, folder: Path, n_sounds: int) -> File:
    """Make cases for a file, and have the installed ONNX Runtime answer them."""
    _, metadata = read_exported(path)
    interface, sr, n_samples = metadata.interface, metadata.sr, round(metadata.seconds * metadata.sr)
    if interface.lengths:
        made, n_sounds = cases.ragged(sr, n_samples), 0
    else:
        given = interface.samples
        made = cases.of_any_length(sr, n_samples) if given is None else cases.of_one_length(sr, given)
        made += cases.sounds(sr, given or n_samples, n_sounds)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [f"--opset {interface.opset}"] if interface.opset != OPSETS[-1] else []
    parts = ["--samples N"] * (interface.samples is not None) + ["--lengths"] * interface.lengths + parts
    way = f"`{' '.join(parts)}`" if parts else "as exported"
    return File(way, path, cases.write(folder, made), [cases.alone(session, feeds) for feeds in made], n_sounds)


def row(runtime: known.Runtime, root: Path, files: list[File]) -> dict[str, Any]:
    """Return a row of results/runtimes.csv: the first file that runs, and what was said of those before it."""
    found: dict[str, Any] = {"runtime": runtime.title, "version": runtime.version}
    found |= dict.fromkeys(("how", "max", "same", "sounds", "lengths_max"))
    try:
        started = known.command(runtime, root)
    except places.NoPlaceError as error:
        return found | {"how": "not installed", "refused": said(error)}
    refused = []
    for file in files:
        ragged = "--lengths" in file.way
        if found["how"] is not None and not ragged:
            continue
        try:
            difference, same = file.compared(known.answers(started, file.path, file.cases))
        except known.RefusedError as error:
            refused.append(f"{file.way}: {said(error)}")
            continue
        if ragged:
            found["lengths_max"] = difference
        else:
            found |= {"how": file.way, "max": difference, "same": same, "sounds": file.n_sounds}
    return found | {"how": found["how"] or "not at all", "refused": "; ".join(refused)}


def said(error: Exception) -> str:
    """Return the first lines of a message as one short line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else f"{text[:157]}..."


def main() -> None:
    """Measure, and append to results/runtimes.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "models", nargs="*", type=Path, help="files of `cumel export`; else those of an untrained network"
    )
    parser.add_argument("--run", type=Path, help="a run of `cumel train` to make them of; else an untrained network")
    parser.add_argument("--root", type=Path, default=places.of_user(), help="folder of the environments")
    parser.add_argument("--only", default="", help="runtimes whose name in answer.py begins with this")
    parser.add_argument("--sounds", type=int, default=N_SOUNDS, help="made sounds whose labels are compared")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = options.run or lively_run(folder / "run", RECIPES["quick"])
        paths = options.models or exported(run, folder)
        files = [opened(path, folder / f"cases{i}", options.sounds) for i, path in enumerate(paths)]
        asked = [runtime for runtime in known.RUNTIMES if runtime.function.startswith(options.only)]
        rows = [row(runtime, options.root, files) for runtime in asked]
    write_rows("runtimes", rows, machine(packages=("onnxruntime-gpu", "onnxruntime", "onnx")))


if __name__ == "__main__":
    main()
