// Fourier transforms in registers. Every index is known at compile time, so that no array ever reaches memory.
//
// Values are of type Complex, twiddles of type Twiddle. On a GPU both are a thread's own float2 (common.cuh); on a CPU
// a value is the same one of several frames (simd/vectors.h), and twiddles are numbers.
//
// A butterfly with the twiddle w = c (1 + i t) takes six fused multiply-adds (Linzer and Feig, 1993):
//   u = b (1 + i t);  a + w b = a + c u;  a - w b = a - c u.
// Where the cosine c is zero, plan.py puts 2^-30 in its place, which moves w by less than float32 can tell.

__device__ constexpr double taylor(double x, int first) {  // series of the cosine (first 0) or the sine (first 1)
  double term = first ? x : 1.0, sum = term;
  for (int i = first + 2; i < 48; i += 2) {
    term *= -x * x / (i * (i - 1));
    sum += term;
  }
  return sum;
}

template <int K, int N> struct Root {  // exp(-2 pi i K / N) = COS (1 + i TAN)
  static constexpr double ANGLE = 2.0 * 3.14159265358979323846 * K / N;
  static constexpr float COS = (float)taylor(ANGLE, 0);
  static constexpr float SIN = -(float)taylor(ANGLE, 1);
  static constexpr float TAN = -(float)(taylor(ANGLE, 1) / taylor(ANGLE, 0));
};

__device__ __forceinline__ Complex add(Complex a, Complex b) { return Complex{a.x + b.x, a.y + b.y}; }
__device__ __forceinline__ Complex sub(Complex a, Complex b) { return Complex{a.x - b.x, a.y - b.y}; }
template <class T> __device__ __forceinline__ Complex scaled(T c, Complex a) { return Complex{c * a.x, c * a.y}; }
template <class T> __device__ __forceinline__ Complex axpy(T c, Complex a, Complex b) {  // c a + b
  return Complex{fmaf(c, a.x, b.x), fmaf(c, a.y, b.y)};
}
__device__ __forceinline__ Complex rotated(Complex a) { return Complex{a.y, -a.x}; }    // -i a
template <class T> __device__ __forceinline__ Complex turned(Complex a, T t) {          // (1 + i t) a
  return Complex{fmaf(-t, a.y, a.x), fmaf(t, a.x, a.y)};
}

// Where a transform takes its twiddles from. `Plain`: compile-time roots of unity; exp(-2 pi i r k / N) for input r.
struct Plain {
  static constexpr bool PLAIN = true;
  template <int N, int K> __device__ __forceinline__ Twiddle at() const {
    return Twiddle{Root<K, N>::COS, Root<K, N>::TAN};
  }
  template <int N, int R, int K> __device__ __forceinline__ Twiddle at5() const { return at<N, R * K>(); }
  template <int N> __device__ __forceinline__ Plain inner() const { return {}; }
};

// `Twisted`: a lane's own table (cosine, tangent), whose roots also hold a factor theta^r: the transform of
// x[r] theta^r, at no more cost than that of x. Entries from the outermost merge inwards, as plan.py lays them out.
template <int OFFSET = 0> struct Twisted {
  static constexpr bool PLAIN = false;
  const Twiddle *table;
  template <int N, int K> __device__ __forceinline__ Twiddle at() const { return table[OFFSET + K]; }
  template <int N, int R, int K> __device__ __forceinline__ Twiddle at5() const {
    return table[OFFSET + 4 * K + R - 1];
  }
  template <int N> __device__ __forceinline__ auto inner() const {
    constexpr int USED = N % 5 == 0 ? 4 * (N / 5) : N >= 4 ? N / 4 : 1;
    return Twisted<OFFSET + USED>{table};
  }
};

// (low, high) = a +- w b with the root for input 1 and output K of N; the upper half of them is the lower, rotated.
template <int N, int K, class Roots>
__device__ __forceinline__ void butterfly(Roots roots, Complex a, Complex b, Complex &low, Complex &high) {
  if constexpr (N >= 4 && 4 * K >= N) {
    butterfly<N, K - N / 4>(roots, a, rotated(b), low, high);
  } else if constexpr (Roots::PLAIN && K == 0) {
    low = add(a, b);
    high = sub(a, b);
  } else {
    const Twiddle w = roots.template at<N, K>();
    const Complex u = turned(b, w.y);
    low = axpy(w.x, u, a);
    high = axpy(-w.x, u, a);
  }
}

template <int N, int R, int K, class Roots> __device__ __forceinline__ Complex twiddled(Roots roots, Complex b) {
  if constexpr (Roots::PLAIN && K == 0) return b;
  const Twiddle w = roots.template at5<N, R, K>();
  return scaled(w.x, turned(b, w.y));
}

__device__ __forceinline__ void dft5(Complex (&x)[5]) {
  constexpr float C1 = Root<1, 5>::COS, C2 = Root<2, 5>::COS, S1 = -Root<1, 5>::SIN, S2 = -Root<2, 5>::SIN;
  const Complex a = add(x[1], x[4]), b = add(x[2], x[3]), c = sub(x[1], x[4]), d = sub(x[2], x[3]);
  const Complex e = axpy(C2, b, axpy(C1, a, x[0])), f = axpy(C1, b, axpy(C2, a, x[0]));
  const Complex g = rotated(axpy(S2, d, scaled(S1, c))), h = rotated(axpy(-S1, d, scaled(S2, c)));
  x[0] = add(x[0], add(a, b));
  x[1] = add(e, g);
  x[2] = add(f, h);
  x[3] = sub(f, h);
  x[4] = sub(e, g);
}

template <int N, int K, class Roots>
__device__ __forceinline__ void merge2(Roots roots, const Complex *even, const Complex *odd, Complex *x) {
  if constexpr (K < N / 2) {
    butterfly<N, K>(roots, even[K], odd[K], x[K], x[K + N / 2]);
    merge2<N, K + 1>(roots, even, odd, x);
  }
}

template <int N, int K, class Roots>
__device__ __forceinline__ void merge5(Roots roots, const Complex (&part)[5][N / 5], Complex *x) {
  if constexpr (K < N / 5) {
    Complex y[5] = {part[0][K], twiddled<N, 1, K>(roots, part[1][K]), twiddled<N, 2, K>(roots, part[2][K]),
                   twiddled<N, 3, K>(roots, part[3][K]), twiddled<N, 4, K>(roots, part[4][K])};
    dft5(y);
    UNROLL
    for (int i = 0; i < 5; ++i) x[K + i * (N / 5)] = y[i];
    merge5<N, K + 1>(roots, part, x);
  }
}

// The transform of x[0 .. N) in place, in natural order at both ends, by decimation in time; N = 2^a or 5 2^a.
// Plain transforms begin with their innermost butterflies done: x[p] +- x[p + N / 2] at p and p + N / 2.
template <int N, class Roots> __device__ __forceinline__ void dft(Roots roots, Complex *x) {
  if constexpr (N % 5 == 0) {
    Complex part[5][N / 5];
    UNROLL
    for (int r = 0; r < 5; ++r) {
      UNROLL
      for (int k = 0; k < N / 5; ++k) part[r][k] = x[5 * k + r];
      dft<N / 5>(roots.template inner<N>(), part[r]);
    }
    merge5<N, 0>(roots, part, x);
  } else if constexpr (N > 2) {
    Complex even[N / 2], odd[N / 2];
    UNROLL
    for (int k = 0; k < N / 2; ++k) {
      even[k] = x[2 * k];
      odd[k] = x[2 * k + 1];
    }
    dft<N / 2>(roots.template inner<N>(), even);
    dft<N / 2>(roots.template inner<N>(), odd);
    merge2<N, 0>(roots, even, odd, x);
  } else if constexpr (!Roots::PLAIN) {
    const Complex a = x[0], b = x[1];
    butterfly<2, 0>(roots, a, b, x[0], x[1]);
  }
}
