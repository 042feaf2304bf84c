// The page: takes a file or a recording, shows its pictures and labels.
import { decode, MOST_SECONDS } from "./decode.js";
import { drawMel, drawWaveform } from "./draw.js";
import { loadPatiently } from "./loading.js";
import { keep } from "./offline.js";
import { Player } from "./play.js";
import { Recorder } from "./record.js";
import { part } from "./resample.js";

const TOP = 5;
const element = Object.fromEntries([...document.querySelectorAll("[id]")].map((found) => [found.id, found]));
const recorder = new Recorder();
const player = new Player(element.playhead, (playing) => (element.play.textContent = playing ? "Stop" : "Play"));
let model = null; // contents of model.json, once the model is loaded
let classifier;
let early = null; // last file that was opened before the model was loaded
let clip = null; // the recording on show: {name, y, sr, seconds, whole, ms}
let heard = null; // last answer of the worker, and `from`: the first sample, at the model's rate
let latest = 0; // number of the recording that was opened last; earlier ones are dropped when they are decoded

function show(line, text, failed) {
  line.textContent = text;
  line.classList.toggle("error", failed);
}

const say = (text, failed = false) => show(element.status, text, failed); // the recording's line; the model has its own

const clock = (seconds) =>
  seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")} min`;
const kilohertz = (hz) => `${+(hz / 1000).toFixed(2)} kHz`;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

async function open(file, name = file.name) {
  const turn = ++latest;
  if (!model) {
    early = file;
    return say(`${name} is classified as soon as the model is loaded.`);
  }
  player.stop();
  say(`Decoding ${name} …`);
  try {
    const started = performance.now();
    const decoded = await decode(file, model.sr);
    if (turn !== latest) return;
    check(decoded, name);
    clip = { name, ...decoded, ms: performance.now() - started };
  } catch (error) {
    if (turn === latest) say(error.message, true);
    return undefined;
  }
  say("");
  element.drop.classList.add("small");
  element.result.hidden = false;
  element.name.textContent = clip.name;
  const cut = clip.whole ? "" : `, the first ${MOST_SECONDS / 60} minutes of a longer recording`;
  const mirrored = clip.seconds < model.seconds ? `, mirrored to ${model.seconds} s for the model` : "";
  const resampled = clip.sr === model.sr ? "" : `, resampled to ${kilohertz(model.sr)}`;
  element.about.textContent = `${clock(clip.seconds)} at ${kilohertz(clip.sr)}${resampled}${cut}${mirrored}`;
  const movable = clip.seconds > model.seconds;
  element.window.hidden = element.span.hidden = !movable;
  element.wave.classList.toggle("movable", movable);
  element.start.max = movable ? Math.ceil(10 * (clip.seconds - model.seconds)) / 10 : 0; // a whole number of steps
  element.start.value = 0;
  return listen();
}

// Limits as in `cumel predict`.
function check({ y, seconds }, name) {
  const least = model.features.n_fft;
  if (Math.ceil(seconds * model.sr - 1e-6) < least) throw new Error(`${name} is too short: the model needs ${Math.ceil((1000 * least) / model.sr)} ms.`);
  if (!y.every(Number.isFinite)) throw new Error(`${name} holds samples that are no numbers.`);
  if (y.every((sample) => sample === 0)) throw new Error(`${name} is silent: mixed to one channel, every sample is zero.`);
}

// The slider's position in samples at the model's rate; its last step may be shorter.
function pointed() {
  const last = Math.ceil((clip.y.length * model.sr) / clip.sr) - model.samples;
  return Math.max(0, Math.min(Math.round(element.start.valueAsNumber * model.sr), last));
}

// The range of the clip's samples, at its own rate, that is classified from `from` on.
function range(from) {
  const first = Math.round((from * clip.sr) / model.sr);
  return [first, Math.min(first + Math.round(model.seconds * clip.sr), clip.y.length)];
}

// Classify the part of the clip that the slider points at.
async function listen() {
  const from = pointed();
  const span = `${clock(from / model.sr)} to ${clock(from / model.sr + model.seconds)}`;
  element.span.textContent = span;
  element.start.setAttribute("aria-valuetext", span);
  element.answer.classList.add("stale");
  const [first, end] = range(from);
  drawWaveform(element.wave, clip.y, first, end);
  const request = { part: part(clip.y, clip.sr, model.sr, from, model.samples), sr: clip.sr, target: model.sr };
  let result;
  try {
    result = clip.y.subarray(first, end).some((sample) => sample !== 0) && (await classifier.run(request));
  } catch (error) {
    return say(`The model failed on this recording: ${error.message}`, true);
  }
  if (result === null) return undefined; // A later request has replaced this one.
  if (!result) return say("This part is silent; move on to another.", true);
  say("");
  element.answer.classList.remove("stale");
  heard = { from, ...result };
  showTop(result.probabilities);
  const resampling = clip.sr === model.sr ? "" : ` resampled in ${result.ms.resample.toFixed(0)} ms,`;
  element.timing.textContent = `Decoded in ${clip.ms.toFixed(0)} ms,${resampling} classified in ${result.ms.model.toFixed(0)} ms`;
  showMel();
  document.dispatchEvent(new CustomEvent("heard", { detail: { name: clip.name, labels: model.labels, ...heard } }));
  return undefined;
}

function showTop(probabilities) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, TOP);
  element.top.replaceChildren(
    ...order.map((i) => {
      const row = document.getElementById("row").content.cloneNode(true);
      row.querySelector(".label").textContent = model.labels[i].replaceAll("_", " ");
      row.querySelector(".percent").textContent = percent(probabilities[i]);
      row.querySelector(".bar").style.width = percent(probabilities[i]).replace(" ", "");
      return row;
    }),
  );
}

function showMel() {
  const missing = model.samples - heard.n;
  drawMel(element.mel, heard.features, model.features, {
    unit: model.kind === "logmel" ? "dB" : "", // the values of an image are 0..255
    edge: Math.ceil(missing / 2) / model.sr,
    origin: heard.from / model.sr,
    length: heard.n / model.sr,
  });
}

function redraw() {
  if (!heard) return;
  drawWaveform(element.wave, clip.y, ...range(heard.from));
  showMel();
}

async function record() {
  if (element.drop.classList.contains("recording")) return recorder.stop();
  player.stop();
  say("Waiting for the microphone …");
  element.file.disabled = true;
  try {
    const file = await recorder.record(model.seconds, (seconds) => {
      element.drop.classList.add("recording");
      element["record-text"].textContent = `Stop (${Math.max(0, model.seconds - seconds).toFixed(1)} s left)`;
      say("Listening …");
    });
    await open(file);
  } catch (error) {
    say(error.message, true);
  } finally {
    element.drop.classList.remove("recording");
    element["record-text"].textContent = `Record ${model.seconds} s`;
    element.file.disabled = false;
  }
  return undefined;
}

function listenForFiles() {
  element.file.onchange = () => {
    if (element.file.files.length) open(element.file.files[0]);
    element.file.value = ""; // lets the same file be chosen again
  };
  let depth = 0; // number of nested elements under the mouse; each one fires its own event
  const over = (change) => element.drop.classList.toggle("over", (depth = Math.max(0, depth + change)) > 0);
  document.ondragenter = () => over(1);
  document.ondragleave = () => over(-1);
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = (event) => {
    event.preventDefault();
    over(-depth);
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
    else say("That is no file; drop one from a folder.", true);
  };
}

function listenForTheWindow() {
  element.start.oninput = () => (player.stop(), listen());
  const move = (event) => {
    const at = event.offsetX / element.wave.clientWidth;
    element.start.value = at * clip.seconds - model.seconds / 2;
    element.start.oninput();
  };
  element.wave.onpointerdown = (event) => {
    if (element.window.hidden) return;
    element.wave.setPointerCapture(event.pointerId);
    move(event);
  };
  element.wave.onpointermove = (event) => element.wave.hasPointerCapture(event.pointerId) && move(event);
  element.play.onclick = () => player.toggle(clip.y, clip.sr, ...range(pointed()));
}

function offerNewer(accept) {
  element.newer.hidden = false;
  element.reload.onclick = accept;
}

async function start() {
  element.unserved.remove();
  element.drop.hidden = false;
  listenForFiles();
  listenForTheWindow();
  ({ about: model, classifier } = await loadPatiently((text, failed) => show(element.loading, text, failed), element.retry));
  element["record-text"].textContent = `Record ${model.seconds} s`;
  element.facts.textContent = model.facts.join(" · ");
  element.record.onclick = record;
  element.record.disabled = false;
  new ResizeObserver(redraw).observe(element.result);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.documentElement.dataset.ready = "";
  if (early) open(early);
  keep(() => clip !== null, offerNewer).then(
    () => (document.documentElement.dataset.kept = ""),
    (error) => console.info(`This page is not kept for use without a network: ${error.message}`),
  );
}

start();
