"""A model repository for NVIDIA's Triton Inference Server, around an exported file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..esc50.system import replacing
from ..kernels import CumelError
from .card import ends
from .check import BATCHES
from .graph import (
    LENGTHS,
    LOGITS,
    PROBABILITIES,
    WAVEFORM,
    Interface,
    Metadata,
    inputs_of,
    outputs_of,
    summary,
)
from .snippets import prepared

DELAY = 2000  # microseconds; a request waits so long for others
TYPES = {"float32": "FP32", "int16": "INT16", "int64": "INT64"}  # Triton's names
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ON_CPU = "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
BY_LABEL = (PROBABILITIES, LOGITS)  # outputs whose columns have labels
# Triton's default is one instance per GPU. The CUDA provider's default, TF32, costs up to 4.5 dB near the floor.
ON_GPU = """\
optimization { execution_accelerators {
  gpu_execution_accelerator [ { name: "cuda" parameters { key: "use_tf32" value: "0" } } ]
} }
"""
README = """\
# {name}

{summary}

{ends}

{batching} Labels are in labels.txt, one a line, and Triton names them where a client asks for classes.

{client}"""
BATCHED = """\
Every request has {n} samples for each clip, and the clip's own number of samples as `lengths` [batch, 1]: so requests
of any recordings share a batch, and each has the answer that its clip has alone. Pad a shorter clip at its end, cut a
longer one."""
FIXED = "Every request has {n} samples for each clip, so requests share batches."
CLIENT = """\
```python
import numpy, soundfile, soxr, tritonclient.http as http
y, sr = soundfile.read("dog.wav", dtype="float32", always_2d=True)
y = soxr.resample(y, sr, {sr})  # [samples, channels]
{prepared}
inputs = [http.InferInput("waveform", list(clips.shape), "{type}").set_data_from_numpy(clips)]
{lengths}wanted = [http.InferRequestedOutput("{output}"{classes})]
answer = http.InferenceServerClient("localhost:8000").infer("{name}", inputs, outputs=wanted)
print(answer.as_numpy("{output}"))
```
"""
CLIENT_LENGTHS = """\
inputs.append(http.InferInput("lengths", [1, 1], "INT64").set_data_from_numpy(numpy.array([[n]])))
"""


def for_batches(interface: Interface) -> Interface:
    """Return an interface by which requests of recordings of any length share a batch: with `lengths`."""
    free = interface.input == WAVEFORM and interface.samples is None
    return interface.replace(lengths=True) if free else interface


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


def write_repository(model: Path, metadata: Metadata, place: Path, sizes: Mapping[str, Sequence[int]]) -> Path:
    """Put an exported file at `place`; ``config.pbtxt``, ``labels.txt`` and ``README.md`` two folders above it.

    Parameters
    ----------
    model : Path
    metadata : Metadata
        Metadata of the model.
    place : Path
        The result of `place_of`; other models in the repository stay.
    sizes : mapping of str to sequence of int
        For each output, its axes without the batch.

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
    texts = {
        "labels.txt": "".join(f"{' '.join(label.split())}\n" for label in metadata.labels),
        "README.md": readme(top.name, metadata),
        "config.pbtxt": config(top.name, metadata, sizes),
    }
    for name, text in texts.items():
        with replacing(top / name) as part:
            part.write_text(text, encoding="utf-8")
    return top / "config.pbtxt"


def config(name: str, metadata: Metadata, sizes: Mapping[str, Sequence[int]]) -> str:
    """Return the configuration of a model as protobuf text, with dynamic batching; int8 models run on the CPU.

    Triton makes one batch of requests of one shape: waveforms have the network's own length, and `lengths` says how
    much of it is a clip.
    """
    taken = ",\n".join(
        f'  {{ name: "{end.name}" data_type: TYPE_{TYPES[end.dtype]} {_dims(end.name, end.shape, metadata)} }}'
        for end in inputs_of(metadata)
    )
    given = ",\n".join(
        f'  {{ name: "{end.name}" data_type: TYPE_{TYPES[end.dtype]} dims: {list(sizes[end.name])}'
        f"{' label_filename: ' + json.dumps('labels.txt') if end.name in BY_LABEL else ''} }}"
        for end in outputs_of(metadata)
    )
    return f"""\
name: {json.dumps(name)}
backend: "onnxruntime"
max_batch_size: {max(BATCHES)}
input [
{taken}
]
output [
{given}
]
dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}
{ON_CPU if metadata.precision == "int8" else ON_GPU}"""


def _dims(name: str, shape: Sequence[str | int], metadata: Metadata) -> str:
    """Return the axes of an input without the batch; Triton has no input without any, so it reshapes lengths."""
    if name == LENGTHS:
        return "dims: [1] reshape { shape: [] }"
    own = metadata.own_samples if metadata.interface.lengths else -1
    return f"dims: {[own if axis == 'samples' else -1 if isinstance(axis, str) else axis for axis in shape[1:]]}"


def readme(name: str, metadata: Metadata) -> str:
    """Describe a served model in Markdown, with a client."""
    interface = metadata.interface
    n = metadata.own_samples if interface.lengths else interface.samples
    batching = BATCHED if interface.lengths else FIXED
    return README.format(
        name=name,
        summary=summary(metadata),
        ends=ends(metadata),
        batching=batching.format(n=n) if metadata.input == WAVEFORM else "All requests share batches.",
        client=_client(name, metadata) if metadata.input == WAVEFORM else "",
    )


def _client(name: str, metadata: Metadata) -> str:
    interface = metadata.interface
    output = next((name for name in BY_LABEL if name in interface.outputs), interface.outputs[0])
    return CLIENT.format(
        name=name,
        type=TYPES[interface.dtype],
        sr=metadata.sr,
        prepared=prepared(metadata, metadata.own_samples if interface.lengths else None),
        lengths=CLIENT_LENGTHS if interface.lengths else "",
        output=output,
        classes=f", class_count={min(3, len(metadata.labels))}" if output in BY_LABEL else "",
    )
