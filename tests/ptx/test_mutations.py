"""Tests of the tests on PTX: every barrier and fence that the compiler left is needed, and planted bugs are found."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="NVRTC comes with CuPy: pip install 'cumel[gpu]'")
from cumel.kernels.launcher import OPTIONS
from cumel.kernels.plan import Kernel

from ptx.program import PtxError
from support.compiling import compile_to_ptx
from support.emulation import Emulated
from support.interpreted import Interpreted
from support.launches import LAUNCHES, Launch, large_blocks, small

ARCH = "sm_90"
SYNC = re.compile(r"^\t(?:bar|membar)\..*\n", re.MULTILINE)


@pytest.mark.parametrize("name", ["400-image", "generic-image"])
def test_every_barrier_and_fence_is_needed(name: str) -> None:
    """Take each out of the PTX of what has several blocks per clip, and edges in a warp's second turn."""
    with large_blocks():
        right = Interpreted(ARCH)
        LAUNCHES[name].run(right)
        found = [cut for kernel in dict.fromkeys(right.launcher.launched) for cut in without_a_sync(kernel)]
        assert found
        for whole, cut in found:
            with pytest.raises(PtxError, match=r"^race: "):
                LAUNCHES[name].run(
                    Interpreted(ARCH, edit_ptx=lambda ptx, whole=whole, cut=cut: cut if ptx == whole else ptx)
                )


def without_a_sync(kernel: Kernel) -> Iterator[tuple[str, str]]:
    """Yield a kernel's PTX, and the same without one of its barriers and fences."""
    whole = compile_to_ptx(ARCH, kernel.text(), OPTIONS)
    begin = whole.index(f".entry {kernel.entry}(")
    for sync in SYNC.finditer(whole, begin, whole.index("\n}", begin)):
        yield whole, whole[: sync.start()] + whole[sync.end() :]


class Planted(NamedTuple):
    """A mistake in the source or the PTX of a launch."""

    launch: Launch
    pattern: str  # a place in the kernel's text
    new: str
    says: str  # pattern of the error
    in_ptx: bool = False
    number: int = 0  # number of the place, where PTX has several
    races: bool = True  # whether these are looked for

    def edit(self, text: str) -> str:
        """Change the text of a kernel."""
        found = list(re.finditer(self.pattern, text, re.DOTALL))
        assert len(found) == 1 or (self.in_ptx and len(found) > self.number), (
            f"{len(found)} places: mutate what is there"
        )
        place = found[self.number]
        return text[: place.start()] + place.expand(self.new) + text[place.end() :]

    def run(self) -> np.ndarray:
        """Compute with the mistake."""
        edits = {"edit_ptx" if self.in_ptx else "edit": self.edit}
        return self.launch.run(Interpreted(ARCH, races=self.races, **edits))


IMAGE = Launch("mel_image", small(256, n_mels=8))
STFT = Launch("stft", small(400))
STFT_1024 = Launch("stft", small(1024))
LOG_MEL = Launch("log_mel", small(400, n_mels=25))
LOG_MEL_2048 = Launch("log_mel", small(2048, n_mels=128), n_frames=(7, 5))
HALF = Launch("log_mel", small(512), half=True)
DIFFERENT = "Arrays are not equal"
TILE_DONE = r"  __syncthreads\(\);\n  const Levels levels"
HALF_OF_BLOCK = r"  if (threadIdx.x < 64) __syncthreads();\n  const Levels levels"
PLANTED = {
    "no fences": Planted(LOG_MEL, r"__threadfence\(\);(.*)__threadfence\(\);", r"\1", "race: another block wrote this"),
    "barrier of half of the block": Planted(
        LOG_MEL, TILE_DONE, HALF_OF_BLOCK, "race: read of what another thread wrote"
    ),
    "barrier of half, races not looked for": Planted(
        LOG_MEL, TILE_DONE, HALF_OF_BLOCK, "wait at different barriers", races=False
    ),
    "barriers of halves of each warp": Planted(
        LOG_MEL, TILE_DONE, r"  if (lane < 16) __syncthreads(); else\n\g<0>", "wait at different barriers"
    ),
    "half of the block leaves": Planted(STFT, TILE_DONE, r"  if (threadIdx.x >= 64) return;\n\g<0>", "deadlock"),
    "lanes leave": Planted(
        STFT, r"  const int lane = threadIdx.x % WARP, j", r"  if (threadIdx.x % WARP >= 16) return;\n\g<0>", "deadlock"
    ),
    "shuffles of some lanes": Planted(
        LOG_MEL, r"const float2 b = (make_float2\(__shfl[^;]*\));", r"float2 b = sent; if (on) b = \1;", "deadlock"
    ),
    "tile too narrow": Planted(
        LOG_MEL_2048,
        r"#define THREADS [^\n]*\n",
        r"\g<0>#undef COLUMNS\n#define COLUMNS 3\n",
        "race: several lanes write one word",
    ),
    "frames past the end": Planted(
        IMAGE, r"= sounds \? \*from : \w+;", "= *from;", "nothing was written to this shared"
    ),
    "a frame too many": Planted(
        LOG_MEL, r"if \(frame < (\w+)\.width\)", r"if (frame <= \1.width)", "outside of global"
    ),
    "shared address 4 bytes off": Planted(
        STFT_1024,
        r"st\.shared\.v4\.f32 \t\[(%\w+)\+(\d+)\]",
        r"st.shared.v4.f32 \t[\1+\g<2>4]",
        "misaligned: st.shared.v4",
        in_ptx=True,
        number=3,
    ),
    "aligned loads at any address": Planted(
        LOG_MEL_2048, r"if \(inside && [^{]*\) \{", "if (inside) {", "misaligned: ld.global.nc.v2"
    ),
    "outputs as constants": Planted(
        IMAGE, r"= (\(\(const float4 \*\)from\))\[(i \+ k \* THREADS)\];", r"= __ldg(\1 + \2);", "read as constant"
    ),
    "peaks left": Planted(
        IMAGE, r"atomicExch(\(&finish.peaks\[2 \* clip[._]index\], 0\));", r"atomicAdd\1;", "workspace"
    ),
    "outputs not written": Planted(STFT, r"      \*to = x;", r"      if (row) *to = x;", DIFFERENT),
    "another factor": Planted(
        LOG_MEL,
        r"(fma\.rn\.ftz\.f32 \t%\w+, )(%\w+), (%\w+), %\w+;",
        r"\1\2, \3, \2;",
        DIFFERENT,
        in_ptx=True,
        number=40,
    ),
    "a sample beyond the clip": Planted(
        LOG_MEL, r"first \+ FRAME_LENGTH <= n_samples;", "first + FRAME_LENGTH <= n_samples + 128;", DIFFERENT
    ),
    "half is cut off": Planted(HALF, r" \+ 0xfffu \+ \(size >> 13 & 1u\)", "", DIFFERENT),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    planted = PLANTED[name]
    with pytest.raises((PtxError, AssertionError), match=planted.says):
        np.testing.assert_array_equal(planted.run(), planted.launch.run(Emulated()))
