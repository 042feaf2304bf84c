// The real FFT of fused.cu, for LANES frames at a time: P-point transforms, an exchange, L-point transforms, a split.
//
// There, a lane has one j of L and passes values on by shared memory and shuffles; here, vectors lie in arrays. The
// operations on a value and their order are the same, so a machine with fused multiply-adds finds the same bits.
#pragma once
#include "plan.h"
#include "vectors.h"

namespace {

INLINE Floats at(const float *from) { return *(const Unaligned *)from; }

// Complex values from one j to the next in `exchange`; not a power of two, which would lie in few sets of the cache.
inline int pitch_of(int p) { return p + 1; }

// Keeps the compiler from loading values long before their use, for which it has no registers.
INLINE void settle(const void *array) { asm volatile("" : : "r"(array) : "memory"); }

// A transform of N is that many of the sizes that registers hold, and merges of as many values.
constexpr int parts_of(int n) { return n % 5 == 0 ? 5 : n == 64 ? 8 : n >= 16 ? 4 : 1; }

// Which values belong to a part: every D-th from here on.
template <int D> constexpr int first_of(int part) {
  if (D == 5) return part;
  int reversed = 0;
  for (int bit = 1; bit < D; bit *= 2) reversed = 2 * reversed + (part / bit & 1);
  return reversed;
}

template <int N, int PART, class Roots> INLINE auto inner_roots(Roots roots) {
  if constexpr (N == PART)
    return roots;
  else
    return inner_roots<N % 5 == 0 ? N / 5 : N / 2, PART>(roots.template inner<N>());
}

template <int N, int D, int K, int I, class Roots>
INLINE void merge_outputs(Roots roots, const Complex *even, const Complex *odd, Complex *y) {
  if constexpr (I < D / 2) {
    butterfly<N, K + I * (N / D)>(roots, even[I], odd[I], y[I], y[I + D / 2]);
    merge_outputs<N, D, K, I + 1>(roots, even, odd, y);
  }
}

// Outputs K, K + N / D, ... of N from output K of each of the D parts.
template <int N, int D, int K, class Roots> INLINE void merge_parts(Roots roots, const Complex *parts, Complex *y) {
  if constexpr (D == 1) {
    y[0] = parts[K];
  } else {
    Complex even[D / 2], odd[D / 2];
    merge_parts<N / 2, D / 2, K>(roots.template inner<N>(), parts, even);
    merge_parts<N / 2, D / 2, K>(roots.template inner<N>(), parts + N / 2, odd);
    merge_outputs<N, D, K, 0>(roots, even, odd, y);
  }
}

template <int N, int D, int K, class Roots> INLINE void merge_all(Roots roots, const Complex *parts, Complex *x) {
  if constexpr (K < N / D) {
    Complex y[D];
    merge_parts<N, D, K>(roots, parts, y);
    UNROLL
    for (int i = 0; i < D; ++i) x[K + i * (N / D)] = y[i];
    merge_all<N, D, K + 1>(roots, parts, x);
  }
}

// The transform of N values that `load` yields, to x: what dft<N> computes, by way of an array in the cache.
template <int N, class Roots, class Load> INLINE void dft_in_cache(Roots roots, Load load, Complex *x) {
  constexpr int D = parts_of(N), PART = N / D;
  Complex parts[D][PART];
  UNROLL
  for (int part = 0; part < D; ++part) {
    Complex z[PART];
    load.template part<PART, D>(first_of<D>(part), z);
    dft<PART>(inner_roots<N, PART>(roots), z);
    Complex *to = D == 1 ? x : parts[part];
    UNROLL
    for (int i = 0; i < PART; ++i) to[i] = z[i];
    settle(parts);
  }
  if constexpr (D == 5)
    merge5<N, 0>(roots, parts, x);
  else if constexpr (D > 1)
    merge_all<N, D, 0>(roots, parts[0], x);
}

// Yields z[p] = samples 2 n and 2 n + 1 of the frames, n = p L + j, less the frames' `mean` where they are CENTRED,
// with the window and the innermost butterflies.
template <bool CENTRED> struct Windowed {
  const float *samples;
  const int *where;     // [P, 2]
  const float *window;  // [P, 2]
  Floats mean;

  INLINE Floats sample(int place) const {
    if constexpr (CENTRED) return at(samples + place) - mean;
    return at(samples + place);
  }

  template <int PART, int D> INLINE void part(int first, Complex *z) const {
    UNROLL
    for (int i = 0; i < PART / 2; ++i) {
      const int p = 2 * (D * i + first);
      const float *v = window + p, *w = v + PART * D;
      const int *m = where + p, *n = m + PART * D;
      const Complex b = {sample(n[0]), sample(n[1])};
      const Complex a = {v[0] * sample(m[0]), v[1] * sample(m[1])};
      z[i] = Complex{fmaf(w[0], b.x, a.x), fmaf(w[1], b.y, a.y)};
      z[i + PART / 2] = Complex{fmaf(Negative{w[0]}, b.x, a.x), fmaf(Negative{w[1]}, b.y, a.y)};
    }
  }
};

// Yields output q of the P-point transforms of every j.
struct Exchanged {
  const Complex *from;
  int pitch;

  template <int PART, int D> INLINE void part(int first, Complex *z) const {
    UNROLL
    for (int i = 0; i < PART; ++i) z[i] = from[(D * i + first) * pitch];
  }
};

// Memory that the next block reads, on its way to the cache while this one is computed.
struct Upcoming {
  const char *from;
  int64_t bytes;

  INLINE void fetch(int part, int n_parts) const {
    constexpr int LINE = 64;
    for (int64_t i = bytes * part / n_parts; i < bytes * (part + 1) / n_parts; i += LINE) __builtin_prefetch(from + i);
  }
};

// LANES frames: where their samples lie, and what is subtracted from all of a frame's.
struct Frames {
  const float *samples;
  const int *where;
  Floats mean;
};

// P-point transforms for every j, to exchange[j * pitch + q].
template <int P, bool CENTRED>
__attribute__((noinline)) void first_pass(int l, const Frames &of, const float *window, Upcoming upcoming,
                                          Complex *exchange) {
  for (int j = 0; j < l; ++j) {
    upcoming.fetch(j, l);
    const Windowed<CENTRED> load = {of.samples, of.where + 2 * P * j, window + 2 * P * j, of.mean};
    dft_in_cache<P>(Plain(), load, exchange + j * pitch_of(P));
  }
}

// Z[q + P r] to x[r].
template <int L>
__attribute__((noinline)) void column(const Complex *exchange, int pitch, const Twiddle *table, Complex *x) {
  dft_in_cache<L>(Twisted<>{table}, Exchanged{exchange, pitch}, x);
}

INLINE Floats square(Complex x) { return fmaf(x.x, x.x, x.y * x.y); }
INLINE void store(Floats *bins, int k, Complex x) { bins[k] = square(x); }
INLINE void store(Complex *bins, int k, Complex x) { bins[k] = x; }

// Bins k and M - k out of a = Z[k], b = Z[M - k].
template <class Bin> INLINE void split(Complex a, Complex b, Twiddle w, int k, int m, int n_bins, Bin *bins) {
  const Complex even = {a.x + b.x, a.y - b.y}, odd = {a.y + b.y, b.x - a.x};
  Complex low;
  low.x = fmaf(-w.y, odd.y, fmaf(w.x, odd.x, even.x));
  low.y = fmaf(w.y, odd.x, fmaf(w.x, odd.y, even.y));
  store(bins, k, low);
  if (m - k < n_bins) store(bins, m - k, Complex{2.f * even.x - low.x, low.y - 2.f * even.y});
}

// The bins of the frames, from what first_pass left.
template <int L, class Bin>
__attribute__((noinline)) void second_pass(const Plan &plan, const Complex *exchange, Bin *bins) {
  const int p = plan.p, m = p * L, n_bins = plan.n_bins, pitch = pitch_of(p), n_twist = plan.n_twist;
  const Twiddle *table = (const Twiddle *)plan.twist, *roots = (const Twiddle *)plan.roots;
  Complex a[L], b[L];
  column<L>(exchange, pitch, table, a);
  split(a[0], a[0], roots[0], 0, m, n_bins, bins);
  for (int r = 1; r < L / 2 && p * r < n_bins; ++r) split(a[r], a[L - r], roots[p * r], p * r, m, n_bins, bins);
  if (m / 2 < n_bins) store(bins, m / 2, Complex{2.f * a[L / 2].x, -2.f * a[L / 2].y});
  for (int q = 1; q < p / 2; ++q) {
    const int other = p - q;
    column<L>(exchange + q, pitch, table + q * n_twist, a);
    column<L>(exchange + other, pitch, table + other * n_twist, b);
    for (int r = 0, k = q; r < L / 2 && k < n_bins; ++r, k += p)
      split(a[r], b[L - 1 - r], roots[k], k, m, n_bins, bins);
    for (int r = 0, k = other; r < L / 2 && k < n_bins; ++r, k += p)
      split(b[r], a[L - 1 - r], roots[k], k, m, n_bins, bins);
  }
  column<L>(exchange + p / 2, pitch, table + p / 2 * n_twist, a);
  for (int r = 0, k = p / 2; r < L / 2 && k < n_bins; ++r, k += p)
    split(a[r], a[L - 1 - r], roots[k], k, m, n_bins, bins);
}

template <bool CENTRED>
void first_passes(const Plan &plan, const Frames &of, Upcoming upcoming, Complex *exchange) {
  const int l = plan.l;
  switch (plan.p) {
    case 16: return first_pass<16, CENTRED>(l, of, plan.window, upcoming, exchange);
    case 20: return first_pass<20, CENTRED>(l, of, plan.window, upcoming, exchange);
    case 32: return first_pass<32, CENTRED>(l, of, plan.window, upcoming, exchange);
    case 64: return first_pass<64, CENTRED>(l, of, plan.window, upcoming, exchange);
  }
}

// Bins of type Floats: power; of type Complex: the spectrum.
template <class Bin>
void transform(const Plan &plan, const Frames &of, Upcoming upcoming, Complex *exchange, Bin *bins) {
  plan.remove_dc ? first_passes<true>(plan, of, upcoming, exchange)
                 : first_passes<false>(plan, of, upcoming, exchange);
  switch (plan.l) {
    case 8: return second_pass<8>(plan, exchange, bins);
    case 10: return second_pass<10>(plan, exchange, bins);
    case 16: return second_pass<16>(plan, exchange, bins);
    case 32: return second_pass<32>(plan, exchange, bins);
  }
}

}  // namespace
