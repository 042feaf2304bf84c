"""What mkdocs does first: the folders of this repository are joined into the package `cumel`, for the API reference."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "build" / "reference"  # named in mkdocs.yml


def on_startup(**_: object) -> None:
    """Link every folder to where its package is found."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    folders = tomllib.loads(text)["tool"]["setuptools"]["package-dir"]
    package = SOURCES / "cumel"
    package.mkdir(parents=True, exist_ok=True)
    for name, folder in folders.items():
        _, _, part = name.partition(".")
        links = {part: ROOT / folder} if part else {path.name: path for path in (ROOT / folder).glob("*.py")}
        for link, target in links.items():
            path = package / link
            path.unlink(missing_ok=True)
            path.symlink_to(target)
