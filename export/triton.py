"""A model repository for NVIDIA's Triton Inference Server, around an exported file."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from ..esc50.files import replacing
from ..kernels import CumelError
from .frontend import WAVEFORM
from .metadata import Metadata
from .network import PROBABILITIES

MAX_BATCH = 64
PREFERRED = (8, 16, 32, 64)
DELAY = 2000  # microseconds that a request waits for others
ON_CPU = "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
# One instance per GPU is Triton's default. TF32 is the CUDA provider's; it costs up to 4.5 dB near the floor.
ON_GPU = """\
optimization { execution_accelerators {
  gpu_execution_accelerator [ { name: "cuda" parameters { key: "use_tf32" value: "0" } } ]
} }
"""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_repository(model: Path, metadata: Metadata, folder: Path) -> Path:
    """Write ``folder/NAME/config.pbtxt``, ``labels.txt`` and ``1/model.onnx``, NAME being the model's without suffix.

    Parameters
    ----------
    model : Path
        An exported file.
    metadata : Metadata
        Its own.
    folder : Path
        The repository; other models in it stay.

    Returns
    -------
    Path
        Of the configuration.

    Raises
    ------
    CumelError
        For a name that Triton does not take, and a place that cannot be written.
    """
    name = check_name(model)
    place = folder / name
    with replacing(place / "1" / "model.onnx") as part:
        shutil.copyfile(model, part)
    with replacing(place / "labels.txt") as part:
        part.write_text("".join(f"{_one_line(label)}\n" for label in metadata.labels), encoding="utf-8")
    with replacing(place / "config.pbtxt") as part:
        part.write_text(config(name, metadata), encoding="utf-8")
    return place / "config.pbtxt"


def check_name(model: Path) -> str:
    """Return the name of a model in a repository: its file's, without the suffix."""
    if not NAME.fullmatch(model.stem):
        raise CumelError(f"{model}: Triton takes names of letters, digits, dots, dashes and underscores; rename it")
    return model.stem


def config(name: str, metadata: Metadata) -> str:
    """Return the configuration as protobuf text: dynamic batching, and one instance per GPU, or on the CPU for int8.

    Requests are batched when they agree in length, which is -1, any, for waveforms.
    """
    shape = [-1] if metadata.input == WAVEFORM else list(metadata.recipe.input_shape)
    on_cpu = metadata.precision == "int8"
    return f"""\
name: {json.dumps(name)}
backend: "onnxruntime"
max_batch_size: {MAX_BATCH}
input [ {{ name: "{metadata.input}" data_type: TYPE_FP32 dims: {shape} }} ]
output [
  {{ name: "{PROBABILITIES}" data_type: TYPE_FP32 dims: [{len(metadata.labels)}] label_filename: "labels.txt" }}
]
dynamic_batching {{ preferred_batch_size: {list(PREFERRED)} max_queue_delay_microseconds: {DELAY} }}
{ON_CPU if on_cpu else ON_GPU}"""


def _one_line(label: str) -> str:
    return " ".join(label.split())
