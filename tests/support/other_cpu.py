"""The CPU path on an emulator of another CPU: a program that is given what the library is given, by a file."""

import ctypes
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cumel.kernels import native
from cumel.kernels.plan import Stage

from support.native_library import compiled

MAIN = Path(__file__).with_name("native_main.cc")
ALIGNMENT = 64  # bytes


class Program:
    """Stands in for the library: each call runs a program on `emulator`."""

    def __init__(self, compiler: str, emulator: str, folder: Path) -> None:
        self.command = [emulator, str(compiled(compiler, "-static", beside=[MAIN]))]
        self.file = folder / "batch"
        self.arrays: dict[int, int] = {}  # bytes of a plan's arrays, by their address

    def cumel_compute(self, plan: Any, batch: Any, _: bytes, n_threads: int) -> int:
        structures, image, places = (plan._obj, batch._obj), bytearray(), []
        sizes = self._sizes(*structures)
        image += b"".join(bytes(structure) for structure in structures)
        moved, first = {}, 0
        for structure in structures:
            for name, kind in structure._fields_:
                address = getattr(structure, name)
                if kind is ctypes.c_void_p and address:
                    image += bytes(-len(image) % ALIGNMENT)
                    places.append(first + getattr(type(structure), name).offset)
                    image[places[-1] : places[-1] + 8] = len(image).to_bytes(8, "little")
                    moved[name] = address, len(image)
                    image += ctypes.string_at(address, sizes[name])
            first += ctypes.sizeof(structure)
        head = np.array([len(places), *places], np.int64).tobytes()
        self.file.write_bytes(head + image)
        status = subprocess.run([*self.command, self.file, str(n_threads)], check=False).returncode
        image = self.file.read_bytes()[len(head) :]
        for name in moved.keys() & {"out", "image", "loudest"}:
            address, begin = moved[name]
            ctypes.memmove(address, image[begin : begin + sizes[name]], sizes[name])
        return status

    def _sizes(self, plan: Any, batch: Any) -> dict[str, int]:
        """Return the bytes of the array that each pointer points to."""
        n = batch.n_clips
        pointers = [name for name, kind in plan._fields_ if kind is ctypes.c_void_p and getattr(plan, name)]
        starts, lengths = (
            np.ctypeslib.as_array((ctypes.c_int64 * n).from_address(address))
            for address in (batch.starts, batch.lengths)
        )
        return {name: self.arrays[getattr(plan, name)] for name in pointers} | {
            "samples": int((starts + lengths).max()) * (2 if plan.int16 else 4),
            "out": n * batch.clip_stride * (8 if plan.stage == Stage.SPECTRUM else 4),
            "image": n * plan.n_rows * batch.width,
            "loudest": 4 * n,
            **dict.fromkeys(("starts", "lengths", "n_frames"), 8 * n),
        }


@contextmanager
def computing(program: Program) -> Iterator[None]:
    """Let `native.compute` run a program in place of the library."""
    original = native._plan

    def plan(*arguments: Any, **options: Any) -> tuple[Any, Sequence[np.ndarray]]:
        made, arrays = original(*arguments, **options)
        program.arrays |= {array.ctypes.data: array.nbytes for array in arrays}
        return made, arrays

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_library", lambda: program)
        patch.setattr(native, "_plan", plan)
        yield
