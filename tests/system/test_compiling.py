"""Training goes on without torch.compile where that cannot work, says so first, and says what compiling costs."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._inductor.exc import InductorError

from cumel.esc50.datasets import Dataset
from cumel.esc50.system import compiling
from cumel.esc50.system.compiling import no_extension, why_eager
from cumel.esc50.training import loop
from cumel.kernels import CumelError

from support.recordings import tiny_recipe, write_dataset

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def script(place: Path, text: str) -> str:
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)
    return str(place)


def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert no_extension() == "there is no C compiler (apt-get install gcc, or set CC)"
    assert why_eager(CUDA) == no_extension()


def test_with_a_compiler_that_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command, said in (
        (str(tmp_path / "gone"), r"gone does not work \(.*No such file"),
        (
            script(tmp_path / "cc", "echo 'works.c:1: fatal error: no libc' >&2; exit 1"),
            r"cc does not work \(works.c:1: fatal",
        ),
        (script(tmp_path / "killed", "exit 137"), r"killed does not work \(exit code 137\)"),
        (script(tmp_path / "slow", "sleep 9"), r"slow does not work \(.*timed out"),
        (f"{tmp_path}/slow -O2", r"slow does not work \(.*timed out"),
    ):
        monkeypatch.setenv("CC", command)
        monkeypatch.setattr(compiling, "SECONDS", 0.3)
        found = no_extension()
        assert found is not None
        assert pytest.raises(AssertionError, match=said).matches(AssertionError(found)), found


def test_without_pythons_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.sysconfig, "get_paths", lambda **_: {"include": str(tmp_path)})
    monkeypatch.setenv("CC", "true")
    assert no_extension() == f"Python.h is not in {tmp_path} (apt-get install python3-dev)"
    (tmp_path / "Python.h").touch()
    assert no_extension() is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InductorError(RuntimeError("Failed to find C compiler."), None), "Failed to find C compiler."),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB"),
            "CUDA out of memory. Tried to allocate 2 MiB",
        ),
        (OSError(30, "Read-only file system", "/root/.triton"), "Read-only file system: '/root/.triton'"),
        (subprocess.CalledProcessError(1, ["gcc"]), "Command '['gcc']' returned non-zero exit status 1."),
    ],
)
def test_what_stops_torch_compile_is_said(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        def call(*_: Any) -> None:
            raise error

        return call

    monkeypatch.setattr(compiling, "no_extension", lambda: None)
    monkeypatch.setattr(torch, "compile", refuse)
    monkeypatch.setattr(torch, "ones", lambda *_, **__: None)
    found = why_eager(CUDA)
    assert found is not None
    assert found.startswith("torch.compile fails (")
    assert said in found


def test_what_has_nothing_to_do_with_it_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise TypeError("a mistake of ours")

    monkeypatch.setattr(compiling, "no_extension", lambda: None)
    monkeypatch.setattr(torch, "ones", broken)
    with pytest.raises(TypeError, match="a mistake of ours"):
        why_eager(CUDA)


def test_on_a_cpu_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert why_eager(CPU) == "on a CPU it is the faster way"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (None, "the network is compiled before its first step: a minute or two"),
        ("there is no C compiler", "not compiled: there is no C compiler"),
    ],
)
def test_it_is_said_before_anything_is_computed(
    tmp_path: Path, reason: str | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepared(*_: Any) -> None:
        raise KeyboardInterrupt  # here features would be computed

    data = Dataset.read(write_dataset(tmp_path / "data"))
    monkeypatch.setattr(loop, "why_eager", lambda _: reason)
    monkeypatch.setattr(loop, "prepare", prepared)
    monkeypatch.setattr(loop, "to_continue", lambda *_: None)
    with pytest.raises(CumelError, match="keeps nothing yet"):
        loop.train(data, tmp_path / "run", tiny_recipe(), 1, CUDA)
    assert capsys.readouterr().err.strip() == said
