"""The command line: one function per command, each a few lines around the function that does the work.

The one file that may import from every folder; it does so inside the commands, so that ``--help`` needs no torch.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from ..kernels.config import FeatureConfig
from ..kernels.errors import CumelError
from . import show
from .cli_convert import convert
from .cli_training import cross_validate, evaluate, train
from .cores import CORES
from .options import AsJson, Device, Expectation, Inputs, Workers, feature_options

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)


def _version(shown: bool) -> None:
    if shown:
        print(version("cumel"))
        raise typer.Exit


@app.callback(help="Recordings to log-mel features on the GPU, to a trained CNN, to ONNX.")
def options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def synth(
    root: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    classes: Annotated[int, typer.Option(help="1 to 50.")] = 50,
    clips_per_class: Annotated[int, typer.Option(help="Spread over five folds.")] = 8,
    seconds: Annotated[float, typer.Option(help="Of each clip.")] = 5.0,
    sr: Annotated[int, typer.Option(help="Hz.")] = 44100,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Make a small dataset of 50 kinds of synthetic sound in ESC-50's layout."""
    from .synth import synthesize

    synthesize(root, classes=classes, clips_per_class=clips_per_class, seconds=seconds, sr=sr, seed=seed)
    show.facts({"root": str(root), "classes": classes, "clips": classes * clips_per_class}, as_json)


@app.command()
def download(
    root: Annotated[Path, typer.Argument(help="Folder of the dataset.")],
    url: Annotated[str | None, typer.Option(help="Another place that holds the archive.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Checksum that the archive must have.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch ESC-50 (600 MB) from its public archive: resumes, verifies, unpacks."""
    from .download import ESC50_URL, LICENSE_NOTICE
    from .download import download as fetch

    print(LICENSE_NOTICE, file=sys.stderr)
    show.facts({"root": str(fetch(root, url or ESC50_URL, sha256)), "license": LICENSE_NOTICE}, as_json)


@app.command()
@feature_options("esc50")
def extract(
    inputs: Inputs,
    out: Annotated[Path, typer.Option(help="Folder of the store.")],
    features: Annotated[str, typer.Option(help="logmel, mel, stft, mfcc or image.")] = "logmel",
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    device: Device = "auto",
    shard: Annotated[str | None, typer.Option(help="i/n: only every n-th file, from the i-th on.")] = None,
    workers: Workers = CORES,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start over.")] = False,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Also what failed, or changed since.")] = False,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster (pip install 'cumel[ray]').")] = "local",
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster; without it, one on this machine.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print failures only.")] = False,
    as_json: AsJson = False,
    *,
    cfg: FeatureConfig,
) -> None:
    """Extract features of recordings into a store. The same call goes on where an interrupted one ended."""
    from .device import choose
    from .extraction.extract import extract as here
    from .extraction.extract import my_share
    from .inputs import resolve

    if engine not in ("local", "ray"):
        raise CumelError(f"--engine {engine}: must be local or ray")
    if address is not None and engine != "ray":
        raise CumelError(f"--address {address}: only --engine ray has one")
    paths = my_share(resolve(inputs), shard)
    if not paths:
        show.facts({"files": 0, "note": f"no file falls into share {shard}"}, as_json)
        return
    if engine == "ray":
        from .extraction.engine_ray import extract_on_ray

        run = functools.partial(extract_on_ray, device=device, address=address)
    else:
        run = functools.partial(here, device=choose(device))
    report = run(
        paths,
        out,
        cfg,
        kind=features,
        dtype=dtype,
        workers=workers,
        overwrite=overwrite,
        retry_errors=retry_errors,
        quiet=quiet,
    )
    show.extraction(report, as_json, quiet)
    raise typer.Exit(1 if report["failed"] or (report["files"] and report["failed_before"]) else 0)


@app.command()
@feature_options("esc50")
def verify(
    inputs: Inputs, device: Device = "auto", workers: Workers = CORES, as_json: AsJson = False, *, cfg: FeatureConfig
) -> None:
    """Compare our log-mel spectrogram with librosa's in float64, on your own recordings."""
    from .device import choose
    from .inputs import resolve
    from .verify import verify as run

    report = run(resolve(inputs), cfg, choose(device), workers)
    show.verification(report, as_json)
    raise typer.Exit(0 if report["passed"] else 1)


for command in (convert, train, evaluate, cross_validate):
    app.command()(command)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path, typer.Option(help="The .onnx file.")],
    input: Annotated[str, typer.Option(help="What the model takes: image.")] = "image",  # noqa: A002
    precision: Annotated[str, typer.Option(help="fp32.")] = "fp32",
    as_json: AsJson = False,
) -> None:
    """Write a trained network as an ONNX file, once it is proved equal to torch."""
    from ..export.to_onnx import export as write

    show.facts(write(run, out, input=input, precision=precision), as_json)


@app.command()
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
    from ..export.predict import load_model
    from ..export.predict import predict as classify
    from .inputs import resolve

    loaded = load_model(model, provider=provider, require_gpu=require_gpu)
    report = classify(loaded, resolve(inputs), top=top, cfg=cfg(loaded.recipe.features))
    if plot is not None:
        from .draw import draw_results

        drawn = draw_results(report["results"], loaded.recipe, plot)
        report["plot"] = None if drawn is None else str(drawn)
    show.predictions(report, as_json)
    raise typer.Exit(1 if report["failed"] else 0)


@app.command()
@feature_options("esc50")
def plot(
    inputs: Inputs,
    out: Annotated[Path, typer.Option(help="Picture: .png, .svg or .pdf.")],
    as_json: AsJson = False,
    *,
    cfg: FeatureConfig,
) -> None:
    """Draw the waveform and the mel spectrogram of recordings."""
    from .draw import draw_files
    from .inputs import resolve

    report = draw_files(resolve(inputs), cfg, out)
    show.plotted(report, as_json)
    raise typer.Exit(1 if report["failures"] else 0)


@app.command()
def bench(
    topic: Annotated[str, typer.Argument(help="features, extract, train or inference.")] = "features",
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to the benchmark, after --.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the project against what one would use instead, in a checkout of it."""
    from .bench import run

    show.facts(run(topic, arguments or [], quiet=as_json), as_json)


@app.command()
def doctor(as_json: AsJson = False, require_gpu: Annotated[bool, typer.Option("--require-gpu")] = False) -> None:
    """Say what this machine has, what it lacks, and what to do about it."""
    from .doctor import examine

    report = examine()
    show.diagnosis(report, as_json)
    raise typer.Exit(3 if not report["healthy"] or (require_gpu and not report["gpu"]) else 0)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 some inputs failed, 2 wrong call, 3 something missing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not fit the terminal's encoding
    if "" in (sys.argv[1:] if arguments is None else arguments):
        return _say("an argument is empty; check the variables in the call", 2)  # as a path it would mean this folder
    try:
        code = app(arguments, standalone_mode=False)
    except SystemExit as error:
        piped = isinstance(error.__context__, OSError) and error.__context__.errno == errno.EPIPE
        return 0 if piped else int(error.code or 0)
    except MemoryError:
        return _say("not enough memory for this call; use smaller values or fewer workers", 2)
    except CumelError as error:
        return _say(" ".join(str(error).split()), error.exit_code)
    except typer.TyperException as error:
        return _say(error.format_message(), error.exit_code)
    except (typer.Abort, KeyboardInterrupt) as error:
        return _say(f"interrupted{': ' if str(error.__cause__ or '') else ''}{error.__cause__ or ''}", 130)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _say(f"{error.filename or 'a file'}: {error.strerror or error}; check the place and its free space", 2)
    return code if isinstance(code, int) else 0


def _say(text: str, code: int) -> int:
    if text:
        print(f"cumel: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
