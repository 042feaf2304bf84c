"""A server of a small archive, the folder to download into, and no waiting between tries."""

from collections.abc import Iterator
from pathlib import Path

import pooch.core
import pytest

from support.archive_server import Site, dataset, pack, serve


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds between tries, none of which pass."""
    waits: list[float] = []
    monkeypatch.setattr(pooch.core.time, "sleep", waits.append)
    return waits


@pytest.fixture
def site(waits: list[float]) -> Iterator[Site]:  # noqa: ARG001
    with serve(pack(dataset())) as site:
        yield site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "esc50"
