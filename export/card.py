"""The model card: what a model file classifies, how well, and how to call it without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..esc50.datasets import Description
from .graph import WAVEFORM, Metadata

TEMPLATE = """\
# {name}

Classifies clips of {seconds:g} s into {n_labels} kinds of sound. Recipe `{recipe}` of cumel, {precision}.

## Input and output

{interface}

## Scores

| fold held out | epochs | views | accuracy on that fold |
|---|---|---|---|
| {fold} | {epoch} | {views} | {accuracy} |

Accuracy is torch's, in float32, by the mean of the probabilities of that many rolled views of a clip; the file
classifies one view. {checked}

## Precision

{use}

## Features

{kind} Names are librosa's.

| | |
|---|---|
{features}

## Data and licence

{data}

## Limits

The model answers with one of its labels, also for silence, speech, and any sound that its training data lacked.
Its probabilities are not calibrated. A clip has one label: sounds that overlap share the probability. Frequencies
above {top_frequency:g} Hz have no effect.

## Labels

{labels}

## Made with

{versions}
"""

WAVEFORMS = """\
- `waveform` [batch, samples], float32: mono, -1..1, at {sr} Hz, of any length. A clip longer than {seconds:g} s is cut
  at its end; a shorter one is mirrored at both ends, as in training. Resample before.
- `probabilities` [batch, {n_labels}], float32.
- `features` [batch, {shape}], inside the graph: the input of the network.

```python
import json, numpy, onnxruntime, soundfile
model = onnxruntime.InferenceSession({file!r}, providers=["CPUExecutionProvider"])
labels = json.loads(model.get_modelmeta().custom_metadata_map["labels"])
y, sr = soundfile.read("dog.wav", dtype="float32", always_2d=True)  # sr must be {sr}
(probabilities,) = model.run(None, {{"waveform": y.mean(axis=1)[None]}})
print(labels[numpy.argmax(probabilities[0])])
```"""

IMAGES = """\
- `image` [batch, {shape}], float32: the features below.
- `probabilities` [batch, {n_labels}], float32."""

TF32 = "On CUDA set `use_tf32=0`: TF32, the default there, costs up to 4.5 dB near the floor."
USE = {
    "fp32": f"float32, for the CPU, the web and GPUs: every operator has a CUDA kernel. {TF32}",
    "fp16": f"The network is float16, its features float32. For GPUs. {TF32}",
    "int8": "The network's convolutions are int8, its features float32. For the CPU and the web: there is no CUDA "
    "kernel for them.",
}

KIND = {
    "logmel": "Decibels, normalised inside the network.",
    "image": "Decibels, stretched clip by clip over 0..255 and rounded down.",
}


NO_DATA = "What it was trained on is not known: its run has no data.json."


def card(metadata: Metadata, path: Path, checked: dict[str, Any], learned_from: Description | None = None) -> str:
    """Describe an exported model in Markdown.

    Parameters
    ----------
    metadata : Metadata
    path : Path
        File of the model; the card uses its name.
    checked : dict
        Report of `check`.
    learned_from : Description, optional
        What the run says about its data.
    """
    recipe, cfg = metadata.recipe, metadata.features
    facts = {
        "file": path.name,
        "sr": metadata.sr,
        "seconds": metadata.seconds,
        "n_labels": len(metadata.labels),
        "shape": ", ".join(map(str, metadata.input_shape)),
    }
    fields = {name: value for name, value in cfg.to_dict().items() if name not in ("n_mfcc", "lifter")}
    return TEMPLATE.format(
        **facts,
        name=path.stem,
        recipe=metadata.name,
        precision=metadata.precision,
        interface=(WAVEFORMS if metadata.input == WAVEFORM else IMAGES).format(**facts),
        fold="none" if metadata.fold is None else metadata.fold,
        epoch="-" if metadata.epoch is None else metadata.epoch,
        views=1 if recipe is None else recipe.views,
        accuracy="not measured" if metadata.accuracy is None else f"{100 * metadata.accuracy:.1f} %",
        checked=_checked(checked),
        data=NO_DATA if learned_from is None else "\n".join(f"- {_sentence(line)}" for line in learned_from.lines()),
        use=USE[metadata.precision],
        kind=KIND[metadata.kind],
        features="\n".join(f"| {name} | {value} |" for name, value in fields.items()),
        top_frequency=cfg.top_frequency,
        labels=", ".join(metadata.labels),
        versions=", ".join(f"{name} {version}" for name, version in metadata.versions.items()),
    )


def _sentence(line: str) -> str:
    return line[:1].upper() + line[1:] + "."


def _checked(checked: dict[str, Any]) -> str:
    text = (
        f"Against torch, a probability differs by {checked['max_difference']:.1e} at most, and "
        f"{100 * checked['same_top']:.1f} % of {checked['clips']} clips have the same class on top."
    )
    for unit, key in ((" dB", "_db"), ("", "")):
        if f"noise{key}" in checked:
            noise, tonal = (f"{checked[name + key]:.1e}{unit}" for name in ("noise", "tonal"))
            text += f" Against the float64 reference, features differ by {noise} on noise and {tonal} on tones at most."
    return text
