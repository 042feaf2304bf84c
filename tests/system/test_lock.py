"""`locked`: one process at a time writes into a folder, and none blocks it after its end."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from cumel.esc50.system.lock import LOCK, locked
from cumel.kernels import CumelError

HOLD = """import subprocess, sys, time
from pathlib import Path
from cumel.esc50.system.lock import locked
with locked(Path(sys.argv[1])):
    subprocess.Popen(["sleep", "60"], close_fds=False)
    print("locked", flush=True)
    time.sleep(60)
"""


def test_the_lock_is_free_again_after_the_block(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for _ in range(2):
        held = locked(folder)
        with held:
            assert (folder / LOCK).read_text().startswith(f"process {os.getpid()} on ")
        with FileLock(folder / LOCK, blocking=False):
            pass


def test_the_holder_is_named_and_stays_so(tmp_path: Path) -> None:
    with locked(tmp_path):
        for _ in range(2):
            with (
                pytest.raises(CumelError, match=rf": process {os.getpid()} on .* is writing there; wait"),
                locked(tmp_path),
            ):
                pass


def test_a_killed_process_holds_nothing_though_its_child_lives(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, start_new_session=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(CumelError, match=f"process {other.pid} on"), locked(tmp_path):
            pass
        other.kill()
        other.wait()
        with locked(tmp_path):
            pass
        os.killpg(other.pid, 9)


def test_what_a_dead_process_left_does_not_block(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("process 1 on another machine")
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EROFS])
def test_a_disk_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("filelock._unix.lock_fd_nonblocking", refuse)
    assert FileLock.__module__ == "filelock._unix"
    message = rf"cannot be written \({os.strerror(number)}\); choose another place"
    with pytest.raises(CumelError, match=message), locked(tmp_path):
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CumelError, match="cannot be written"), locked(tmp_path / "file"):
        pass
