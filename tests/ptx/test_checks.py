"""The interpreter of PTX finds what is wrong with a kernel, and nothing where nothing is."""

import numpy as np
import pytest
import torch

pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="NVRTC comes with CuPy: pip install 'cumel[gpu]'")
from ptx.machine import Machine
from ptx.program import Program, PtxError
from simt.examples import Grid
from support.compiling import compile_to_ptx

ARCH, OPTIONS = "sm_90", ("-std=c++17", "-fmad=false")
ORDERS = ("forward", "backward", "random")
BLOCKS, THREADS = 5, 64

# What a kernel must not do, and what is said of it. There are 64 threads i, and 64 words of each array.
RULES = {
    "past a buffer": ("out[64] = 1;", "outside of global memory: st.global"),
    "before a buffer": ("out[-1] = 1;", "outside of global memory: st.global"),
    "other side of a buffer": ("got = in[1LL << 40];", "outside of global memory: ld.global"),
    "null": ("got = *none;", "outside of global memory"),
    "some threads past": ("got = in[i + 60];", r"\(60 threads; block 0 thread 4"),
    "float2": ("const int2 two = *(const int2 *)(in + 1);\ngot = two.x + two.y;", "misaligned: ld.global"),
    "float4 in shared memory": ("*(int4 *)(s + 2) = make_int4(1, 2, 3, 4);", "misaligned: st.shared"),
    "past shared memory": ("s[64 + zero] = 1;", "outside of 256 bytes of shared memory"),
    "before shared memory": ("s[zero - 1] = 1;", "outside of 256 bytes of shared memory"),
    "unwritten": (
        "if (i) s[i] = i;\n__syncthreads();\ngot = s[i];",
        r"nothing was written .* \(1 threads; block 0 thread 0",
    ),
    "constant": ("got = __ldg(out + i);\nout[i ^ 1] = got;", "read as constant, and written"),
    "division": ("got = i / zero;", "division of an integer by zero"),
    "read between lanes": ("s[i] = i;\ngot = s[i ^ 1];", "race: read of what another thread wrote"),
    "read between warps": ("s[i] = i;\n__syncwarp();\ngot = s[i ^ 32];", "race: read of what another thread wrote"),
    "write behind a read": ("s[i] = i;\n__syncthreads();\ngot = s[i ^ 1];\ns[i] = got;", "race: write .* read since"),
    "write behind reads": (
        "s[i] = i;\n__syncthreads();\ngot = s[0] + s[i ^ 1];\n__syncwarp();\nif (i == 0) s[0] = got;",
        "race: write of what another thread read",
    ),
    "write behind a write": ("s[i] = i;\n__syncwarp();\ns[i ^ 32] = i;", "race: write of what another thread wrote"),
    "one word": ("s[i / 2] = i;", "race: several lanes write one word"),
    "shuffle is no barrier": (
        "s[i] = i;\ngot = __shfl_xor_sync(~0u, i, 1);\ngot += s[i ^ 1];",
        "race: read of what another thread wrote",
    ),
    "threads part": ("if (i < 32) __syncthreads();", "deadlock: 32 threads wait .* 32 are done"),
    "barriers part": ("if (i < 32) __syncthreads();\nelse __syncthreads();", "different barriers|deadlock"),
    "lane leaves": ("if (i == 5) return;\n__syncwarp();", "deadlock: 31 threads wait at .*bar.warp.sync"),
    "shuffle of some": ("if (i % 32 < 16) got = __shfl_sync(~0u, i, 1);", "deadlock"),
    "mask of some": ("__syncwarp(i < 32 ? ~0u : 1u);", "not supported"),
}
RIGHT = {
    "barrier": "s[i] = i;\n__syncthreads();\ngot = s[i ^ 32];\n__syncthreads();\ns[i ^ 32] = got;",
    "warp barrier": "s[i] = i;\n__syncwarp();\ngot = s[i ^ 1];\n__syncwarp();\ns[i ^ 1] = got;",
    "own word": "s[i] = i;\ngot = s[i];\ns[i] = got + 1;",
    "one word read by all": "s[i] = i;\n__syncthreads();\ngot = s[3];",
    "parted and met": "if (i % 3) got = i;\nelse if (i % 2) got = 1;\ngot += __shfl_xor_sync(~0u, got, 1);",
}


def program(code: str) -> Program:
    text = f"""
extern "C" __global__ void rules(const int *in, int *out, int *none, int zero) {{
  extern __shared__ __align__(16) int s[];
  const int i = threadIdx.x;
  int got = 0;
  {code}
  out[i] += got;
}}
"""
    return Program(compile_to_ptx(ARCH, text, OPTIONS), "rules")


def run(machine: Machine, code: str) -> np.ndarray:
    given, out = np.arange(THREADS, dtype=np.int32), np.zeros(THREADS, np.int32)
    arguments = [given.view(np.uint8), out.view(np.uint8), None, np.int32(0)]
    machine.launch(program(code), Grid(threads=THREADS, shared=4 * THREADS), arguments)
    return out


@pytest.mark.parametrize("name", RULES)
def test_broken_rules_are_found(name: str) -> None:
    code, said = RULES[name]
    with pytest.raises(PtxError, match=f"(?s){said}"):
        run(Machine(), code)
    for order in ORDERS[1:]:
        with pytest.raises(PtxError):
            run(Machine(order), code)


@pytest.mark.parametrize("name", RIGHT)
def test_right_kernels_pass_in_every_order(name: str) -> None:
    expected = run(Machine(), RIGHT[name])
    assert expected.any()
    for machine in (Machine("backward"), *(Machine("random", seed=seed) for seed in range(5))):
        np.testing.assert_array_equal(run(machine, RIGHT[name]), expected)


# Blocks of which the last one to finish sums up what all have written; `skip` leaves out what it needs for that.
SUMS = """
extern "C" __global__ void sums(int *parts, int *sums, unsigned *ticket, int skip) {
  extern __shared__ __align__(16) int last[];
  const int i = threadIdx.x;
  parts[blockIdx.x * blockDim.x + i] = i + 1;
  if (skip != 1) __syncthreads();
  if (i == 0) {
    if (skip != 2) __threadfence();
    last[0] = atomicAdd(ticket, 1u) + 1u == gridDim.x;
    if (skip != 3) __threadfence();
  }
  if (skip != 4) __syncthreads();
  if (!last[0]) return;
  int sum = 0;
  for (unsigned block = 0; block < gridDim.x; ++block) sum += parts[block * blockDim.x + blockDim.x - 1 - i];
  sums[i] = sum;
  if (i == 0) atomicExch(ticket, 0u);
}
"""
SKIPPED = {
    "barrier before the fence": "race: another block wrote this",
    "fence before the ticket": "race: another block wrote this",
    "fence behind the ticket": "race: another block wrote this",
    "barrier behind the ticket": "race: read of what another thread wrote|nothing was written",
}


def sums(machine: Machine, skip: int = 0) -> list[int]:
    parts, out, ticket = (np.zeros(n, np.int32) for n in (BLOCKS * THREADS, THREADS, 1))
    arguments = [*(array.view(np.uint8) for array in (parts, out, ticket)), np.int32(skip)]
    machine.launch(Program(compile_to_ptx(ARCH, SUMS, OPTIONS), "sums"), Grid(BLOCKS, THREADS, 16), arguments)
    assert not ticket.any()
    return out.tolist()


def test_blocks_that_pass_on_results_are_right_in_every_order() -> None:
    for machine in (Machine(order, resident=resident) for order in ORDERS for resident in (THREADS, 2 * THREADS, 8192)):
        assert sums(machine) == [BLOCKS * (THREADS - i) for i in range(THREADS)]


@pytest.mark.parametrize("name", SKIPPED)
def test_what_orders_blocks_is_missed(name: str) -> None:
    skip = 1 + list(SKIPPED).index(name)
    for machine in (Machine(), Machine("backward"), Machine("random")):
        with pytest.raises(PtxError, match=SKIPPED[name]):
            sums(machine, skip)


def test_the_same_buffer_twice_is_one() -> None:
    both = np.zeros(THREADS, np.int32).view(np.uint8)
    grid = Grid(threads=THREADS, shared=4)
    with pytest.raises(PtxError, match="read as constant, and written"):
        Machine().launch(program("got = __ldg(in + i);"), grid, [both, both, None, np.int32(0)])
    with pytest.raises(PtxError, match="overlap"):
        Machine().launch(program("got = i;"), grid, [both[4:], both, None, np.int32(0)])


def test_arguments_have_the_parameters_widths() -> None:
    out = np.zeros(4 * THREADS, np.uint8)
    for arguments, said in (
        ([out, None, None], "4 parameters, got 3"),
        ([out, None, None, np.int64(0)], "takes 4 bytes of u4, got int64"),
        ([out, None, None, np.float32(0)], "takes 4 bytes of u4, got float32"),
    ):
        with pytest.raises(PtxError, match=said):
            Machine().launch(program("got = i;"), Grid(threads=THREADS), arguments)


def test_a_processor_that_keeps_subnormal_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run(Machine(), "got = i;")
    tiny = torch.tensor([2.0**-126]) / 4
    assert tiny.item() == 2.0**-128  # unchanged by the launch
    monkeypatch.setattr(torch, "set_flush_denormal", lambda _: False)
    with pytest.raises(PtxError, match="does not flush subnormal numbers"):
        run(Machine(), "got = i;")
