// Draws the two pictures, on canvases with the screen's resolution.
import { frequencies, round } from "./mel.js";

// matplotlib's magma at 17 places, interpolated linearly: at most 2.5 of 255 from the whole table.
const MAGMA = "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf"
  .split(" ")
  .map((hex) => [0, 2, 4].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)));

function magma(share) {
  const at = Math.min(Math.max(share, 0), 1) * (MAGMA.length - 1);
  const i = Math.min(Math.floor(at), MAGMA.length - 2);
  return MAGMA[i].map((low, c) => low + (at - i) * (MAGMA[i + 1][c] - low));
}

function prepare(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(canvas.width / width, canvas.height / height);
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  pen.font = `12px ${style.fontFamily}`;
  pen.fillStyle = colour("faint");
  return { pen, width, height, colour };
}

const envelopes = new WeakMap(); // cache by samples: moving the window does not read ten minutes again

// The lowest and highest sample of each of n columns, and the largest magnitude.
function envelope(y, n) {
  const known = envelopes.get(y);
  if (known?.low.length === n) return known;
  const [low, high] = [new Float32Array(n), new Float32Array(n)];
  for (let column = 0; column < n; column++) {
    const first = Math.floor((column / n) * y.length);
    const end = Math.max(first + 1, Math.floor(((column + 1) / n) * y.length));
    low[column] = high[column] = y[first];
    for (let i = first + 1; i < end; i++) {
      if (y[i] < low[column]) low[column] = y[i];
      else if (y[i] > high[column]) high[column] = y[i];
    }
  }
  const peak = low.reduce((most, value, i) => Math.max(most, -value, high[i]), 0);
  envelopes.set(y, { low, high, peak });
  return { low, high, peak };
}

// Draw y and mark the samples [from, to) that are classified.
export function drawWaveform(canvas, y, from, to) {
  const { pen, width, height, colour } = prepare(canvas);
  const { low, high, peak } = envelope(y, canvas.width);
  const middle = height / 2;
  const scale = peak ? (middle - 2) / peak : 0;
  const x = (sample) => (sample / y.length) * width;
  pen.fillStyle = colour("heard");
  if (to - from < y.length) pen.fillRect(x(from), 0, x(to) - x(from), height);
  const [rest, accent] = [colour("rest"), colour("accent")];
  const thin = width / canvas.width;
  for (let column = 0; column < canvas.width; column++) {
    const at = column * thin;
    pen.fillStyle = at >= x(from) && at < x(to) ? accent : rest;
    pen.fillRect(at, middle - high[column] * scale - thin / 2, thin, (high[column] - low[column]) * scale + thin);
  }
}

const MARGIN = { left: 40, right: 62, top: 8, bottom: 26 }; // CSS pixels; room for the labels
const COLOUR_BAR = 12; // CSS pixels wide

// Draw features [n_mels][n_frames] in a `unit`. `edge` is the time in the window at which the recording begins, in
// seconds, and `origin` the label of that time on the axis; `length` is the length of the recording.
export function drawMel(canvas, values, config, { unit, edge, origin, length }) {
  const { pen, width, height, colour } = prepare(canvas);
  const area = { x: MARGIN.left, y: MARGIN.top, w: width - MARGIN.left - MARGIN.right, h: height - MARGIN.top - MARGIN.bottom };
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const n_frames = values.length / config.n_mels;
  pen.imageSmoothingEnabled = false;
  pen.drawImage(image(values, config.n_mels, n_frames, low, high - low || 1), area.x, area.y, area.w, area.h);

  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const { at, text } of frequencies(config, 22 / area.h)) {
    const y = area.y + (1 - at) * area.h;
    pen.fillRect(area.x - 5, y, 4, 1);
    pen.fillText(text, area.x - 8, y);
  }
  pen.textAlign = "left";
  pen.fillText("Hz", 0, area.y + area.h + 14);

  // A frame lies at its sample when centred, else at the middle of its window.
  const hop = config.hop_length / config.sr;
  const first = (config.center ? 0 : config.n_fft / 2 / config.sr) - hop / 2;
  const x = (seconds) => area.x + ((seconds - origin + edge - first) / (n_frames * hop)) * area.w;
  pen.textAlign = "center";
  const [begin, end] = [x(origin), x(origin + length)];
  for (const tick of round(origin, origin + length, Math.max(2, (end - begin) / 80))) {
    if (x(tick) < area.x || x(tick) > area.x + area.w) continue;
    pen.fillRect(x(tick), area.y + area.h + 1, 1, 4);
    pen.fillText(`${tick} s`, x(tick), area.y + area.h + 14);
  }
  if (edge > 0) {
    pen.fillStyle = "#0009"; // covers the mirrored part
    pen.fillRect(area.x, area.y, begin - area.x, area.h);
    pen.fillRect(end, area.y, area.x + area.w - end, area.h);
    pen.fillStyle = colour("faint");
  }
  drawScale(pen, { ...area, x: area.x + area.w + 12 }, low, high, unit);
}

function image(values, n_mels, n_frames, low, range) {
  const pixels = new ImageData(n_frames, n_mels);
  for (let band = 0; band < n_mels; band++) {
    for (let frame = 0; frame < n_frames; frame++) {
      const [r, g, b] = magma((values[band * n_frames + frame] - low) / range);
      pixels.data.set([r, g, b, 255], 4 * ((n_mels - 1 - band) * n_frames + frame));
    }
  }
  const canvas = new OffscreenCanvas(n_frames, n_mels);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function drawScale(pen, area, low, high, unit) {
  const ramp = pen.createLinearGradient(0, area.y + area.h, 0, area.y);
  MAGMA.forEach((rgb, i) => ramp.addColorStop(i / (MAGMA.length - 1), `rgb(${rgb.join(" ")})`));
  const faint = pen.fillStyle;
  pen.fillStyle = ramp;
  pen.fillRect(area.x, area.y, COLOUR_BAR, area.h);
  pen.fillStyle = faint;
  pen.textAlign = "left";
  for (const db of high > low ? round(low, high, area.h / 50) : [low]) {
    const y = area.y + (high > low ? (high - db) / (high - low) : 0.5) * area.h;
    pen.fillRect(area.x + COLOUR_BAR + 1, y, 3, 1);
    pen.fillText(`${db}`.replace("-", "−"), area.x + COLOUR_BAR + 7, Math.max(y, area.y + 5));
  }
  pen.fillText(unit, area.x + COLOUR_BAR + 7, area.y + area.h + 14);
}
