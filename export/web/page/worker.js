// The model, on a thread of its own: {id, samples} in, {id, probabilities, features, ms} or {id, error} out.
import * as ort from "./runtime/ort.wasm.min.js";

ort.env.wasm.numThreads = 1; // more need headers that a plain static server does not send
ort.env.wasm.wasmPaths = {
  mjs: new URL("runtime/ort-wasm-simd-threaded.js", import.meta.url).href,
  wasm: new URL("runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href,
};
ort.env.logLevel = "error";

async function load() {
  const response = await fetch(new URL("model.onnx", import.meta.url), { cache: "no-cache" });
  if (!response.ok) throw new Error(`model.onnx: ${response.status} ${response.statusText}`);
  return ort.InferenceSession.create(await response.arrayBuffer(), { executionProviders: ["wasm"] });
}

async function run(session, samples) {
  const started = performance.now();
  const waveform = new ort.Tensor("float32", samples, [1, samples.length]);
  const { probabilities, features } = await session.run({ waveform });
  return { probabilities: probabilities.data, features: features.data, ms: performance.now() - started };
}

const session = load();
session.then(
  () => postMessage({ ready: true }),
  (error) => postMessage({ ready: false, error: error.message }),
);
onmessage = async ({ data: { id, samples } }) => {
  try {
    postMessage({ id, ...(await run(await session, samples)) });
  } catch (error) {
    postMessage({ id, error: error.message });
  }
};
