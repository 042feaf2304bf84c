"""The model card: what a model file classifies, how well, and how to call it without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..esc50.datasets import Description
from .graph import WAVEFORM, Metadata, inputs_of, outputs_of, summary
from .snippets import ffmpeg, snippets

LABELS_SUFFIX = ".labels.json"  # the file is for runtimes that cannot read properties, such as onnxruntime-web

TEMPLATE = """\
# {name}

{summary} {network}, {precision}.

## Input and output

{ends}

{calls}
## Scores

{scores}{checked}

## Precision

{use}

{warnings}

## Features

{kind} Names are librosa's.

| | |
|---|---|
{features}

## Data and licence

{data}

## Limits

{answers} Its probabilities are not calibrated. Frequencies above {top_frequency:g} Hz have no effect.

## Labels

{labels}

## Made with

{versions}
"""

CALLS = """\
## Programs

Samples at another rate, taken for {sr} Hz, are the commonest mistake, and no runtime notices it: a model for 16 kHz
gave only 13 of 60 real clips at 44.1 kHz the label that they get when they are resampled. The program in Python
resamples; for the others this makes mono samples of the right rate and type of any recording:

```sh
{ffmpeg}
```

{programs}In other runtimes than ONNX Runtime, and for tools, {labels_file} says what the file's properties say.

"""
PROGRAM = """\
### {heading}

```{language}
{program}```

"""

SCORES = """\
| fold held out | epochs | views | accuracy on that fold |
|---|---|---|---|
| {fold} | {epoch} | {views} | {accuracy} |

Accuracy is torch's, in float32, by the mean of the probabilities of that many rolled views of a clip; the file
classifies one view. """

TF32 = "On CUDA set `use_tf32=0`: TF32, the default there, costs up to 4.5 dB near the floor."
USE = {
    "fp32": f"float32, for the CPU, the web and GPUs: every operator has a CUDA kernel. {TF32}",
    "fp16": f"The network is float16, its features float32. For GPUs. {TF32}",
    "int8": "The network's convolutions are int8, its features float32. For the CPU and the web: there is no CUDA "
    "kernel for them.",
}
# Measured with a model of 50 labels, on real clips, against the file as it was exported.
WARNINGS = """\
Tools change a file's answers without a word. Of 100 real clips, `quantize_dynamic` left 23 their label, and
`quantize_static` of the whole graph 9; without the nodes `frontend/*` it left 95. The float16 converters of ONNX
Runtime and onnxconverter give NaN. Use `cumel export --precision int8` (97 of 100) or `fp16` (all). OpenVINO takes
bfloat16 where the CPU has it, and is then 0.02 off: set `INFERENCE_PRECISION_HINT` to `f32`."""

KIND = {
    "logmel": "Decibels, normalised inside the network.",
    "image": "Decibels, stretched clip by clip over 0..255 and rounded down.",
}
ANSWERS = {
    "softmax": "The model answers with one of its labels, also for silence, speech, and any sound that its training "
    "data lacked. A clip has one label: sounds that overlap share the probability.",
    "sigmoid": "The model answers for each label by itself: a clip may have several, or none.",
    "none": "The network's own values are handed on as they are.",
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
    cfg = metadata.features
    fields = {name: value for name, value in cfg.to_dict().items() if name not in ("n_mfcc", "lifter")}
    return TEMPLATE.format(
        name=path.stem,
        summary=summary(metadata),
        network=f"Network `{metadata.name}`" if metadata.recipe is None else f"Recipe `{metadata.name}` of cumel",
        precision=metadata.precision,
        ends=ends(metadata),
        calls=_calls(metadata, path) if metadata.input == WAVEFORM else "",
        scores=_scores(metadata),
        checked=_checked(checked),
        use=USE[metadata.precision],
        warnings=WARNINGS,
        kind=_kind(metadata),
        features="\n".join(f"| {name} | {value} |" for name, value in fields.items()),
        data=NO_DATA if learned_from is None else "\n".join(f"- {_sentence(line)}" for line in learned_from.lines()),
        answers=ANSWERS[metadata.activation],
        top_frequency=cfg.top_frequency,
        labels=", ".join(metadata.labels),
        versions=", ".join(f"{name} {version}" for name, version in metadata.versions.items()),
    )


def ends(metadata: Metadata) -> str:
    """List a file's inputs and outputs in Markdown."""
    return "\n".join(
        f"- `{end.name}` [{', '.join(map(str, end.shape))}], {end.dtype}: {end.text}"
        for end in (*inputs_of(metadata), *outputs_of(metadata))
    )


def _calls(metadata: Metadata, path: Path) -> str:
    labels_file = path.with_suffix(LABELS_SUFFIX).name
    programs = "".join(
        PROGRAM.format(heading=heading, language=language, program=program)
        for language, (heading, program) in snippets(metadata, path, labels_file).items()
    )
    return CALLS.format(sr=metadata.sr, ffmpeg=ffmpeg(metadata), programs=programs, labels_file=labels_file)


def _scores(metadata: Metadata) -> str:
    """Return the table of a trained network's accuracy; of another network nothing is known."""
    if metadata.recipe is None:
        return ""
    return SCORES.format(
        fold="none" if metadata.fold is None else metadata.fold,
        epoch="-" if metadata.epoch is None else metadata.epoch,
        views=metadata.recipe.views,
        accuracy="not measured" if metadata.accuracy is None else f"{100 * metadata.accuracy:.1f} %",
    )


def _kind(metadata: Metadata) -> str:
    if metadata.recipe is None:
        return "As the network takes them."
    return KIND[metadata.kind]


def _sentence(line: str) -> str:
    return line[:1].upper() + line[1:] + "."


def _checked(checked: dict[str, Any]) -> str:
    text = f"Against the network itself, an output differs by {checked['max_difference']:.1e} at most."
    if "same_top" in checked:
        text += f" Of {checked['clips']} clips {100 * checked['same_top']:.1f} % have the same class on top."
    if checked["without_cuda_kernel"]:
        listed = ", ".join(checked["without_cuda_kernel"])
        text += f" ONNX Runtime is not known to have CUDA kernels for {listed}: it may run these on the CPU."
    for unit, key in ((" dB", "_db"), ("", "")):
        if f"noise{key}" in checked:
            noise, tonal = (f"{checked[name + key]:.1e}{unit}" for name in ("noise", "tonal"))
            text += f" Against the float64 reference, features differ by {noise} on noise and {tonal} on tones at most."
    return text
