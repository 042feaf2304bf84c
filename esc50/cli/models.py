"""The commands that export models, run them, and write them as a page for the browser."""

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
    outputs: Annotated[
        str, typer.Option(help="What it gives, by commas: probabilities, logits, features, embedding.")
    ] = "probabilities",
    samples: Annotated[
        int | None, typer.Option(help="Take clips of exactly so many samples; else of any length.")
    ] = None,
    lengths: Annotated[
        bool, typer.Option("--lengths", help="Take the lengths of padded clips as a second input, for servers.")
    ] = False,
    input_rate: Annotated[int | None, typer.Option(help="Hz that clips come at; the graph resamples.")] = None,
    dtype: Annotated[str, typer.Option(help="Samples: float32 in -1..1, or int16.")] = "float32",
    channels: Annotated[
        bool, typer.Option("--channels", help="Take an axis of channels before the samples, and mix it down.")
    ] = False,
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators: 17 or 18.")] = 18,
    precision: Annotated[str, typer.Option(help="The network's: fp32, fp16 (GPU) or int8 (CPU, web).")] = "fp32",
    calibration: Annotated[
        list[str] | None, typer.Option(help=f"For int8, one or more: {INPUTS_HELP}", show_default=False)
    ] = None,
    triton: Annotated[Path | None, typer.Option(help="Folder of a Triton model repository, to put it into.")] = None,
    name: Annotated[str | None, typer.Option(help="What Triton calls it; like the run when absent.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a trained network as an ONNX file, once it is proved equal to torch."""
    from ...export import Interface, export_onnx
    from ..inputs import resolve

    interface = Interface(
        input=input,
        samples=samples,
        lengths=lengths,
        rate=input_rate,
        dtype=dtype,
        channels=channels,
        outputs=tuple(output.strip() for output in outputs.split(",")),
        opset=opset,
    )
    clips = resolve(calibration) if calibration else ()
    written = export_onnx(run, out, interface, precision=precision, calibration=clips, triton=triton, name=name)
    show.facts(written, as_json)


@feature_options(None)
def predict(
    model: Annotated[Path, typer.Argument(help="An .onnx file that `cumel export` wrote.")],
    inputs: Inputs,
    top: Annotated[int | None, typer.Option(help="Labels to show; 5, or 3 of each window.", show_default=False)] = None,
    hop_seconds: Annotated[
        float | None, typer.Option(help="Classify whole recordings, in windows this far apart; else their beginning.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Least probability of a label that is named; a clip without one is none of these.")
    ] = 0.0,
    out: Annotated[str | None, typer.Option(help="Rows as they come: a .csv or .jsonl file, or - for stdout.")] = None,
    format: Annotated[str | None, typer.Option(help="csv or jsonl, whatever --out is called.")] = None,  # noqa: A002
    aggregate: Annotated[
        str | None, typer.Option(help="mean or max: one answer for each whole recording, of all its windows.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="Windows of one label merged: .csv, .jsonl, or .txt (labels for Audacity).")
    ] = None,
    event_threshold: Annotated[
        float | None, typer.Option(help="Least probability of an event; 0.5.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Picture: recordings with their labels; with --hop-seconds a timeline.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Read raw samples from stdin (-) until it ends.")] = False,
    sr: Annotated[int | None, typer.Option(help="Hz; the rate of --raw samples, else the model's.")] = None,
    channels: Annotated[int | None, typer.Option(help="Channels of --raw samples, interleaved; 1 when absent.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of --raw samples: int16 (when absent) or float32.")] = None,
    provider: Annotated[
        str, typer.Option(help="auto, cpu, cuda, tensorrt, or another of ONNX Runtime's, such as openvino.")
    ] = "auto",
    require_gpu: Annotated[
        bool, typer.Option("--require-gpu", help="Fail (exit code 3) rather than use the CPU.")
    ] = False,
    route: Annotated[
        str, typer.Option(help="Features by the model's own graph or by our kernels; auto takes the faster.")
    ] = "auto",
    as_json: AsJson = False,
    *,
    cfg: Expectation,
) -> None:
    """Classify recordings of any rate, length, channel count and format, or a stream of raw samples."""
    from ...export.prediction import Source, Target
    from ...export.runtime import load_model
    from .predicting import run

    whole = aggregate is not None or events is not None
    source = Source.of(inputs, raw=raw, sr=sr, channels=channels, dtype=dtype, hop_seconds=hop_seconds, whole=whole)
    target = Target.of(
        out, format, plot, as_json=as_json, events=events, aggregate=aggregate, threshold=event_threshold
    )
    loaded = load_model(model, provider=provider, require_gpu=require_gpu, route=route)
    expected = cfg(loaded.metadata.features)
    expected = expected if raw or sr is None else expected.replace(sr=sr)
    raise typer.Exit(run(loaded, source, target, top, expected, threshold))


def web(
    model: Annotated[Path, typer.Argument(help="The .onnx file of a waveform model.")],
    out: Annotated[Path, typer.Option(help="Folder of the site.")],
    runtime: Annotated[
        Path | None, typer.Option(help="The unpacked npm package onnxruntime-web, where npm cannot fetch it.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that holds other things.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a static page that classifies recordings in the browser, with nothing sent anywhere."""
    from ...export.web import write_site

    show.site(write_site(model, out, runtime=runtime, overwrite=overwrite), as_json)
