// Runs a model file in a package of ONNX Runtime for JavaScript, with the arguments and folders of answer.py:
// node answer.mjs PACKAGE MODEL CASES ANSWERS, where PACKAGE is the path of a module.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [path, model, cases, answers] = process.argv.slice(2);
const loaded = await import(pathToFileURL(path));
const ort = loaded.default ?? loaded;

// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0
function read(file) {
  const bytes = readFileSync(file);
  const start = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString("latin1", 10, start);
  const shape = header.match(/'shape': \((.*?)\)/)[1].split(",").filter((size) => size.trim()).map(Number);
  const data = bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length);
  return header.includes("<f4")
    ? new ort.Tensor("float32", new Float32Array(data), shape)
    : new ort.Tensor("int64", new BigInt64Array(data), shape);
}

function write(file, tensor) {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${tensor.dims.map((size) => `${size},`).join("")})}`;
  const text = header.padEnd(128 - 11) + "\n";
  const start = Buffer.from("\x93NUMPY\x01\x00\x00\x00" + text, "latin1");
  start.writeUInt16LE(text.length, 8);
  writeFileSync(file, Buffer.concat([start, Buffer.from(tensor.data.buffer, tensor.data.byteOffset, 4 * tensor.data.length)]));
}

async function main() {
  if (ort.env?.wasm) ort.env.wasm.numThreads = 1;
  let session;
  try {
    session = await ort.InferenceSession.create(readFileSync(model));
  } catch (error) {
    writeFileSync(join(answers, "load.txt"), String(error));
    return;
  }
  for (const name of readdirSync(cases)) {
    const folder = join(cases, name);
    const feeds = Object.fromEntries(readdirSync(folder).map((file) => [file.slice(0, -4), read(join(folder, file))]));
    try {
      write(join(answers, `${name}.npy`), (await session.run(feeds))[session.outputNames[0]]);
    } catch (error) {
      writeFileSync(join(answers, `${name}.txt`), String(error));
    }
  }
}

await main();
