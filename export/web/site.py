"""The site's folder: the page, the model with its features as a second output, its metadata, and the runtime."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...esc50.datasets import held
from ...esc50.system import commit, unwritable
from ...kernels import CumelError, need
from ..graph import FEATURES_NAME, PROBABILITIES, WAVEFORM, Interface, Metadata
from ..runtime import read_exported
from .runtime import VERSION, runtime_files

HERE = Path(__file__).parent
SITE_FORMAT = "cumel web 1"
MODEL, ABOUT, KEEPER = "model.onnx", "model.json", "sw.js"
RATES = (8000, 192_000)  # Hz; lowest and highest rate that browsers resample to
STAGING_FOLDER = ".cumel-web.part"  # inside the site, so that finished files are moved by a rename


def write_site(
    model: Path | str, out: Path | str, *, runtime: Path | str | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Write a static page that classifies recordings with a waveform model, inside the browser.

    `out` then holds the page, its model and ONNX Runtime Web, for any static server. Other files in the folder of a
    site stay. No file is ever half-written.

    Parameters
    ----------
    model : path
        An .onnx file that `export` wrote for waveforms.
    out : path
        Folder of the site.
    runtime : path, optional
        Folder of the unpacked npm package onnxruntime-web, for machines on which npm cannot fetch it.
    overwrite : bool
        Whether to write into a folder that holds other files.

    Returns
    -------
    dict
        ``site``, ``files`` (name to bytes), ``bytes``, ``model``, ``onnxruntime_web`` (its version), and ``serve``, the
        command that serves the site.

    Raises
    ------
    CumelError
        For a model that takes no waveforms or is not ours, a folder that holds other files, and files that cannot be
        written.
    UnavailableError
        When ONNX Runtime Web is neither given nor cached, and npm cannot fetch it.
    """
    model, out = Path(model), Path(out)
    _check_folder(out, overwrite)
    graph, metadata = read_exported(model)
    _check_interface(model, metadata.interface)
    sr = metadata.sr
    if not RATES[0] <= sr <= RATES[1]:
        raise CumelError(
            f"{model}: takes {sr} Hz audio, and browsers resample to {RATES[0]}..{RATES[1]} Hz; train another"
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
        for name in content:  # model.json comes last, as it marks the folder as a site.
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


def _check_interface(model: Path, interface: Interface) -> None:
    """Raise a `CumelError` for a model that takes or gives other things than the page does."""
    if interface.input != WAVEFORM:
        raise CumelError(
            f"{model}: takes {interface.input}s; a page needs one that `cumel export --input waveform` wrote"
        )
    other = {"samples": interface.samples is not None, "lengths": interface.lengths, "channels": interface.channels}
    other |= {f"dtype {interface.dtype}": interface.dtype != "float32"}
    named = [name for name, differs in other.items() if differs]
    if named:
        told = f"{model}: was exported with {', '.join(named)}"
        raise CumelError(f"{told}; a page needs one for float32 clips of any length")
    if PROBABILITIES not in interface.outputs:
        raise CumelError(f"{model}: gives {', '.join(interface.outputs)}, and a page needs {PROBABILITIES}")


def _check_folder(out: Path, overwrite: bool) -> None:
    """Raise a `CumelError` for a folder whose files may not be ours."""
    if out.exists() and not out.is_dir():
        raise CumelError(f"{out}: is a file; give a folder")
    if overwrite or not out.is_dir() or not any(path.name != STAGING_FOLDER for path in out.iterdir()):
        return
    try:
        former = json.loads((out / ABOUT).read_bytes())["format"]
    except (OSError, ValueError, TypeError, KeyError):
        former = None
    if former != SITE_FORMAT:
        raise CumelError(f"{out}: holds files that `cumel web` did not write; give another folder, or --overwrite")


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Yield a new folder in `out` for unfinished files; it is removed in the end, also after an error."""
    is_new = not out.exists()
    stage = out / STAGING_FOLDER
    try:
        shutil.rmtree(stage, ignore_errors=True)  # A killed run may have left one.
        stage.mkdir(parents=True)
        yield stage
    except OSError as error:
        raise unwritable(out, error) from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # A folder that holds a site stays.
                out.rmdir()


def _page() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((HERE / "page").iterdir())}


def _runtime(folder: Path | None) -> dict[str, bytes]:
    """Return the runtime's files, .mjs renamed to .js: many servers do not send .mjs as a script."""
    files = {f"runtime/{name.replace('.mjs', '.js')}": data for name, data in runtime_files(folder).items()}
    return {**files, "runtime/LICENSE.txt": (HERE / "onnxruntime-web.LICENSE.txt").read_bytes()}


def _keeper(content: dict[str, bytes]) -> bytes:
    """Return the service worker with the digests of the other files, and one digest of all."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in content.items() if name != KEEPER}
    script = content[KEEPER]
    version = hashlib.sha256(json.dumps(digests, sort_keys=True).encode() + script).hexdigest()[:16]
    return f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(digests, indent=1)};\n".encode() + script


def _with_features(path: Path, model: Any, metadata: Metadata) -> bytes:
    """Return the model with the network's features as a second output, as runtimes return outputs only."""
    onnx = need("onnx", __name__)

    if not any(FEATURES_NAME in node.output for node in model.graph.node):
        raise CumelError(f"{path}: no value in it is called {FEATURES_NAME}; export it again")
    shape = ["batch", *metadata.input_shape]
    kept = [value for value in model.graph.output if value.name == PROBABILITIES]
    del model.graph.output[:]
    features = onnx.helper.make_tensor_value_info(FEATURES_NAME, onnx.TensorProto.FLOAT, shape)
    model.graph.output.extend([*kept, features])
    return model.SerializeToString()


def _about(metadata: Metadata) -> dict[str, Any]:
    """Return the metadata that the page needs, and the facts that it shows."""
    recipe, cfg = metadata.recipe, metadata.features
    named = metadata.name if recipe is None else f"{recipe.model} network, recipe {recipe.name}"
    facts = [f"{named}, {metadata.precision}"]
    if metadata.accuracy is not None:
        views = f", by {recipe.views} views a clip" if recipe is not None and recipe.views > 1 else ""
        facts.append(f"{metadata.accuracy:.1%} right on {held(metadata.fold)}, which it never saw{views}")
    bands = f"{cfg.n_mels} mel bands, {cfg.fmin:g}-{cfg.top_frequency:g} Hz"
    facts += [
        f"{len(metadata.labels)} labels",
        f"{bands}, of {metadata.seconds:g} s at {cfg.sr / 1000:g} kHz",
        f"ONNX Runtime Web {VERSION}",
    ]
    return {
        "format": SITE_FORMAT,
        **metadata.to_dict(),
        "sr": metadata.sr,
        "samples": metadata.own_samples,
        "precision": metadata.precision,
        "fold": metadata.fold,
        "accuracy": metadata.accuracy,
        "facts": facts,
    }
