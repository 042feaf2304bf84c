"""Options and fixtures of every test: the GPU marker, real recordings, and a fixed seed for drawn examples."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

if find_spec("hypothesis"):
    from hypothesis import settings

    settings.register_profile("seeded", derandomize=True, deadline=None, database=None)
    settings.load_profile("seeded")

# A bare GPU machine, which has neither soundfile nor hypothesis, runs the tests of the kernels.
pytest_plugins = ["support.pairwise", *(("support.npm_package", "support.web_pages") if find_spec("soundfile") else ())]

TEST_DATA = "CUMEL_TEST_DATA"  # names a folder that holds ESC-50 recordings in esc50/ and esc50-44k/


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-gpu", action="store_true", help="fail, not skip, tests that need a CUDA device")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        if item.config.getoption("--require-gpu"):
            pytest.fail("--require-gpu was given, but torch sees no CUDA device", pytrace=False)
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real recordings, or skip."""
    if TEST_DATA not in os.environ:
        pytest.skip(f"set {TEST_DATA} to a folder that holds esc50/ and esc50-44k/")
    folder = Path(os.environ[TEST_DATA])
    missing = [name for name in ("esc50", "esc50-44k") if not (folder / name).is_dir()]
    assert not missing, f"{TEST_DATA}={folder}: no {' and no '.join(missing)} in it"
    return folder


@pytest.fixture(autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    """Give torch its threads back after a test: a worker of Ray that runs in this process has one."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> int:
    """Let torch use one thread, then two."""
    torch.set_num_threads(request.param)
    return request.param
