"""A model repository for NVIDIA's Triton Inference Server, around an exported file."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from ..esc50.system import replacing
from ..kernels import CumelError
from .graph import PROBABILITIES, WAVEFORM, Metadata

MAX_BATCH = 64  # largest batch in the check of an export
PREFERRED = (8, 16, 32, 64)  # batch sizes
DELAY = 2000  # microseconds; a request waits so long for others
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ON_CPU = "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
# Triton's default is one instance per GPU. The CUDA provider's default, TF32, costs up to 4.5 dB near the floor.
ON_GPU = """\
optimization { execution_accelerators {
  gpu_execution_accelerator [ { name: "cuda" parameters { key: "use_tf32" value: "0" } } ]
} }
"""


def name_of(run: Path, precision: str) -> str:
    """Return what a run's model is called: like the run, and after its precision."""
    run = run.resolve()
    return named((run.parent if run.suffix else run).name, precision)


def named(name: str, precision: str) -> str:
    """Return a name of a model in a precision."""
    return name + ("" if precision == "fp32" else f"-{precision}")


def place_of(folder: Path, name: str) -> Path:
    """Return the place of a model: ``folder/NAME/1/model.onnx``.

    Raises
    ------
    CumelError
        For a name that Triton refuses.
    """
    if not NAME.fullmatch(name):
        raise CumelError(f"{name}: Triton takes names of letters, digits, dots, dashes and underscores; give --name")
    return folder / name / "1" / "model.onnx"


def write_repository(model: Path, metadata: Metadata, place: Path) -> Path:
    """Put an exported file at `place`, and ``config.pbtxt`` and ``labels.txt`` two folders above it.

    Parameters
    ----------
    model : Path
    metadata : Metadata
        Metadata of the model.
    place : Path
        The result of `place_of`; other models in the repository stay.

    Returns
    -------
    Path
        The file config.pbtxt.

    Raises
    ------
    CumelError
        When a file cannot be written.
    """
    top = place.parent.parent
    if model.resolve() != place.resolve():
        with replacing(place) as part:
            shutil.copyfile(model, part)
    with replacing(top / "labels.txt") as part:
        part.write_text("".join(f"{' '.join(label.split())}\n" for label in metadata.labels), encoding="utf-8")
    with replacing(top / "config.pbtxt") as part:
        part.write_text(config(top.name, metadata), encoding="utf-8")
    return top / "config.pbtxt"


def config(name: str, metadata: Metadata) -> str:
    """Return the configuration of a model as protobuf text, with dynamic batching; int8 models run on the CPU.

    The length of waveforms is -1 (any); requests of equal length share a batch.
    """
    shape = [-1] if metadata.input == WAVEFORM else list(metadata.input_shape)
    return f"""\
name: {json.dumps(name)}
backend: "onnxruntime"
max_batch_size: {MAX_BATCH}
input [ {{ name: "{metadata.input}" data_type: TYPE_FP32 dims: {shape} }} ]
output [
  {{ name: "{PROBABILITIES}" data_type: TYPE_FP32 dims: [{len(metadata.labels)}] label_filename: "labels.txt" }}
]
dynamic_batching {{ preferred_batch_size: {list(PREFERRED)} max_queue_delay_microseconds: {DELAY} }}
{ON_CPU if metadata.precision == "int8" else ON_GPU}"""
