// The page: a file or a recording in, its pictures and labels out.
import { Classifier } from "./classifier.js";
import { decode, MOST_SECONDS } from "./decode.js";
import { drawMel, drawWaveform } from "./draw.js";
import { Player } from "./play.js";
import { Recorder } from "./record.js";

const TOP = 5;
const element = Object.fromEntries([...document.querySelectorAll("[id]")].map((found) => [found.id, found]));
const recorder = new Recorder();
const player = new Player(element.playhead, (playing) => (element.play.textContent = playing ? "Stop" : "Play"));
let model; // what model.json says
let classifier;
let clip = null; // {name, y, seconds, whole, ms} of the recording on show
let heard = null; // {from, samples, features} of the part that was classified last
let latest = 0; // the recording that was opened last: an earlier one that decodes for longer is dropped

function say(text, failed = false) {
  element.status.textContent = text;
  element.status.classList.toggle("error", failed);
}

const clock = (seconds) =>
  seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")} min`;
const kilohertz = (hz) => `${+(hz / 1000).toFixed(2)} kHz`;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

async function open(file, name = file.name) {
  const turn = ++latest;
  player.stop();
  say(`Decoding ${name} …`);
  try {
    const started = performance.now();
    const decoded = await decode(file, model.sr);
    if (turn !== latest) return;
    check(decoded.y, name);
    clip = { name, ...decoded, ms: performance.now() - started };
  } catch (error) {
    if (turn === latest) say(error.message, true);
    return;
  }
  say("");
  element.drop.classList.add("small");
  element.result.hidden = false;
  element.name.textContent = clip.name;
  const cut = clip.whole ? "" : `, the first ${MOST_SECONDS / 60} minutes of a longer recording`;
  const mirrored = clip.y.length < model.samples ? `, mirrored to ${model.seconds} s for the model` : "";
  element.about.textContent = `${clock(clip.seconds)} at ${kilohertz(model.sr)}${cut}${mirrored}`;
  const movable = clip.y.length > model.samples;
  element.window.hidden = element.span.hidden = !movable;
  element.wave.classList.toggle("movable", movable);
  element.start.max = movable ? clip.seconds - model.seconds : 0;
  element.start.value = 0;
  await listen();
}

// The same limits as `cumel predict` has.
function check(y, name) {
  const least = model.features.n_fft;
  if (y.length < least) throw new Error(`${name} is too short: the model needs ${Math.ceil((1000 * least) / model.sr)} ms.`);
  if (!y.every(Number.isFinite)) throw new Error(`${name} holds samples that are no numbers.`);
  if (y.every((sample) => sample === 0)) throw new Error(`${name} is silent: every sample is zero.`);
}

// Classify the part of the clip that the slider points at.
async function listen() {
  const from = Math.round(element.start.valueAsNumber * model.sr);
  const samples = clip.y.slice(from, from + model.samples);
  element.span.textContent = `${clock(from / model.sr)} to ${clock((from + samples.length) / model.sr)}`;
  element.answer.classList.add("stale");
  drawWaveform(element.wave, clip.y, from, from + samples.length);
  let result;
  try {
    result = samples.some((sample) => sample !== 0) && (await classifier.run(samples));
  } catch (error) {
    return say(`The model failed on this recording: ${error.message}`, true);
  }
  if (result === null) return undefined; // another part is asked for by now
  if (!result) return say("This part is silent; move on to another.", true);
  say("");
  element.answer.classList.remove("stale");
  heard = { from, samples: samples.length, ...result };
  showTop(result.probabilities);
  element.timing.textContent = `Decoded in ${clip.ms.toFixed(0)} ms; spectrogram and network took ${result.ms.toFixed(0)} ms.`;
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
  const missing = Math.max(0, model.samples - heard.samples);
  drawMel(element.mel, heard.features, model.features, {
    edge: Math.ceil(missing / 2) / model.sr,
    origin: heard.from / model.sr,
    length: heard.samples / model.sr,
  });
}

function redraw() {
  if (!heard) return;
  drawWaveform(element.wave, clip.y, heard.from, heard.from + heard.samples);
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
    element.file.value = ""; // the same file may be chosen again
  };
  let depth = 0; // of elements under the mouse, as each tells of its own entry
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
  element.play.onclick = () => player.toggle(clip.y, model.sr, heard?.from ?? 0, model.samples);
}

async function start() {
  element.unserved.remove();
  element.drop.hidden = false;
  say("Loading the model …");
  const response = await fetch("model.json", { cache: "no-cache" });
  if (!response.ok) throw new Error(`model.json: ${response.status} ${response.statusText}`);
  model = await response.json();
  element["record-text"].textContent = `Record ${model.seconds} s`;
  element.facts.textContent = model.facts.join(" · ");
  classifier = new Classifier();
  listenForFiles();
  listenForTheWindow();
  element.record.onclick = record;
  await classifier.ready;
  new ResizeObserver(redraw).observe(element.result);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  if (!clip) say("");
  document.documentElement.dataset.ready = "";
}

start().catch((error) => say(`The model cannot be loaded (${error.message}). Write the site again with cumel web.`, true));
