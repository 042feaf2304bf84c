"""ONNX Runtime Web from npm: one pinned version, and of its files those that a static page needs."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

from ...esc50.system import cache_folder, replacing
from ...kernels import CumelError, UnavailableError

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
TARBALL = f"{PACKAGE}-{VERSION}.tgz"
# WebAssembly on one thread: more threads need the headers COOP and COEP, and plain static servers do not send them.
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
# Checksums of the tarball, as `npm view onnxruntime-web@1.30.0 dist.integrity` prints it, and of files in its dist/.
SHA512 = {
    TARBALL: "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    FILES[0]: "AnefQglyknuf4QnoyL8HFb54s1grWx7q6F6v2UZRr7RxVbsJeXd/k6siiXj1mlkQmpyHEnDIBJzx1Bta3J3ZCg==",
    FILES[1]: "IboQh0Pwb+2CvUlaEljlBVLJWlFfGUCxCquU6kjywgW+qj9+DZtJYSU9pueGY4A4vT2W5rQ8Zt4CNNIDL8Kf1g==",
    FILES[2]: "Gt7e1iIDIZ/PXEhM/OVleqWHVom0kEI/hs8cod0crXcV9jDGM39B23HuQnlOOgDOC3x4k5pxIgtdgzaL9up3MA==",
}
NPM_SECONDS = 300  # time limit for a download of 33 MB
OFFLINE = (
    f"let npm reach its registry, or unpack {PACKAGE} {VERSION} on a machine that does "
    f"(`npm pack {PACKAGE}@{VERSION}`) and name its folder with --runtime"
)


def runtime_files(folder: Path | None = None) -> dict[str, bytes]:
    """Return the runtime's files by name: from `folder`, else from the user's cache, else from npm.

    Parameters
    ----------
    folder : path, optional
        The unpacked npm package, such as ``node_modules/onnxruntime-web``.

    Raises
    ------
    CumelError
        When `folder` does not hold this version of the package.
    UnavailableError
        When there is no npm, or it cannot fetch the package.
    """
    if folder is not None:
        return _from_folder(folder)
    cache = _cache()
    try:
        return {name: _checked(name, (cache / name).read_bytes()) for name in FILES}
    except (OSError, CumelError):  # The cache is empty or damaged.
        files = _from_npm()
    with suppress(CumelError):  # Without a writable cache the next call fetches again.
        for name, content in files.items():
            with replacing(cache / name) as part:
                part.write_bytes(content)
    return files


def _cache() -> Path:
    return cache_folder() / "cumel" / f"{PACKAGE}-{VERSION}"


def sha512(content: bytes) -> str:
    """Return a checksum as npm writes it."""
    return base64.b64encode(hashlib.sha512(content).digest()).decode()


def _checked(name: str, content: bytes) -> bytes:
    if sha512(content) != SHA512[name]:
        raise CumelError(f"{name}: its SHA-512 is not that of {PACKAGE} {VERSION}")
    return content


def _from_folder(folder: Path) -> dict[str, bytes]:
    try:
        package = json.loads((folder / "package.json").read_bytes())
        version = f"{package['name']} {package['version']}"
    except (OSError, ValueError, KeyError, TypeError):
        raise CumelError(f"{folder}: is no unpacked npm package; give the folder that holds its package.json") from None
    if version != f"{PACKAGE} {VERSION}":
        raise CumelError(f"{folder}: holds {version}, and this version works with {PACKAGE} {VERSION}; unpack that one")
    try:
        return {name: _checked(name, (folder / "dist" / name).read_bytes()) for name in FILES}
    except OSError as error:
        raise CumelError(f"{error.filename}: {error.strerror}; unpack the whole package again") from None
    except CumelError as error:
        raise CumelError(f"{folder}: {error}; unpack the package again") from None


def _from_npm() -> dict[str, bytes]:
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError(f"the page runs on {PACKAGE}, which npm fetches, and there is no npm: {OFFLINE}")
    with tempfile.TemporaryDirectory(prefix="cumel-") as scratch:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--loglevel=error"]
        try:
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=NPM_SECONDS)
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"npm took over {NPM_SECONDS} s to fetch {PACKAGE} {VERSION}: {OFFLINE}") from None
        tarball = Path(scratch, TARBALL)
        if done.returncode or not tarball.is_file():
            lines = [line.removeprefix("npm error ") for line in done.stderr.splitlines() if line.strip()]
            raise UnavailableError(f"npm cannot fetch {PACKAGE} {VERSION} ({(lines or ['?'])[0]}): {OFFLINE}")
        try:
            _checked(TARBALL, tarball.read_bytes())
        except CumelError as error:
            raise UnavailableError(f"npm fetched something else: {error}; check where npm fetches from") from None
        with tarfile.open(tarball) as archive:
            return {name: _checked(name, _member(archive, f"package/dist/{name}")) for name in FILES}


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None  # The tarball's checksum was right.
    return file.read()
