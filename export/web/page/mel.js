// Mel scales and the ticks of axes, for labels only: the features themselves come out of the model.

const LINEAR = 200 / 3; // Hz per mel below 1 kHz, Slaney's Auditory Toolbox
const STEP = Math.log(6.4) / 27; // ln(Hz) per mel above 1 kHz

export function hzToMel(hz, htk) {
  if (htk) return 2595 * Math.log10(1 + hz / 700);
  return hz < 1000 ? hz / LINEAR : 15 + Math.log(hz / 1000) / STEP;
}

// Height of a frequency in the picture, 0 at the lower edge of the first band and 1 at the upper edge of the last.
export function height(hz, { fmin, fmax, sr, n_mels, htk }) {
  const [low, high] = [hzToMel(fmin, htk), hzToMel(fmax ?? sr / 2, htk)];
  // Of n_mels + 2 points the inner ones are the peaks of the filters.
  return (((hzToMel(hz, htk) - low) / (high - low)) * (n_mels + 1) - 0.5) / n_mels;
}

const FREQUENCIES = [50, 100, 200, 500, 1000, 2000, 3000, 5000, 8000, 10000, 15000, 20000, 50000, 100000];

// Frequencies to label, not closer than `gap` (a share of the height).
export function frequencies(features, gap) {
  const ticks = [];
  for (const hz of FREQUENCIES) {
    const at = height(hz, features);
    if (at > 0.01 && at < 0.99 && (!ticks.length || at - ticks.at(-1).at >= gap)) {
      ticks.push({ at, text: hz < 1000 ? `${hz}` : `${hz / 1000}k` });
    }
  }
  return ticks;
}

// Round numbers from `low` to `high`, about `n` of them.
export function round(low, high, n) {
  const rough = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((s) => s * power >= rough) ?? 10);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(+(i * step).toPrecision(12));
  return ticks;
}
