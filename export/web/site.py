"""Writes the folder: the page, the model with its features as an output, what it says of itself, the runtime."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...esc50.system import commit, unwritable
from ...kernels import CumelError
from ..graph import FEATURES_NAME, WAVEFORM, Metadata
from ..runtime import read_exported
from .runtime import VERSION, runtime_files

HERE = Path(__file__).parent
FORMAT = "cumel web 1"
MODEL, ABOUT, KEEPER = "model.onnx", "model.json", "sw.js"
RATES = (8000, 192_000)  # Hz, to which browsers can resample
STAGE = ".cumel-web.part"  # inside the site, so that what is finished need only be renamed


def write_site(
    model: Path | str, out: Path | str, *, runtime: Path | str | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Write a static page that classifies recordings with a waveform model, in the browser alone.

    The page, its model and ONNX Runtime Web lie in `out`, which any static server can serve. A site that is written
    again keeps what else lies in its folder. No file is ever half-written.

    Parameters
    ----------
    model : path
        An .onnx file that `export` wrote for waveforms.
    out : path
        Folder of the site.
    runtime : path, optional
        The unpacked npm package onnxruntime-web, where npm cannot fetch it.
    overwrite : bool
        Write into a folder that holds something else, too.

    Returns
    -------
    dict
        ``site``, ``files`` (name to bytes), ``bytes``, ``model``, ``onnxruntime_web`` (its version), and ``serve``, a
        command.

    Raises
    ------
    CumelError
        For a model that takes no waveforms or is not ours, a folder that holds something else, and what cannot be
        written.
    UnavailableError
        When ONNX Runtime Web is neither given nor cached, and npm cannot fetch it.
    """
    model, out = Path(model), Path(out)
    _check_folder(out, overwrite)
    graph, metadata = read_exported(model)
    if metadata.input != WAVEFORM:
        raise CumelError(
            f"{model}: takes {metadata.input}s; a page needs one that `cumel export --input waveform` wrote"
        )
    sr = metadata.recipe.features.sr
    if not RATES[0] <= sr <= RATES[1]:
        raise CumelError(
            f"{model}: hears at {sr} Hz, and browsers resample to {RATES[0]}..{RATES[1]} Hz; train another"
        )
    content = {**_page(), **_runtime(None if runtime is None else Path(runtime))}
    content[MODEL] = _with_features(model, graph, metadata)
    content[ABOUT] = json.dumps(_about(metadata), indent=1, ensure_ascii=False).encode()
    content[KEEPER] = _keeper(content)
    with _staged(out) as stage:
        for name, data in content.items():
            path = stage / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        for name in content:  # model.json is the last: with it the folder is a site
            (out / name).parent.mkdir(exist_ok=True)
            commit(stage / name, out / name)
    return {
        "site": str(out),
        "model": str(model),
        "onnxruntime_web": VERSION,
        "files": {name: len(data) for name, data in content.items()},
        "bytes": sum(map(len, content.values())),
        "serve": f"python -m http.server -d {shlex.quote(str(out))}",
    }


def _check_folder(out: Path, overwrite: bool) -> None:
    """Refuse a place where somebody else's files may be lost."""
    if out.exists() and not out.is_dir():
        raise CumelError(f"{out}: is a file; give a folder")
    if overwrite or not out.is_dir() or not any(path.name != STAGE for path in out.iterdir()):
        return
    try:
        former = json.loads((out / ABOUT).read_bytes())["format"]
    except (OSError, ValueError, TypeError, KeyError):
        former = None
    if former != FORMAT:
        raise CumelError(f"{out}: holds files that `cumel web` did not write; give another folder, or --overwrite")


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Yield a new folder in `out` for files in the making; whatever fails leaves no trace of it."""
    made = not out.exists()
    stage = out / STAGE
    try:
        shutil.rmtree(stage, ignore_errors=True)  # of a run that was killed
        stage.mkdir(parents=True)
        yield stage
    except OSError as error:
        raise unwritable(out, error) from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if made:
            with suppress(OSError):  # it holds a site
                out.rmdir()


def _page() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((HERE / "page").iterdir())}


def _runtime(folder: Path | None) -> dict[str, bytes]:
    """Return the runtime's files under the ending .js: many servers do not know .mjs to be a script."""
    found = {f"runtime/{name.replace('.mjs', '.js')}": data for name, data in runtime_files(folder).items()}
    return {**found, "runtime/LICENSE.txt": (HERE / "onnxruntime-web.LICENSE.txt").read_bytes()}


def _keeper(content: dict[str, bytes]) -> bytes:
    """Return the service worker with what it must know of the other files: their digests, and one of them all."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in content.items() if name != KEEPER}
    script = content[KEEPER]
    version = hashlib.sha256(json.dumps(digests, sort_keys=True).encode() + script).hexdigest()[:16]
    return f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(digests, indent=1)};\n".encode() + script


def _with_features(path: Path, model: Any, metadata: Metadata) -> bytes:
    """Return the model with what its network is given as a second output: runtimes hand out outputs alone."""
    import onnx

    if not any(FEATURES_NAME in node.output for node in model.graph.node):
        raise CumelError(f"{path}: no value in it is called {FEATURES_NAME}; export it again")
    shape = ["batch", *metadata.recipe.input_shape]
    model.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES_NAME, onnx.TensorProto.FLOAT, shape))
    return model.SerializeToString()


def _about(metadata: Metadata) -> dict[str, Any]:
    """Return what the page must know of the model, and the facts that it shows."""
    recipe = metadata.recipe
    cfg = recipe.features
    facts = [f"{recipe.model} network, recipe {recipe.name}, {metadata.precision}"]
    if metadata.accuracy is not None:
        views = f", by {recipe.views} views a clip" if recipe.views > 1 else ""
        facts.append(f"{metadata.accuracy:.1%} right on fold {metadata.fold}, which it never saw{views}")
    bands = f"{cfg.n_mels} mel bands, {cfg.fmin:g}-{cfg.top_frequency:g} Hz"
    facts += [
        f"{len(metadata.labels)} labels",
        f"{bands}, of {recipe.seconds:g} s at {cfg.sr / 1000:g} kHz",
        f"ONNX Runtime Web {VERSION}",
    ]
    return {
        "format": FORMAT,
        **metadata.to_dict(),
        "sr": cfg.sr,
        "samples": recipe.n_samples,
        "precision": metadata.precision,
        "fold": metadata.fold,
        "accuracy": metadata.accuracy,
        "facts": facts,
    }
