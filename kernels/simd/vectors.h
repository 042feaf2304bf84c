// Vectors of frames, and the names under which fft.cuh knows them: lane t of a vector belongs to frame t of a block.
//
// This is compiled once for each instruction set. All names are local to their object file, so that no function of one
// instruction set ever stands in for that of another.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define LANES 8
#else
#if defined(__aarch64__)
#include <arm_neon.h>
#endif
#define LANES 4
#endif

#define INLINE inline __attribute__((always_inline))
#define __device__
#define __forceinline__ INLINE
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

namespace {

template <int N> struct Vector {
  typedef float Floats __attribute__((vector_size(4 * N)));
  typedef int Ints __attribute__((vector_size(4 * N)));
  typedef float Unaligned __attribute__((vector_size(4 * N), aligned(4)));
};
typedef Vector<LANES>::Floats Floats;
typedef Vector<LANES>::Ints Ints;
typedef Vector<LANES>::Unaligned Unaligned;
typedef double Doubles __attribute__((vector_size(8 * LANES)));
typedef double UnalignedDoubles __attribute__((vector_size(8 * LANES), aligned(8)));

INLINE Floats all(float x) { return x - Floats{}; }

// a b + c, rounded once where the instruction set can.
INLINE Floats fmaf(Floats a, Floats b, Floats c) {
#if LANES == 16
  return (Floats)_mm512_fmadd_ps(a, b, c);
#elif LANES == 8
  return (Floats)_mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return (Floats)vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

// -a b + c, in one instruction as well.
INLINE Floats fnmaf(Floats a, Floats b, Floats c) {
#if LANES == 16
  return (Floats)_mm512_fnmadd_ps(a, b, c);
#elif LANES == 8
  return (Floats)_mm256_fnmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return (Floats)vfmsq_f32(c, a, b);
#else
  return c - a * b;
#endif
}

// A factor of all frames. Its sign changes in the instruction that multiplies, not before.
struct Negative {
  float size;
};
struct Factor {
  float value;
  Factor() = default;
  INLINE constexpr Factor(float value) : value(value) {}
  INLINE Negative operator-() const { return {value}; }
};
INLINE Floats operator*(Factor a, Floats b) { return a.value * b; }
INLINE Floats fmaf(float a, Floats b, Floats c) { return fmaf(all(a), b, c); }
INLINE Floats fmaf(Factor a, Floats b, Floats c) { return fmaf(all(a.value), b, c); }
INLINE Floats fmaf(Negative a, Floats b, Floats c) { return fnmaf(all(a.size), b, c); }

// A complex value of each of LANES frames.
struct Complex {
  Floats x, y;
};
// Cosine and tangent, the same for all frames.
struct Twiddle {
  Factor x, y;
};

INLINE Floats square_root(Floats x) {
#if LANES == 16
  return (Floats)_mm512_maskz_sqrt_ps(0xffff, x);
#elif LANES == 8
  return (Floats)_mm256_sqrt_ps(x);
#else
  Floats root;
  for (int t = 0; t < LANES; ++t) root[t] = __builtin_sqrtf(x[t]);
  return root;
#endif
}

INLINE Doubles widened(Floats x) { return __builtin_convertvector(x, Doubles); }
INLINE Floats converted(Ints x) { return __builtin_convertvector(x, Floats); }

// x - a before, whose digits all count: of a signal with a large mean, little else is left of them. No float32 is
// 0.97, so `a` has two parts.
#if LANES >= 8 || defined(__ARM_NEON)
INLINE float emphasized(float x, float before, double a) {
  const float high = (float)a, low = (float)(a - high);
  return __builtin_fmaf(-low, before, __builtin_fmaf(-high, before, x));
}
INLINE Floats emphasized(Floats x, Floats before, double a) {
  const float high = (float)a, low = (float)(a - high);
  return fnmaf(all(low), before, fnmaf(all(high), before, x));
}
#else
INLINE float emphasized(float x, float before, double a) { return (float)((double)x - a * (double)before); }
INLINE Floats emphasized(Floats x, Floats before, double a) {
  return __builtin_convertvector(widened(x) - a * widened(before), Floats);
}
#endif

// Four floats from each of N / 4 places.
template <int N> INLINE typename Vector<N>::Floats quads(const float *from, [[maybe_unused]] long stride) {
  typedef Vector<4>::Unaligned Quad;
#if LANES >= 8
  if constexpr (N == 8) {
    const __m256 low = _mm256_castps128_ps256(*(const Quad *)from);
    return _mm256_insertf128_ps(low, *(const Quad *)(from + stride), 1);
  }
#endif
#if LANES == 16
  if constexpr (N == 16) {
    const __m512 low = _mm512_castps256_ps512(quads<8>(from, stride));
    return _mm512_insertf32x8(low, quads<8>(from + 2 * stride, stride), 1);
  }
#endif
  if constexpr (N == 4) return *(const Quad *)from;
}

// Shuffles of two vectors within their groups of four lanes; ORDER counts a's four lanes, then b's.
template <int N, int... ORDER> struct Shuffle {
  static constexpr int ORDERS[4] = {ORDER...};
  static constexpr int lane(int i) { return i / 4 * 4 + ORDERS[i % 4] % 4 + ORDERS[i % 4] / 4 * N; }
};
#if defined(__clang__)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, typename Vector<N>::Ints{__VA_ARGS__})
#endif
template <int N, int... ORDER, class T> INLINE T shuffled(T a, T b) {
  typedef Shuffle<N, ORDER...> S;
  if constexpr (N == 4)
    return SHUFFLED(a, b, S::lane(0), S::lane(1), S::lane(2), S::lane(3));
  else if constexpr (N == 8)
    return SHUFFLED(a, b, S::lane(0), S::lane(1), S::lane(2), S::lane(3), S::lane(4), S::lane(5), S::lane(6),
                    S::lane(7));
  else
    return SHUFFLED(a, b, S::lane(0), S::lane(1), S::lane(2), S::lane(3), S::lane(4), S::lane(5), S::lane(6),
                    S::lane(7), S::lane(8), S::lane(9), S::lane(10), S::lane(11), S::lane(12), S::lane(13),
                    S::lane(14), S::lane(15));
}

// Transposes the 4 x 4 floats of each group of lanes.
template <int N, class T> INLINE void transpose4(T (&x)[4]) {
  const T a = shuffled<N, 0, 4, 1, 5>(x[0], x[1]), b = shuffled<N, 2, 6, 3, 7>(x[0], x[1]);
  const T c = shuffled<N, 0, 4, 1, 5>(x[2], x[3]), d = shuffled<N, 2, 6, 3, 7>(x[2], x[3]);
  x[0] = shuffled<N, 0, 1, 4, 5>(a, c);
  x[1] = shuffled<N, 2, 3, 6, 7>(a, c);
  x[2] = shuffled<N, 0, 1, 4, 5>(b, d);
  x[3] = shuffled<N, 2, 3, 6, 7>(b, d);
}

#include "../fft.cuh"

}  // namespace
