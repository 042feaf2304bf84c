"""What a model file takes and gives: its inputs, their form, and its outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ...esc50.audio import HIGHEST_RATE, LOWEST_RATE
from ...kernels import CumelError

WAVEFORM, IMAGE, LENGTHS = "waveform", "image", "lengths"  # names of inputs
PROBABILITIES, LOGITS, FEATURES_NAME, EMBEDDING = "probabilities", "logits", "features", "embedding"
CLIP_NAME = "clip"  # the value that features are computed of: [batch, n_samples], mono, at their own rate
INPUTS = (WAVEFORM, IMAGE)
OUTPUTS = (PROBABILITIES, LOGITS, FEATURES_NAME, EMBEDDING)
DTYPES = ("float32", "int16")
FITS = ("mirror", "zeros")
OPSETS = (17, 18)
OPSET = OPSETS[-1]  # From 22 on, ONNX Runtime has no CUDA kernel for MaxPool, and silently runs it on the CPU.
MOST_SAMPLES = 1 << 27
MOST_SECONDS = 3600.0  # of the clips of a network or a front end
MOST_BYTES = 1536 << 20  # of a network in one file; torch's exporter puts more than that into a second one


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What a model file takes and gives. Without arguments: mono float32 clips of any length, at the features' rate.

    Parameters
    ----------
    input : {"waveform", "image"}
        Samples [batch, samples], or the features that the network itself takes.
    samples : int, optional
        Write a file for clips of exactly so many samples, at `rate`. Where that is the network's own length, nothing is
        fitted.
    lengths : bool
        Take a second input, ``lengths`` [batch], int64: the samples of each clip in a padded batch. Each clip then has
        the answer that it has alone.
    rate : int, optional
        Hz of the samples, where it is not the features' own: the graph resamples.
    dtype : {"float32", "int16"}
        Samples in -1..1, or PCM.
    channels : bool
        Take [batch, channels, samples], and mix the channels down to their mean.
    fit : {"mirror", "zeros"}, optional
        What becomes of a clip that is shorter than the network's: it is mirrored at both ends, as `cumel train` does,
        or filled up at its end with zeros. A longer one is cut at its end. Without it, what the exporter says.
    outputs : tuple of {"probabilities", "logits", "features", "embedding"}
        Outputs, in this order. The embedding is what the last layer takes.
    opset : {17, 18}
        Version of ONNX's operators. 17 is for tools that do not know 18.
    """

    input: str = WAVEFORM
    samples: int | None = None
    lengths: bool = False
    rate: int | None = None
    dtype: str = "float32"
    channels: bool = False
    fit: str | None = None
    outputs: tuple[str, ...] = (PROBABILITIES,)
    opset: int = OPSET

    def __post_init__(self) -> None:
        """Check types and ranges, as values come from the command line and from files."""
        for name, known in (("input", INPUTS), ("dtype", DTYPES), ("fit", (None, *FITS))):
            if not isinstance(getattr(self, name), str | None) or getattr(self, name) not in known:
                raise CumelError(f"{name}={getattr(self, name)}: must be one of {', '.join(filter(None, known))}")
        for name in ("lengths", "channels"):
            if not isinstance(getattr(self, name), bool):
                raise CumelError(f"{name}={getattr(self, name)!r}: must be true or false")
        for name, least, most in (("samples", 1, MOST_SAMPLES), ("rate", LOWEST_RATE, HIGHEST_RATE)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (whole and least <= value <= most):
                raise CumelError(f"{name}={value!r}: must be a whole number, {least} to {most}")
        if not isinstance(self.opset, int) or self.opset not in OPSETS:
            raise CumelError(f"opset={self.opset!r}: must be {' or '.join(map(str, OPSETS))}")
        object.__setattr__(self, "outputs", tuple(self.outputs))
        unknown = [name for name in self.outputs if name not in OUTPUTS]
        if unknown or not self.outputs or len(set(self.outputs)) < len(self.outputs):
            told = ",".join(map(str, self.outputs))
            raise CumelError(f"outputs={told}: must be some of {', '.join(OUTPUTS)}, each once")
        self._check_contradictions()

    def _check_contradictions(self) -> None:
        if self.input == IMAGE:
            of_waveforms = {"samples", "lengths", "rate", "dtype", "channels"} & self._changed()
            if of_waveforms:
                raise CumelError(f"{', '.join(sorted(of_waveforms))}: waveforms alone have these, and input is image")
            if FEATURES_NAME in self.outputs:
                raise CumelError("outputs: features would be the input itself, as input is image; leave them out")
        if self.lengths and self.samples is not None:
            raise CumelError("lengths: clips of a fixed number of samples have no lengths of their own; leave one out")

    def _changed(self) -> set[str]:
        return {field.name for field in fields(self) if getattr(self, field.name) != field.default}

    def replace(self, **changes: Any) -> Interface:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    @property
    def network_outputs(self) -> tuple[str, ...]:
        """The outputs that are the network's own."""
        return tuple(name for name in self.outputs if name != FEATURES_NAME)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self) | {"outputs": list(self.outputs)}

    def to_json(self) -> str:
        """Return the fields as JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: Any) -> Interface:
        """Build an interface from what `to_json` wrote; a `CumelError` for anything else."""
        known = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or not set(values) <= known or not isinstance(values.get("outputs"), list):
            raise CumelError("expected its fields, and a list of outputs")
        return cls(**values)
