"""Kernels that are right, but for the rule that a number tells them to break."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kernel:
    entry: str
    source: str

    def text(self) -> str:
        return self.source


@dataclass(frozen=True)
class Grid:
    blocks: int = 1
    threads: int = 64
    shared: int = 0


# Each `skip` leaves out what a kernel needs, though hardly a GPU's result would show it.
TOTAL = Kernel(
    "total",
    """
extern "C" __global__ void __launch_bounds__(64)
total(const float *__restrict__ x, float *parts, float *sum, unsigned *ticket, int n, int skip) {
  DYNAMIC_SHARED(raw);
  float *const row = reinterpret_cast<float *>(raw);
  unsigned *const last = reinterpret_cast<unsigned *>(row + blockDim.x);
  const int lane = threadIdx.x % 32, mirror = threadIdx.x - lane + 31 - lane;
  float value = 0.f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    row[threadIdx.x] = __ldg(x + i);
    if (skip != 1) __syncwarp();
    value = fmaf(row[mirror], lane + 1.f, value);
    if (skip != 2) __syncwarp();
  }
#pragma unroll
  for (int d = 16; d; d >>= 1) value += __shfl_xor_sync(0xffffffffu, value, d);
  if (lane == 0) parts[(blockIdx.x * blockDim.x + threadIdx.x) / 32] = value;
  if (skip != 3) __threadfence();
  if (skip != 4) __syncthreads();
  if (threadIdx.x == 0) *last = atomicAdd(ticket, 1) + 1 == gridDim.x;
  if (skip != 5) __syncthreads();
  if (!*last) return;
  if (skip != 6) __threadfence();
  if (threadIdx.x == blockDim.x - 1) {
    float all = 0.f;
    for (unsigned i = 0; i < gridDim.x * blockDim.x / 32; ++i) all += parts[i];
    *sum = all;
    atomicExch(ticket, 0);
  }
}
""",
)
SKIPPED = {
    1: "syncwarp after a write",
    2: "syncwarp after a read",
    3: "fence before the ticket",
    4: "syncthreads before the ticket",
    5: "syncthreads after the ticket",
    6: "fence after the ticket",
}

# What a kernel must not do, and what the emulator says of it in forward order. {} is a line of the code, from 0.
RULES = {
    "threads part": (
        "if (i < 32) __syncthreads();\nelse __syncthreads();",
        "thread 32: reaches __syncthreads in line {1} while others wait in line {0}",
    ),
    "one has left": ("if (!i) return;\n__syncthreads();", "line {1}, but other threads have left the kernel"),
    "one leaves": ("if (i == 63) return;\n__syncthreads();", "leaves .* while others wait for it at .* line {1}"),
    "deadlock": (
        "if (i < 33) __syncthreads();\nelse __syncwarp();",
        "deadlock, .* from thread 0 on at __syncthreads in line {0}, from thread 33 on at __syncwarp in line {1}",
    ),
    "not its own": ("__syncwarp(2);", "line {0}: the mask 00000002 lacks the caller"),
    "beyond the mask": (
        "if (lane < 16) got = __shfl_sync(0xffff, lane, 16);",
        "__shfl_sync in line {0}: reads lane 16, which is not in the mask 0000ffff",
    ),
    "masks differ": (
        "if (lane < 16) __syncwarp();\nelse __syncwarp(0xffffff00);",
        "line {1} has mask ffffff00, but other lanes wait at __syncwarp in line {0} with mask ffffffff",
    ),
    "places differ": (
        "if (lane < 16) __syncwarp();\nelse got = __shfl_xor_sync(~0u, lane, 1);",
        "reaches __shfl_xor_sync in line {1} while other lanes wait at __syncwarp in line {0}",
    ),
    "lane has left": ("if (!lane) return;\n__syncwarp();", "line {1}: .* names lanes that left the kernel"),
    "lane leaves": ("if (lane > 8) return;\n__syncwarp();", "leaves .* wait for it at __syncwarp in line {1}"),
    "odd width": ("got = __shfl_sync(~0u, lane, 1, 24);", "line {0}: width=24 is not a power of two"),
    "past the end": ("s[64] = 1.f;", "uses byte 256 of 256 bytes of shared memory"),
    "far out": ("got = int(s[6400]);", "uses byte 25600 of 256 bytes of shared memory"),
    "before": ("s[-1] = 1.f;", "wrote byte -4 of 256 bytes of shared memory"),
    "past a buffer": ("out[64] = 1.f;", "uses byte 256 of argument 0, which has 256 bytes, after the start"),
    "before a buffer": ("out[-1] = 1.f;", "kernel rules wrote byte -4 of argument 0, which has 256 bytes"),
    "null": ("got = *none;", "uses address .* not mapped, after the start of the kernel"),
    "division": ("__syncthreads();\ngot = i / zero;", "divides a whole number by zero, after .* line {0}"),
    "stack": ("got = deep(zero);", "overflows its stack of 131072 bytes"),
}

# The same for the sanitizer "address"; buffers and shared memory have 63 floats.
BOUNDS = {
    "float2": ("got = int(reinterpret_cast<float2 *>(out + 1)->x);", "misaligned address"),
    "float4": ("got = int(reinterpret_cast<float4 *>(out + 2)->x);", "misaligned address"),
    "buffer": ("out[63] = 1.f;", "heap-buffer-overflow"),
    "past the end": ("got = int(s[63]);", "AddressSanitizer"),
    "before": ("got = int(s[zero - 1]);", "use-after-poison"),
    "far out": ("s[6400] = 1.f;", "SEGV"),
    "array": ("float a[4] = {};\n__syncwarp();\nout[0] = a[4 + zero];", "out of bounds"),
    "overflow": ("got = i + 0x7fffffff;", "signed integer overflow"),
}


def breaking(entry: str, cases: dict[str, tuple[str, str]]) -> Kernel:
    """Return a kernel that breaks the rule of one case, by number."""
    start = f"""
__device__ __noinline__ int deep(int i) {{
  volatile char large[1 << 20];
  large[i] = 1;
  return large[i];
}}
extern "C" __global__ void {entry}(float *out, int *none, int broken, int zero) {{
  DYNAMIC_SHARED(raw);
  float *const s = reinterpret_cast<float *>(raw);
  const int i = threadIdx.x, lane = i % 32;
  int got = 0;
"""
    code = "".join(f"if (broken == {number}) {{\n{code}\n}}\n" for number, (code, _) in enumerate(cases.values()))
    return Kernel(entry, f"{start}{code}if (i < 63) out[i] = *s + got + zero + lane;\n(void)none;\n}}\n")


ORDER = Kernel(
    "order",
    """
extern "C" __global__ void order(int *log, int *count) {
  log[atomicAdd(count, 1)] = blockIdx.x * blockDim.x + threadIdx.x;
}
""",
)

NUMBERS = Kernel(
    "numbers",
    """
static_assert(sizeof(float4) == 16 && alignof(float4) == 16 && alignof(float2) == 8 && alignof(int2) == 8, "");
static_assert(sizeof(short2) == 4 && alignof(short2) == 4 && alignof(uchar4) == 4 && alignof(uint2) == 8, "");
__constant__ float HALF[2] = {0.5f, 2.5f};
extern "C" __global__ void numbers(int *out, const float *x) {
  const int lane = threadIdx.x;
  const float2 pair = make_float2(x[0], x[1]);
  const long long big = 1LL << 40;
  out += 13 * lane;
  out[0] = __shfl_sync(0xffffffffu, lane, 5, 8);
  out[1] = __shfl_xor_sync(0xffffffffu, lane, 12, 8);
  out[2] = __shfl_down_sync(0xffffffffu, lane, 3, 16);
  out[3] = int(__shfl_sync(0xffffffffu, big + lane, -1) - big);
  out[4] = __float2int_rn(HALF[0]) + 10 * __float2int_rn(HALF[1]) + 100 * __float2int_rn(pair.x);
  out[5] = __float2int_rn(1e20f);
  out[6] = __float_as_int(pair.y);
  out[7] = int(8.f * __log2f(__int_as_float(0x40800000)));
  out[8] = min(-1, 1) + int(max(1u, 3000000000u) / 1000000u) + int(max(big, 0LL) >> 40);
  out[9] = int(__fmul_rn(3.f, 4.f) + __fadd_rn(1.f, 2.f) + __fmaf_rn(2.f, 3.f, 4.f));
  unsigned word = 7;
  int least = 5;
  out[10] = atomicMax(&word, 9);
  out[10] += 10 * atomicExch(&word, 3);
  out[10] += 100 * word;
  out[11] = atomicMin(&least, -2);
  out[11] += least;
  out[12] = blockDim.x + gridDim.x + blockIdx.x;
}
""",
)

RULES_KERNEL, BOUNDS_KERNEL = breaking("rules", RULES), breaking("bounds", BOUNDS)
