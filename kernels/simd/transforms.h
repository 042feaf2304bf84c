// The real FFT of fused.cu, for LANES frames at a time: P-point transforms, an exchange, L-point transforms, a split.
//
// There, a lane has one j of L and passes values on by shared memory and shuffles; here, vectors lie in arrays. The
// operations on a value and their order are the same, so a machine with fused multiply-adds finds the same bits.
#pragma once
#include "plan.h"
#include "vectors.h"

namespace {

INLINE Floats at(const float *from) { return *(const Unaligned *)from; }

// Complex values from one q to the next in `exchange`; not a power of two, which would lie in few sets of the cache.
inline int pitch_of(int l) { return l + 1; }

// P-point transforms of z[p] = samples 2 n and 2 n + 1 of the frames, n = p L + j, for every j.
// `where` [L, P, 2] tells where such a sample begins in `samples`.
template <int P>
__attribute__((noinline)) void first_pass(int l, const float *samples, const int *where, const float *window,
                                          Complex *exchange) {
  const int pitch = pitch_of(l);
  for (int j = 0; j < l; ++j, where += 2 * P, window += 2 * P) {
    Complex z[P];
    UNROLL
    for (int p = 0; p < P / 2; ++p) {
      const float *v = window + 2 * p, *w = v + P;
      const int *m = where + 2 * p, *n = m + P;
      const Complex b = {at(samples + n[0]), at(samples + n[1])};
      const Complex a = {at(samples + m[0]) * v[0], at(samples + m[1]) * v[1]};
      z[p] = Complex{fmaf(w[0], b.x, a.x), fmaf(w[1], b.y, a.y)};
      z[p + P / 2] = Complex{fmaf(w[0], -b.x, a.x), fmaf(w[1], -b.y, a.y)};
    }
    dft<P>(Plain(), z);
    UNROLL
    for (int q = 0; q < P; ++q) exchange[q * pitch + j] = z[q];
  }
}

// Z[q + P r] to x[r].
template <int L>
__attribute__((noinline)) void column(const Complex *exchange, const Twiddle *table, Complex *x) {
  Complex y[L];
  UNROLL
  for (int j = 0; j < L; ++j) y[j] = exchange[j];
  dft<L>(Twisted<>{table}, y);
  UNROLL
  for (int r = 0; r < L; ++r) x[r] = y[r];
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
  const int p = plan.p, m = p * L, n_bins = plan.n_bins, pitch = pitch_of(L), n_twist = plan.n_twist;
  const Twiddle *table = (const Twiddle *)plan.twist, *roots = (const Twiddle *)plan.roots;
  Complex a[L], b[L];
  column<L>(exchange, table, a);
  split(a[0], a[0], roots[0], 0, m, n_bins, bins);
  for (int r = 1; r < L / 2 && p * r < n_bins; ++r) split(a[r], a[L - r], roots[p * r], p * r, m, n_bins, bins);
  if (m / 2 < n_bins) store(bins, m / 2, Complex{2.f * a[L / 2].x, -2.f * a[L / 2].y});
  for (int q = 1; q < p / 2; ++q) {
    const int other = p - q;
    column<L>(exchange + q * pitch, table + q * n_twist, a);
    column<L>(exchange + other * pitch, table + other * n_twist, b);
    for (int r = 0, k = q; r < L / 2 && k < n_bins; ++r, k += p)
      split(a[r], b[L - 1 - r], roots[k], k, m, n_bins, bins);
    for (int r = 0, k = other; r < L / 2 && k < n_bins; ++r, k += p)
      split(b[r], a[L - 1 - r], roots[k], k, m, n_bins, bins);
  }
  column<L>(exchange + p / 2 * pitch, table + p / 2 * n_twist, a);
  for (int r = 0, k = p / 2; r < L / 2 && k < n_bins; ++r, k += p)
    split(a[r], a[L - 1 - r], roots[k], k, m, n_bins, bins);
}

// Bins of type Floats: power; of type Complex: the spectrum.
template <class Bin>
void transform(const Plan &plan, const float *samples, const int *where, Complex *exchange, Bin *bins) {
  const int l = plan.l;
  switch (plan.p) {
    case 16: first_pass<16>(l, samples, where, plan.window, exchange); break;
    case 20: first_pass<20>(l, samples, where, plan.window, exchange); break;
    case 32: first_pass<32>(l, samples, where, plan.window, exchange); break;
    case 64: first_pass<64>(l, samples, where, plan.window, exchange); break;
  }
  switch (l) {
    case 8: second_pass<8>(plan, exchange, bins); break;
    case 10: second_pass<10>(plan, exchange, bins); break;
    case 16: second_pass<16>(plan, exchange, bins); break;
    case 32: second_pass<32>(plan, exchange, bins); break;
  }
}

}  // namespace
