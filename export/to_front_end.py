"""A front end as an ONNX file of its own, which is written once it is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnxscript import ir

from ..esc50.system import replacing
from ..kernels import CumelError, FeatureConfig, config_of
from .check import check_front_end
from .graph import MOST_SECONDS, OPSETS, front_end


def export_frontend(
    cfg: FeatureConfig | str, out: Path | str, *, seconds: float | None = None, opset: int = OPSETS[-1]
) -> dict[str, Any]:
    """Write the front end of a config or preset as an ONNX file.

    The graph takes ``waveforms`` [batch, samples], float32, mono, in -1..1 and at the config's rate, and
    ``waveforms_lens`` [batch], int64: the samples of each clip. It returns ``features`` [batch, n_mels, frames], or
    [batch, frames, n_mels] with `cfg.time_major`, float32, and ``features_lens`` [batch], int64: the frames of each.
    Names and shapes are those of onnx-asr. Any length will do; each clip of a batch has the features it has alone, and
    past its end what `log_mel` has there. A clip shorter than a frame has none.

    No file appears before its features agree with the float64 reference.

    Parameters
    ----------
    cfg : FeatureConfig or str
        The features, or the name of a preset.
    out : path
        The .onnx file; a missing folder is made.
    seconds : float, optional
        Cut each clip, or fill it up with zeros, to this length, as Whisper does to 30; all then have as many frames.
    opset : {17, 18}
        Version of ONNX's operators. 17 is for tools that do not know 18.

    Returns
    -------
    dict
        The file and its size, inputs and outputs, opset, and what the check found: the largest difference of a feature,
        in its own unit, and the largest share of what float32 explains.

    Raises
    ------
    CumelError
        For an unknown preset or opset, too few seconds for a frame, a name that is none of a model, an n_fft whose
        transform takes too much, a file that fails its check, or a place that cannot be written.

    Examples
    --------
    >>> export_frontend("parakeet", "fe.onx")
    Traceback (most recent call last):
    ...
    cumel.kernels.errors.CumelError: fe.onx: give the name of a file that ends in .onnx
    """
    cfg, out = config_of(cfg), Path(out)
    if out.suffix.lower() != ".onnx" or out.is_dir():
        raise CumelError(f"{out}: give the name of a file that ends in .onnx")
    if opset not in OPSETS:
        raise CumelError(f"opset={opset}: must be {' or '.join(map(str, OPSETS))}")
    n_samples = None if seconds is None else _samples(seconds, cfg)
    model = front_end(cfg, opset, n_samples)
    with replacing(out) as part:
        ir.save(model, part)
        try:
            checked = check_front_end(part, cfg, n_samples)
        except CumelError as error:
            raise CumelError(f"{out}: not written, as the exported front end fails its check: {error}") from None
    shapes = {value.name: value for value in (*model.graph.inputs, *model.graph.outputs)}
    named = {name: f"{name} {value.shape} {value.dtype}".lower() for name, value in shapes.items()}
    inputs, outputs = ([named[value.name] for value in values] for values in (model.graph.inputs, model.graph.outputs))
    return {
        "model": str(out),
        "bytes": out.stat().st_size,
        "sample_rate": cfg.sr,
        "inputs": ", ".join(inputs),
        "outputs": ", ".join(outputs),
        "opset": opset,
        "nodes": len(model.graph),
        **checked,
    }


def _samples(seconds: float, cfg: FeatureConfig) -> int:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= MOST_SECONDS:
        raise CumelError(f"seconds={seconds}: must be a number above 0, and at most {MOST_SECONDS:g}")
    n_samples = round(seconds * cfg.sr)
    if n_samples < cfg.least_samples:
        raise CumelError(f"seconds={seconds:g}: {n_samples} samples, fewer than the {cfg.least_samples} of one frame")
    return n_samples
