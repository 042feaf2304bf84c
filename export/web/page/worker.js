// Runs the model on a thread of its own. In: {id, part, sr, target}, with the result of `part` in resample.js. Out:
// {id, probabilities, features, n, ms: {resample, model}}, where n is the number of samples classified, or {id, error}.
import { fetched } from "./fetched.js";
import { resample } from "./resample.js";
import * as ort from "./runtime/ort.wasm.min.js";

ort.env.wasm.numThreads = 1; // More threads need headers that a plain static server does not send.
ort.env.wasm.wasmPaths = {
  mjs: new URL("runtime/ort-wasm-simd-threaded.js", import.meta.url).href,
  wasm: new URL("runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href,
};
ort.env.logLevel = "error";

async function load() {
  const response = await fetched("model.onnx");
  return ort.InferenceSession.create(await response.arrayBuffer(), { executionProviders: ["wasm"] });
}

async function run(session, { part, sr, target }) {
  const started = performance.now();
  const y = resample(part, sr, target);
  const resampled = performance.now();
  const { probabilities, features } = await session.run({ waveform: new ort.Tensor("float32", y, [1, y.length]) });
  const ms = { resample: resampled - started, model: performance.now() - resampled };
  return { probabilities: probabilities.data, features: features.data, n: y.length, ms };
}

const session = load();
session.then(
  () => postMessage({ ready: true }),
  (error) => postMessage({ ready: false, error: error.message, kind: error.kind }),
);
onmessage = async ({ data: { id, ...request } }) => {
  try {
    postMessage({ id, ...(await run(await session, request)) });
  } catch (error) {
    postMessage({ id, error: error.message });
  }
};
