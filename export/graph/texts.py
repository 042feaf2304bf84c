"""What a file says of itself, in sentences: its inputs and outputs, for viewers, other runtimes and the model card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .interface import EMBEDDING, FEATURES_NAME, IMAGE, LENGTHS, LOGITS, PROBABILITIES, WAVEFORM, Interface
from .metadata import Metadata

if TYPE_CHECKING:
    from onnxscript import ir

SIZE = "size"  # the axis of an embedding, whose length the network alone knows
RANGES = {"float32": "-1..1", "int16": "PCM, -32768..32767"}
UNITS = {"db": "decibels", "ln": "natural logarithms", "log10": "decimal logarithms", None: "mel values"}
ACTIVATIONS = {
    "softmax": "Softmax: one label fits a clip, and a row adds up to 1.",
    "sigmoid": "Sigmoid: each label has a probability of its own, and a row does not add up to 1.",
    "none": "As the network itself gives them.",
}
LENGTHS_TEXT = (
    f"Samples of each clip in {WAVEFORM}; what lies behind them is not heard, so each clip has the answer that it has "
    "alone. More than there are counts as all of them, 0 is silence."
)


class End(NamedTuple):
    """An input or output of a file."""

    name: str
    dtype: str  # NumPy's name
    shape: tuple[str | int, ...]  # a name stands for any length
    text: str  # one paragraph

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape), "description": self.text}


def inputs_of(metadata: Metadata) -> list[End]:
    """Describe the inputs of a file, in their order."""
    interface = metadata.interface
    if interface.input == IMAGE:
        return [End(IMAGE, "float32", ("batch", *metadata.input_shape), features_text(metadata))]
    axes = ("batch", "channels") if interface.channels else ("batch",)
    axis = "samples" if interface.samples is None else interface.samples
    ends = [End(WAVEFORM, interface.dtype, (*axes, axis), _waveform(metadata))]
    return [*ends, End(LENGTHS, "int64", ("batch",), LENGTHS_TEXT)] if interface.lengths else ends


def outputs_of(metadata: Metadata) -> list[End]:
    """Describe the outputs of a file, in their order."""
    columns = ("batch", len(metadata.labels))
    before = "" if metadata.activation == "none" else f" before the {metadata.activation}"
    ends = {
        PROBABILITIES: (columns, f"{ACTIVATIONS[metadata.activation]} Columns are in the order of the labels."),
        LOGITS: (columns, f"Scores{before}, in the order of the labels."),
        FEATURES_NAME: (("batch", *metadata.input_shape), features_text(metadata)),
        EMBEDDING: (("batch", SIZE), "What the network's last layer takes: one vector for each clip."),
    }
    return [End(name, "float32", *ends[name]) for name in metadata.interface.outputs]


def summary(metadata: Metadata) -> str:
    """Say in a sentence what a file is for."""
    number = len(metadata.labels)
    return f"Classifies clips of {metadata.seconds:g} s into {number} kind{'s' if number > 1 else ''} of sound."


def features_text(metadata: Metadata) -> str:
    """Name the axes and the unit of a network's features."""
    cfg = metadata.features
    unit = f"levels 0..255, which span each clip's {UNITS['db']}" if metadata.kind == "image" else UNITS[cfg.log]
    unit += ", normalised" if metadata.kind != "image" and cfg.is_per_band else ""
    bands = f"{cfg.n_mels} mel bands, {cfg.fmin:g} to {cfg.top_frequency:g} Hz"
    frames = f"{cfg.n_frames(metadata.n_samples)} frames, one every {1000 * cfg.hop_length / cfg.sr:.3g} ms"
    axes = (frames, bands) if cfg.time_major else (bands, frames)
    return f"Features of {metadata.seconds:g} s at {cfg.sr} Hz: {unit}. The last two axes are {axes[0]}, and {axes[1]}."


def _fitting(metadata: Metadata) -> str:
    """Say what becomes of a clip that is not of the network's length."""
    interface, own = metadata.interface, metadata.own_samples
    if interface.samples == own:
        return f"Exactly {own} samples ({metadata.seconds:g} s): cut a longer clip; {_shorter(interface)}."
    where = f"{own} samples ({metadata.seconds:g} s)"
    how = "filled up with zeros at its end" if interface.fit == "zeros" else "mirrored at both ends"
    if interface.samples is not None:
        becomes = "cut at its end" if interface.samples > own else how
        return f"Exactly {interface.samples} samples; the network hears {where} of it, the clip is {becomes}."
    return f"Any number of samples: a clip of more than {where} is cut at its end, a shorter one is {how}."


def _shorter(interface: Interface) -> str:
    if interface.fit == "zeros":
        return "fill a shorter one up with zeros at its end"
    return "mirror a shorter one at both ends (numpy.pad, mode='reflect'), for zeros change the answer"


def _waveform(metadata: Metadata) -> str:
    interface = metadata.interface
    mono = "Any number of channels, mixed down to their mean" if interface.channels else "Mono"
    inside = "" if metadata.sr == metadata.features.sr else f" The file resamples it to {metadata.features.sr} Hz."
    text = f"{mono}, {RANGES[interface.dtype]}, at {metadata.sr} Hz: resample any other rate before.{inside} "
    text += _fitting(metadata)
    if interface.samples is None and not interface.lengths:
        text += " Never pad a batch: the padding would be heard. All clips of a batch have one length."
    if interface.lengths:
        text += " Pad the clips of a batch at their ends, with anything, and give their lengths."
    return text if interface.dtype == "int16" else f"{text} A NaN or an infinite sample makes a clip's answer NaN."


def describe(model: ir.Model, metadata: Metadata) -> None:
    """Write what a file takes and gives into it: its name, and doc_strings of the graph, its inputs and outputs."""
    graph = model.graph
    graph.name = metadata.name
    told = {end.name: end for end in (*inputs_of(metadata), *outputs_of(metadata))}
    for value in (*graph.inputs, *graph.outputs):
        if value.name in told:
            value.doc_string = told[value.name].text
    ends = " ".join(f"{end.name} [{', '.join(map(str, end.shape))}], {end.dtype}: {end.text}" for end in told.values())
    graph.doc_string = f"{summary(metadata)} {ends}"
    model.doc_string = summary(metadata) + " The properties have the labels, the rate, and all else (JSON)."


def to_json(metadata: Metadata) -> dict[str, Any]:
    """Return, as JSON types, all that a client needs whose runtime reads no properties, such as ONNX Runtime Web."""
    return {
        "summary": summary(metadata),
        "sample_rate": metadata.sr,
        "samples": metadata.own_samples,
        "inputs": [end.to_dict() for end in inputs_of(metadata)],
        "outputs": [end.to_dict() for end in outputs_of(metadata)],
        **metadata.to_dict(),
    }
