"""The commands that export and run models; `app` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .options import AsJson, Expectation, Inputs, feature_options


def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path, typer.Option(help="The .onnx file.")],
    input: Annotated[str, typer.Option(help="What the model takes: waveform or image.")] = "waveform",  # noqa: A002
    precision: Annotated[str, typer.Option(help="fp32.")] = "fp32",
    as_json: AsJson = False,
) -> None:
    """Write a trained network as an ONNX file, once it is proved equal to torch."""
    from ...export.to_onnx import export as write

    show.facts(write(run, out, input=input, precision=precision), as_json)


@feature_options(None)
def predict(
    model: Annotated[Path, typer.Argument(help="An .onnx file that `cumel export` wrote.")],
    inputs: Inputs,
    top: Annotated[int, typer.Option(help="Labels to show.")] = 5,
    provider: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    require_gpu: Annotated[
        bool, typer.Option("--require-gpu", help="Fail (exit code 3) rather than use the CPU.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Picture: waveforms, spectrograms, labels.")] = None,
    as_json: AsJson = False,
    *,
    cfg: Expectation,
) -> None:
    """Classify recordings of any rate, length, channel count and format."""
    from ...export.predict import load_model
    from ...export.predict import predict as classify
    from ..inputs import resolve

    loaded = load_model(model, provider=provider, require_gpu=require_gpu)
    report = classify(loaded, resolve(inputs), top=top, cfg=cfg(loaded.recipe.features))
    if plot is not None:
        from ..draw import draw_results

        drawn = draw_results(report["results"], loaded.recipe, plot)
        report["plot"] = None if drawn is None else str(drawn)
    show.predictions(report, as_json)
    raise typer.Exit(1 if report["failed"] else 0)
