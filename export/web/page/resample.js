// Resamples as `cumel predict` does, by soxr's quality HQ: the browsers' own resamplers differ too much from each other.
// The filter is a Kaiser-windowed sinc; its three constants are fitted to soxr 1.1's output for white noise. Errors are
// 2e-7 at whole ratios, where soxr filters once, and 1e-3, near the cut-off, at ratios where soxr filters in stages.

const CUTOFF = 0.956872; // share of half the lower rate
const BETA = 13.04;
const REACH = 96.83; // half-width of the filter in periods of the lower rate

function ratio(sr, target) {
  let [a, b] = [sr, target];
  while (b) [a, b] = [b, a % b];
  return [target / a, sr / a]; // output sample k lies at input sample k * down / up
}

const reach = (sr, target) => Math.ceil((REACH * sr) / Math.min(sr, target));

// Cuts out the samples of y that n resampled samples need, from number `from` on; fewer where y ends.
// Returns {samples, skip, n}: `samples` resampled are the wanted n after the first `skip`.
export function part(y, sr, target, from, n) {
  const [up, down] = ratio(sr, target);
  const count = Math.min(n, Math.ceil((y.length * up) / down) - from);
  if (sr === target) return { samples: y.slice(from, from + count), skip: 0, n: count };
  const first = Math.max(0, Math.floor((from * down) / up) - reach(sr, target));
  const start = first - (first % down); // an output sample lies exactly there
  const end = Math.ceil(((from + count) * down) / up) + reach(sr, target);
  return { samples: y.slice(start, end), skip: from - (start * up) / down, n: count };
}

export function resample({ samples, skip, n }, sr, target) {
  if (sr === target) return samples;
  const [up, down] = ratio(sr, target);
  const half = reach(sr, target);
  const padded = new Float32Array(samples.length + 2 * half);
  padded.set(samples, half);
  const filters = new Map(); // filters by phase
  const out = new Float32Array(n);
  for (let k = 0; k < n; k++) {
    const position = (k + skip) * down;
    const phase = position % up;
    let filter = filters.get(phase);
    if (!filter) filters.set(phase, (filter = design(phase / up, half, sr, target)));
    const first = (position - phase) / up + 1; // index in `padded`
    let sum = 0;
    for (let i = 0; i < filter.length; i++) sum += filter[i] * padded[first + i];
    out[k] = sum;
  }
  return out;
}

// Weights of the input samples -half + 1 ... half around a point that lies a `fraction` after sample 0.
function design(fraction, half, sr, target) {
  const low = Math.min(sr, target) / sr; // the lower rate, in samples per input sample
  return Float32Array.from({ length: 2 * half }, (_, i) => {
    const x = (i - half + 1 - fraction) * low;
    const share = x / REACH;
    if (Math.abs(share) >= 1) return 0;
    const sinc = x ? Math.sin(Math.PI * CUTOFF * x) / (Math.PI * x) : CUTOFF;
    return (low * sinc * bessel(BETA * Math.sqrt(1 - share * share))) / bessel(BETA);
  });
}

// The modified Bessel function of order 0, by its series.
function bessel(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
