"""The commands that export and run models; `app` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .options import INPUTS_HELP, AsJson, Expectation, Inputs, feature_options


def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path | None, typer.Option(help="The .onnx file; with --triton it may be left out.")] = None,
    input: Annotated[str, typer.Option(help="What the model takes: waveform or image.")] = "waveform",  # noqa: A002
    precision: Annotated[str, typer.Option(help="Of the network: fp32, fp16 (GPU) or int8 (CPU, web).")] = "fp32",
    calibration: Annotated[
        list[str] | None, typer.Option(help=f"For int8, once or more: {INPUTS_HELP}", show_default=False)
    ] = None,
    triton: Annotated[Path | None, typer.Option(help="Folder of a Triton model repository, to put it into.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a trained network as an ONNX file, once it is proved equal to torch."""
    from ...export.to_onnx import export as write
    from ..inputs import resolve

    clips = resolve(calibration) if calibration else ()
    show.facts(write(run, out, input=input, precision=precision, calibration=clips, triton=triton), as_json)


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
