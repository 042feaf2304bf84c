// Decodes a file to mono samples at its own rate, by the browser's decoders.
import { rateOf } from "./rate.js";

export const MOST_SECONDS = 600; // the rest of a longer recording is not decoded
const UNKNOWN_BYTES = 64 << 20; // limit for a file whose length the browser cannot tell

// Resolves to {y, sr, seconds, whole}: y Float32Array, the mean of the channels; seconds, of y; whole, or cut to
// MOST_SECONDS. A file whose rate cannot be told is resampled by the browser, to `otherwise`.
export async function decode(file, otherwise) {
  if (!file.size) throw new Error(`${file.name} is empty.`);
  const seconds = await duration(file);
  let part = file;
  if (seconds === null ? file.size > UNKNOWN_BYTES : seconds > MOST_SECONDS) {
    const share = seconds === null ? UNKNOWN_BYTES / file.size : (1.05 * MOST_SECONDS) / seconds;
    part = file.slice(0, Math.ceil(file.size * share) + (1 << 16)); // Decoders accept a file that ends early.
  }
  let audio;
  try {
    audio = await context((await rateOf(file)) ?? otherwise, otherwise).decodeAudioData(await part.arrayBuffer());
  } catch {
    const remedy = part === file ? "Try WAV, FLAC, MP3 or OGG." : `Cut it to less than ${MOST_SECONDS / 60} minutes.`;
    throw new Error(`${file.name} cannot be decoded by this browser. ${remedy}`);
  }
  const sr = audio.sampleRate;
  const most = MOST_SECONDS * sr;
  const y = mono(audio).subarray(0, most);
  return { y, sr, seconds: y.length / sr, whole: part === file && audio.length <= most };
}

function context(sr, otherwise) {
  try {
    return new OfflineAudioContext(1, 1, sr);
  } catch {
    return new OfflineAudioContext(1, 1, otherwise); // This browser does not support the rate.
  }
}

// Resolves to the seconds that the file's header states, or to null; nothing is decoded.
function duration(file) {
  const player = new Audio();
  const address = URL.createObjectURL(file);
  return new Promise((resolve) => {
    player.onloadedmetadata = () => resolve(Number.isFinite(player.duration) ? player.duration : null);
    player.onerror = () => resolve(null);
    player.preload = "metadata";
    player.src = address;
  }).finally(() => {
    player.removeAttribute("src");
    URL.revokeObjectURL(address);
  });
}

// Chromium turns the positive numbers of 16-bit (and 8-bit) files into n / 32767, the negative ones into n / 32768. Make
// both n / 32768, as other decoders do: beside loud sounds the difference is 0.08 dB in quiet bands.
function straighten(y) {
  for (const scale of [1 << 15, 1 << 7]) {
    const bent = (v) => Math.abs(v * (scale - 1) - Math.round(v * (scale - 1))) < 2e-7 * v * scale; // float32's rounding
    if (!y.every((v) => (v > 0 ? bent(v) : Number.isInteger(v * scale)))) continue;
    for (let i = 0; i < y.length; i++) if (y[i] > 0) y[i] = Math.round(y[i] * (scale - 1)) / scale;
    break;
  }
  return y;
}

function mono(audio) {
  const y = straighten(audio.getChannelData(0));
  const n = audio.numberOfChannels;
  for (let channel = 1; channel < n; channel++) {
    const other = straighten(audio.getChannelData(channel));
    for (let i = 0; i < y.length; i++) y[i] += other[i];
  }
  if (n > 1) for (let i = 0; i < y.length; i++) y[i] /= n;
  return y;
}

// Wraps mono float32 samples in a WAV file, so that a recording is treated like any other file.
export function wav(y, sr, name) {
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((c, i) => header.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + y.byteLength, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 3, true); // format tag: float
  header.setUint16(22, 1, true); // number of channels
  header.setUint32(24, sr, true);
  header.setUint32(28, 4 * sr, true);
  header.setUint16(32, 4, true);
  header.setUint16(34, 32, true);
  text(36, "data");
  header.setUint32(40, y.byteLength, true);
  return new File([header, y], name, { type: "audio/wav" });
}
