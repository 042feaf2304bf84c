// The names that CUDA C++ has without any #include, as far as the kernels use them.
#pragma once
#include <climits>
#include <cmath>

#include "barriers.hpp"

#define __global__
#define __device__
#define __host__
#define __constant__ __attribute__((unused)) static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

// The only shared memory; in CUDA it is `extern __shared__ __align__(16) unsigned char name[]`.
#define DYNAMIC_SHARED(name) unsigned char *const name = simt::machine.current->block->shared.begin()

#define SIMT_VECTOR2(name, scalar, alignment)                                                                \
  struct alignas(alignment) name {                                                                           \
    scalar x, y;                                                                                             \
  };                                                                                                         \
  inline name make_##name(scalar x, scalar y) { return {x, y}; }                                             \
  inline name __ldg(const name *p) { return *p; }
#define SIMT_VECTOR4(name, scalar, alignment)                                                                \
  struct alignas(alignment) name {                                                                           \
    scalar x, y, z, w;                                                                                       \
  };                                                                                                         \
  inline name make_##name(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }                   \
  inline name __ldg(const name *p) { return *p; }

SIMT_VECTOR2(char2, signed char, 2)
SIMT_VECTOR2(uchar2, unsigned char, 2)
SIMT_VECTOR2(short2, short, 4)
SIMT_VECTOR2(ushort2, unsigned short, 4)
SIMT_VECTOR2(int2, int, 8)
SIMT_VECTOR2(uint2, unsigned, 8)
SIMT_VECTOR2(float2, float, 8)
SIMT_VECTOR2(longlong2, long long, 16)
SIMT_VECTOR2(double2, double, 16)
SIMT_VECTOR4(char4, signed char, 4)
SIMT_VECTOR4(uchar4, unsigned char, 4)
SIMT_VECTOR4(short4, short, 8)
SIMT_VECTOR4(ushort4, unsigned short, 8)
SIMT_VECTOR4(int4, int, 16)
SIMT_VECTOR4(uint4, unsigned, 16)
SIMT_VECTOR4(float4, float, 16)
#undef SIMT_VECTOR2
#undef SIMT_VECTOR4

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Launches have one dimension.
#define threadIdx (uint3{simt::machine.current->index, 0, 0})
#define blockIdx (uint3{simt::machine.current->block->index, 0, 0})
#define blockDim (dim3{unsigned(simt::machine.launch.n_threads)})
#define gridDim (dim3{unsigned(simt::machine.launch.n_blocks)})

#define __syncthreads() simt::sync_threads(__LINE__)
#define __syncwarp(...) simt::sync_warp(__LINE__ __VA_OPT__(, ) __VA_ARGS__)
#define __shfl_sync(...) simt::shuffle_index(__LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) simt::shuffle_xor(__LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) simt::shuffle_down(__LINE__, __VA_ARGS__)
#define __ballot_sync(...) simt::ballot(__LINE__, __VA_ARGS__)
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline void __threadfence() { simt::thread_fence(); }

namespace [[gnu::visibility("hidden")]] simt {

// The second argument of an atomic converts to the type of the first, as in atomicAdd(&n_done, 1).
template <class T> struct Word {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>,
                "atomics are provided for int and unsigned");
  using Type = T;
};

template <class T, class Pick> T update(T *p, Pick pick) {
  before_atomic(p);
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(p, &old, pick(old), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
  return old;
}

} // namespace simt

// Relaxed, as CUDA's: they order no other access than those to *p.
template <class T> T atomicAdd(T *p, typename simt::Word<T>::Type value) {
  simt::before_atomic(p);
  return __atomic_fetch_add(p, value, __ATOMIC_RELAXED);
}
template <class T> T atomicExch(T *p, typename simt::Word<T>::Type value) {
  simt::before_atomic(p);
  return __atomic_exchange_n(p, value, __ATOMIC_RELAXED);
}
template <class T> T atomicMax(T *p, typename simt::Word<T>::Type value) {
  return simt::update(p, [value](T old) { return old < value ? value : old; });
}
template <class T> T atomicMin(T *p, typename simt::Word<T>::Type value) {
  return simt::update(p, [value](T old) { return value < old ? value : old; });
}

// Of vectors, only CUDA's own types can be loaded in one piece: each has its overload above.
template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>> T __ldg(const T *p) { return *p; }

#define SIMT_MIN_MAX(type)                                                                                   \
  inline type min(type a, type b) { return a < b ? a : b; }                                                  \
  inline type max(type a, type b) { return a > b ? a : b; }
SIMT_MIN_MAX(int)
SIMT_MIN_MAX(unsigned)
SIMT_MIN_MAX(long long)
#undef SIMT_MIN_MAX

inline float __int_as_float(int bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

inline int __float_as_int(float value) {
  int bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Rounds half to even; NaN becomes 0, and what is out of range the nearest int.
inline int __float2int_rn(float x) {
  if (std::isnan(x)) return 0;
  if (x >= 2147483648.f) return INT_MAX;
  return x < -2147483648.f ? INT_MIN : int(rintf(x));
}

inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __log2f(float x) { return log2f(x); }
