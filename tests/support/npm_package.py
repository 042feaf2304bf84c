"""A small npm package in place of ONNX Runtime Web, which is 14 MB; conftest.py registers the fixture."""

import json
from pathlib import Path

import pytest

from cumel.export.web import runtime
from cumel.export.web.runtime import FILES, PACKAGE, SHA512, VERSION

CONTENT = {name: f"// {name}\n".encode() for name in FILES}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpack a small npm package; its checksums are taken for the real one's."""
    folder = tmp_path / "package"
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": PACKAGE, "version": VERSION}))
    for name, content in CONTENT.items():
        (folder / "dist" / name).write_bytes(content)
        monkeypatch.setitem(SHA512, name, runtime.sha512(content))
    return folder
