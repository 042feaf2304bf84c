"""The commands that make datasets, and those that turn recordings into features and pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ...kernels import PRESETS, CumelError, FeatureConfig
from ..system import CORES
from . import show
from .options import INPUTS_HELP, AsJson, Device, Inputs, Root, Workers, feature_options


def synth(
    root: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    classes: Annotated[int, typer.Option(help="Number of classes, 1 to 50.")] = 50,
    clips_per_class: Annotated[int, typer.Option(help="Clips of each class, spread over five folds.")] = 8,
    seconds: Annotated[float, typer.Option(help="Length of each clip.")] = 5.0,
    sr: Annotated[int, typer.Option(help="Sample rate, Hz.")] = 44100,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Make a small dataset of 50 kinds of synthetic sound in ESC-50's layout."""
    from ..datasets import synthesize

    synthesize(root, classes=classes, clips_per_class=clips_per_class, seconds=seconds, sr=sr, seed=seed)
    show.facts({"root": str(root), "classes": classes, "clips": classes * clips_per_class}, as_json)


def download(
    root: Annotated[Path, typer.Argument(help="Folder of the dataset.")],
    url: Annotated[str | None, typer.Option(help="Another place that holds the archive.")] = None,
    sha256: Annotated[
        str | None, typer.Option(help="Checksum that the archive must have; none: its content alone is checked.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch ESC-50 (646 MB), check it, unpack it. What fails on the way is tried again, from the first byte."""
    from ..datasets import ESC50_URL, LICENSE_NOTICE, download as fetch

    print(LICENSE_NOTICE, file=sys.stderr)
    show.facts({"root": str(fetch(root, url or ESC50_URL, sha256)), "license": LICENSE_NOTICE}, as_json)


@feature_options("esc50")
def extract(
    inputs: Inputs,
    out: Annotated[Path, typer.Option(help="Folder of the store.")],
    features: Annotated[str, typer.Option(help="logmel, mel, stft, mfcc or image.")] = "logmel",
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    device: Device = "auto",
    root: Root = None,
    shard: Annotated[str | None, typer.Option(help="i/n: only every n-th file, from the i-th on.")] = None,
    workers: Workers = CORES,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start over.")] = False,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Also take what failed before.")] = False,
    drop_errors: Annotated[bool, typer.Option("--drop-errors", help="Keep no rows of what failed.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Also make anew what is damaged.")] = False,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster (pip install 'cumel\\[ray]').")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of the Ray cluster; without it, one on this machine.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print failures only.")] = False,
    as_json: AsJson = False,
    *,
    cfg: FeatureConfig,
) -> None:
    """Extract features of recordings into a store. The same call goes on where an interrupted one ended.

    A recording that changed since (its size, or its time) is taken again; one that moved is recognised by its content.
    """
    import pyarrow as pa

    from ..datasets import extract as run

    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own pool keeps freed memory: 250 bytes a name
    report = run(
        inputs,
        out,
        cfg,
        kind=features,
        dtype=dtype,
        device=device,
        root=root,
        shard=shard,
        workers=workers,
        engine=engine,
        address=address,
        overwrite=overwrite,
        retry_errors=retry_errors,
        drop_errors=drop_errors,
        repair=repair,
        quiet=quiet,
    )
    if not report["files"] and "failed" not in report:
        return show.facts(report, as_json)
    show.extraction(report, as_json, quiet)
    raise typer.Exit(1 if report["failed"] or report["failed_before"] else 0)


def convert(
    store: Annotated[Path, typer.Argument(help="Folder of the store, as `cumel extract` wrote it.")],
    to: Annotated[str, typer.Option(help="npy, webdataset, zarr, hdf5 or hf (Hugging Face).")],
    out: Annotated[Path, typer.Option(help="A new folder; for hdf5 a new file.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write extracted features in another format."""
    from ..store import convert as run

    show.facts(run(store, out, to, quiet=quiet), as_json)


@feature_options("esc50")
def verify(
    inputs: Annotated[list[str], typer.Argument(help=f"A store, alone. Or: {INPUTS_HELP}", show_default=False)],
    device: Device = "auto",
    workers: Workers = CORES,
    against: Annotated[
        str | None,
        typer.Option(help="A preprocessor_config.json, which transformers computes; or kaldi: torchaudio does."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="With --against: where to draw the largest difference; .png, .svg or .pdf.")
    ] = None,
    as_json: AsJson = False,
    *,
    cfg: FeatureConfig,
) -> None:
    """Read a store again and name what is damaged in it; or compare our features of recordings with others'.

    A STORE is a folder that `cumel extract` wrote: everything in it is compared with its checksums. Of recordings, our
    log-mel spectrogram is compared with librosa's in float64; or with --against every value that a pretrained model's
    own front end gives, as `cumel verify --against preprocessor_config.json FOLDER`.
    """
    from ..extraction import check, holds_store

    stores = [name for name in inputs if holds_store(Path(name))]
    if stores:
        if len(inputs) > 1:
            raise CumelError(f"{stores[0]}: is a store, which is verified alone; name it in a call of its own")
        if cfg != PRESETS["esc50"]:
            raise CumelError(f"{stores[0]}: is a store, which has its own config; leave the options of features away")
        report = check(Path(stores[0]), quiet=as_json)
        show.integrity(report, as_json)
        raise typer.Exit(0 if report["passed"] else 1)
    from ..inputs import resolve
    from ..system import choose

    listing = resolve(inputs)
    show.left_out(listing)
    if against is None:
        if picture:
            raise CumelError("--picture: draws what --against compares; give both")
        from ..verify import verify as run

        report = run(listing, cfg, choose(device), workers)
        show.verification(report, as_json)
    else:
        from ...pretrained import original
        from ..against import verify_against

        named = None if cfg == PRESETS["esc50"] else cfg
        if named and against != "kaldi":
            raise CumelError(f"--against {against}: describes its own features; leave their options away")
        report = verify_against(listing, original(against, named), workers, picture)
        show.differences(report, as_json)
    raise typer.Exit(0 if report["passed"] else 1)


@feature_options("esc50")
def plot(
    inputs: Inputs,
    out: Annotated[Path, typer.Option(help="Picture: .png, .svg or .pdf.")],
    as_json: AsJson = False,
    *,
    cfg: FeatureConfig,
) -> None:
    """Draw the waveform and the mel spectrogram of recordings."""
    from ..inputs import resolve
    from ..reports import draw_files

    listing = resolve(inputs)
    show.left_out(listing)
    report = draw_files(listing, cfg, out)
    show.plotted(report, as_json)
    raise typer.Exit(1 if report["failures"] else 0)
