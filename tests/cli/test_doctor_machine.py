"""What doctor says of ONNX Runtime's providers, of memory and disks, and of packages that are broken or absent."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper

from cumel.esc50.cli import doctor as doctor_module, doctor_gpu, doctor_onnx, main
from cumel.esc50.cli.doctor_machine import check_disk, check_memory, disk_of, memory_limit, memory_of
from cumel.esc50.cli.doctor_onnx import CPU, check_provider, examine_onnx, why
from cumel.kernels import need

CUDA = "CUDAExecutionProvider"
LOG = (
    "\x1b[1;31m2026-11-27 18:01:04.5 [E:onnxruntime:Default, provider_bridge_ort.cc:2430 operator()] "
    "/src/bridge.cc:2043 onnxruntime::Provider& Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library "
    "/site/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file\n\x1b[m\n"
    "\x1b[0;93m2026-11-27 18:01:04.6 [W:onnxruntime:Default, state.cc:1295 Create] Failed to create it.\x1b[m\n"
)
GIB = 2**30
KEYS = {"checks", "gpu", "healthy", "versions", "extras", "cpu_path", "formats", "providers", "cores", "memory", "disk"}


def test_the_keys_are_stable(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report.keys() == KEYS
    assert {check["state"] for check in report["checks"]} <= {"ok", "missing", "bad"}
    assert all(check.keys() == {"name", "state", "text"} and "\n" not in check["text"] for check in report["checks"])
    assert {"name", "starts", "runs_on", "reason"} == report["providers"][0].keys()
    assert report["memory"].keys() == {"total", "available", "limit"}
    assert report["disk"].keys() == {"current", "cache"}
    assert report["disk"]["current"]["free"] > 0
    assert "WAV" in report["formats"]
    assert report["extras"]["cli"] is True


def test_the_tiny_model_is_what_it_says() -> None:
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"}
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value["x"]], [value["y"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert onnx.ModelProto.FromString(doctor_onnx.MODEL) == model


def test_each_provider_of_this_machine_is_started() -> None:
    """Where there is no driver, those for CUDA are in the package, and a session runs on the CPU."""
    available = need("onnxruntime", "cumel.export.runtime").get_available_providers()
    checks, found = examine_onnx({"onnxruntime-gpu": "1.0"})
    assert [provider["name"] for provider in found] == available
    assert (CPU, "ok", "starts, and runs a model") in checks
    for provider in found:
        assert provider["starts"] == (provider["runs_on"] == provider["name"])
        assert provider["starts"] == (provider["reason"] is None)


@pytest.mark.parametrize(
    ("name", "driver", "state"),
    [(CUDA, None, "bad"), (CUDA, "there is none", "missing"), ("OpenVINOExecutionProvider", None, "missing")],
)
def test_a_fallback_is_bad_where_there_is_a_driver(
    name: str, driver: str | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_onnx, "driver_fault", lambda *_: driver)
    found = {"name": name, "starts": False, "runs_on": CPU, "reason": "a library is missing"}
    _, judged, text = check_provider(found)
    assert judged == state
    assert text.startswith(f"falls back to {CPU}: a library is missing")
    assert ("pip install 'cumel[gpu]'" in text) == (state == "bad")


def test_a_provider_may_kill_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho it died >&2\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(doctor_onnx.sys, "executable", str(program))
    assert doctor_onnx.ask(CUDA) == {"error": "its process ended with code -11: it died"}
    ((name, state, text),), found = examine_onnx({"onnxruntime": "1.0"})
    assert (name, state, found) == ("onnx runtime", "bad", [])
    assert text.endswith("it died")


def test_a_slow_provider_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_onnx, "SECONDS", 0.01)
    assert doctor_onnx.ask() == {"error": "no answer in 0.01 s"}


def test_the_log_says_why() -> None:
    assert why(LOG) == "libcublasLt.so.13: cannot open shared object file"
    assert why("[W:onnxruntime:Default, x.cc:1 f] a warning") == ""


def test_both_packages_of_the_runtime_clash() -> None:
    ((_, state, text),), _ = examine_onnx({"onnxruntime": "1.0", "onnxruntime-gpu": "1.0"})
    assert state == "bad"
    assert text.startswith("onnxruntime and onnxruntime-gpu overwrite each other")


def test_no_runtime_names_its_extra() -> None:
    assert examine_onnx({}) == ([("onnx runtime", "missing", "no model can be run: pip install 'cumel[predict]'")], [])


def test_without_torch_the_driver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_gpu, "supported_cuda", lambda: (13, 0))
    monkeypatch.setattr(doctor_gpu, "driver_fault", lambda *_: None)
    checks = {name: (state, text) for name, state, text in doctor_gpu.examine_gpu(None)}
    assert checks["nvidia driver"] == ("ok", "supports CUDA 13.0")
    assert checks["cuda"][0] == "missing"
    assert "pip install 'cumel[gpu]'" in checks["cuda"][1]


def test_a_package_that_does_not_load_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> object:
        raise OSError(f"lib{name}.so:\n no such file")

    monkeypatch.setattr(doctor_module, "import_module", broken)
    report = doctor_module.examine()
    checks = {check["name"]: check for check in report["checks"]}
    assert not report["healthy"]
    assert checks["torchaudio"]["state"] == "bad"
    assert "cannot be imported (libtorchaudio.so: no such file)" in checks["torchaudio"]["text"]
    assert "both from one index" in checks["torchaudio"]["text"]
    assert checks["audio formats"]["state"] == checks["cuda"]["state"] == "missing"


CGROUPS = {
    "version 2": ("0::/box", "/ v2 - cgroup2 cgroup2 rw", {"v2/box/memory.max": "1073741824"}, GIB),
    "version 2, of the one around it": (
        "0::/box", "/ v2 - cgroup2 cgroup2 rw", {"v2/box/memory.max": "max", "v2/memory.max": "4096"}, 4096,
    ),
    "version 2, without": ("0::/box", "/ v2 - cgroup2 cgroup2 rw", {"v2/box/memory.max": "max"}, None),
    "version 1": ("5:memory:/m", "/ m1 - cgroup cgroup rw,memory", {"m1/m/memory.limit_in_bytes": "4096"}, 4096),
    "version 1, without": (
        "5:memory:/m", "/ m1 - cgroup cgroup rw,memory", {"m1/m/memory.limit_in_bytes": "9223372036854771712"}, None,
    ),
    "of another controller": ("5:cpu:/m", "/ m1 - cgroup cgroup rw,cpu", {"m1/m/memory.limit_in_bytes": "1"}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", CGROUPS)
def test_a_container_limits_memory(case: str, tmp_path: Path) -> None:
    groups, mount, files, limit = CGROUPS[case]
    root, point, rest = mount.split(" ", 2)
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text(f"1 2 0:3 {root} {tmp_path / point} rw {rest}\n")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory_limit(proc) == limit


def test_memory_of_linux_and_of_others(tmp_path: Path) -> None:
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:       2048 kB\nMemFree:  7 kB\nMemAvailable:    1024 kB\nHugePages_Total:   0\n")
    nowhere = tmp_path / "nowhere"
    assert memory_of(table, nowhere) == {"total": 2 << 20, "available": 1 << 20, "limit": None}
    other = memory_of(nowhere, nowhere)
    assert other["available"] is None
    assert (other["total"] or 0) > GIB


@pytest.mark.parametrize(
    ("memory", "state", "said"),
    [
        ((16 * GIB, 8 * GIB, None), "ok", "16.0 GiB total, 8.0 GiB available"),
        ((16 * GIB, 8 * GIB, GIB), "missing", "1.0 GiB at most, by a limit of this container; little for training"),
        ((16 * GIB, None, None), "ok", "16.0 GiB total"),
        ((None, None, None), "ok", "unknown on this system"),
    ],
)
def test_little_memory_is_said(memory: tuple[int | None, ...], state: str, said: str) -> None:
    _, found, text = check_memory(dict(zip(("total", "available", "limit"), memory, strict=True)))
    assert found == state
    assert said in text


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = tmp_path / "a" / "folder" / "to come"
    monkeypatch.setattr(shutil, "disk_usage", _usage)
    assert check_disk("disk, cache", disk_of(later)) == (
        "disk, cache", "missing", f"0.0 GiB free in {later}: little; free some space",
    )  # fmt: skip


def _usage(place: Path) -> SimpleNamespace:
    if not place.exists():
        raise FileNotFoundError(place)
    return SimpleNamespace(free=5 << 20)


def test_a_probe_is_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", doctor_onnx.__name__], capture_output=True, text=True, check=True)
    assert CPU in json.loads(done.stdout)["providers"]
