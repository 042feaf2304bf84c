"""The command that writes a front end as an ONNX file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...kernels import CumelError, FeatureConfig
from . import show
from .options import AsJson, Expectation, feature_options

UNNAMED = FeatureConfig(sr=1)  # No recording has this rate.


@feature_options(None)
def frontend(
    out: Annotated[Path, typer.Option(help="The .onnx file.")],
    seconds: Annotated[
        float | None, typer.Option(help="Cut each clip, or fill it up with zeros, to this length: 30 for Whisper.")
    ] = None,
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators: 17 or 18.")] = 18,
    as_json: AsJson = False,
    *,
    cfg: Expectation,
) -> None:
    """Write features as an ONNX file: waveforms of any lengths in, features out, under onnx-asr's names."""
    from ...export import export_frontend

    if cfg(UNNAMED).sr == UNNAMED.sr:
        raise CumelError("no features are named: give --preset, or --sr and what else differs from librosa's defaults")
    show.facts(export_frontend(cfg(FeatureConfig()), out, seconds=seconds, opset=opset), as_json)
