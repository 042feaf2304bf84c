"""The whole pipeline on sounds that it makes itself: ``make demo``, or ``python -m cumel.esc50.cli.demo FOLDER``.

It does nothing but run the commands that a user would type, and shows each before it runs. It downloads nothing.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path

from . import main

FOLD = 1  # the held-out fold: two clips of each class
EPOCHS = 30
FILES = 3  # number of held-out recordings to classify


def demo(folder: Path) -> int:
    """Make a dataset, extract, train, evaluate, export, predict; returns the exit code of the first that fails."""
    data, store, run = folder / "data", folder / "features", folder / "run"
    model, picture = folder / "model.onnx", folder / "prediction.png"
    started = time.monotonic()
    if folder.exists() and any(folder.iterdir()) and not (data / "meta" / "synth.json").is_file():
        print(f"cumel: {folder}: holds something else than an earlier demo; name a new folder", file=sys.stderr)
        return 2
    shutil.rmtree(run, ignore_errors=True)
    steps = [
        ("make clips of 50 kinds of sound", f"synth {_q(data)}"),
        (
            "compute their log-mel features",
            f"extract {_q(data / 'audio')} --out {_q(store)} --preset compact --features logmel --overwrite",
        ),
        (
            f"train a network on all folds but fold {FOLD}",
            f"train --data {_q(data)} --features {_q(store)} --out {_q(run)} --epochs {EPOCHS} --fold {FOLD}",
        ),
        (f"test it on fold {FOLD}", f"evaluate {_q(run)} --data {_q(data)} --features {_q(store)}"),
        ("write it as an ONNX file", f"export {_q(run)} --out {_q(model)}"),
    ]
    n_steps = len(steps) + 1
    print(f"The whole pipeline in {n_steps} steps, into {folder}. Nothing is downloaded.")
    for number, (what, step) in enumerate(steps, start=1):
        code = _run(f"{number} of {n_steps}: {what}", step)
        if code:
            return code
    files = sorted((data / "audio").glob(f"{FOLD}-*.wav"))
    files = files[:: max(1, len(files) // FILES)][:FILES]
    last = f"predict {_q(model)} {' '.join(map(_q, files))} --plot {_q(picture)}"
    code = _run(f"{n_steps} of {n_steps}: label {len(files)} clips that it has not heard", last)
    print(f"\ndone in {time.monotonic() - started:.0f} s\npicture: {picture}\nreport:  {run / 'report.html'}")
    return code


def _q(path: Path) -> str:
    return shlex.quote(str(path))


def _run(title: str, step: str) -> int:
    print(f"\n{title}\n$ cumel {step}", flush=True)
    return main(shlex.split(step))


if __name__ == "__main__":
    sys.exit(demo(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
